#!/usr/bin/env python3
"""Makes the small random vision-language checkpoints vl-* beside this script, and what transformers computes.

    venv=$(scripts/python-env.sh parity)
    PYTHONPATH=scripts:Tests/Fixtures "$venv/bin/python" Tests/Fixtures/models/make-media.py [NAME …]

Each folder has config.json, preprocessor_config.json, model.safetensors, cases.json and golden.safetensors. A
case is a prompt: its ids, the media in their order (frames of their final size, where their placeholders
stand), the position ids and their delta, and a greedy continuation. The tensors of a case are CASE.frames.I
(bytes), CASE.features.I, CASE.deep.K.I and CASE.logits; CASE.pixels.I where the media are small. The large
case has neither logits nor tokens.

Checkpoints differ in what published ones differ in: names and config as transformers 5 writes them or as
older versions did, the embedding as head or not, sizes of patches and heads.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import cpu_torchvision  # noqa: F401  before transformers
import numpy as np
import torch
from invented import fill, greedy, tidy
from safetensors.torch import load_file, save_file
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLVideoProcessor,
)

HERE = Path(__file__).resolve().parent
VOCABULARY, GREEDY, MARGIN = 96, 8, 0.01
START, END, IMAGE, VIDEO = 90, 91, 92, 93
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
TOKENS = {
    "image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START,
    "vision_end_token_id": END,
}  # fmt: skip


def text(sections: list[int], heads: int, keys: int, size: int, **more: object) -> dict:
    rope = {"rope_type": "default", "rope_theta": 1e5, "mrope_section": sections}
    return {
        "vocab_size": VOCABULARY, "hidden_size": heads * size, "intermediate_size": 40,
        "num_hidden_layers": 3, "num_attention_heads": heads, "num_key_value_heads": keys,
        "max_position_embeddings": 4096, "bos_token_id": None, "eos_token_id": VOCABULARY - 1,
        "rope_parameters": rope, **more,
    }  # fmt: skip


def second(tied: bool, sections: list[int], heads: int, size: int, **vision: object) -> Qwen2_5_VLConfig:
    # The flag inside: what transformers 5.17 goes by.
    inner = text(sections, heads, heads // 2, size, tie_word_embeddings=tied)
    return Qwen2_5_VLConfig(
        text_config=inner,
        vision_config={
            "depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2,
            "out_hidden_size": heads * size, "patch_size": 4, "window_size": 32,
            "fullatt_block_indexes": [1], "tokens_per_second": 2, **vision,
        },
        tie_word_embeddings=tied, **TOKENS,
    )  # fmt: skip


def third(tied: bool, sections: list[int], heads: int, size: int, **vision: object) -> Qwen3VLConfig:
    inner = text(sections, heads, heads // 2, size, head_dim=size, tie_word_embeddings=tied)
    inner["rope_parameters"]["mrope_interleaved"] = True
    return Qwen3VLConfig(
        text_config=inner,
        vision_config={
            "depth": 4, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2,
            "out_hidden_size": heads * size, "patch_size": 4, "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 2], **vision,
        },
        tie_word_embeddings=tied, **TOKENS,
    )  # fmt: skip


MODELS = {
    "vl-qwen2_5": second(False, [2, 3, 3], 2, 16),
    # As before transformers 4.52: the text's fields beside the vision's, scaling by its old name.
    "vl-qwen2_5-old": second(True, [1, 2, 1], 4, 8, patch_size=6, window_size=36, num_heads=1),
    "vl-qwen3": third(True, [4, 2, 2], 2, 16),
    "vl-qwen3-untied": third(
        False, [1, 1, 2], 4, 8, patch_size=6, num_position_embeddings=9, deepstack_visual_indexes=[3, 1, 0],
    ),
}  # fmt: skip

# Kind, frames, rows and columns of merged patches; seconds from one temporal patch to the next.
IMAGE_CASES = {
    "text": [],
    "image": [("image", 1, 5, 3, None)],
    "tiny": [("image", 1, 1, 1, None)],
    "strip": [("image", 1, 1, 19, None)],
    # More patches than pass through a tower together.
    "large": [("image", 1, 17, 16, None)],
    "images": [("image", 1, 2, 6, None), ("image", 1, 4, 4, None), ("image", 1, 3, 1, None)],
}
CLIP_CASES = {
    "clip": [("video", 4, 2, 3, 1.0)],
    "odd": [("video", 5, 3, 2, 0.7)],
    "mixed": [("image", 1, 2, 2, None), ("video", 3, 2, 4, 2.6), ("image", 1, 1, 2, None)],
    "clips": [("video", 2, 1, 2, 0.25), ("video", 6, 2, 1, 1.5)],
}


class Family:
    """What makes pixels into patches, and placeholders into prompts."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.is_third = isinstance(model, Qwen3VLForConditionalGeneration)
        patch = model.config.vision_config.patch_size
        mean, std = ([0.5] * 3, [0.5] * 3) if self.is_third else (MEAN, STD)
        self.rules = {"patch_size": patch, "image_mean": mean, "image_std": std}
        self.edge = 2 * patch
        rules = {**self.rules, "do_resize": False}
        self.image = Qwen2VLImageProcessor(**rules)
        clip = Qwen3VLVideoProcessor if self.is_third else Qwen2VLVideoProcessor
        self.video = clip(**rules, do_sample_frames=False)

    def pixels(self, kind: str, frames: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        if kind == "image":
            done = self.image(torch.from_numpy(frames[0]).permute(2, 0, 1), return_tensors="pt")
            return done["pixel_values"], done["image_grid_thw"]
        done = self.video([torch.from_numpy(frames).permute(0, 3, 1, 2)], return_tensors="pt")
        return done["pixel_values_videos"], done["video_grid_thw"]

    def features(self, pixels: torch.Tensor, grid: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        done = self.model.model.visual(pixels, grid_thw=grid, return_dict=True)
        return done.pooler_output, list(getattr(done, "deepstack_features", None) or [])


def prompt(family: Family, media: list[tuple], draw: np.random.RandomState) -> tuple[list[int], list]:
    def words(count: int) -> list[int]:
        return [int(draw.randint(0, START)) for _ in range(count)]

    ids, places = words(3), []
    for kind, frames, down, across, _ in media:
        steps, spans = (frames + 1) // 2, []
        apart = kind == "video" and family.is_third
        ids += [START] if not apart or draw.randint(2) else []
        for _ in range(steps if apart else 1):
            ids += [*words(2), START] if apart else []
            count = down * across * (1 if apart else steps)
            spans.append([len(ids), len(ids) + count])
            ids += [IMAGE if kind == "image" else VIDEO] * count
            ids += [END] if apart else []
        ids += [] if apart else [END]
        places.append(spans)
    return ids + words(5), places


def original(ids: list[int], media: list[tuple], places: list, rate: int) -> list[list[int]]:
    """The positions of Qwen2.5-VL as its authors published them."""
    columns, at, start = [], 0, 0
    for (_, frames, down, across, seconds), [[first, end]] in zip(media, places, strict=True):
        columns += [[at + k] * 3 for k in range(first - start)]
        at += first - start
        steps = (frames + 1) // 2
        block = [
            [at + math.floor(t * (seconds or 0) * rate), at + y, at + x]
            for t in range(steps) for y in range(down) for x in range(across)
        ]  # fmt: skip
        columns += block
        at, start = max(map(max, block)) + 1, end
    columns += [[at + k] * 3 for k in range(len(ids) - start)]
    return [list(axis) for axis in zip(*columns, strict=True)]


def compute(family: Family, name: str, media: list[tuple], seed: int, tensors: dict) -> tuple[dict, float]:
    model = family.model
    draw = np.random.RandomState(seed)
    ids, places = prompt(family, media, draw)
    inputs: dict[str, list] = {}
    entries = []
    for index, (kind, frames, down, across, seconds) in enumerate(media):
        height, width = down * family.edge, across * family.edge
        raw = draw.randint(0, 256, (frames, height, width, 3)).astype(np.uint8)
        pixels, grid = family.pixels(kind, raw)
        rows, deep = family.features(pixels, grid)
        tensors[f"{name}.frames.{index}"] = torch.from_numpy(raw)
        tensors[f"{name}.features.{index}"] = rows.contiguous()
        for level, more in enumerate(deep):
            tensors[f"{name}.deep.{level}.{index}"] = more.contiguous()
        if name in ("tiny", "clips"):
            tensors[f"{name}.pixels.{index}"] = pixels.contiguous()
        suffix = "" if kind == "image" else "_videos"
        inputs.setdefault(f"pixel_values{suffix}", []).append(pixels)
        inputs.setdefault(f"{kind}_grid_thw", []).append(grid)
        entry = {"kind": kind, "frames": frames, "height": height, "width": width, "grid": grid[0].tolist()}
        if seconds is not None and not family.is_third:
            inputs.setdefault("second_per_grid_ts", []).append(torch.tensor([seconds]))
            entry["seconds"] = seconds
        entries.append({**entry, "spans": places[index]})
    fixed = {key: torch.cat(values) for key, values in inputs.items()}
    row = torch.tensor([ids])
    kinds = (row == IMAGE).int() + 2 * (row == VIDEO).int()
    grids = {key: value for key, value in fixed.items() if not key.startswith("pixel")}
    positions, delta = model.model.get_rope_index(row, kinds, **grids)

    def run(tokens: list[int]) -> torch.Tensor:
        more = torch.arange(len(tokens)) + len(ids) + delta[0]
        return model(
            input_ids=torch.cat([row, torch.tensor([tokens], dtype=torch.long)], 1),
            position_ids=torch.cat([positions, more.expand(3, 1, -1)], 2), **fixed,
        ).logits[0]  # fmt: skip

    # A placeholder without a medium is an error.
    tokens, margin = greedy(lambda more: run(more)[-1], 0 if name == "large" else GREEDY, (IMAGE, VIDEO))
    if margin == 0:
        return {}, margin
    if tokens:
        tensors[f"{name}.logits"] = run([]).contiguous()
    entry = {
        "name": name, "ids": ids, "media": entries, "positions": positions[:, 0].tolist(),
        "delta": int(delta[0]), "greedy": tokens,
    }  # fmt: skip
    if not family.is_third:
        rate = model.config.vision_config.tokens_per_second
        entry["original"] = original(ids, media, places, rate)
    return entry, margin


def rename(folder: Path) -> None:
    """The spelling that transformers 4.49 wrote, and newer names of tensors."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    inner = config.pop("text_config")
    rope = inner.pop("rope_parameters")
    vision = config["vision_config"]
    vision["in_chans"] = vision.pop("in_channels")
    vision.pop("rope_parameters", None)
    inner.pop("layer_types", None)
    inner.pop("model_type")
    config = {
        **inner, **config, "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "torch_dtype": config.pop("dtype"),
    }  # fmt: skip
    path.write_text(json.dumps(config, indent=2) + "\n")
    weights = {}
    for key, weight in load_file(folder / "model.safetensors").items():
        if not key.startswith(("model.visual.", "model.language_model.", "lm_head.")):
            key = (
                key.replace("model.", "model.language_model.") if key.startswith("model.") else f"model.{key}"
            )
        weights[key] = weight
    save_file(weights, folder / "model.safetensors")


def make(name: str) -> None:
    config = MODELS[name]
    config._attn_implementation = "eager"
    is_third = isinstance(config, Qwen3VLConfig)
    model = (Qwen3VLForConditionalGeneration if is_third else Qwen2_5_VLForConditionalGeneration)(config)
    family = Family(model.eval())
    cases = IMAGE_CASES | CLIP_CASES
    if name.endswith(("old", "untied")):
        cases = {key: cases[key] for key in ("text", "images", "mixed")}
    for seed in range(1000):
        fill(model, seed)
        tensors: dict[str, torch.Tensor] = {}
        entries, margins = [], []
        with torch.inference_mode():
            for index, (case, media) in enumerate(cases.items()):
                entry, margin = compute(family, case, media, 7 * seed + index, tensors)
                entries.append(entry)
                margins.append(margin)
                if margin < MARGIN:
                    break
        if min(margins) >= MARGIN:
            break
    folder = HERE / name
    model.save_pretrained(folder)
    if name.endswith("old"):
        rename(folder)
    save_file({key: value.clone() for key, value in tensors.items()}, folder / "golden.safetensors")
    rules = {**family.rules, "min_pixels": family.edge**2, "max_pixels": (16 * family.edge) ** 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(rules, indent=2) + "\n")
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (folder / "cases.json").write_text(f"[\n{lines}\n]\n")
    tidy(folder)
    print(f"{name}: seed {seed}, margin {min(margins):.3f}", {e["name"]: len(e["ids"]) for e in entries})


def main() -> int:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
