#!/usr/bin/env python3
"""Time to the first token with an image of 1024 × 1024 pixels and a clip of 16 frames, beside transformers.

    python=$(scripts/reference-env)
    make build
    "$python" scripts/vision-bench.py MODEL_FOLDER [--pairs N] [--dtype float32]

Starts an instance of its own, asks both sides in turn, each time for another picture, and prints medians:
media (decoding and resizing), vision (the tower), prefill with the first token, and the rest (for us nginx,
HTTP, JSON and template). Both sides compute on as many threads as there are processors.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("parity", ROOT / "scripts" / "model-parity.py")
assert spec and spec.loader
parity: Any = importlib.util.module_from_spec(spec)
sys.modules["parity"] = parity
spec.loader.exec_module(parity)

Times = dict[str, float]


class Ours:
    """A running instance."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.model = folder.name
        self.run = Path(tempfile.mkdtemp(prefix="torchgate-bench-"))
        self.run.chmod(0o755)
        self.environment = {
            **os.environ, "RUN_DIR": str(self.run), "HTTPS_PORT": "9843", "HTTP_PORT": "9880", "DETACH": "1",
            "MODELS_DIR": str(folder.parent), "MODEL": self.model, "TORCHGATE_ENGINE_DTYPE": dtype,
            "TORCHGATE_LOG_LEVEL": "debug",
        }  # fmt: skip
        subprocess.run([ROOT / "scripts/run.sh"], env=self.environment, check=True, stdout=subprocess.DEVNULL)
        self.values = dict(line.split("=", 1) for line in (self.run / "env").read_text().split())
        self.context = ssl.create_default_context(cafile=self.values["CA_FILE"])

    def stop(self) -> None:
        subprocess.run([ROOT / "scripts/stop.sh"], env=self.environment, check=True)

    def ask(self, content: list[dict[str, Any]]) -> Times:
        body = {"model": self.model, "messages": [{"role": "user", "content": content}], "max_tokens": 1,
                "temperature": 0, "timings": True}  # fmt: skip
        request = urllib.request.Request(
            self.values["BASE_URL"] + "/v1/chat/completions", json.dumps(body).encode(),
            {"Authorization": "Bearer " + self.values["API_KEY"], "Content-Type": "application/json"},
        )  # fmt: skip
        began = time.monotonic()
        with urllib.request.urlopen(request, context=self.context) as reply:
            answer = json.loads(reply.read())
            rid = reply.headers["x-request-id"]
        whole = time.monotonic() - began
        timings = answer.get("timings") or answer["usage"]["timings"]
        media = timings["media_seconds"]
        time.sleep(0.05)
        log = (self.run / "torchgate.log").read_text()
        seen = re.search(rf"media seen.* ms=([0-9.]+).*{rid}", log) or re.search(rf"media seen.*{rid}.*", log)
        vision = float(re.search(r"ms=([0-9.]+)", seen.group(0)).group(1)) / 1000 if seen else float("nan")
        prefill = timings["prefill_seconds"] - vision
        rest = whole - media - vision - prefill
        return {"media": media, "vision": vision, "prefill": prefill, "rest": rest, "whole": whole}


class Theirs:
    """transformers, decoding included."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.reference = parity.Reference(folder)
        self.dtype = getattr(torch, dtype)

    @torch.inference_mode()
    def ask(self, part: Any) -> Times:
        began = time.monotonic()
        if isinstance(part, bytes):
            with av.open(io.BytesIO(part)) as container:
                pixels: Any = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        else:
            pixels = np.asarray(Image.open(io.BytesIO(part.getvalue())).convert("RGB"))
        inputs = self.reference.inputs(parity.Case("", parts=[pixels, "describe"]))
        media = time.monotonic() - began
        model = self.reference.models[self.dtype]
        kind = "pixel_values_videos" if isinstance(part, bytes) else "pixel_values"
        grid = inputs["video_grid_thw" if isinstance(part, bytes) else "image_grid_thw"]
        start = time.monotonic()
        model.model.visual(inputs[kind].to(self.dtype), grid_thw=grid)
        vision = time.monotonic() - start
        start = time.monotonic()
        model.generate(**inputs, max_new_tokens=1, do_sample=False)
        # The tower runs again in here.
        whole = time.monotonic() - start
        prefill = whole - vision
        return {"media": media, "vision": vision, "prefill": prefill, "rest": 0, "whole": media + whole}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    parity.FPS = 4
    theirs, ours = Theirs(options.folder, options.dtype), Ours(options.folder, options.dtype)
    try:
        for name in ("image 1024x1024", "clip of 16 frames"):
            rows: dict[str, list[Times]] = {"torchgate": [], "transformers": []}
            for pair in range(options.pairs + 1):
                if name.startswith("image"):
                    file = io.BytesIO()
                    Image.fromarray(parity.picture(1024, 1024, pair)).save(file, "PNG")
                    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
                    content: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
                    part: Any = file
                else:
                    frames = [parity.picture(320, 240, 100 * pair + k) for k in range(16)]
                    url = parity.mkv(frames, 4)
                    content = {"type": "video_url", "fps": 4, "video_url": {"url": url}}
                    part = base64.b64decode(url.split(",")[1])
                mine = ours.ask([content, {"type": "text", "text": "describe"}])
                other = theirs.ask(part)
                if pair:
                    rows["torchgate"].append(mine)
                    rows["transformers"].append(other)
            for who, times in rows.items():
                middle = {k: statistics.median(t[k] for t in times) * 1000 for k in times[0]}
                print(f"{name:18} {who:13}" + "".join(f"  {k} {v:7.1f} ms" for k, v in middle.items()))
            ratio = statistics.median(
                b["whole"] / a["whole"] for a, b in zip(*rows.values(), strict=True)
            )
            print(f"{name:18} transformers / torchgate: {ratio:.2f}", flush=True)
    finally:
        ours.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
