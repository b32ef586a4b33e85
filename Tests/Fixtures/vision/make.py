"""Writes geometry.txt: what transformers' own functions answer for random and awkward shapes.

Needs transformers 5.17, torch and torchvision. Lines, space-separated; `-` for an error or an absent value:
  image  FACTOR MIN MAX WIDTH HEIGHT -> WIDTH HEIGHT
  clip   FAMILY CAP MIN MAX FRAMES WIDTH HEIGHT -> WIDTH HEIGHT
  choose FAMILY TOTAL RATE FPS COUNT MINFRAMES MAXFRAMES -> HASH N FIRST LAST SAMPLED STAMPHASH
"""

import random
import sys
from pathlib import Path

import torch
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoMetadata

random.seed(7)
BaseVideoProcessor.resize = lambda self, image, size, resample: (size.width, size.height)
FAMILIES = {"qwen2_vl": (Qwen2VLVideoProcessor(), 28), "qwen3_vl": (Qwen3VLVideoProcessor(), 32)}


def fnv(values: list[int]) -> int:
    h = 0xCBF29CE484222325
    for value in values:
        h = ((h ^ value) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def side() -> int:
    return random.choice(
        [
            random.randint(1, 90),
            random.randint(1, 1200),
            random.randint(1, 9000),
            14 * random.randint(1, 99),
        ]
    )


def images(out: list[str]) -> None:
    budgets = [
        (28, 3136, 12845056),
        (32, 65536, 16777216),
        (28, 3136, 1003520),
        (28, 200704, 401408),
        (32, 1, 4096),
    ]
    shapes = [
        (1, 1),
        (30000, 10),
        (2000, 10),
        (2001, 10),
        (42, 70),
        (14, 14),
        (13, 13),
        (48, 80),
        (8192, 8192),
    ]
    shapes += [(side(), side()) for _ in range(80)]
    for width, height in shapes:
        for factor, low, high in budgets:
            try:
                h, w = smart_resize(height, width, factor, low, high)
                answer = f"{w} {h}" if w and h else "- -"
            except ValueError:
                answer = "- -"
            out.append(f"image {factor} {low} {high} {width} {height} {answer}")


def clips(out: list[str]) -> None:
    for _ in range(400):
        family = random.choice(list(FAMILIES))
        processor, factor = FAMILIES[family]
        cap = random.randint(0, 1)
        low, high = random.choice(
            [(4096, 25165824), (128 * 784, 784 * 768), (3136, 12845056), (4096, 786432)]
        )
        frames = random.choice([1, 2, 3, 4, 5, 7, 16, 33, 100, 768])
        width, height = side(), side()
        processor.size = {"shortest_edge": low, "longest_edge": high}
        size = type("Size", (), {"shortest_edge": low, "longest_edge": high})()
        video = torch.empty((1, frames, 3, height, width), device="meta")
        try:
            w, h = processor.resize(video, size, None, factor, 2, cap_pixels_per_frame=bool(cap))
            answer = f"{w} {h}" if w and h else "- -"
        except ValueError:
            answer = "- -"
        out.append(f"clip {family} {cap} {low} {high} {frames} {width} {height} {answer}")


def choices(out: list[str]) -> None:
    for index in range(500):
        family = random.choice(list(FAMILIES))
        processor, _ = FAMILIES[family]
        total = random.choice(
            [random.randint(1, 12), random.randint(1, 400), random.randint(1, 20000)]
        )
        rate = random.choice([24.0, 25.0, 30.0, 30000 / 1001, 23.976, 12.5, 60.0, 1.0, 0.5])
        fps = random.choice([0.25, 0.5, 1, 2, 3, 4, 12.5, 30, 100])
        least, most = random.choice([(4, 768), (4, 16), (2, 7), (8, 32), (1, 1)])
        count = random.choice([2, 3, 5, 8, 16, 31]) if index % 5 == 0 else None
        processor.min_frames, processor.max_frames, processor.fps = least, most, None
        metadata = VideoMetadata(total_num_frames=total, fps=rate)
        try:
            kwargs = {"num_frames": count} if count else {"fps": fps}
            indices = [int(i) for i in processor.sample_frames(metadata, **kwargs)]
            if max(indices, default=0) >= total:
                continue  # torch.arange went one too far: transformers fails with an index error
            assert indices
            metadata.frames_indices = indices
            stamps = Qwen3VLProcessor._calculate_timestamps(None, list(indices), rate, 2)
            stamp_hash = fnv([int(s * 1e6) for s in stamps])
            ends = f"{indices[0]} {indices[-1]}"
            answer = f"{fnv(indices)} {len(indices)} {ends} {metadata.sampled_fps!r} {stamp_hash}"
        except (ValueError, ZeroDivisionError, AssertionError, RuntimeError):
            answer = "- - - - - -"
        out.append(
            f"choose {family} {total} {rate!r} {fps!r} {count or '-'} {least} {most} {answer}"
        )


def main() -> None:
    out: list[str] = []
    images(out)
    clips(out)
    choices(out)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("geometry.txt")
    target.write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
