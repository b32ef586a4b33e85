"""Prompts with known logits: the fixtures of the tests, as the engine's `logits` takes them."""

from __future__ import annotations

import json
import math
import struct
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Floats = array


def tensors(path: Path) -> dict[str, tuple[list[int], bytes, str]]:
    """Shape, bytes and dtype of each tensor of a safetensors file."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    start = 8 + size
    return {
        name: (entry["shape"], data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
               entry["dtype"])
        for name, entry in header.items()
    }  # fmt: skip


def floats(data: bytes) -> Floats:
    values = array("f")
    values.frombytes(data)
    return values


def longs(data: bytes) -> list[int]:
    values = array("q")
    values.frombytes(data)
    return list(values)


@dataclass
class Golden:
    """One prompt of one model."""

    folder: Path
    name: str
    ids: list[int]
    logits: Floats
    greedy: list[int]
    media: list[dict[str, Any]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    @property
    def sees(self) -> bool:
        """Whether the model takes images: its prompts are written as rendered ones, with media or without."""
        return (self.folder / "cases.json").exists()

    @property
    def title(self) -> str:
        return f"{self.folder.name} {self.name}".strip()

    @property
    def vocabulary(self) -> int:
        return len(self.logits) // len(self.ids)

    def words(self, scratch: Path) -> list[str]:
        """The prompt's arguments; media are written the way `torchgate render --frames-to` does."""
        if not self.sees:
            return ["--ids", ",".join(map(str, self.ids))]
        scratch.mkdir(parents=True, exist_ok=True)
        media = []
        for index, (medium, frames) in enumerate(zip(self.media, self.frames, strict=True)):
            (scratch / f"frames-{index}").write_bytes(frames)
            entry = {key: medium[key] for key in ("kind", "frames", "width", "height", "spans")}
            if medium.get("seconds") is not None:
                entry["seconds_per_grid"] = medium["seconds"]
            media.append({**entry, "file": f"frames-{index}"})
        (scratch / "rendered.json").write_text(json.dumps({"ids": self.ids, "media": media}))
        return ["--rendered", str(scratch)]


def load(models: Path) -> list[Golden]:
    """All of them, model by model."""
    found: list[Golden] = []
    for folder in sorted(path.parent for path in models.glob("*/config.json")):
        if (folder / "cases.json").exists():
            data = tensors(folder / "golden.safetensors")
            for case in json.loads((folder / "cases.json").read_text()):
                name = case["name"]
                if f"{name}.logits" not in data:
                    continue
                frames = [data[f"{name}.frames.{index}"][1] for index in range(len(case["media"]))]
                logits = floats(data[f"{name}.logits"][1])
                golden = Golden(folder, name, case["ids"], logits, case["greedy"], case["media"], frames)
                found.append(golden)
            continue
        for path in sorted(folder.glob("golden*.safetensors")):
            data = tensors(path)
            # Prompts with media need the pixels that `cases.json` tells of.
            if "logits" not in data or "pixel_values" in data or "pixel_values_videos" in data:
                continue
            ids = longs(data["input_ids"][1])
            greedy = longs(data["greedy_tokens"][1]) if "greedy_tokens" in data else []
            name = path.stem.removeprefix("golden").strip("_")
            found.append(Golden(folder, name, ids, floats(data["logits"][1]), greedy))
    return found


def largest(a: Floats, b: Floats) -> float:
    """The largest difference; infinite where lengths differ or something is not finite."""
    if len(a) != len(b) or not a:
        return math.inf
    worst = max(map(abs, map(float.__sub__, a, b)))
    return worst if math.isfinite(worst) and not any(map(math.isnan, a)) else math.inf


def divergence(exact: Floats, other: Floats, columns: int) -> tuple[list[bool], list[float]]:
    """Whether the best token is the same and KL(exact ‖ other), by position; infinite without numbers."""
    same, kl = [], []
    for start in range(0, len(exact), columns):
        p, q = exact[start : start + columns], other[start : start + columns]
        if len(q) != len(p) or not all(map(math.isfinite, q)):
            same.append(False)
            kl.append(math.inf)
            continue
        same.append(p.index(max(p)) == q.index(max(q)))
        lp, lq = logsum(p), logsum(q)
        kl.append(sum(math.exp(x - lp) * ((x - lp) - (y - lq)) for x, y in zip(p, q, strict=True)))
    return same, kl


def logsum(values: Floats) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
