#!/usr/bin/env python3
"""Makes the small random checkpoints beside this script, and what transformers computes with them.

    venv=$(scripts/python-env.sh parity)
    PYTHONPATH=scripts:Tests/Fixtures "$venv/bin/python" Tests/Fixtures/models/make.py [NAME …]

The two of Llama are larger, with a tokeniser, for the tests of whole requests. Each of the others has
config.json, model.safetensors and golden.safetensors: input_ids, the logits of every position and a greedy
continuation (float32, eager). The seed is the first with which every greedy step has a margin of 0.01 between
the best two logits, a thousand times what float32 rounds away.

llama-bias.gguf is the folder of that name as llama.cpp's converter writes it, through gguf-py.

rope.json has the frequencies and attention factors that transformers computes for published scalings.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import cpu_torchvision  # noqa: F401  before transformers
import gguf
import torch
from invented import after, fill, greedy, tidy
from safetensors.torch import load_file, save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

HERE = Path(__file__).resolve().parent
VOCABULARY, LENGTH, GREEDY, MARGIN = 256, 40, 12, 0.01

COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 4096, "eos_token_id": VOCABULARY - 1,
}  # fmt: skip


def rope(theta: float, kind: str = "default", **more: float | bool | None) -> dict:
    return {"rope_type": kind, "rope_theta": theta, **more}


MODELS = {
    "llama-bias": (
        LlamaForCausalLM,
        LlamaConfig(
            **COMMON, num_hidden_layers=2, attention_bias=True, mlp_bias=True,
            rope_parameters=rope(
                5e5, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=8192,
            ),
        ),
    ),
    "mistral": (
        MistralForCausalLM,
        MistralConfig(
            **COMMON, num_hidden_layers=2, head_dim=16, rope_parameters=rope(1e6), sliding_window=7,
        ),
    ),
    "qwen2": (
        Qwen2ForCausalLM,
        Qwen2Config(**COMMON, num_hidden_layers=2, rope_parameters=rope(1e6)),
    ),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config(
            **COMMON, num_hidden_layers=3, rope_parameters=rope(1e4), tie_word_embeddings=True,
            use_sliding_window=True, sliding_window=7, max_window_layers=1,
        ),
    ),
    "qwen3": (
        Qwen3ForCausalLM,
        Qwen3Config(
            **COMMON, num_hidden_layers=2, head_dim=16, rope_parameters=rope(1e6), tie_word_embeddings=True,
        ),
    ),
    "qwen3-yarn": (
        Qwen3ForCausalLM,
        Qwen3Config(
            **COMMON, num_hidden_layers=2, head_dim=16, attention_bias=True,
            rope_parameters=rope(100.0, "yarn", factor=4.0, original_max_position_embeddings=64),
        ),
    ),
}  # fmt: skip


def make(name: str) -> None:
    kind, config = MODELS[name]
    config._attn_implementation = "eager"
    model = kind(config).eval()
    for seed in range(1000):
        fill(model, seed)
        ids = torch.randint(0, VOCABULARY, (LENGTH,), generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            tokens, margin = greedy(after(model, ids), GREEDY)
            logits = model(ids[None]).logits[0]
        if margin >= MARGIN and len(set(tokens)) > GREEDY // 2:
            break
    folder = HERE / name
    model.save_pretrained(folder)
    save_file(
        {"input_ids": ids, "logits": logits.contiguous(), "greedy_tokens": torch.tensor(tokens)},
        folder / "golden.safetensors",
    )
    tidy(folder)
    print(f"{name}: seed {seed}, margin {margin:.3f}, deviation {logits.std():.2f}, {tokens}")


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a rotary projection in llama.cpp's order: the halves of a head interleaved."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def llama3_factors(rope: dict, size: int) -> torch.Tensor:
    factors = []
    for frequency in 1.0 / rope["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float32) / size):
        turns = rope["original_max_position_embeddings"] / (2 * math.pi / frequency)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        share = min(max((turns - low) / (high - low), 0), 1)
        factors.append(1 / ((1 - share) / rope["factor"] + share))
    return torch.tensor(factors)


def make_gguf(name: str) -> None:
    """A Llama folder as one file."""
    config = LlamaConfig.from_pretrained(HERE / name)
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    writer.add_tensor("rope_freqs.weight", llama3_factors(config.rope_parameters, config.head_dim).numpy())
    for key, weight in load_file(HERE / name / "model.safetensors").items():
        if "q_proj" in key:
            weight = permuted(weight, config.num_attention_heads)
        if "k_proj" in key:
            weight = permuted(weight, config.num_key_value_heads)
        stored = names.get_name(key, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(stored, weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


QWEN = {"head_dim": 128, "max_position_embeddings": 32768}
ROPES = [
    (QWEN, rope(1e6, "yarn", factor=4.0, original_max_position_embeddings=32768)),
    (QWEN, rope(1e6, "yarn", factor=2.5)),
    (QWEN, rope(1e6, "yarn", factor=None, original_max_position_embeddings=8192)),
    (QWEN, rope(1e6, "yarn", factor=4.0, attention_factor=1.25, beta_fast=64.0, beta_slow=2.0)),
    (
        {"head_dim": 64, "max_position_embeddings": 131072},
        rope(150000.0, "yarn", factor=32.0, original_max_position_embeddings=4096, truncate=False),
    ),
    (
        {"head_dim": 64, "max_position_embeddings": 163840},
        rope(1e4, "yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=0.7),
    ),
    (
        {"head_dim": 16, "max_position_embeddings": 4096},
        rope(1e4, "yarn", factor=8.0, original_max_position_embeddings=16, mscale=0.7, mscale_all_dim=0.0),
    ),
    (
        {"head_dim": 128, "max_position_embeddings": 131072},
        rope(
            5e5, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
    ),
    ({"head_dim": 64, "max_position_embeddings": 4096}, rope(1e4, "linear", factor=3.0)),
    ({"head_dim": 64, "max_position_embeddings": 4096}, rope(1e4, "dynamic", factor=3.0)),
]  # fmt: skip


def make_ropes() -> None:
    cases = []
    for fields, parameters in ROPES:
        config = Qwen3Config(**fields, rope_parameters=dict(parameters))
        frequencies, factor = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, None)
        cases.append(
            {
                "config": {**fields, "rope_parameters": parameters},
                "frequencies": frequencies.double().tolist(),
                "attention_factor": factor,
            }
        )
    (HERE / "rope.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")


def main() -> int:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        make(name)
    make_gguf("llama-bias")
    make_ropes()
    return 0


if __name__ == "__main__":
    sys.exit(main())
