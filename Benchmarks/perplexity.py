"""Perplexity of a GGUF model by how its weights are kept, on the text beside this; see docs/quantisation.md.

    python=$(scripts/reference-env)           # transformers and gguf: some hundred MB
    make build
    "$python" Benchmarks/perplexity.py

The first row is transformers' figure in float32 for the values that the file's blocks stand for, the
others are the engine's. `Q4_0 …` are those values quantised again by gguf-py, all matrices alike;
`quantize: …` are those values as floats, quantised by the engine while it reads them; `fp8 …` and so on are
the layers' values rounded to the nearest codes of checkpoints for Python, in groups of 64 for GPTQ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file
from safetensors.torch import save_file

# PyPI's torchvision is built for CUDA: beside a CPU build of torch its import fails for want of these.
declared = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.utils import logging  # noqa: E402

logging.disable_progress_bar()
ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / ".deps/models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
AGAIN = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
ON_LOAD = ["nf4", "int4", "int8"]
GPTQ = {"quant_method": "gptq", "group_size": 64}
CODED = {
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "bnb-int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "gptq-8": {**GPTQ, "bits": 8},
    "gptq-order": {**GPTQ, "bits": 4, "desc_act": True},
}


def losses(logits: np.ndarray, ids: list[int]) -> np.ndarray:
    """Negative log likelihood of each token but the first."""
    rows = torch.log_softmax(torch.from_numpy(logits[:-1]).double(), dim=-1)
    return -rows[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def engine(binary: Path, model: Path, ids: list[int], dtype: str, quantize: str | None) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "logits.safetensors"
        command = [binary, "logits", "--model", model, "--dtype", dtype, "--output", output]
        command += ["--ids", ",".join(map(str, ids))]
        command += ["--quantize", quantize] if quantize else []
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        return load_file(output)["logits"]


def quantised_again(source: Path, kind: Kind, target: Path) -> None:
    """The same file with every matrix of the layers and the embedding in one format."""
    reader = gguf.GGUFReader(source)
    infos, data = bytearray(), bytearray()
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        matrix = len(tensor.shape) == 2
        blocks = gguf.quants.quantize(values, kind) if matrix else values.astype(np.float32)
        name = tensor.name.encode()
        infos += len(name).to_bytes(8, "little") + name + len(tensor.shape).to_bytes(4, "little")
        for size in tensor.shape:
            infos += int(size).to_bytes(8, "little")
        infos += int(kind if matrix else Kind.F32).to_bytes(4, "little")
        infos += len(data).to_bytes(8, "little")
        data += blocks.tobytes() + bytes(-len(blocks.tobytes()) % 32)
    head = source.read_bytes()[: reader.tensors[0].field.offset]
    start = bytes(-(len(head) + len(infos)) % 32)
    target.write_bytes(head + infos + start + data)


def as_floats(model: torch.nn.Module, folder: Path) -> None:
    """The values as a folder that the engine quantises; transformers saves no model that came from GGUF."""
    folder.mkdir()
    values = {name: value.contiguous() for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        values.pop("lm_head.weight", None)
    save_file(values, folder / "model.safetensors")
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config, default=str))


def words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Neighbours of the first axis in words of 32 bits."""
    rows = codes.to(torch.int64).reshape(-1, 32 // bits, codes.shape[1])
    shifts = bits * torch.arange(32 // bits)[None, :, None]
    return (rows << shifts).sum(1).to(torch.uint32).view(torch.int32).contiguous()


def codes_of(name: str, weight: torch.Tensor, kind: str) -> dict[str, torch.Tensor]:
    """A matrix as the kinds of CODED have it, each value rounded to the nearest."""
    part = name.removesuffix(".weight")
    if kind == "fp8":
        tiles = [-(-side // 128) for side in weight.shape]
        padded = torch.zeros(tiles[0] * 128, tiles[1] * 128)
        padded[: weight.shape[0], : weight.shape[1]] = weight
        scales = padded.reshape(tiles[0], 128, tiles[1], 128).abs().amax((1, 3)) / 448
        spread = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)
        coded = weight / spread[: weight.shape[0], : weight.shape[1]]
        return {name: coded.to(torch.float8_e4m3fn), f"{name}_scale_inv": scales}
    if kind == "bnb-int8":
        scales = weight.abs().amax(1)
        return {name: (weight * 127 / scales[:, None]).round().to(torch.int8), f"{part}.SCB": scales}
    bits = CODED[kind]["bits"]
    groups = torch.arange(weight.shape[1]) // 64
    if kind == "gptq-order":
        groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(1))]
    members = [weight[:, groups == group] for group in range(int(groups.max()) + 1)]
    low = torch.stack([member.amin(1).clamp(max=0) for member in members])
    high = torch.stack([member.amax(1).clamp(min=0) for member in members])
    scales = ((high - low) / (2**bits - 1)).half()
    zeros = (-low / scales.float()).round().clamp(1, 2**bits - 1)
    codes = (weight.t() / scales.float()[groups] + zeros[groups]).round().clamp(0, 2**bits - 1)
    return {
        f"{part}.qweight": words(codes, bits),
        f"{part}.qzeros": words((zeros - 1).t(), bits).t().contiguous(),
        f"{part}.scales": scales,
        f"{part}.g_idx": groups.int(),
    }


def as_codes(floats: Path, kind: str, folder: Path) -> None:
    """The folder `floats` with its layers' matrices as codes."""
    folder.mkdir()
    stored: dict[str, torch.Tensor] = {}
    for name, values in load_file(floats / "model.safetensors").items():
        weight = torch.from_numpy(values)
        stored.update(codes_of(name, weight, kind) if "_proj." in name else {name: weight})
    save_file(stored, folder / "model.safetensors")
    config = json.loads((floats / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": CODED[kind]}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--engine", type=Path, default=ROOT / ".build/release/torchgate-engine")
    parser.add_argument("--text", type=Path, default=ROOT / "Benchmarks/text/alice.txt")
    parser.add_argument("--window", type=int, default=512, help="tokens of a piece")
    parser.add_argument("--only", action="append", help="rows with this in their name")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    place = {"pretrained_model_name_or_path": options.model.parent, "gguf_file": options.model.name}
    ids = AutoTokenizer.from_pretrained(**place)(options.text.read_text())["input_ids"]
    pieces = [ids[i : i + options.window] for i in range(0, len(ids), options.window)]
    pieces = [piece for piece in pieces if len(piece) > 1]
    results: list[dict[str, float | str]] = []

    def row(name: str, found: list[np.ndarray]) -> None:
        mean = float(np.concatenate(found).mean())
        first = float(results[0]["loss"]) if results else mean
        results.append({"name": name, "loss": mean, "perplexity": math.exp(mean)})
        change = 100 * (math.exp(mean - first) - 1)
        print(f"{name:40}{math.exp(mean):10.4f}{change:+9.2f} %", flush=True)

    print(f"{len(ids)} tokens in pieces of {options.window}")
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    with torch.inference_mode():
        row("transformers float32", [
            losses(model(torch.tensor([piece])).logits[0].numpy(), piece) for piece in pieces
        ])  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        kinds = ("float32", "bfloat16", "auto")
        runs = [(f"the file, {dtype}", options.model, dtype, None) for dtype in kinds]
        for name in AGAIN:
            path = Path(folder) / f"{name}.gguf"
            runs += [(f"{name}, {dtype}", path, dtype, None) for dtype in ("float32", "auto")]
        floats = Path(folder) / "floats"
        as_floats(model, floats)
        runs += [(f"quantize: {name}", floats, "auto", name) for name in ON_LOAD]
        for name in CODED:
            path = Path(folder) / name
            runs += [(f"{name}, {dtype}", path, dtype, None) for dtype in ("float32", "auto")]
        for name, path, dtype, quantize in runs:
            if options.only and not any(part in name for part in options.only):
                continue
            if not path.exists() and path.name in CODED:
                as_codes(floats, path.name, path)
            elif not path.exists():
                quantised_again(options.model, Kind[path.stem], path)
            row(name, [losses(engine(options.engine, path, p, dtype, quantize), p) for p in pieces])
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
