"""Memory of an engine by how its weights are kept, beside what the plan from headers says.

    make build
    .deps/venv-tests/bin/python Benchmarks/memory.py [MODEL …]

Without a model a Llama of 1,107 million random weights is made (2.2 GB, in a temporary folder). The engine
computes the logits of three tokens; its memory is looked at every few milliseconds. `own` is the most of its
own memory (anonymous pages) from the start of the load on, `all` counts libraries and files in memory, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORMS = [("float32", "none"), ("bfloat16", "none"), ("auto", "int8"), ("auto", "int4"), ("auto", "nf4")]
MB = 1e6
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


def make_model(folder: Path) -> None:
    """Random bfloat16 between 1/128 and 1/64, either sign."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header, end = {}, 0
    for name, shape in shapes().items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    noise = random.Random(1).randbytes(1 << 24)
    piece = bytes(b if place % 2 == 0 else b & 0x80 | 0x3C for place, b in enumerate(noise))
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for start in range(0, end, len(piece)):
            file.write(piece[: end - start])


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        models = options.models
        if not models:
            make_model(Path(folder))
            models = [Path(folder)]
        print(f"{'':24}{'own MB':>8}{'all':>8}  plan")
        for model in models:
            if options.models:
                print(model.name)
            forms = FORMS if model.is_dir() else [*FORMS[:2], ("auto", "none"), *FORMS[2:]]
            for dtype, quantize in forms:
                own, whole = measure(options.bin / "torchgate-engine", model, dtype, quantize)
                told = plan(options.bin / "torchgate", model, dtype, quantize)
                name = dtype if quantize == "none" else quantize
                print(f"{name:24}{own / MB:8.0f}{whole / MB:8.0f}  {told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
