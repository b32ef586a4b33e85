"""Random weights for the tiny vision-language processors, so that no checkpoint has to be kept."""

from __future__ import annotations

import json
import math
import random
import struct
from array import array
from pathlib import Path
from typing import Any

Shapes = dict[str, list[int]]


def decoder(config: dict[str, Any], prefix: str, has_bias: bool, head_norms: bool) -> Shapes:
    text = config["text_config"]
    hidden, inner = text["hidden_size"], text["intermediate_size"]
    size = text.get("head_dim") or hidden // text["num_attention_heads"]
    shapes: Shapes = {f"{prefix}.embed_tokens.weight": [text["vocab_size"], hidden],
                      f"{prefix}.norm.weight": [hidden]}  # fmt: skip
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = [text["vocab_size"], hidden]
    widths = {"q": text["num_attention_heads"] * size, "k": text["num_key_value_heads"] * size}
    widths["v"] = widths["k"]
    for layer in range(text["num_hidden_layers"]):
        at = f"{prefix}.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}.{norm}.weight"] = [hidden]
        for name, width in widths.items():
            shapes[f"{at}.self_attn.{name}_proj.weight"] = [width, hidden]
            if has_bias:
                shapes[f"{at}.self_attn.{name}_proj.bias"] = [width]
        if head_norms:
            shapes[f"{at}.self_attn.q_norm.weight"] = shapes[f"{at}.self_attn.k_norm.weight"] = [size]
        shapes[f"{at}.self_attn.o_proj.weight"] = [hidden, widths["q"]]
        shapes |= {f"{at}.mlp.gate_proj.weight": [inner, hidden], f"{at}.mlp.up_proj.weight": [inner, hidden],
                   f"{at}.mlp.down_proj.weight": [hidden, inner]}  # fmt: skip
    return shapes


def linear(name: str, output: int, inputs: int) -> Shapes:
    return {f"{name}.weight": [output, inputs], f"{name}.bias": [output]}


def norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": [size], f"{name}.bias": [size]}


def blocks(vision: dict[str, Any]) -> Shapes:
    hidden, inner = vision["hidden_size"], vision["intermediate_size"]
    is_third = vision["model_type"].startswith("qwen3")
    shapes: Shapes = {}
    for block in range(vision["depth"]):
        at = f"model.visual.blocks.{block}"
        shapes |= linear(f"{at}.attn.qkv", 3 * hidden, hidden) | linear(f"{at}.attn.proj", hidden, hidden)
        if is_third:
            shapes |= norm(f"{at}.norm1", hidden) | norm(f"{at}.norm2", hidden)
            shapes |= linear(f"{at}.mlp.linear_fc1", inner, hidden)
            shapes |= linear(f"{at}.mlp.linear_fc2", hidden, inner)
        else:
            shapes |= {f"{at}.norm1.weight": [hidden], f"{at}.norm2.weight": [hidden]}
            shapes |= linear(f"{at}.mlp.gate_proj", inner, hidden)
            shapes |= linear(f"{at}.mlp.up_proj", inner, hidden)
            shapes |= linear(f"{at}.mlp.down_proj", hidden, inner)
    return shapes


def tower(vision: dict[str, Any]) -> Shapes:
    hidden, output = vision["hidden_size"], vision["out_hidden_size"]
    merged = hidden * vision["spatial_merge_size"] ** 2
    patch = vision["patch_size"]
    shapes = blocks(vision)
    shapes["model.visual.patch_embed.proj.weight"] = [hidden, 3, vision["temporal_patch_size"], patch, patch]
    if not vision["model_type"].startswith("qwen3"):
        shapes["model.visual.merger.ln_q.weight"] = [hidden]
        return shapes | linear("model.visual.merger.mlp.0", merged, merged) | linear(
            "model.visual.merger.mlp.2", output, merged
        )
    shapes["model.visual.patch_embed.proj.bias"] = [hidden]
    shapes["model.visual.pos_embed.weight"] = [vision["num_position_embeddings"], hidden]
    mergers = {"model.visual.merger": hidden}
    for level in range(len(vision["deepstack_visual_indexes"])):
        mergers[f"model.visual.deepstack_merger_list.{level}"] = merged
    for name, width in mergers.items():
        shapes |= norm(f"{name}.norm", width)
        shapes |= linear(f"{name}.linear_fc1", merged, merged)
        shapes |= linear(f"{name}.linear_fc2", output, merged)
    return shapes


def write(folder: Path, seed: int) -> None:
    """Writes `model.safetensors` beside the `config.json` of a tiny Qwen2.5-VL or Qwen3-VL."""
    config = json.loads((folder / "config.json").read_text())
    is_third = config["model_type"] == "qwen3_vl"
    shapes = tower(config["vision_config"])
    shapes |= decoder(config, "model.language_model", has_bias=not is_third, head_norms=is_third)
    draw = random.Random(seed)
    header: dict[str, Any] = {}
    content = bytearray()
    for name, shape in shapes.items():
        count = math.prod(shape)
        if len(shape) == 1:
            middle = 1.0 if "norm" in name and name.endswith("weight") or "ln_q" in name else 0.0
            values = array("f", (middle + 0.1 * draw.gauss(0, 1) for _ in range(count)))
        else:
            scale = (2.5 if "proj" in name else 1.5) / math.sqrt(count / shape[0])
            values = array("f", (scale * draw.gauss(0, 1) for _ in range(count)))
        start = len(content)
        content += values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(content)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + content)
