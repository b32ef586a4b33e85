"""The library for a GPU, libtorch's CUDA part and NVRTC, on a CUDA without a device (Support/FakeCuda)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from house import BIN, ROOT

MODELS = ROOT / "Tests/Fixtures/models"
SHAPES = ROOT / "Benchmarks/shapes"


def said(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


@pytest.fixture(scope="session")
def variables() -> dict[str, str]:
    """What makes an engine find the fake in place of the driver, and a folder that keeps compiled kernels."""
    compiler = Path(said("scripts/python-env.sh", "cuda")).glob("lib/python*/site-packages/nvidia/cu13/lib")
    return {
        "LD_PRELOAD": said("scripts/build-fake-cuda.sh"),
        "LD_LIBRARY_PATH": str(next(compiler)),
        "CACHE_DIRECTORY": str(ROOT / ".build/cuda/fake-cache"),
    }


def bench(variables: dict[str, str], folder: Path, *words: str) -> tuple[dict[str, dict], dict[str, int]]:
    """The rows by kind and name, and how often CUDA's functions were called."""
    calls, report = folder / "calls", folder / "report.json"
    command = [BIN / "torchgate-engine", "bench", "--device", "cuda", "--json", report, *words]
    environment = {**os.environ, **variables, "FAKE_CUDA_REPORT": str(calls)}
    done = subprocess.run(command, env=environment, timeout=600, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {f"{row['kind']} {row['name']}": row for row in json.loads(report.read_text())["rows"]}
    counted = [line.split(" ", 1) for line in calls.read_text().splitlines()]
    return rows, {name: int(count) for count, name in counted}


@pytest.mark.parametrize("model", ["llama-bias", "qwen3"])
def test_greedy_tokens_come_from_recorded_steps(
    variables: dict[str, str], tmp_path: Path, model: str
) -> None:
    script = (
        "import goldens, json, pathlib, sys; all = goldens.load(pathlib.Path(sys.argv[1]));"
        "print(json.dumps([[x.ids, x.greedy] for x in all if x.folder.name == sys.argv[2]][0]))"
    )
    command = [sys.executable, "-c", script, MODELS, model]
    known = subprocess.run(command, cwd=ROOT / "Benchmarks/gpu", check=True, capture_output=True)
    ids, greedy = json.loads(known.stdout)
    rows, calls = bench(
        variables, tmp_path, "--model", str(MODELS / model), "--dtype", "float32", "--batch", "1,3",
        "--ids", ",".join(map(str, ids)), "--steps", str(len(greedy)),
    )  # fmt: skip
    texts = [text for row in rows.values() for text in row["texts"]]
    assert len(texts) == 4 and all(text[: len(greedy)] == greedy for text in texts)
    assert "refused" not in calls
    assert calls["cudaStreamBeginCapture"] >= 2 and calls["cudaGraphLaunch"] >= 2 * (len(greedy) - 4)


def test_a_recording_that_breaks_leaves_the_next_ones_whole(
    variables: dict[str, str], tmp_path: Path
) -> None:
    random = ["--config", str(SHAPES / "tiny-qwen2.5"), "--random", "--dtype", "bfloat16", "--context", "32"]
    words = [*random, "--steps", "8", "--batch", "1,8"]
    # The first recording is the trial of early starts, the second that of one row.
    broken = {**variables, "FAKE_CUDA_BREAK_RECORDING": "2"}
    _, whole = bench(variables, tmp_path, *words)
    rows, calls = bench(broken, tmp_path, *words)
    assert rows.keys() == {"decode 1", "decode 8"} and all("seconds" in row for row in rows.values())
    assert 8 <= calls["cudaGraphLaunch"] < whole["cudaGraphLaunch"]
    assert "refused" not in calls


def test_an_image_passes_the_tower(variables: dict[str, str], tmp_path: Path) -> None:
    words = ["--config", str(SHAPES / "tiny-qwen2.5-vl"), "--random", "--dtype", "float32", "--repeats", "1"]
    rows, calls = bench(variables, tmp_path, *words, "--image", "128x128")
    assert rows["image 128x128"]["seconds"]
    assert "refused" not in calls
