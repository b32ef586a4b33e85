"""Speed on weights of true shapes: ours in the engine's own steps, transformers in its best setting."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import Failure, Machine
from report import Report, Row

# MiB by which two readings of the device's memory differ on their own.
SLACK = 16


@dataclass
class Plan:
    """What is measured of one model."""

    name: str
    shape: Path
    batches: str
    prefills: str
    streams: str
    image: str
    context: int
    generate: int
    steps: int
    repeats: int
    # Least share of the roofline of one stream.
    floor: float | None = None
    quantize: str | None = None


def rows(machine: Machine, plan: Plan, name: str, limit: float) -> dict[str, Any]:
    """The bench's report; what a run that was cut off has measured counts."""
    file = machine.logs / f"{name.replace(' ', '-')}.json"
    file.unlink(missing_ok=True)
    words = [
        "bench", "--config", str(plan.shape), "--random", "--device", machine.device, "--dtype", "bfloat16",
        "--context", str(plan.context), "--steps", str(plan.steps), "--repeats", str(plan.repeats),
        "--generate", str(plan.generate), "--json", str(file),
    ]  # fmt: skip
    asked = {"batch": plan.batches, "prefill": plan.prefills, "image": plan.image, "streams": plan.streams}
    for option, value in {**asked, "quantize": plan.quantize, **roof(machine)}.items():
        if value:
            words += [f"--{option}", str(value)]
    try:
        machine.run(words, limit, name)
    except Failure as error:
        if not file.exists():
            raise
        return {**json.loads(file.read_text()), "broken": str(error)}
    return json.loads(file.read_text())


def roof(machine: Machine) -> dict[str, Any]:
    """What the device gives, for the share of the roofline; tiny models fit into its caches."""
    if machine.tiny:
        return {}
    return {"bandwidth": machine.facts.get("copy_gb_s"), "tflops": machine.facts.get("bf16_tflop_s")}


def peers(machine: Machine, kind: str, plan: Plan, limit: float, words: list[str]) -> list[dict[str, Any]]:
    """What transformers has measured before its time was over; nothing where it is not there."""
    tiny = ["--tiny"] if machine.tiny else []
    command = [kind, "--device", machine.torch_device, *tiny, "--config", str(plan.shape), *words]
    try:
        return machine.reference(command, limit, f"transformers {kind} {plan.name}")
    except Failure as error:
        return [{"error": str(error)}]


def milliseconds(value: float) -> str:
    return f"{value * 1000:.2f} ms"


def model(machine: Machine, report: Report, plan: Plan, limit: float, peer: float = 0) -> list[Any]:
    """All rows of one model; `peer`: seconds for transformers beside it. Answers the rows."""
    label = plan.name + (f" {plan.quantize}" if plan.quantize else "")
    before = machine.memory()
    try:
        found = rows(machine, plan, f"bench {label}", limit)
    except Failure as error:
        report.failed("speed", label, str(error), counts=plan.floor is not None)
        return []
    held(report, label, before, machine.settled(before and before + SLACK))
    report.facts.setdefault("models", {})[label] = {k: v for k, v in found.items() if k != "rows"}
    theirs = decoded(machine, plan, peer) if peer else []
    for row in found["rows"]:
        add(machine, report, plan, label, row, theirs)
    if found.get("broken"):
        report.failed("speed", label, found["broken"], counts=plan.floor is not None)
    return found["rows"]


def decoded(machine: Machine, plan: Plan, limit: float) -> list[dict[str, Any]]:
    """transformers' decode of the smallest and the largest batch, and its prefill."""
    batches = plan.batches.split(",")
    batch = ",".join(dict.fromkeys([batches[0], batches[-1]]))
    words = ["--batch", batch, "--prefill", plan.prefills, "--context", str(plan.context)]
    return peers(machine, "speed", plan, limit, [*words, "--steps", str(plan.steps)])


def beside(machine: Machine, report: Report, plan: Plan, ours: list[Any], limit: float) -> None:
    """The same rows again with transformers beside them, for a model that had no time for it before."""
    theirs = decoded(machine, plan, limit)
    quiet = Plan(**{**vars(plan), "floor": None})
    for row in ours:
        if any(x.get("name") == row.get("name") and x.get("kind") == row["kind"] for x in theirs):
            add(machine, report, quiet, f"{plan.name} again:", row, theirs)


def add(machine: Machine, report: Report, plan: Plan, label: str, row: dict[str, Any],
        theirs: list[dict[str, Any]]) -> None:  # fmt: skip
    """A decode or prefill beside the best of transformers' settings."""
    name = f"{label} {row['kind']} {row.get('name', '')}".strip()
    if "error" in row:
        report.failed("speed", name, row["error"], counts=bool(plan.floor) and row["kind"] == "decode 1")
        return
    same = [x for x in theirs if x.get("kind") == row["kind"] and x.get("name") == row["name"]]
    timed = [x for x in same if "seconds" in x]
    best = min(timed, key=lambda x: x["seconds"], default=None)
    text = f"{milliseconds(row['seconds'])}, {row['tokens_per_second']:.0f} tokens/s"
    other = ""
    if best:
        ratio = best["seconds"] / row["seconds"]
        other = f"{milliseconds(best['seconds'])} ({best['setting']}): {ratio:.2f} ×"
    elif theirs:
        other = "– (" + next((x["error"] for x in [*same, *theirs] if "error" in x), "not reached") + ")"
    share = row.get("roofline")
    floor, holds = "", None
    if plan.floor and row["kind"] == "decode" and row["name"] == "1" and not machine.tiny:
        floor, holds = f"≥ {100 * plan.floor:.0f} %", share is not None and share >= plan.floor
    roof = f"{100 * share:.1f} %" if share is not None else ""
    report.add(Row("speed", name, text, other, roof, floor, holds, {"ours": row, "transformers": same}))


