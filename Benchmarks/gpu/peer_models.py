"""transformers at work: logits of goldens, decode and prefill in its best settings, streams, an image."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from peer import seconds, tell, text_model, wait


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def words(model: Any, batch: int, count: int, device: str) -> torch.Tensor:
    vocabulary = model.config.get_text_config().vocab_size
    return torch.randint(0, vocabulary * 9 // 10, (batch, count), device=device)


def logits(options: argparse.Namespace) -> None:
    """bfloat16 logits of prompts, from what the engine's float32 run has written of their inputs."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    model, folder = None, ""
    for entry in json.loads(options.work.read_text()):
        try:
            if entry["folder"] != folder:
                folder, model = entry["folder"], None
                config = AutoConfig.from_pretrained(folder)
                sees = hasattr(config, "vision_config")
                kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
                options_ = {"dtype": torch.bfloat16, "attn_implementation": "eager"}
                model = kind.from_pretrained(folder, **options_).to(options.device).eval()
        except (ValueError, KeyError, OSError) as error:
            tell(folder=folder, skipped=str(error).splitlines()[0][:100])
        if model is None:
            continue
        given = load_file(entry["inputs"], device=options.device)
        ids = given["input_ids"].reshape(1, -1)
        inputs = {"input_ids": ids}
        if hasattr(model.config, "vision_config"):
            kinds = torch.zeros_like(ids)
            kinds[ids == model.config.image_token_id] = 1
            kinds[ids == model.config.video_token_id] = 2
            inputs["mm_token_type_ids"] = kinds
            # Positions as the engine had them: the rule is compared in float32.
            if "position_ids" in given:
                inputs["position_ids"] = given["position_ids"].reshape(3, 1, -1)
            for name in ("pixel_values", "pixel_values_videos"):
                if name in given:
                    inputs[name] = given[name].to(torch.bfloat16)
            for name in ("image_grid_thw", "video_grid_thw"):
                if name in given:
                    inputs[name] = given[name]
        made = model(**inputs).logits[0].float().cpu().contiguous()
        save_file({"logits": made}, entry["output"])
        tell(output=entry["output"])


def speed(options: argparse.Namespace) -> None:
    """Decode: dynamic cache, static cache, static cache compiled with CUDA graphs. Prefill: one pass."""
    from transformers import DynamicCache, StaticCache

    device = options.device
    model = text_model(options.config, device, torch.bfloat16)

    def decode(batch: int, setting: str) -> float:
        length = options.context + options.steps + 24
        dynamic = setting == "dynamic cache"
        cache = DynamicCache() if dynamic else StaticCache(config=model.config, max_cache_len=length)
        forward = model.forward
        if setting.endswith("compiled"):
            forward = torch.compile(model.forward, mode="reduce-overhead", dynamic=False)
        ids = words(model, batch, options.context, device)
        out = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = out.logits.argmax(-1)
        times = []
        # The first steps compile and capture.
        for count in (12, options.steps):
            wait(device)
            began = time.perf_counter()
            for _ in range(count):
                out = forward(token, past_key_values=cache, use_cache=True)
                token = out.logits[:, -1:].argmax(-1).clone()
            wait(device)
            times.append((time.perf_counter() - began) / count)
        return times[1]

    for count in numbers(options.prefill):
        ids = words(model, 1, count, device)
        once = seconds(lambda ids=ids: model(ids, use_cache=True, logits_to_keep=1), device, 5)
        tell(kind="prefill", name=str(count), setting="sdpa", seconds=once)
    # The slowest to start comes last; a tiny run leaves compiling out.
    settings = ["static cache", "dynamic cache"] + ([] if options.tiny else ["static cache, compiled"])
    for setting in settings:
        for batch in numbers(options.batch):
            try:
                tell(kind="decode", name=str(batch), setting=setting, seconds=decode(batch, setting))
            except Exception as error:  # noqa: BLE001 the other settings still count
                tell(kind="decode", name=str(batch), setting=setting, error=str(error)[:200])


def streams(options: argparse.Namespace) -> None:
    """All prompts at once: continuous batching, and one padded batch of equal lengths."""
    from transformers import GenerationConfig

    device, count = options.device, options.count
    model = text_model(options.config, device, torch.bfloat16)
    config = GenerationConfig(
        max_new_tokens=options.generate, min_new_tokens=options.generate, do_sample=False, eos_token_id=-1,
        pad_token_id=0,
    )  # fmt: skip
    model.generation_config = config

    def told(setting: str, work: Any) -> None:
        try:
            # A first round captures graphs, and sizes what is kept for the second.
            work(words(model, count, options.context, device), options.generate)
            wait(device)
            ids = words(model, count, options.context, device)
            began = time.perf_counter()
            drawn = work(ids, options.generate)
            wait(device)
            if drawn != count * options.generate:
                raise RuntimeError(f"{drawn} of {count * options.generate} tokens")
            tell(setting=setting, seconds=time.perf_counter() - began, tokens=drawn)
        except Exception as error:  # noqa: BLE001 the other setting still counts
            tell(setting=setting, error=str(error)[:200])

    def padded(ids: torch.Tensor, new: int) -> int:
        made = model.generate(ids, max_new_tokens=new, min_new_tokens=new)
        return (made.shape[1] - ids.shape[1]) * len(made)

    def continuous(ids: torch.Tensor, new: int) -> int:
        config.max_new_tokens = config.min_new_tokens = new
        made = model.generate_batch(ids.tolist(), generation_config=config, persistent_manager=True)
        return sum(len(one.generated_tokens) for one in made.values())

    told("one batch", padded)
    # Its start alone takes longer than anything that a tiny run is about.
    if not options.tiny:
        told("continuous batching", continuous)


def image(options: argparse.Namespace) -> None:
    """One image to the first token: tower and prompt."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    device = options.device
    config = AutoConfig.from_pretrained(options.config)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            config, dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()
    vision = config.vision_config
    patch, merge = vision.patch_size, vision.spatial_merge_size
    rows, columns = options.height // patch, options.width // patch
    width = 3 * vision.temporal_patch_size * patch * patch
    pixels = torch.randn(rows * columns, width, device=device, dtype=torch.bfloat16)
    grid = torch.tensor([[1, rows, columns]], device=device)
    ids = words(model, 1, rows * columns // merge**2 + 16, device)
    ids[0, 4:-12] = config.image_token_id
    kinds = (ids == config.image_token_id).long()

    def once() -> Any:
        given = {"input_ids": ids, "pixel_values": pixels, "image_grid_thw": grid, "mm_token_type_ids": kinds}
        return model(**given, use_cache=True, logits_to_keep=1)

    def tower() -> Any:
        return model.model.visual(pixels, grid_thw=grid)

    tell(seconds=seconds(once, device, 5), tower_seconds=seconds(tower, device, 5), tokens=ids.shape[1])
