"""Several models under load: on one engine in turn, on two side by side."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from house import House

NAMES = ["llama-tied", "llama-llama3rope"]
CLIENTS = 8
SECONDS = 8.0


def streamed(house: House, model: str, content: str) -> str:
    """The text of a stream that ended as it should; raises where it was cut or refused."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 40,
            "temperature": 0, "stream": True, "ignore_eos": True}  # fmt: skip
    answer = house.call("/v1/chat/completions", body)
    assert answer.status == 200, (answer.status, answer.body)
    lines = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", lines[-3:]
    chunks = [json.loads(line) for line in lines[:-1]]
    assert all("error" not in chunk for chunk in chunks), chunks[-1]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [c["finish_reason"] for c in choices if c.get("finish_reason")] == ["length"]
    return "".join(c["delta"].get("content") or "" for c in choices)


@pytest.mark.parametrize("engines", [1, 2])
def test_eight_clients_and_two_models(
    new_house: Callable[..., House], tiny_models: Path, engines: int
) -> None:
    settings = {"DTYPE": "float32", "ENGINE_MAX_LOADED_MODELS": str(engines), "ENGINE_MIN_RESIDENCY": "0.3",
                "ENGINE_SWAP_PATIENCE": "1",
                "NGINX_KEY_RATE": "10000", "NGINX_ADDRESS_RATE": "10000"}  # fmt: skip
    house = new_house(settings, model=NAMES[0], models_dir=str(tiny_models))
    alone = {(name, text): streamed(house, name, text) for name in NAMES for text in ("hi", "you")}
    failures: list[str] = []
    served = dict.fromkeys(NAMES, 0)
    longest = [0.0]
    end = time.monotonic() + SECONDS

    def client(number: int) -> None:
        dice = random.Random(number)
        while time.monotonic() < end:
            name, text = dice.choice(NAMES), dice.choice(["hi", "you"])
            began = time.monotonic()
            try:
                same = streamed(house, name, text) == alone[name, text]
            except Exception as error:  # noqa: BLE001
                failures.append(repr(error))
                return
            longest[0] = max(longest[0], time.monotonic() - began)
            served[name] += 1
            if not same:
                failures.append(f"{name} {text}: another text than alone")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert not failures, failures[:3]
    assert min(served.values()) >= 8, served
    assert longest[0] < 8, longest
    metrics = house.call("/metrics").body.decode().splitlines()
    loads = int(next(line.split()[1] for line in metrics if line.startswith("torchgate_engine_loads_total ")))
    if engines == 2:
        assert loads == 2
        assert set(house.status()["loaded_models"]) == set(NAMES)
        assert len(house.engine_pids()) == 2
    else:
        assert loads >= 4
    print(f"{engines} engine(s): {served}, {loads} loads, longest {longest[0]:.2f} s")


def test_a_model_that_cannot_fit_is_refused_before_it_is_read(
    new_house: Callable[..., House], tiny_models: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny_models / NAMES[0], models / "huge", symlinks=False)
    (models / "fits").symlink_to(tiny_models / NAMES[0])
    file = models / "huge" / "model.safetensors"
    rows = 1 << 34
    header = {"model.huge": {"dtype": "F32", "shape": [rows, 16], "data_offsets": [0, rows * 64]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(file, 8 + len(text) + rows * 64)  # a hole: it takes no room on the disk
    house = new_house({"DTYPE": "float32"}, model="fits", models_dir=str(models))
    began = time.monotonic()
    refused = house.chat("hi", model="huge")
    assert refused.status == 503 and refused.error["code"] == "model_load_failed"
    numbers = r"not enough memory to load the model: it needs 1024\.\d GiB, \d+\.\d GiB are available\.$"
    for answer in (refused, house.chat("hi", model="huge")):
        assert re.search(numbers, answer.error["message"]), answer.error
    assert time.monotonic() - began < 10
    assert re.search(r"needs 1024\.\d GiB of memory, \d+\.\d GiB are available", house.log)
    assert house.chat("hi", model="fits").status == 200
