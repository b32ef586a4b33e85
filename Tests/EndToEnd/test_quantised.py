"""Quantised weights through HTTP: by a setting, and as checkpoints have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from house import House


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
