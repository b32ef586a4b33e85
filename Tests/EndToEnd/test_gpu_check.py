"""scripts/gpu-check from end to end on the CPU: its numbers mean nothing here, its verdicts do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from house import BIN, ROOT

MODELS = ROOT / "Tests/Fixtures/models"


def goldens(folder: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(MODELS / name, folder / name)
    return folder


def check(models: Path, output: Path, *options: str, **variables: str) -> tuple[int, dict[str, Any]]:
    words = [
        sys.executable, ROOT / "Benchmarks/gpu/check.py", "--engine", BIN / "torchgate-engine",
        "--own-libtorch", "--goldens", models, "--output", output, "--cpu", "--tiny", *options,
    ]  # fmt: skip
    environment = {**os.environ, **variables}
    done = subprocess.run(words, timeout=120, stdout=subprocess.DEVNULL, env=environment)
    return done.returncode, json.loads((output / "gpu-check.json").read_text())


def rows(report: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report["rows"] if row["part"] == part}


def test_whole_flow_runs_without_a_gpu(tmp_path: Path) -> None:
    models = goldens(tmp_path / "models", "qwen3", "llama-bias", "vl-qwen3-untied")
    status, report = check(models, tmp_path / "out")
    assert status == 0, report
    parity = rows(report, "parity")
    exact = [parity[f"float32 {name}"] for name in ("qwen3", "llama-bias", "vl-qwen3-untied")]
    assert all(row["held"] and row["more"]["largest_difference"] < 1e-4 for row in exact)
    assert parity["tokens as served, 1 and 3 at once"]["held"]
    speed = rows(report, "speed")
    for name in ("decode 1", "decode 8", "prefill 200", "image 128x128", "4 streams 32/8"):
        assert speed[f"tiny-qwen3-vl {name}"]["more"]["ours"]["seconds"] > 0
    assert "ms" in speed["tiny-qwen2.5 int4 decode 8"]["ours"]
    assert "ran" in rows(report, "faults")["40 decode steps"]["ours"]
    assert (tmp_path / "out/gpu-check.md").read_text().count("\n| ") > 10
    assert "logs/bench-tiny-qwen2.5-int4.json" in tarfile.open(tmp_path / "out/logs.tar.gz").getnames()


def test_goldens_hold_on_the_emulated_device(tmp_path: Path) -> None:
    """The operations and kernels of a GPU, its graphs and its cache, on the CPU."""
    names = ("bdh", "llama-bias", "qwen3", "vl-qwen2_5-old")
    models = goldens(tmp_path / "models", *names)
    library = str(ROOT / ".build/cuda/libtorchgate_emulated.so")
    options = ("--parity-only", "--device", "cuda")
    status, report = check(models, tmp_path / "out", *options, TORCHGATE_DEVICE_LIBRARY=library)
    assert status == 0, report
    parity = rows(report, "parity")
    assert all(parity[f"float32 {name}"]["held"] for name in names)
    assert parity["tokens as served, 1 and 3 at once"]["held"]


def test_a_wrong_golden_is_missed(tmp_path: Path) -> None:
    models = goldens(tmp_path / "models", "qwen3")
    path = models / "qwen3/golden.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)
    status, report = check(models, tmp_path / "out", "--parity-only")
    # Nothing of parity held but the tokens.
    assert status == 1
    assert rows(report, "parity")["float32 qwen3"]["held"] is False
    assert rows(report, "parity")["tokens as served, 1 and 3 at once"]["held"] is True


def test_no_time_is_said_and_no_verdict(tmp_path: Path) -> None:
    models = goldens(tmp_path / "models", "qwen3")
    status, report = check(models, tmp_path / "out", "--seconds", "1")
    assert status == 2
    assert {row["ours"] for row in report["rows"]} == {"– (no time left)"}


def test_bundle_runs_elsewhere(tmp_path: Path) -> None:
    bundle = tmp_path / "gpu-check.tar.gz"
    environment = {**os.environ, "BIN": str(BIN)}
    subprocess.run([ROOT / "scripts/gpu-check", "--bundle", bundle], check=True, timeout=120, env=environment)
    assert bundle.stat().st_size < 60_000_000
    subprocess.run(["tar", "-xzf", bundle, "-C", tmp_path], check=True)
    place = tmp_path / "gpu-check"
    for model in (place / "goldens").iterdir():
        if model.name != "qwen3":
            shutil.rmtree(model)
    environment = {**os.environ, "PYTHON": sys.executable}
    words = [place / "gpu-check", "--cpu", "--tiny", "--parity-only", "--output", tmp_path / "out"]
    # A Python without torch cannot lend its libtorch.
    assert subprocess.run(words, env=environment, timeout=60, stderr=subprocess.DEVNULL).returncode == 2
    words += ["--libtorch", ROOT / ".deps/torch/lib"]
    assert subprocess.run(words, env=environment, timeout=120, stdout=subprocess.DEVNULL).returncode == 0
    report = json.loads((tmp_path / "out/gpu-check.json").read_text())
    assert rows(report, "parity")["float32 qwen3"]["held"]
