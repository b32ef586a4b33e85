#!/usr/bin/env python3
"""Parity and speed of the engine on this machine's GPU, beside transformers: docs/benchmarks/gpu.md.

Parts run in the order of their weight, each within its time; what fails or finds no time left does not stop
the rest. Exit status: 0 where parity and every floor held, 1 where one did not, 2 where nothing could run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import goldens
import parity
import speed
from machine import Failure, Machine, describe, find_libtorch, warn
from report import Report, Row

HERE = Path(__file__).resolve().parent
TORCH = "2.11."


def plans(shapes: Path, tiny: bool) -> list[speed.Plan]:
    """The models by size, with their true shapes or with tiny ones."""

    def plan(name: str, floor: float, image: str, tiny_name: str) -> speed.Plan:
        if tiny:
            sides = "128x128" if image else ""
            return speed.Plan(tiny_name, shapes / tiny_name, "1,8", "64,200", "4", sides, 32, 8, 8, 1)
        shape = shapes / name.lower()
        return speed.Plan(name, shape, "1,8,64", "1024,8192", "64", image, 1024, 256, 64, 5, floor)

    return [
        plan("Qwen3-VL-2B", 0.50, "1024x1024", "tiny-qwen3-vl"),
        plan("Qwen2.5-VL-7B", 0.75, "1024x1024", "tiny-qwen2.5-vl"),
        plan("Qwen2.5-14B", 0.78, "", "tiny-qwen2.5"),
    ]


def only(plan: speed.Plan, **changes: str | float | None) -> speed.Plan:
    """A plan of nothing but what is named."""
    nothing = {"batches": "", "prefills": "", "streams": "", "image": "", "floor": None}
    return speed.Plan(**{**vars(plan), **nothing, **changes})


def sanitizer(machine: Machine, report: Report, models: Path, tool: str | None) -> None:
    """1,000 steps of the small model's decode, each a start of its graph, under compute-sanitizer."""
    steps = 20 if machine.tiny else 500
    name = f"{2 * steps} decode steps"
    words = ["bench", "--model", str(models / "llama-bias"), "--device", machine.device, "--dtype", "float32",
             "--batch", "1,3", "--context", "16", "--steps", str(steps)]  # fmt: skip
    checked = (tool, "--tool", "memcheck", "--error-exitcode", "99") if tool else ()
    reason = ""
    try:
        machine.run(words, 120, "sanitizer", checked)
    except Failure as error:
        reason = str(error)
    log = machine.logs / "sanitizer.log"
    said = log.read_text(errors="replace") if log.exists() else ""
    found = re.search(r"ERROR SUMMARY: (\d+) error", said)
    if tool and found:
        count = int(found.group(1))
        text = f"{count} errors: see the log" if count else reason or "no error"
        report.add(Row("faults", name, text, floor="no error", held=count == 0 and not reason))
    elif reason or tool:
        # Some virtual machines do not let the tool see the device.
        report.failed("faults", name, reason or "no summary", counts="not supported" not in reason)
    else:
        report.add(Row("faults", name, "ran; compute-sanitizer is not here"))


@dataclass
class Part:
    """Something to measure. `needed`: that it was not is a failure of the whole."""

    name: str
    work: Callable[[], object]
    needed: bool = False


