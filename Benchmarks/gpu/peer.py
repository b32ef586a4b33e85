"""The other side of each comparison: torch and transformers, in a process of their own.

Every finding is a line of JSON on standard output, written as soon as it is there.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]


def tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def seconds(work: Work, device: str, repeats: int) -> float:
    """The median of some runs after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def rates(options: argparse.Namespace) -> None:
    """What the device can do: bytes read and written by a copy, bfloat16 products, bytes from the host."""
    device, small = options.device, options.tiny
    size = 1 << (24 if small else 32 if device != "cpu" else 28)
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source), device, 7)
    found: dict[str, Any] = {"copy_gb_s": 2 * size / copy / 1e9}
    side = 256 if small else 8192 if device != "cpu" else 2048
    a = torch.randn(side, side, dtype=torch.bfloat16, device=device)
    b = torch.randn(side, side, dtype=torch.bfloat16, device=device)
    found["bf16_tflop_s"] = 2 * side**3 / seconds(lambda: a @ b, device, 7) / 1e12
    if device != "cpu":
        host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
        host.fill_(1)
        moved = seconds(lambda: target[: 1 << 30].copy_(host, non_blocking=True), device, 5)
        found["pinned_to_device_gb_s"] = (1 << 30) / moved / 1e9
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
    tell(torch=torch.__version__, transformers=version("transformers"), **found)


def version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as read

    try:
        return read(package)
    except PackageNotFoundError:
        return "none"


def text_model(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The language model of a config alone, with random weights: what transformers is quickest with."""
    from transformers import AutoConfig, AutoModelForCausalLM

    written = json.loads((folder / "config.json").read_text())
    config = dict(written.get("text_config") or written)
    kind = {"qwen3_vl_text": "qwen3", "qwen2_5_vl_text": "qwen2"}.get(config["model_type"])
    if kind:
        config.pop("rope_scaling", None)
    config["model_type"] = kind or config["model_type"]
    for key in ("architectures", "torch_dtype"):
        config.pop(key, None)
    config["tie_word_embeddings"] = written.get("tie_word_embeddings", False)
    made = AutoConfig.for_model(**config)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(made, dtype=dtype, attn_implementation="sdpa").eval()


def save(options: argparse.Namespace) -> None:
    """A checkpoint with random weights."""
    model = text_model(options.config, options.device, torch.bfloat16)
    model.save_pretrained(options.folder, max_shard_size="100GB")
    size = sum(path.stat().st_size for path in options.folder.glob("*.safetensors"))
    tell(bytes=size, files=len(list(options.folder.glob("*.safetensors"))))


def load(options: argparse.Namespace) -> None:
    """safetensors.torch.load_file of a whole checkpoint onto the device."""
    from safetensors.torch import load_file

    if options.device != "cpu":
        torch.zeros(1, device=options.device)
    wait(options.device)
    began = time.perf_counter()
    tensors = [load_file(path, device=options.device) for path in options.folder.glob("*.safetensors")]
    wait(options.device)
    tell(seconds=time.perf_counter() - began, tensors=sum(map(len, tensors)))


def main() -> None:
    # torch without CUDA beside a torchvision with it, as in the tests: see scripts/cpu_torchvision.py.
    if importlib.util.find_spec("cpu_torchvision"):
        importlib.import_module("cpu_torchvision")
    import peer_models

    kinds: dict[str, Callable[[argparse.Namespace], None]] = {
        "rates": rates, "save": save, "load": load, "logits": peer_models.logits,
        "speed": peer_models.speed, "streams": peer_models.streams, "image": peer_models.image,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--batch", default="")
    parser.add_argument("--prefill", default="")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--generate", type=int, default=256)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=1024)
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.manual_seed(5)
    with torch.no_grad():
        kinds[options.kind](options)


if __name__ == "__main__":
    main()
