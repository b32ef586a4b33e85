"""Writes expected.json, what transformers makes of requests with the media of ../media, and two-hours.mkv.

Needs transformers 5.17, torch, torchvision, Pillow and PyAV. The model folders beside this file hold the tiny
processors, tokenisers and templates of Qwen2.5-VL and Qwen3-VL, without weights.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torchvision  # noqa: F401  the processors choose their way of resizing by it
from PIL import Image
from transformers import AutoProcessor
from transformers.video_utils import VideoMetadata

HERE = Path(__file__).resolve().parent
MEDIA = HERE.parent / "media"

# Parts: text, or a file; clips with the wishes of their part.
CASES: list[list[Any]] = [
    ["only text"],
    [{"image": "rgb.png"}, "describe it"],
    [{"image": "1.png"}],
    ["a", {"image": "cmyk.jpg"}, "b", {"image": "animated.gif"}, "c"],
    [{"image": "grey16.png"}, {"image": "la.png"}, {"image": "p.png"}, {"image": "rgba.png"}],
    [{"image": "lossy.webp"}, {"image": "rgb.bmp"}, {"image": "grey.jpg"}],
    [{"image": "exif6.jpg"}],
    [{"video": "h264.mp4", "fps": 2}, "what happens?"],
    [{"video": "ffv1-rgb.mkv", "num_frames": 2}, {"image": "rgb.png"}],
    ["x", {"video": "vp9.webm", "fps": 24}],
    [{"video": "ffv1-rgb.mkv"}],
]


def frames(path: Path) -> tuple[np.ndarray, VideoMetadata]:
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate or Fraction(24)
        all_frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    pixels = np.stack(all_frames)
    count, height, width, _ = pixels.shape
    metadata = VideoMetadata(
        total_num_frames=count, fps=float(rate), duration=count / float(rate), width=width, height=height
    )
    return pixels, metadata


def expected(processor: Any, case: list[Any], model: str) -> dict[str, Any]:
    parts, images, clips, metadata, wishes = [], [], [], [], {}
    for part in case:
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif "image" in part:
            parts.append({"type": "image"})
            images.append(Image.open(MEDIA / part["image"]).convert("RGB"))
        else:
            parts.append({"type": "video"})
            pixels, about = frames(MEDIA / part["video"])
            clips.append(pixels)
            metadata.append(about)
            wishes = {key: value for key, value in part.items() if key != "video"}
    messages = [{"role": "user", "content": parts}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if wishes:
        wishes["do_sample_frames"] = True
        if "num_frames" in wishes and model == "qwen3_vl":
            processor.video_processor.fps = None
    inputs = processor(
        text=[text],
        images=images or None,
        videos=clips or None,
        return_tensors="pt",
        **({"video_metadata": metadata} if clips else {}),
        **wishes,
    )
    processor.video_processor.fps = 2 if model == "qwen3_vl" else None

    def grid(name: str) -> list[list[int]]:
        return inputs[name].tolist() if name in inputs else []

    return {
        "model": model,
        "content": case,
        "prompt": text,
        "ids": inputs["input_ids"][0].tolist(),
        "image_grid_thw": grid("image_grid_thw"),
        "video_grid_thw": grid("video_grid_thw"),
    }


def two_hours() -> None:
    with av.open(str(HERE / "two-hours.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(1, 900))
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for shade in range(9):
            picture = np.full((32, 32, 3), shade * 20, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def main() -> None:
    torch.set_num_threads(1)
    cases = []
    for model in ["qwen2_5_vl", "qwen3_vl"]:
        processor = AutoProcessor.from_pretrained(HERE / model)
        cases += [expected(processor, case, model) for case in CASES]
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n")
    two_hours()


if __name__ == "__main__":
    sys.exit(main())
