#!/usr/bin/env python3
"""Makes small checkpoints in every quantised layout, and what transformers computes with their values.

    venv=$(scripts/python-env.sh parity); "$venv/bin/pip" install bitsandbytes
    PYTHONPATH=scripts:Tests/Fixtures "$venv/bin/python" Tests/Fixtures/quantised/make.py [NAME …]

Those of bitsandbytes are quantised and saved by transformers; FP8 is taken apart again by transformers, GGUF
by gguf-py; AWQ and GPTQ are packed and unpacked here, as published. Each folder has its weights and
golden.safetensors: input_ids, the logits of every position and a greedy continuation that transformers
computes in float32 with the values that the codes stand for. tokenizer.json (a token a byte) serves all.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cpu_torchvision  # noqa: F401  before transformers
import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from invented import after, fill, greedy, tidy
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    LlamaConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

HERE = Path(__file__).resolve().parent
VOCABULARY, LENGTH, GREEDY, MARGIN = 288, 16, 8, 0.01
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "num_hidden_layers": 1, "eos_token_id": 256,
    "bos_token_id": None,
}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 1e4}
Values = dict[str, torch.Tensor]


def llama(**more: object) -> LlamaConfig:
    return LlamaConfig(**{**COMMON, "rope_parameters": ROPE, **more})


def qwen2(**more: object) -> Qwen2Config:
    return Qwen2Config(**{**COMMON, "rope_parameters": ROPE, **more})


def qwen3(**more: object) -> Qwen3Config:
    return Qwen3Config(**{**COMMON, "head_dim": 16, "rope_parameters": ROPE, **more})


def base(config: LlamaConfig | Qwen2Config | Qwen3Config, seed: int) -> PreTrainedModel:
    """A model whose logits are not flat."""
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval()
    fill(model, seed, gain=2)
    return model


def golden(config: object, values: Values) -> tuple[Values, float]:
    """What transformers makes of these values, and the least margin of a greedy step."""
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    missing, unexpected = model.load_state_dict({k: v.float() for k, v in values.items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    ids = torch.randint(0, 256, (LENGTH,), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        logits = model(ids[None]).logits[0]
        tokens, margin = greedy(after(model, ids), GREEDY)
    made = {"input_ids": ids, "logits": logits.contiguous(), "greedy_tokens": torch.tensor(tokens)}
    return made, margin


def is_linear(name: str) -> bool:
    return name.endswith("_proj.weight")


# bitsandbytes: rows are whole blocks, as its kernel for the CPU gets the others wrong in 16 bits.


def bitsandbytes(model: PreTrainedModel, folder: Path, dtype: torch.dtype, **words: object) -> Values:
    import bitsandbytes as bnb

    with tempfile.TemporaryDirectory() as floats:
        model.to(dtype).save_pretrained(floats)
        plan = BitsAndBytesConfig(**words)
        coded = AutoModelForCausalLM.from_pretrained(floats, quantization_config=plan, dtype=dtype)
    coded.save_pretrained(folder)
    values: Values = {}
    for name, weight in coded.state_dict().items():
        if is_linear(name):
            layer = coded.get_submodule(name.removesuffix(".weight"))
            if isinstance(layer, bnb.nn.Linear4bit):
                weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            else:
                weight = bnb.functional.int8_vectorwise_dequant(layer.weight.data, layer.weight.SCB)
        if name.endswith((".weight", ".bias")):
            values[name] = weight.float()
    if coded.config.tie_word_embeddings:
        values.pop("lm_head.weight", None)
    return values


# FP8


def fp8(model: PreTrainedModel, folder: Path, tile: tuple[int, int], kept: list[str]) -> Values:
    """Tiles that share a scale; partial ones at the edges."""
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    stored, values = {}, {}
    for name, weight in plain(model).items():
        if not is_linear(name) or any(word in name for word in kept):
            stored[name] = values[name] = weight.bfloat16()
            continue
        rows, columns = weight.shape
        tiles = (-(-rows // tile[0]), -(-columns // tile[1]))
        padded = torch.zeros(tiles[0] * tile[0], tiles[1] * tile[1])
        padded[:rows, :columns] = weight
        blocks = padded.reshape(tiles[0], tile[0], tiles[1], tile[1])
        scales = blocks.abs().amax((1, 3)) / 448
        coded = (blocks / scales[:, None, :, None]).reshape(padded.shape).to(torch.float8_e4m3fn)
        stored[name] = coded[:rows, :columns].contiguous()
        stored[f"{name}_scale_inv"] = scales
        # Of whole tiles only: what the padding becomes is cut off.
        whole = Fp8Dequantize(None)._dequantize_one(coded, scales).float()
        values[name] = whole[:rows, :columns].contiguous()
    words = {"quant_method": "fp8", "weight_block_size": list(tile), "activation_scheme": "dynamic"}
    save(model, folder, stored, {**words, "modules_to_not_convert": kept})
    return values


# AWQ and GPTQ


def words(codes: torch.Tensor, bits: int, dim: int, order: list[int] | None = None) -> torch.Tensor:
    """Packs neighbours along `dim`; place `i` of a word holds neighbour `order[i]`."""
    per = 32 // bits
    moved = codes.movedim(dim, -1)
    groups = moved.reshape(*moved.shape[:-1], -1, per).long()
    out = torch.zeros(groups.shape[:-1], dtype=torch.long)
    for place, neighbour in enumerate(order or range(per)):
        out |= groups[..., neighbour] << (bits * place)
    return torch.where(out >= 2**31, out - 2**32, out).int().movedim(-1, dim).contiguous()


def packed(
    model: PreTrainedModel, folder: Path, config: dict, group: int, bits: int = 4, reorder: bool = False
) -> Values:
    """Codes with a scale and a zero point a group of inputs and an output."""
    is_awq = config["quant_method"] == "awq"
    added = 1 if config.get("checkpoint_format") == "gptq" else 0
    stored, values = {}, {}
    generator = torch.Generator().manual_seed(1)
    for name, weight in plain(model).items():
        if not is_linear(name):
            stored[name] = values[name] = weight.half()
            continue
        columns = weight.shape[1]
        groups = torch.arange(columns) // group
        if reorder:
            groups = groups[torch.randperm(columns, generator=generator)]
        turned = weight.t().contiguous()  # [in, out]
        low = torch.stack([turned[groups == g].amin(0) for g in range(int(groups.max()) + 1)])
        high = torch.stack([turned[groups == g].amax(0) for g in range(int(groups.max()) + 1)])
        scales = ((high - low) / (2**bits - 1)).half()
        # The first version of GPTQ stores one less than the zero point.
        zeros = (-low / scales.float()).round().clamp(added, 2**bits - 1)
        codes = (turned / scales.float()[groups] + zeros[groups]).round().clamp(0, 2**bits - 1)
        part = name.removesuffix(".weight")
        order = [0, 2, 4, 6, 1, 3, 5, 7] if is_awq else None
        stored[f"{part}.qweight"] = words(codes, bits, 1 if is_awq else 0, order)
        stored[f"{part}.qzeros"] = words(zeros - added, bits, 1, order)
        stored[f"{part}.scales"] = scales
        if not is_awq:
            stored[f"{part}.g_idx"] = groups.int()
        exact = (codes - zeros[groups]).half() * scales[groups]
        values[name] = exact.t().float().contiguous()
    save(model, folder, stored, config)
    return values


# GGUF


def blocks(shape: tuple[int, ...], kind: Kind, draw: np.random.Generator) -> np.ndarray:
    """Bytes of a K format, which gguf-py does not write: random codes below small scales."""
    per, size = gguf.GGML_QUANT_SIZES[kind]
    raw = draw.integers(0, 256, (shape[0], shape[1] // per, size), dtype=np.uint8)
    # Codes of 4 and 5 bits have no sign: the minimum is near their mean.
    halves = {Kind.Q4_K: (0.0002, 0.0015), Kind.Q5_K: (0.0001, 0.0015), Kind.Q6_K: (0.00005,)}[kind]
    start = size - 2 if kind == Kind.Q6_K else 0
    for place, half in enumerate(halves):
        raw[..., start + 2 * place : start + 2 * place + 2] = np.array([half], np.float16).view(np.uint8)
    return raw.reshape(shape[0], -1)


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a rotary projection in llama.cpp's order: the halves of a head interleaved."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(weight.shape)


def turned_back(weight: np.ndarray, heads: int) -> np.ndarray:
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1)
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def gguf_file(model: PreTrainedModel, folder: Path, kinds: list[Kind]) -> Values:
    """Matrices take the kinds in turn, wherever their rows are whole blocks."""
    config = model.config
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
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
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    draw = np.random.default_rng(3)
    values: Values = {}
    turn = 0
    for key, weight in plain(model).items():
        stored = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if weight.ndim == 1:
            writer.add_tensor(stored, weight.numpy())
            values[key] = weight
            continue
        kind = kinds[turn % len(kinds)]
        turn += 1
        per, _ = gguf.GGML_QUANT_SIZES[kind]
        if weight.shape[1] % per:
            kind = Kind.Q8_0
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        turns = next((count for part, count in heads.items() if part in key), None)
        if kind in (Kind.Q4_K, Kind.Q5_K, Kind.Q6_K):
            raw = blocks(tuple(weight.shape), kind, draw)
        else:
            raw = gguf.quants.quantize((permuted(weight, turns) if turns else weight).numpy(), kind)
        found = gguf.quants.dequantize(raw, kind)
        values[key] = torch.from_numpy((turned_back(found, turns) if turns else found).copy())
        writer.add_tensor(stored, raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


# All


def plain(model: PreTrainedModel) -> Values:
    values = {name: weight.detach().float().contiguous() for name, weight in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        values.pop("lm_head.weight", None)
    return values


def save(model: PreTrainedModel, folder: Path, stored: Values, quantisation: dict) -> None:
    model.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = quantisation
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(stored, folder / "model.safetensors")


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False, "desc_act": False}
FOUR = {"load_in_4bit": True}
NESTED = {**FOUR, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
LEGACY = [Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0]
K_KINDS = [Kind.Q4_K, Kind.Q5_K, Kind.Q6_K]
LONG = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 32, "num_attention_heads": 2,
        "num_key_value_heads": 1}  # fmt: skip
Make = Callable[[PreTrainedModel, Path], Values]
CHECKPOINTS: dict[str, tuple[object, Make]] = {
    "nf4": (
        qwen2(intermediate_size=128),
        lambda m, f: bitsandbytes(m, f, torch.float16, **FOUR, bnb_4bit_quant_type="nf4"),
    ),
    "nf4-nested": (
        llama(tie_word_embeddings=True, intermediate_size=128),
        lambda m, f: bitsandbytes(m, f, torch.bfloat16, **NESTED, bnb_4bit_compute_dtype=torch.bfloat16),
    ),
    "fp4": (
        qwen3(intermediate_size=128),
        lambda m, f: bitsandbytes(m, f, torch.bfloat16, **FOUR, bnb_4bit_quant_type="fp4"),
    ),
    "bnb-int8": (llama(), lambda m, f: bitsandbytes(m, f, torch.float16, load_in_8bit=True)),
    "fp8": (qwen3(intermediate_size=128), lambda m, f: fp8(m, f, (32, 32), ["lm_head"])),
    "fp8-partial": (llama(), lambda m, f: fp8(m, f, (40, 64), ["lm_head", "layers.0.mlp.up_proj"])),
    "awq": (
        qwen2(tie_word_embeddings=True),
        lambda m, f: packed(m, f, AWQ, 32),
    ),
    "gptq": (llama(), lambda m, f: packed(m, f, {**GPTQ, "checkpoint_format": "gptq"}, 32)),
    "gptq-v2": (qwen3(), lambda m, f: packed(m, f, {**GPTQ, "checkpoint_format": "gptq_v2"}, 32)),
    "gptq-order": (
        qwen2(),
        lambda m, f: packed(m, f, {**GPTQ, "desc_act": True, "checkpoint_format": "gptq"}, 32, reorder=True),
    ),
    "gptq-8": (
        llama(tie_word_embeddings=True),
        lambda m, f: packed(m, f, {**GPTQ, "bits": 8, "checkpoint_format": "gptq"}, 32, bits=8),
    ),
    "gguf": (llama(head_dim=16), lambda m, f: gguf_file(m, f, LEGACY)),
    "gguf-k": (llama(**LONG), lambda m, f: gguf_file(m, f, K_KINDS)),
}


def tokenizer() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*alphabet, "<end>", "<turn>"])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>", "<turn>"])
    made.save(str(HERE / "tokenizer.json"), pretty=False)
    template = "{% for m in messages %}<turn>{{ m['content'] }}{% endfor %}<turn>"
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "chat_template": template}
    (HERE / "tokenizer_config.json").write_text(json.dumps(words, indent=1) + "\n")


def main() -> int:
    torch.set_num_threads(1)
    tokenizer()
    for name in sys.argv[1:] or CHECKPOINTS:
        config, make = CHECKPOINTS[name]
        folder = HERE / name
        for seed in range(100):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            model = base(config, seed)
            made, margin = golden(config, make(model, folder))
            if margin >= MARGIN:
                break
        save_file(made, folder / "golden.safetensors")
        tidy(folder)
        size = sum(file.stat().st_size for file in folder.iterdir()) // 1024
        deviation = float(made["logits"].std())
        print(f"{name}: seed {seed}, margin {margin:.3f}, deviation {deviation:.2f}, {size} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