def parts(machine: Machine, report: Report, options: argparse.Namespace, scratch: Path) -> list[Part]:
    """Everything, in the order of its weight."""
    cases = goldens.load(options.goldens)

    def rates() -> None:
        small = ["--tiny"] if options.tiny else []
        found = machine.reference(["rates", "--device", machine.torch_device, *small], 120, "rates")[0]
        machine.facts.update(found)
        report.facts.update({key: round(v, 1) if isinstance(v, float) else v for key, v in found.items()})

    exact = [
        Part("rates", rates),
        Part("float32", lambda: parity.exact(machine, report, cases, scratch), True),
        Part("served", lambda: parity.stepped(machine, report, cases, scratch), True),
        Part("bfloat16", lambda: parity.rounded(machine, report, cases, scratch), True),
    ]
    if options.parity_only:
        return exact
    two, seven, fourteen = plans(options.shapes, options.tiny)
    two_text, seven_text = (
        only(plan, batches=plan.batches, prefills=plan.prefills, floor=plan.floor) for plan in (two, seven)
    )
    large = only(fourteen, batches=fourteen.batches, floor=fourteen.floor)
    int4 = only(fourteen, batches=fourteen.batches, quantize="int4")
    long = only(fourteen, prefills=fourteen.prefills)
    streams = only(two, streams=two.streams)
    pictures = [only(plan, image=plan.image) for plan in (two, seven)]
    # Filled by one part and used by a later one.
    seen: list[Any] = []
    real = not options.tiny
    least = 1.5 if real else None
    path = f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin"
    tool = shutil.which("compute-sanitizer", path=path) if machine.torch_device != "cpu" else None
    return exact + [
        Part("2b", lambda: speed.model(machine, report, two_text, 60, 100), real),
        Part("streams", lambda: speed.streams(machine, report, streams, 40, least), real),
        Part("7b", lambda: seen.extend(speed.model(machine, report, seven_text, 60)), real),
        Part("14b", lambda: speed.model(machine, report, large, 75), real),
        Part("int4", lambda: speed.model(machine, report, int4, 75)),
        Part("image", lambda: speed.image(machine, report, pictures[0], 30)),
        Part("load", lambda: speed.load(machine, report, two, 30, scratch)),
        Part("7b image", lambda: speed.image(machine, report, pictures[1], 30)),
        Part("sanitizer", lambda: sanitizer(machine, report, options.goldens, tool), tool is not None),
        Part("14b prefill", lambda: speed.model(machine, report, long, 45)),
        Part("7b transformers", lambda: speed.beside(machine, report, seven_text, seen, 60)),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", type=Path, required=True, help="torchgate-engine")
    parser.add_argument("--goldens", type=Path, required=True, help="folder of tiny models with known logits")
    parser.add_argument("--shapes", type=Path, default=HERE.parent / "shapes", help="folder of configs")
    parser.add_argument("--cpu", action="store_true", help="on the CPU: a test of this program")
    parser.add_argument("--device", help="another device of the engine, with --cpu for the rest")
    parser.add_argument("--commit", default="", help="what was built, for the table's head")
    parser.add_argument("--tiny", action="store_true", help="tiny models: floors of speed do not count")
    parser.add_argument("--parity-only", action="store_true", help="goldens, no speed")
    parser.add_argument("--seconds", type=float, default=520, help="time for everything")
    parser.add_argument("--output", type=Path, default=Path("gpu-check-results"), help="the results' folder")
    parser.add_argument("--python", default=sys.executable, help="the Python that has torch and transformers")
    parser.add_argument("--libtorch", type=Path, help="folder of its libraries; default: that Python's")
    parser.add_argument("--own-libtorch", action="store_true", help="the one that the engine finds")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    libtorch = options.libtorch
    if libtorch is None and not options.own_libtorch:
        libtorch, version = find_libtorch(options.python)
        if not version.startswith(TORCH):
            warn(f"{options.python} has torch {version}; the engine needs {TORCH}x, or --libtorch FOLDER")
            return 2
    options.output.mkdir(parents=True, exist_ok=True)
    torch_device = "cpu" if options.cpu else "cuda"
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        scratch = Path(folder)
        machine = Machine(
            engine=options.engine.resolve(), device=options.device or torch_device, torch_device=torch_device,
            tiny=options.tiny, python=options.python, libtorch=libtorch,
            deadline=time.monotonic() + options.seconds, logs=scratch / "logs",
        )  # fmt: skip
        machine.logs.mkdir()
        head = {"commit": options.commit} if options.commit else {}
        report = Report(options.output, head | describe(machine) | {"device": machine.device})
        if options.tiny:
            report.facts["note"] = "tiny models: no number below says anything about speed"
        for part in parts(machine, report, options, scratch):
            perform(part, machine, report)
            # Few files, whatever happens next: the machine may be a borrowed one.
            with tarfile.open(options.output / "logs.tar.gz", "w:gz") as archive:
                archive.add(machine.logs, "logs")
    print(f"\n{options.output / 'gpu-check.md'}, {options.output / 'gpu-check.json'}")
    for row in report.misses:
        print(f"MISSED {row.part}: {row.name}: {row.ours} {row.roofline} {row.floor}")
    if not any(row.part == "parity" and row.held for row in report.rows):
        return 2
    return 1 if report.misses else 0


def perform(part: Part, machine: Machine, report: Report) -> None:
    """One part never takes the others down."""
    began = time.monotonic()
    try:
        if machine.left < 5:
            raise Failure("no time left")
        part.work()
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        report.failed(part.name, "all of it", reason[:300], counts=part.needed)
    report.facts.setdefault("seconds", {})[part.name] = round(time.monotonic() - began, 1)
    report.write()


if __name__ == "__main__":
    sys.exit(main())
