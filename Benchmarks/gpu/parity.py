"""Goldens on the device: logits in float32, bfloat16 beside transformers, tokens as they are served."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from goldens import Golden, divergence, floats, largest, tensors
from machine import Failure, Machine
from report import Report, Row

EXACT = 1e-3
# Engines at once: each holds a context of some hundred MiB on the device.
AT_ONCE = 6


def pool(machine: Machine) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 if machine.device == "cpu" else AT_ONCE)


def logits(machine: Machine, golden: Golden, dtype: str, scratch: Path) -> Path:
    """Runs the engine over a golden's prompt; the file that it has written."""
    name = f"{golden.title}-{dtype}".replace(" ", "-")
    output = scratch / f"{name}.safetensors"
    words = [
        "logits", "--model", str(golden.folder), *golden.words(scratch / name), "--dtype", dtype, "--device",
        machine.device, "--greedy", str(len(golden.greedy)), "--output", str(output),
    ]  # fmt: skip
    machine.run(words, 120, f"parity {name}")
    return output


def served(machine: Machine, golden: Golden, scratch: Path) -> bool:
    """Whether one sequence, and three at once, draw the golden's tokens in the steps that serve."""
    file = scratch / f"served-{golden.title}.json"
    words = [
        "bench", "--model", str(golden.folder), "--device", machine.device, "--dtype", "float32",
        "--batch", "1,3", "--ids", ",".join(map(str, golden.ids)), "--steps", str(len(golden.greedy)),
        "--json", str(file),
    ]  # fmt: skip
    machine.run(words, 120, f"served {golden.title}")
    rows = json.loads(file.read_text())["rows"]
    texts = [text for row in rows for text in row.get("texts", [])]
    return len(texts) == 4 and all(text[: len(golden.greedy)] == golden.greedy for text in texts)


def exact(machine: Machine, report: Report, goldens: list[Golden], scratch: Path) -> None:
    """float32, TF32 off."""

    def one(golden: Golden) -> tuple[float, bool] | str:
        try:
            found = tensors(logits(machine, golden, "float32", scratch))
            tokens = [] if not golden.greedy else list(memoryview(found["greedy_tokens"][1]).cast("q"))
            return largest(floats(found["logits"][1]), golden.logits), tokens == golden.greedy
        except (Failure, KeyError, OSError) as error:
            return str(error)

    # The first compiles the kernels, which the others find.
    results = [one(golden) for golden in goldens[:1]]
    with pool(machine) as workers:
        results += workers.map(one, goldens[1:])
    models: dict[str, list[tuple[float, bool]]] = {}
    reasons: dict[str, list[str]] = {}
    for golden, result in zip(goldens, results, strict=True):
        if isinstance(result, str):
            reasons.setdefault(golden.folder.name, []).append(f"{golden.title}: {result}")
        else:
            models.setdefault(golden.folder.name, []).append(result)
    refused(report, "float32", reasons)
    for name, found in models.items():
        worst, same = max(x[0] for x in found), all(x[1] for x in found)
        text = f"{worst:.1e}, greedy {'same' if same else 'DIFFERS'}"
        more = {"largest_difference": worst if math.isfinite(worst) else None, "cases": len(found)}
        held = worst <= EXACT and same
        report.add(Row("parity", f"float32 {name}", text, floor=f"≤ {EXACT:g}", held=held, more=more))


def refused(report: Report, dtype: str, reasons: dict[str, list[str]]) -> None:
    """One row for each model of which a prompt could not be computed."""
    for name, found in reasons.items():
        report.failed("parity", f"{dtype} {name}", f"{len(found)} prompts, {found[0]}", counts=True)


def stepped(machine: Machine, report: Report, goldens: list[Golden], scratch: Path) -> None:
    """The scheduler's path: slots, batches, graphs."""
    texts = [golden for golden in goldens if not golden.sees and golden.greedy]

    def one(golden: Golden) -> bool | str:
        try:
            return served(machine, golden, scratch)
        except (Failure, KeyError, OSError) as error:
            return str(error)

    with pool(machine) as workers:
        results = list(workers.map(one, texts))
    reasons = [
        f"{golden.title}: {'other tokens' if result is False else result}"
        for golden, result in zip(texts, results, strict=True)
        if result is not True
    ]
    if reasons:
        report.failed("parity", "tokens as served, 1 and 3 at once", "; ".join(reasons), counts=True)
    else:
        name = "tokens as served, 1 and 3 at once"
        report.add(Row("parity", name, f"same, {len(texts)} prompts", held=True, floor="same"))


def rounded(machine: Machine, report: Report, goldens: list[Golden], scratch: Path) -> None:
    """bfloat16 of both sides against the float32 goldens, all positions together."""

    reasons: dict[str, list[str]] = {}

    def one(golden: Golden) -> Path | None:
        try:
            return logits(machine, golden, "bfloat16", scratch)
        except Failure as error:
            reasons.setdefault(golden.folder.name, []).append(f"{golden.title}: {error}")
            return None

    with pool(machine) as workers:
        ours = list(workers.map(one, goldens))
    refused(report, "bfloat16", reasons)
    theirs = [scratch / f"theirs-{index}.safetensors" for index in range(len(goldens))]
    work = []
    for golden, output in zip(goldens, theirs, strict=True):
        inputs = scratch / f"{golden.title}-float32.safetensors".replace(" ", "-")
        if inputs.exists():
            work.append({"folder": str(golden.folder), "inputs": str(inputs), "output": str(output)})
    (scratch / "work.json").write_text(json.dumps(work))
    reason = ""
    try:
        words = ["logits", "--device", machine.torch_device, "--work", str(scratch / "work.json")]
        machine.reference(words, 90, "parity transformers")
    except Failure as error:
        reason = str(error)
    same: dict[str, list[bool]] = {"ours": [], "theirs": [], "alone": []}
    kl: dict[str, list[float]] = {"ours": [], "theirs": [], "alone": []}
    for golden, mine, other in zip(goldens, ours, theirs, strict=True):
        if mine is None:
            continue
        # What transformers does not compute is not held against anything.
        sides = {"ours": mine, "theirs": other} if other.exists() else {"alone": mine}
        for who, path in sides.items():
            best, distance = divergence(golden.logits, floats(tensors(path)["logits"][1]), golden.vocabulary)
            same[who] += best
            kl[who] += distance

    def mean(values: list[float] | list[bool]) -> float:
        return sum(values) / max(1, len(values))

    def text(who: str) -> str:
        return f"same best {100 * mean(same[who]):.2f} %, KL {mean(kl[who]):.2e}"

    if not same["ours"] + same["alone"]:
        return
    if not same["theirs"]:
        who = "ours" if same["ours"] else "alone"
        note = f"not compared: {reason or 'no transformers'}"
        report.add(Row("parity", "bfloat16, all positions", text(who), note))
        return
    held = mean(same["ours"]) >= mean(same["theirs"]) - 0.02 and mean(kl["ours"]) <= 1.1 * mean(kl["theirs"])
    means = {"kl": mean(kl["ours"]), "kl_transformers": mean(kl["theirs"])}
    more = {key: value if math.isfinite(value) else None for key, value in means.items()}
    more["positions"] = len(same["ours"])
    floor = "− 2 points, KL × 1.1"
    name = "bfloat16, all positions"
    report.add(Row("parity", name, text("ours"), text("theirs"), floor=floor, held=held, more=more))
