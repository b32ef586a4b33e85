"""Where models run: without a GPU nothing of CUDA is loaded; the emulated one serves as a GPU would."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import BIN, House

LIBRARIES = Path(__file__).resolve().parents[2] / ".build/cuda"
HAS_GPU = Path("/dev/nvidiactl").exists()


def device_lines(house: House) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in house.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("room") == "torchgate-engine" and "device" in line]


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_without_a_driver_the_cpu_serves_and_nothing_of_cuda_is_loaded(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    assert (LIBRARIES / "libtorchgate_cuda.so").exists(), "built without a GPU"
    settings = {"DEVICE": "auto", "LOG_FORMAT": "json"}
    house = new_house(settings, model="llama-tied", models_dir=str(tiny_models))
    assert house.chat("Hello", max_tokens=4).status == 200
    (line,) = device_lines(house)
    assert line["device"] == "cpu"
    assert line["message"] == "no NVIDIA driver: libcuda.so.1 not found"
    (pid,) = house.engine_pids()
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "libtorch_cpu" in maps
    # libtorch's CPU part names the CUDA runtime and CUPTI itself.
    cuda = ("libcuda.so", "libtorch_cuda", "libc10_cuda", "libnvrtc", "libcublas", "libcudnn", "libtorchgate")
    assert [name for name in cuda if name in maps] == []


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_a_gpu_that_is_demanded_and_missing_is_a_load_failure(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    settings = {"DEVICE": "cuda", "LOG_FORMAT": "json"}
    house = new_house(settings, model="llama-tied", models_dir=str(tiny_models))
    answer = house.chat("Hello", max_tokens=4)
    assert answer.status == 503
    assert answer.error["message"].startswith("The device for the model is not available.")
    assert "no NVIDIA driver: libcuda.so.1 not found" in house.log


def test_the_emulated_device_says_what_the_cpu_says(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    fields = {"max_tokens": 24, "temperature": 0}
    answers = []
    for settings in (
        {"DEVICE": "cpu", "DTYPE": "float32"},
        {
            "DEVICE": "cuda",
            "DTYPE": "float32",
            "DEVICE_LIBRARY": str(LIBRARIES / "libtorchgate_emulated.so"),
        },
    ):
        house = new_house(settings, model="llama-tied", models_dir=str(tiny_models))
        answers.append([house.chat(text, **fields).text for text in ("Hello", "Tell me more")])
        device = house.call("/health").json["device"]
        house.stop()
    assert device == "emulated:0"
    assert answers[0] == answers[1]


def test_decode_steps_start_before_the_last_tokens_are_known(tiny_models: Path, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    words = [
        BIN / "torchgate-engine", "bench", "--model", tiny_models / "llama-tied", "--device", "cuda",
        "--dtype", "float32", "--batch", "1,3", "--context", "20", "--steps", "30", "--json", report,
    ]  # fmt: skip
    variables = {**os.environ, "TORCHGATE_DEVICE_LIBRARY": str(LIBRARIES / "libtorchgate_emulated.so")}
    subprocess.run(words, check=True, timeout=120, stdout=subprocess.DEVNULL, env=variables)
    rows = json.loads(report.read_text())["rows"]
    assert [row["batch"] for row in rows] == [1, 3]
    assert all(row["overlapped_steps"] == 30 for row in rows)
