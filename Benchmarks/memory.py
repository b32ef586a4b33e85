"""Memory of an engine by how its weights are kept, beside what the plan from headers says.

    make build
    .deps/venv-tests/bin/python Benchmarks/memory.py [MODEL …]

Without a model a Llama of 1,107 million random weights is made (2.2 GB, in a temporary folder) and quantised
while it is read; `--stored` makes it as quantisers store it instead, its embedding in bfloat16 as theirs. The
engine computes the logits of three tokens; its memory is looked at every few milliseconds. `own` is the most
of its own memory (anonymous pages) from the start of the load on, `all` counts libraries and files in memory,
too. `--keep FOLDER` leaves what is made there, for `torchgate-engine bench --model`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORMS = [("float32", "none"), ("bfloat16", "none"), ("auto", "int8"), ("auto", "int4"), ("auto", "nf4")]
MB = 1e6
SIZES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "I8": 1, "F8_E4M3": 1}
CONFIG = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 65536, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 4096, "rope_theta": 500000.0, "tie_word_embeddings": True,
}  # fmt: skip


def shapes() -> dict[str, list[int]]:
    d, i, kv = CONFIG["hidden_size"], CONFIG["intermediate_size"], 512
    found = {"model.embed_tokens.weight": [CONFIG["vocab_size"], d], "model.norm.weight": [d]}
    for layer in range(CONFIG["num_hidden_layers"]):
        for name, shape in {
            "self_attn.q_proj": [d, d], "self_attn.k_proj": [kv, d], "self_attn.v_proj": [kv, d],
            "self_attn.o_proj": [d, d], "mlp.gate_proj": [i, d], "mlp.up_proj": [i, d],
            "mlp.down_proj": [d, i], "input_layernorm": [d], "post_attention_layernorm": [d],
        }.items():  # fmt: skip
            found[f"model.layers.{layer}.{name}.weight"] = shape
    return found


@cache
def noise(kind: str) -> bytes:
    """Random values of about 1/64, either sign, as floats or codes."""
    drawn = random.Random(1).randbytes(1 << 24)
    if kind == "BF16":  # between 1/128 and 1/64
        return bytes(b if place % 2 == 0 else b & 0x80 | 0x3C for place, b in enumerate(drawn))
    if kind == "F8_E4M3":  # between 1/2 and 1
        return bytes(b & 0x87 | 0x30 for b in drawn)
    return drawn


Member = tuple[str, list[int], bytes]


def stored(name: str, rows: int, columns: int, kind: str) -> dict[str, Member]:
    """A matrix as a quantiser stores it: type, shape and what its bytes repeat."""
    part = name.removesuffix(".weight")
    groups, half, single = columns // 128, struct.pack("<e", 2**-13), struct.pack("<f", 1 / 64)
    if kind == "fp8":
        tiles = [-(-rows // 128), -(-columns // 128)]
        scales = {f"{name}_scale_inv": ("F32", tiles, single)}
        return {name: ("F8_E4M3", [rows, columns], noise("F8_E4M3")), **scales}
    if kind == "bnb-int8":
        return {name: ("I8", [rows, columns], noise("I8")), f"{part}.SCB": ("F32", [rows], single)}
    bits = 8 if kind == "gptq-8" else 4
    order = [column // 128 for column in range(columns)]
    if kind == "gptq-order":
        random.Random(2).shuffle(order)
    return {
        f"{part}.qweight": ("I32", [columns * bits // 32, rows], noise("I32")),
        f"{part}.qzeros": ("I32", [groups, rows * bits // 32], b"\x7f" if bits == 8 else b"\x77"),
        f"{part}.scales": ("F16", [groups, rows], half if bits == 8 else struct.pack("<e", 2**-9)),
        f"{part}.g_idx": ("I32", [columns], struct.pack(f"<{columns}i", *order)),
    }


STORED = {
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "bnb-int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "gptq-8": {"quant_method": "gptq", "bits": 8, "group_size": 128},
    "gptq-order": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True},
}


def make_model(folder: Path, kind: str = "") -> None:
    """Of random floats, or as a quantiser of STORED has them."""
    config = {**CONFIG, "quantization_config": STORED[kind]} if kind else CONFIG
    (folder / "config.json").write_text(json.dumps(config))
    floats = noise("BF16")
    members: dict[str, Member] = {}
    for name, shape in shapes().items():
        if kind and "_proj" in name:
            members |= stored(name, *shape, kind)
        else:
            members[name] = ("BF16", shape, floats)
    header, end = {}, 0
    for name, (dtype, shape, _) in members.items():
        size = SIZES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for dtype, shape, piece in members.values():
            left = SIZES[dtype] * math.prod(shape)
            piece *= max(1, 65536 // len(piece))
            while left > 0:
                left -= file.write(piece[:left])


def memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("Rss", "Vm"))
    }


def measure(binary: Path, model: Path, dtype: str, quantize: str) -> tuple[int, int]:
    """The most of its own memory, and the most of all."""
    with tempfile.NamedTemporaryFile() as output:
        words = ["--dtype", dtype, "--quantize", quantize, "--ids", "1,2,3", "--output", output.name]
        engine = subprocess.Popen([str(binary), "logits", "--model", str(model), *words])
        own = whole = 0
        while engine.poll() is None:
            try:
                now = memory(engine.pid)
            except (OSError, IndexError):
                break
            own = max(own, now.get("RssAnon", 0))
            whole = max(whole, now.get("VmRSS", 0))
            time.sleep(0.004)
        if engine.wait() != 0:
            raise SystemExit(f"{model}: {dtype}, {quantize}: the engine failed")
    return own, whole


def plan(binary: Path, model: Path, dtype: str, quantize: str) -> str:
    words = ["models", "show", str(model), "--plan", "--dtype", dtype, "--quantize", quantize]
    done = subprocess.run([str(binary), *words], capture_output=True, text=True, check=False)
    found = [line.split(None, 1)[1] for line in done.stdout.splitlines() if line.startswith("weights")]
    return found[0] if found else "?"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--bin", type=Path, default=ROOT / ".build/release")
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        models = options.models
        if not models:
            for kind in STORED if options.stored else [""]:
                models.append((options.keep or Path(folder)) / (kind or "floats"))
                models[-1].mkdir(parents=True)
                make_model(models[-1], kind)
        print(f"{'':24}{'own MB':>8}{'all':>8}  plan")
        for model in models:
            print(model.name)
            is_float = model.is_dir() and "quantization_config" not in (model / "config.json").read_text()
            forms = FORMS if is_float else [*FORMS[:2], ("auto", "none"), *FORMS[2:]]
            if options.stored:
                forms = forms[1:3]
            for dtype, quantize in forms:
                own, whole = measure(options.bin / "torchgate-engine", model, dtype, quantize)
                told = plan(options.bin / "torchgate", model, dtype, quantize)
                name = dtype if quantize == "none" else quantize
                print(f"{name:24}{own / MB:8.0f}{whole / MB:8.0f}  {told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
