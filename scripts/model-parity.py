#!/usr/bin/env python3
"""Compares the engine with transformers over model folders: logits in float32, loss of quality in bfloat16.

    python=$(scripts/reference-env)           # transformers, torch, PyAV: some hundred MB
    make build
    "$python" scripts/model-parity.py [MODEL_FOLDER …] [--bin FOLDER]

The default folders are those of the tests. float32: no logit of any position may differ by more than 1e-4
(1e-3 with images or clips) and 16 greedy tokens must be the same. bfloat16: both sides are held against
transformers in float32, over all prompts of all folders together: our best token may be another one at
most 2 points more often than transformers' own in bfloat16, and the mean KL divergence may be at most
1.1 times its. Exit status 1 where one of this fails.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cpu_torchvision  # noqa: F401  before transformers
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.utils import logging
from transformers.video_utils import VideoMetadata

logging.disable_progress_bar()
ROOT = Path(__file__).resolve().parents[1]
GREEDY = 16
FPS = 2


def picture(width: int, height: int, seed: int) -> np.ndarray:
    """Slopes and noise: everything that resizing could get wrong."""
    draw = np.random.RandomState(seed)
    x = np.linspace(0, 255, width)[None, :, None]
    y = np.linspace(0, 255, height)[:, None, None]
    noise = draw.normal(0, 30, (height, width, 3))
    return np.clip(0.45 * x + 0.35 * y + noise, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def mkv(frames: list[np.ndarray], rate: int) -> str:
    """A lossless clip."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "bgr0"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return "data:video/x-matroska;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass
class Case:
    """One prompt: ids, or a chat with images and clips."""

    name: str
    ids: list[int] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)

    @property
    def has_media(self) -> bool:
        return any(not isinstance(part, str) for part in self.parts)


def text_cases(vocabulary: int, context: int) -> list[Case]:
    draw = random.Random(7)
    lengths = [n for n in (1, 7, 64, 300) if n < context - GREEDY]
    return [Case(f"{n} ids", [draw.randrange(vocabulary) for _ in range(n)]) for n in lengths]


def media_cases() -> list[Case]:
    clip = [picture(100, 76, 5 + k) for k in range(9)]
    long_clip = [picture(60, 60, 50 + k) for k in range(40)]
    return [
        Case("text", parts=["hello model"]),
        Case("image", parts=[picture(150, 260, 1), "describe the config"]),
        Case("two images", parts=[picture(333, 177, 2), " vs ", picture(64, 100, 3), "compare"]),
        Case("clip", parts=[clip, "what happens"]),
        Case("clip, image", parts=[long_clip, "slow", picture(64, 64, 4), "end"]),
        Case("image, clip", parts=[picture(90, 70, 9), clip, "both"]),
    ]


