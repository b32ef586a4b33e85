"""Idle exit, crashes, restarts: what survives and how soon."""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from house import House, wait_for

TINY = {"DTYPE": "float32"}


def test_an_idle_engine_leaves_and_comes_back(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = new_house({**TINY, "IDLE_TIMEOUT": "3"}, model="llama-tied", models_dir=str(tiny_models))
    assert house.status()["status"] == "unloaded"
    first = house.chat("hi", max_tokens=4)
    assert first.status == 200
    status = house.status()
    assert status["status"] == "loaded" and status["loaded_model"] == "llama-tied"
    assert 0 < status["remaining_time_seconds"] <= 3
    assert house.engine_pids()
    wait_for("the engine's exit", 8, lambda: not house.engine_pids())
    wait_for("the news of it", 1, lambda: house.status()["status"] == "unloaded")
    assert house.status()["loaded_model"] is None
    assert house.call("/readyz", key="").status == 200
    again = house.chat("hi", max_tokens=4)
    assert again.text == first.text


def test_new_files_of_a_model_are_served_by_a_new_engine(
    new_house: Callable[..., House], tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tmp_path_factory.mktemp("replaced")
    shutil.copytree(tiny_models / "llama-tied", models / "tiny", symlinks=False)
    house = new_house(TINY, model="tiny", models_dir=str(models))
    first = house.chat("hi", max_tokens=4)
    assert first.status == 200
    engines = house.engine_pids()
    again = house.chat("hi", max_tokens=4)
    assert again.text == first.text and house.engine_pids() == engines
    weights = models / "tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    other = house.chat("hi", max_tokens=4)
    assert other.text == first.text
    assert house.engine_pids() and house.engine_pids() != engines
    # Each answer names the weights that gave it, the one that loads them too.
    prints = [answer.json["system_fingerprint"] for answer in (first, again, other)]
    assert prints[0] == prints[1] and prints[0] != prints[2], prints
    assert all(text.startswith("fp_") for text in prints)
    house.call("/unload", method="POST", raw=b"")
    streamed = house.chat("hi", max_tokens=4, stream=True).body.decode()
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert {chunk["system_fingerprint"] for chunk in chunks} == {prints[2]}


def test_models_take_turns_on_one_engine(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = new_house(TINY, model="llama-tied", models_dir=str(tiny_models))
    names = ["llama-tied", "llama-llama3rope"]
    alone = {name: house.chat("hi", max_tokens=24, model=name).text for name in names}
    assert house.chat("hi", max_tokens=24, model=names[0]).text == alone[names[0]]

    def ask(number: int) -> bool:
        name = names[number % 2]
        answer = house.chat("hi", max_tokens=24, model=name)
        return answer.json["model"] == name and answer.text == alone[name]

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(24)))
    assert len(house.engine_pids()) == 1


def test_unload_frees_the_engine(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = new_house(TINY, model="llama-tied", models_dir=str(tiny_models))
    assert house.call("/unload", method="POST", raw=b"").json["status"] == "unloaded"
    assert house.chat("hi", max_tokens=2).status == 200
    assert house.call("/unload", method="POST", raw=b"").json["status"] == "unloaded"
    assert not house.engine_pids()


def test_streams_survive_the_engine_s_death(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = new_house(TINY, model="llama-tied", models_dir=str(tiny_models))
    prompts = [f"prompt number {i}" for i in range(8)]
    length = 160

    def ask(prompt: str) -> str:
        answer = house.chat(prompt, max_tokens=length, ignore_eos=True, temperature=1, seed=5)
        assert answer.status == 200, answer.body
        return answer.text

    calm = [ask(prompt) for prompt in prompts]
    chance = random.Random(1)
    for _ in range(20):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = [pool.submit(ask, prompt) for prompt in prompts]
            time.sleep(chance.uniform(0.02, 0.3))
            house.kill_engine()
            assert [r.result(120) for r in running] == calm


def test_a_killed_server_is_back_in_a_second_with_the_model(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = new_house(TINY, model="llama-tied", models_dir=str(tiny_models))
    text = house.chat("hi", max_tokens=4).text
    engines = house.engine_pids()
    times = []
    for _ in range(3):
        os.kill(house.server_pid(), signal.SIGKILL)
        killed = time.monotonic()
        answer = house.chat("hi", max_tokens=4)
        times.append(time.monotonic() - killed)
        assert answer.status == 200 and answer.text == text
        assert house.engine_pids() == engines
        time.sleep(1)
    assert sorted(times)[1] < 1, times


def test_stop_ends_everything(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = new_house(TINY, model="llama-tied", models_dir=str(tiny_models))
    assert house.chat("hi", max_tokens=2).status == 200
    house.stop()
    wait_for("the engine's exit", 5, lambda: not house.engine_pids())


def test_several_instances_run_side_by_side(new_house: Callable[..., House], tiny_models: Path) -> None:
    houses = [new_house(TINY, model="llama-tied", models_dir=str(tiny_models)) for _ in range(2)]
    assert houses[0].call("/v1/models", key=houses[1].key).status == 401
    assert {h.chat("hi", max_tokens=2).status for h in houses} == {200}


def test_loading_needs_little_memory_beside_the_weights(new_house: Callable[..., House]) -> None:
    house = new_house({"DTYPE": "bfloat16"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(house.chat, "hi", max_tokens=1)
        peak = 0
        while not answer.done():
            peak = max([peak, *map(anonymous, house.engine_pids())])
        assert answer.result().status == 200
    weights = 134_515_008 * 2  # parameters of SmolLM2-135M, its head tied
    assert weights < peak < weights + 300_000_000


def anonymous(pid: int) -> int:
    """Bytes that a process holds for itself alone; 0 where it is gone."""
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0
