#!/usr/bin/env python3
"""Compares the engine's logits of a GGUF file with those of transformers' own GGUF loader, in float32.

    venv=$(scripts/python-env.sh parity)      # transformers and torch, some hundred MB
    make build
    "$venv/bin/python" scripts/gguf-parity.py [FILE.gguf] [--engine PROGRAM] [--limit 1e-3]

The default file is the default model. Exit status 1 where any logit of any position differs by more than
the limit. PyPI's torch for x86-64 is a CUDA build, whose wheel brings the libraries that it links, GPU or
not; a CPU wheel of the same version does as well, beside PyPI's torchvision too (cpu_torchvision.py).
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import cpu_torchvision  # noqa: F401  before transformers
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[1]


def engine_logits(engine: Path, gguf: Path, ids: list[int]) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "logits.safetensors"
        words = [
            str(engine), "logits", "--model", str(gguf), "--ids", ",".join(map(str, ids)),
            "--dtype", "float32", "--device", "cpu", "--output", str(output),
        ]  # fmt: skip
        subprocess.run(words, check=True)
        return load_file(output)["logits"]


def reference_logits(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].float()


def prompts(vocabulary: int) -> list[list[int]]:
    """Short, middle and long, from a fixed seed."""
    draw = random.Random(7)
    return [[draw.randrange(vocabulary) for _ in range(length)] for length in (1, 7, 64, 300)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = sorted((ROOT / ".deps/models").glob("*/*.gguf"))
    parser.add_argument("gguf", type=Path, nargs="?", default=default[0] if default else None)
    parser.add_argument("--engine", type=Path, default=ROOT / ".build/release/torchgate-engine")
    parser.add_argument("--limit", type=float, default=1e-3)
    options = parser.parse_args()
    if options.gguf is None:
        parser.error("no file named and none in .deps/models")
    model = AutoModelForCausalLM.from_pretrained(
        str(options.gguf.resolve().parent), gguf_file=options.gguf.name, dtype=torch.float32
    ).eval()
    # Spinning threads would wait for each other on a busy machine.
    torch.set_num_threads(1)
    worst = 0.0
    for ids in prompts(model.config.vocab_size):
        ours = engine_logits(options.engine, options.gguf, ids)
        theirs = reference_logits(model, ids)
        if ours.shape != theirs.shape:
            print(f"shapes differ: {tuple(ours.shape)} and {tuple(theirs.shape)}", file=sys.stderr)
            return 1
        difference = (ours - theirs).abs().max().item()
        same = (ours.argmax(-1) == theirs.argmax(-1)).float().mean().item()
        print(f"{len(ids):5} tokens: max difference {difference:.2e}, same best token {same:.1%}")
        worst = max(worst, difference)
    passed = worst <= options.limit
    print(f"{'passed' if passed else 'FAILED'}: {worst:.2e}, limit {options.limit:.0e}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
