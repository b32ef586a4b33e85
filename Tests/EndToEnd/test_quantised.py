"""Quantised weights through HTTP: by a setting, and as checkpoints have them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from house import FIXTURES, House


@pytest.mark.parametrize("word", ["nf4", "int4"])
def test_floats_are_quantised_while_they_are_read(
    new_house: Callable[..., House], tiny_models: Path, word: str
) -> None:
    settings = {
        "DTYPE": "float32",
        "QUANTIZE": "int8",
        "MODELS_SETTINGS": f"llama-tied.quantize={word},llama-bias.quantize=none",
        "ENGINE_BNB_COMPUTE_DTYPE": "bfloat16",
    }
    house = new_house(settings, model="llama-tied", models_dir=str(tiny_models))
    first = house.chat("hi", max_tokens=8)
    again = house.chat("hi", max_tokens=8)
    assert first.status == 200 and first.text == again.text
    computed = "bfloat16" if word == "nf4" else "float32"
    status = house.status()
    assert (status["weights"], status["dtype"]) == (word, computed)
    assert f"_{word}-{computed}_" in first.json["system_fingerprint"]
    assert f"loaded llama-tied as {word}-{computed} on cpu" in house.log
    house.chat("hi", max_tokens=2, model="llama-llama3rope")
    assert house.status()["weights"] == "int8"


def test_a_wrong_word_is_an_error_at_the_start(new_house: Callable[..., House], tiny_models: Path) -> None:
    with pytest.raises(AssertionError, match="quantize"):
        new_house({"QUANTIZE": "int3"}, model="llama-tied", models_dir=str(tiny_models))


KEPT = {
    "awq": "awq", "bnb-int8": "int8", "fp4": "fp4", "fp8": "fp8", "fp8-partial": "fp8", "gptq": "gptq",
    "gptq-8": "gptq8", "gptq-order": "gptq", "gptq-v2": "gptq", "nf4": "nf4", "nf4-nested": "nf4",
}  # fmt: skip


def test_checkpoints_of_every_quantiser_are_served(
    new_house: Callable[..., House], tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tmp_path_factory.mktemp("quantised")
    source = FIXTURES / "quantised"
    for name in KEPT:
        (models / name).mkdir()
        for file in [*(source / name).iterdir(), *source.glob("tokenizer*.json")]:
            (models / name / file.name).symlink_to(file)
    house = new_house({"ENGINE_MIN_RESIDENCY": "0"}, model="awq", models_dir=str(models))
    for name, kept in KEPT.items():
        answers = [house.chat("hi", max_tokens=8, model=name, ignore_eos=True) for _ in range(2)]
        assert all(answer.status == 200 for answer in answers), (name, answers[0].body)
        assert answers[0].text == answers[1].text, name
        assert answers[0].json["usage"]["completion_tokens"] == 8, name
        status = house.status()
        assert status["loaded_model"] == name
        assert status["weights"] == kept, status


def changed(source: Path, target: Path, words: dict[str, object], emptied: str = "") -> None:
    """A checkpoint with other words in its quantization_config, and a tensor without rows."""
    target.mkdir()
    for file in source.parent.glob("tokenizer*.json"):
        (target / file.name).symlink_to(file)
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"].update(words)
    (target / "config.json").write_text(json.dumps(config))
    raw = (source / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header, data, at, body = json.loads(raw[8 : 8 + length]), raw[8 + length :], 0, b""
    for name, tensor in header.items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            if name == emptied:
                tensor["shape"][0], end = 0, start
            body += data[start:end]
            tensor["data_offsets"] = [at, at := at + end - start]
    text = json.dumps(header).encode()
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_a_checkpoint_that_lies_is_an_error_and_the_others_are_served(
    new_house: Callable[..., House], tmp_path: Path
) -> None:
    fixtures, empty = FIXTURES / "quantised", "model.layers.0.self_attn.q_proj.qweight"
    changed(fixtures / "awq", tmp_path / "good", {})
    changed(fixtures / "awq", tmp_path / "word", {"bits": "8"})
    changed(fixtures / "gptq", tmp_path / "empty", {"group_size": -1}, empty)
    house = new_house({"ENGINE_MIN_RESIDENCY": "0"}, model="good", models_dir=str(tmp_path))
    for name, part in {"word": 'bits is "8"', "empty": f"tensor {empty}"}.items():
        answer = house.chat("hi", max_tokens=2, model=name)
        assert answer.status == 503, answer.body
        assert answer.json["error"]["code"] == "model_load_failed"
        assert part in house.log
        assert "ended while it loaded" not in answer.json["error"]["message"]
        assert house.chat("hi", max_tokens=2).status == 200