class Reference:
    """transformers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = AutoConfig.from_pretrained(folder)
        self.sees = hasattr(self.config, "vision_config")
        self.processor = AutoProcessor.from_pretrained(folder) if self.sees else None
        self.models = {dtype: self._load(dtype) for dtype in (torch.float32, torch.bfloat16)}

    def _load(self, dtype: torch.dtype) -> Any:
        kind = AutoModelForImageTextToText if self.sees else AutoModelForCausalLM
        return kind.from_pretrained(self.folder, dtype=dtype, attn_implementation="eager").eval()

    def cases(self) -> list[Case]:
        if self.sees:
            return media_cases()
        return text_cases(self.config.vocab_size, self.config.max_position_embeddings)

    def inputs(self, case: Case) -> dict[str, Any]:
        if not case.parts:
            return {"input_ids": torch.tensor([case.ids])}
        images = [Image.fromarray(p) for p in case.parts if isinstance(p, np.ndarray)]
        clips = [np.stack(p) for p in case.parts if isinstance(p, list)]
        content = [
            {"type": "text", "text": part} if isinstance(part, str)
            else {"type": "video" if isinstance(part, list) else "image"}
            for part in case.parts
        ]  # fmt: skip
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        more = {}
        if clips:
            more |= {"do_sample_frames": True, "fps": FPS}
            more["video_metadata"] = [
                VideoMetadata(total_num_frames=len(c), fps=4.0, duration=len(c) / 4,
                              width=c.shape[2], height=c.shape[1])
                for c in clips
            ]  # fmt: skip
        made = self.processor(
            text=[text], images=images or None, videos=clips or None, return_tensors="pt", **more
        )
        seconds = made.pop("second_per_grid_ts", None)
        made.pop("video_metadata", None)
        inputs = dict(made)
        if seconds is not None:
            inputs["second_per_grid_ts"] = torch.as_tensor(seconds)
        return inputs

    @torch.inference_mode()
    def logits(self, inputs: dict[str, Any], dtype: torch.dtype) -> torch.Tensor:
        return self.models[dtype](**inputs).logits[0].float()

    @torch.inference_mode()
    def greedy(self, inputs: dict[str, Any]) -> list[int]:
        made = self.models[torch.float32].generate(
            **inputs, max_new_tokens=GREEDY, do_sample=False, repetition_penalty=1.0
        )
        return made[0, inputs["input_ids"].shape[1] :].tolist()


class Engine:
    """`torchgate-engine logits`."""

    def __init__(self, bin_folder: Path) -> None:
        self.program = bin_folder / "torchgate-engine"

    def run(self, folder: Path, case: Case, dtype: str) -> dict[str, torch.Tensor]:
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "logits.safetensors"
            if case.parts:
                request = Path(scratch) / "request.json"
                chat = {"messages": [{"role": "user", "content": self.content(case)}]}
                request.write_text(json.dumps(chat))
                prompt = ["--request", str(request)]
            else:
                prompt = ["--ids", ",".join(map(str, case.ids))]
            words = [
                str(self.program), "logits", "--model", str(folder), *prompt, "--dtype", dtype,
                "--device", "cpu", "--greedy", str(GREEDY), "--output", str(output),
            ]  # fmt: skip
            environment = {**os.environ, "TORCHGATE_COMPAT_QWEN2_5_VL_VIDEO_POSITIONS": "hf517"}
            subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
            return load_file(output)

    @staticmethod
    def content(case: Case) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for part in case.parts:
            if isinstance(part, str):
                parts.append({"type": "text", "text": part})
            elif isinstance(part, list):
                parts.append({"type": "video_url", "fps": FPS, "video_url": {"url": mkv(part, 4)}})
            else:
                parts.append({"type": "image_url", "image_url": {"url": png(part)}})
        return parts


def divergence(exact: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(exact ‖ other) of each position."""
    p, q = exact.log_softmax(-1), other.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--bin", type=Path, default=ROOT / ".build/release")
    options = parser.parse_args()
    folders = options.folders or sorted(
        path.parent for path in (ROOT / "Tests/Fixtures/models").glob("*/config.json")
    )
    torch.set_num_threads(1)
    engine = Engine(options.bin)
    failures = 0
    # Of all positions: same best token, KL divergence; ours and transformers' in bfloat16.
    same: dict[str, list[torch.Tensor]] = {"ours": [], "theirs": []}
    kl: dict[str, list[torch.Tensor]] = {"ours": [], "theirs": []}
    for folder in folders:
        try:
            reference = Reference(folder)
        except (ValueError, KeyError, OSError) as error:
            print(f"{folder.name:18} not in transformers: {str(error).splitlines()[0][:80]}")
            continue
        for case in reference.cases():
            inputs = reference.inputs(case)
            exact = reference.logits(inputs, torch.float32)
            ours = engine.run(folder, case, "float32")
            limit = 1e-3 if case.has_media else 1e-4
            if ours["logits"].shape != exact.shape:
                print(f"{folder.name:18} {case.name:12} FAILED: shapes {ours['logits'].shape}, {exact.shape}")
                failures += 1
                continue
            worst = (ours["logits"] - exact).abs().max().item()
            wanted = reference.greedy(inputs)
            greedy = ours["greedy_tokens"].tolist()[: len(wanted)] == wanted
            failures += worst > limit or not greedy
            coarse = {
                "ours": engine.run(folder, case, "bfloat16")["logits"],
                "theirs": reference.logits(inputs, torch.bfloat16),
            }
            for who, logits in coarse.items():
                same[who].append((logits.argmax(-1) == exact.argmax(-1)).float())
                kl[who].append(divergence(exact, logits))
            print(
                f"{folder.name:18} {case.name:12} {len(exact):5} tokens  float32 {worst:.1e}"
                f"  greedy {'same' if greedy else 'DIFFERS'}"
                f"  bfloat16 same best {same['ours'][-1].mean():.3f} "
                f"(transformers {same['theirs'][-1].mean():.3f})"
                f"  KL {kl['ours'][-1].mean():.2e} ({kl['theirs'][-1].mean():.2e})",
                flush=True,
            )
    if not same["ours"]:
        print("FAILED: nothing compared")
        return 1
    agreement = {who: 100 * torch.cat(values).mean().item() for who, values in same.items()}
    mean = {who: torch.cat(values).mean().item() for who, values in kl.items()}
    print(
        f"bfloat16, all positions: same best token {agreement['ours']:.2f} % (transformers "
        f"{agreement['theirs']:.2f} %), KL {mean['ours']:.3e} (transformers {mean['theirs']:.3e})"
    )
    failures += agreement["ours"] < agreement["theirs"] - 2
    failures += mean["ours"] > 1.1 * mean["theirs"]
    print("passed" if failures == 0 else f"FAILED: {failures}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
