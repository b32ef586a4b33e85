"""A model whose state has a fixed size, which reads bytes and has no chat template: BDH, from model.pt."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from house import FIXTURES, House


@pytest.fixture(scope="module")
def bdh(folder: Path, tiny_models: Path) -> Iterator[House]:
    house = House(folder / "bdh", {"DTYPE": "float32"}, model="bdh", models_dir=str(tiny_models))
    house.folder.mkdir()
    yield house.start()
    house.stop()


def golden() -> tuple[list[int], list[int]]:
    """The prompt of the reference and what it says greedily."""
    file = (FIXTURES / "models/bdh/golden.safetensors").read_bytes()
    size = struct.unpack("<Q", file[:8])[0]
    header = json.loads(file[8 : 8 + size])

    def numbers(name: str) -> list[int]:
        start, end = header[name]["data_offsets"]
        words = file[8 + size + start : 8 + size + end]
        return list(struct.unpack(f"<{len(words) // 8}q", words))

    return numbers("input_ids"), numbers("greedy_tokens")


def complete(house: House, **fields: object) -> dict:
    answer = house.call("/v1/completions", {"model": "bdh", "temperature": 0, **fields})
    assert answer.status == 200, answer.json
    result: dict = answer.json
    return result


def test_greedy_text_is_that_of_the_reference(bdh: House) -> None:
    prompt, tokens = golden()
    expected = bytes(tokens).decode(errors="replace")
    for given in (prompt, bytes(prompt).decode()):
        answer = complete(bdh, prompt=given, max_tokens=len(tokens))
        assert answer["choices"][0]["text"] == expected
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["prompt_tokens"] == len(prompt)


def test_choices_and_neighbours_change_nothing(bdh: House) -> None:
    prompts = ["Once upon a time", "Shall I compare thee", "To be, or not to be, that is the question: " * 5]
    alone = [complete(bdh, prompt=p, max_tokens=40)["choices"][0]["text"] for p in prompts]
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(complete, bdh, prompt=p, max_tokens=40, n=2) for p in prompts * 2]
        for job, text in zip(jobs, alone * 2, strict=True):
            assert [choice["text"] for choice in job.result()["choices"]] == [text, text]


def test_bytes_are_the_tokens_and_chat_is_plain_lines(bdh: House) -> None:
    assert bdh.call("/v1/tokenize", {"model": "bdh", "prompt": "aü"}).json["tokens"] == [97, 195, 188]
    messages = [{"role": "user", "content": "Hello"}]
    asked = {"model": "bdh", "messages": messages, "temperature": 0, "max_tokens": 12}
    chat = bdh.call("/v1/chat/completions", asked).json
    text = complete(bdh, prompt="user: Hello\nassistant:", max_tokens=12)["choices"][0]["text"]
    assert chat["choices"][0]["message"]["content"] == text


def test_the_disk_is_listed_as_the_cache_tool_does(bdh: House) -> None:
    models = {entry["repo_id"]: entry for entry in bdh.call("/models").json["models"]}
    assert models["bdh"]["repo_type"] == "model"
    assert models["bdh"]["size_on_disk"] > (FIXTURES / "models/bdh/model.pt").stat().st_size


def test_a_hostile_file_is_refused_and_nothing_runs(
    folder: Path, new_house: Callable[..., House]
) -> None:
    models = folder / "hostile"
    broken = models / "broken"
    broken.mkdir(parents=True)
    (broken / "config.json").write_bytes((FIXTURES / "models/bdh/config.json").read_bytes())
    marker = folder / "executed"
    command = f"touch {marker}".encode()
    program = b"\x80\x02cos\nsystem\n(X" + struct.pack("<I", len(command)) + command + b"tR."
    original = (FIXTURES / "models/bdh/model.pt").read_bytes()
    start = original.index(b"\x80\x02ccollections")
    hostile = original[:start] + program + original[start + len(program) :]
    (broken / "model.pt").write_bytes(hostile)
    house = new_house({"DTYPE": "float32"}, model="broken", models_dir=str(models))
    answer = house.call("/v1/completions", {"model": "broken", "prompt": "a", "max_tokens": 1})
    assert answer.status == 503 and answer.json["error"]["code"] == "model_load_failed", answer.json
    assert not marker.exists()
