"""Torchgate against llama.cpp's llama-server on the same GGUF, in one run; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from pairs import order, ratio
from rows import Failed, Row, block
from servers import ROOT, Server, Workload, identity, start_llama_server, start_torchgate


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--models-dir", type=Path, default=ROOT / ".deps/models")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="length of a block")
    parser.add_argument("--quick", action="store_true", help="3 pairs of short blocks")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--context", type=int, default=1024, help="tokens a stream")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--same", action="store_true", help="llama-server on both sides: tests the harness")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.scale = 3, 0.25
    return options


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, list[dict[Row, float]]]:
    gguf = next(iter(sorted((options.models_dir / options.model).glob("*.gguf"))))
    work = Workload(options.model, gguf, options.threads, options.context, 16)
    servers: list[Server] = []
    try:
        if options.same:
            servers.append(start_llama_server(work, options.llama_server, folder / "first"))
            servers[0].name = "torchgate"
        else:
            settings = {"TORCHGATE_ENGINE_DTYPE": options.dtype}
            servers.append(start_torchgate(work, folder / "torchgate", settings))
        servers.append(start_llama_server(work, options.llama_server, folder / "llama"))
        for server in servers:
            block(server, seed=10**6, scale=0.0)  # warm-up, dropped
        found: dict[str, list[dict[Row, float]]] = {server.name: [] for server in servers}
        for pair, turns in enumerate(order(options.pairs)):
            for turn in turns:
                server = servers[turn]
                found[server.name].append(block(server, seed=1000 * pair, scale=options.scale))
            print(f"pair {pair + 1} of {options.pairs}", file=sys.stderr, flush=True)
        return found
    finally:
        for server in servers:
            server.stop()


def main() -> int:
    options = arguments()
    # So that the servers are ended, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="torchgate-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            found = measure(options, folder)
        except Failed as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    ours, theirs = found["torchgate"], found["llama-server"]
    results = []
    print(f"{'':42}{'torchgate':>12}{'llama.cpp':>12}  ratio (95 % interval)")
    for row in ours[0]:
        a, b = [sample[row] for sample in ours], [sample[row] for sample in theirs]
        verdict = ratio(row, a, b)
        results.append({**asdict(row), "torchgate": a, "llama-server": b, "ratio": asdict(verdict)})
        print(
            f"{row.name + ', ' + row.unit:42}{statistics.median(a):12.2f}{statistics.median(b):12.2f}"
            f"  {verdict.median:.2f} ({verdict.low:.2f} to {verdict.high:.2f})"
        )
    print("A ratio above 1 says that torchgate is better.")
    output = options.output or ROOT / "Benchmarks/results" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "processor": processor(),
        "threads": options.threads,
        "context": options.context,
        "pairs": options.pairs,
        "scale": options.scale,
        "model": options.model,
        "dtype": options.dtype,
        "peer": identity(options.llama_server),
        "same": options.same,
        "rows": results,
    }
    output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
