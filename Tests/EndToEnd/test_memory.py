"""/vram_status, /clear_vram, and what an unload says of memory, on the CPU and beside a stand-in for NVML."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import ROOT, House, wait_for
from test_delivery import scripted

GIB = 1 << 30
TINY = {"DTYPE": "float32", "LOG_FORMAT": "json"}
SHAPE = {"device", "allocated_gb", "reserved_gb", "free_gb", "total_gb", "usage_percentage"}


def memory(house: House) -> dict[str, Any]:
    answer = house.call("/vram_status")
    assert answer.status == 200, answer.body
    assert set(answer.json) == SHAPE
    return dict(answer.json)


def metric(house: House, name: str) -> float:
    lines = house.call("/metrics").body.decode().splitlines()
    return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(name + " ")))


def unload_lines(house: House) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in house.log.splitlines() if '"memory"' in line]
    return [line for line in lines if "cause" in line]


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_cpu_s_memory_is_the_engine_s_resident_memory(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = new_house(TINY, model="llama-tied", models_dir=str(tiny_models))
    empty = memory(house)
    assert empty["device"] == "cpu" and empty["allocated_gb"] == 0
    assert 0 < empty["free_gb"] <= empty["total_gb"]
    assert house.chat("hi", max_tokens=4).status == 200
    (pid,) = house.engine_pids()
    wait_for("a reading", 3, lambda: abs(memory(house)["allocated_gb"] * GIB - resident(pid)) < 8 << 20)
    loaded = memory(house)
    taken = loaded["total_gb"] - loaded["free_gb"]
    assert loaded["usage_percentage"] == pytest.approx(100 * taken / loaded["total_gb"], abs=0.1)
    assert set(house.status()["memory"]) == SHAPE
    cleared = house.call("/clear_vram", method="POST", raw=b"").json
    assert cleared["status"] == "success" and SHAPE <= set(cleared)
    before = resident(pid)
    message = house.call("/unload", method="POST", raw=b"").json["message"]
    words = r"Model llama-tied unloaded; (\d+) MiB of memory freed, [\d.]+ GiB available\."
    found = re.fullmatch(words, message)
    assert found, message
    assert abs(int(found[1]) * (1 << 20) - before) < 16 << 20
    (line,) = unload_lines(house)
    assert (line["cause"], line["model"], line["device"]) == ("manual", "llama-tied", "cpu")
    assert abs(int(line["freed_bytes"]) - before) < 16 << 20 and int(line["left_bytes"]) > 0
    assert metric(house, 'torchgate_unload_freed_bytes_total{cause="manual"}') == int(line["freed_bytes"])
    again = house.call("/clear_vram", method="POST", raw=b"").json
    assert again["status"] == "success" and "nothing" in again["message"]
    assert memory(house)["allocated_gb"] == 0


def test_every_way_to_unload_is_told(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = new_house(
        {**TINY, "ENGINE_IDLE_TIMEOUT": "2"}, model="llama-tied", models_dir=str(tiny_models)
    )

    def causes() -> list[str]:
        return [line["cause"] for line in unload_lines(house)]

    for model in ("llama-tied", "llama-llama3rope"):
        assert house.chat("hi", max_tokens=2, model=model).status == 200
    house.kill_engine()
    wait_for("the crash's line", 3, lambda: causes() == ["swap", "crash"])
    assert house.chat("hi", max_tokens=2).status == 200
    wait_for("the idle exit's line", 6, lambda: causes() == ["swap", "crash", "idle"])
    for line in unload_lines(house):
        assert int(line["freed_bytes"]) > 16 << 20 and int(line["left_bytes"]) > 0


def test_scopes_and_errors_are_those_of_the_api_it_comes_from(tiny: House) -> None:
    made = tiny.new_key()
    key = made["key"]
    assert tiny.call("/vram_status", key=key).status == 200
    refused = [
        (tiny.call("/clear_vram", key=key, method="POST", raw=b""), 403),
        (tiny.call("/clear_vram", key="", method="POST", raw=b""), 401),
        (tiny.call("/vram_status", key=""), 401),
        (tiny.call("/vram_status", method="POST", raw=b""), 405),
        (tiny.call("/vram_status", method="POST", raw=b"x" * (65 << 20)), 413),
    ]
    for answer, status in refused:
        assert answer.status == status
        assert set(answer.json) == {"detail"} and isinstance(answer.json["detail"], str)
    command = refused[0][0].json["detail"].split("torchgate keys ")[1]
    assert command == f"set {made['id']} --scopes admin,infer"
    tiny.keys(*command.split())
    wait_for("the grant", 1, lambda: tiny.call("/clear_vram", key=key, method="POST", raw=b"").status == 200)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A libnvidia-ml.so.1 on the server's search path that does what the file says."""
    script = tmp_path / "gpus"
    source = ROOT / "Tests" / "NVMLTests" / "fake-nvml.c"
    library = str(tmp_path / "libnvidia-ml.so.1")
    subprocess.run(
        ["cc", "-shared", "-fPIC", f'-DSCRIPT="{script}"', str(source), "-o", library], check=True
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    return script


def play(driver: Path, text: str) -> None:
    new = driver.with_suffix(".new")
    new.write_text(text)
    new.rename(driver)


def on_gpu(new_house: Callable[..., House], tiny_models: Path, driver: Path, **settings: str) -> House:
    """A server whose engine says that it has 6 of 10 GiB of a GPU, 2 of them cached."""
    words = f"--device cuda:0 --busID 0000:01:00.0 --allocatedBytes {4 * GIB} --reservedBytes {6 * GIB}"
    words += f" --gpuBytes {10 * GIB} --gpuFile {driver}"
    play(driver, f"gpus {10 * GIB} {10 * GIB}")
    return scripted(new_house, tiny_models, 5, words=words, LOG_FORMAT="json", **settings)


def test_a_gpu_s_memory_is_the_driver_s_and_the_allocator_s(
    new_house: Callable[..., House], tiny_models: Path, driver: Path
) -> None:
    house = on_gpu(new_house, tiny_models, driver)
    empty = memory(house)
    assert (empty["free_gb"], empty["total_gb"], empty["usage_percentage"]) == (10, 10, 0)
    assert house.chat("hi", max_tokens=4).status == 200
    expected = {
        "device": "cuda:0",
        "allocated_gb": 4.0,
        "reserved_gb": 6.0,
        "free_gb": 4.0,
        "total_gb": 10.0,
        "usage_percentage": 60.0,
    }
    wait_for("the driver's figures", 3, lambda: memory(house) == expected)
    assert house.status()["memory"] == expected
    assert metric(house, "torchgate_memory_free_bytes") == 4 * GIB
    cleared = house.call("/clear_vram", method="POST", raw=b"").json
    assert "2.0 GiB of memory given back" in cleared["message"]
    assert (cleared["reserved_gb"], cleared["free_gb"]) == (4, 6)
    message = house.call("/unload", method="POST", raw=b"").json["message"]
    assert message == "Model llama-tied unloaded; 4.0 GiB of memory freed, 10.0 GiB available."
    assert house.chat("hi", max_tokens=4).status == 200
    time.sleep(1.5)
    house.kill_engine()
    play(driver, f"gpus {10 * GIB} {9 * GIB}")
    wait_for("the crash's line", 5, lambda: len(unload_lines(house)) == 2)
    line = unload_lines(house)[-1]
    assert line["cause"] == "crash"
    assert (int(line["freed_bytes"]), int(line["left_bytes"])) == (5 * GIB, 9 * GIB)


def test_several_engines_on_a_gpu_are_summed(
    new_house: Callable[..., House], tiny_models: Path, driver: Path
) -> None:
    house = on_gpu(new_house, tiny_models, driver, ENGINE_MAX_LOADED_MODELS="2")
    for model in ("llama-tied", "llama-llama3rope"):
        assert house.chat("hi", max_tokens=4, model=model).status == 200
    wait_for("both", 3, lambda: memory(house)["reserved_gb"] == 12)
    told = memory(house)
    assert (told["device"], told["allocated_gb"], told["total_gb"]) == ("cuda:0", 8, 10)
    message = house.call("/unload", method="POST", raw=b"").json["message"]
    freed = "6.0 GiB of memory freed, 10.0 GiB available."
    assert message == f"Model llama-tied, llama-llama3rope unloaded; {freed}"


def test_above_the_threshold_caches_are_given_back(
    new_house: Callable[..., House], tiny_models: Path, driver: Path
) -> None:
    house = on_gpu(new_house, tiny_models, driver, VRAM_THRESHOLD="0.5")
    assert house.chat("hi", max_tokens=4).status == 200
    wait_for("the trim", 5, lambda: memory(house)["reserved_gb"] == 4)
    assert metric(house, "torchgate_memory_trims_total") == 1
    assert "memory is 60 % full: caches given back" in house.log


@pytest.mark.parametrize("trouble", ["fail 999", "hang"])
def test_a_driver_in_trouble_holds_nobody_up(
    new_house: Callable[..., House], tiny_models: Path, driver: Path, trouble: str
) -> None:
    house = on_gpu(new_house, tiny_models, driver)
    assert house.chat("hi", max_tokens=4).status == 200
    wait_for("the driver's figures", 3, lambda: memory(house)["free_gb"] == 4)
    play(driver, trouble)
    time.sleep(2)
    began = time.monotonic()
    told = memory(house)
    assert told["reserved_gb"] == 6 and told["free_gb"] is None and told["usage_percentage"] is None
    assert house.chat("hi", max_tokens=4).status == 200
    assert house.call("/health", key="").status == 200
    message = house.call("/unload", method="POST", raw=b"").json["message"]
    assert message == "Model llama-tied unloaded."
    assert time.monotonic() - began < 3