def held(report: Report, label: str, before: int | None, after: int | None) -> None:
    """Memory of the device once the engine has gone, against that before it came."""
    if before is None or after is None:
        return
    holds = after <= before + SLACK
    name = f"{label} after unload"
    report.add(Row("memory", name, f"{after} MiB, before {before} MiB", floor="equal", held=holds))


def streams(machine: Machine, report: Report, plan: Plan, limit: float, floor: float | None) -> None:
    """Requests that all come at once, run to their end."""
    name = f"{plan.name} {plan.streams} streams {plan.context}/{plan.generate}"
    try:
        found = rows(machine, plan, f"streams {plan.name}", limit)["rows"]
    except Failure as error:
        report.failed("speed", name, str(error), counts=floor is not None)
        return
    row = next((x for x in found if "seconds" in x), None)
    if row is None:
        report.failed("speed", name, found[0]["error"] if found else "no row", counts=floor is not None)
        return
    words = ["--count", plan.streams, "--context", str(plan.context), "--generate", str(plan.generate)]
    theirs = peers(machine, "streams", plan, limit * 2, words)
    # The floor is against continuous batching; what was quicker is shown.
    batched = next((x for x in theirs if x.get("setting") == "continuous batching" and "seconds" in x), None)
    best = min((x for x in theirs if "seconds" in x), key=lambda x: x["seconds"], default=None)
    other = f"– ({theirs[-1].get('error', 'not reached')})" if theirs else ""
    if best:
        other = f"{best['tokens'] / best['seconds']:.0f} tokens/s ({best['setting']})"
        if batched and batched is not best:
            other += f", continuous batching {batched['tokens'] / batched['seconds']:.0f}"
    holds = None
    if floor and batched:
        holds = row["tokens_per_second"] >= floor * batched["tokens"] / batched["seconds"]
    text = f"{row['tokens_per_second']:.0f} tokens/s, {row['seconds']:.2f} s"
    more = {"ours": row, "transformers": theirs}
    report.add(Row("speed", name, text, other, floor=f"≥ {floor} ×" if floor else "", held=holds, more=more))


def image(machine: Machine, report: Report, plan: Plan, limit: float) -> None:
    """Tower and prompt of one image to the first token."""
    name = f"{plan.name} image {plan.image}"
    try:
        row = rows(machine, plan, f"image {plan.name}", limit)["rows"][0]
        if "error" in row:
            raise Failure(row["error"])
    except (Failure, IndexError, KeyError) as error:
        report.failed("speed", name, str(error), counts=False)
        return
    words = ["--width", str(row["width"]), "--height", str(row["height"])]
    theirs = peers(machine, "image", plan, limit, words)
    other = f"– ({theirs[0]['error']})" if "error" in theirs[0] else (
        f"{milliseconds(theirs[0]['seconds'])} (tower {milliseconds(theirs[0]['tower_seconds'])})"
    )  # fmt: skip
    text = f"{milliseconds(row['seconds'])} (as text {milliseconds(row['text_seconds'])})"
    report.add(Row("speed", name, text, other, more={"ours": row, "transformers": theirs}))


def load(machine: Machine, report: Report, plan: Plan, limit: float, scratch: Path) -> None:
    """A checkpoint in the page cache onto the device, both sides in turn."""
    folder = scratch / "checkpoint"
    name = f"{plan.name} from a file"
    try:
        made = peers(machine, "save", plan, limit, ["--folder", str(folder)])[0]
        if "error" in made:
            raise Failure(made["error"])
        ours, theirs = [], []
        for turn in range(2):
            file = machine.logs / f"load-{turn}.json"
            words = ["bench", "--model", str(folder), "--device", machine.device, "--dtype", "bfloat16",
                     "--prefill", "8", "--repeats", "1", "--json", str(file)]  # fmt: skip
            machine.run(words, limit, f"load {turn}")
            ours.append(json.loads(file.read_text())["load_seconds"])
            theirs += peers(machine, "load", plan, limit, ["--folder", str(folder)])
    except Failure as error:
        report.failed("load", name, str(error), counts=False)
        return
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    size = made["bytes"]
    times = [x["seconds"] for x in theirs if "seconds" in x]
    other = f"load_file {min(times):.2f} s: {min(times) / min(ours):.2f} ×" if times else "–"
    text = f"{min(ours):.2f} s, {size / min(ours) / 1e9:.2f} GB/s"
    more = {"bytes": size, "ours": ours, "load_file": times}
    report.add(Row("load", name, text, other, more=more))
