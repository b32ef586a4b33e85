"""What is measured: each row is one number of one server, from one block of requests."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from client import Reading, at_once
from servers import Server
from usage import tree_cpu_seconds


@dataclass(frozen=True)
class Row:
    """A measurement. `better` is `more` or `less`; a ratio above 1 always says that torchgate is better."""

    name: str
    unit: str
    better: str


DECODE = Row("decode, 1 stream", "tokens/s", "more")
FIRST = Row("first token after 512 prompt tokens", "ms", "less")
CPU = Row("CPU time, 1 stream", "ms/token", "less")
CPU_MANY = Row("CPU time, 16 streams", "ms/token", "less")
CONTENDED = Row("decode, 1 stream beside one busy process", "tokens/s", "more")


def together(streams: int) -> Row:
    return Row(f"{streams} streams together", "tokens/s", "more")


class Failed(Exception):
    """A server did not do what it was asked."""


def prompt(seed: int, length: int) -> list[int]:
    """Token ids that both servers get as they are; no two requests share a beginning."""
    draw = random.Random(seed)
    return [draw.randrange(1000, 40000) for _ in range(length)]


def checked(server: Server, readings: list[Reading]) -> list[Reading]:
    for reading in readings:
        if reading.error:
            raise Failed(f"{server.name}: {reading.error}")
    return readings


@contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def block(server: Server, seed: int, scale: float) -> dict[Row, float]:
    """One block of all rows. `scale` shortens it."""
    tokens = max(16, int(256 * scale))
    found: dict[Row, float] = {}

    def decode() -> float:
        reading = checked(server, at_once(server, [prompt(seed, 16)], tokens))[0]
        return (tokens - 1) / (reading.last - reading.first)

    before = tree_cpu_seconds(server.root_pid)
    found[DECODE] = decode()
    found[CPU] = (tree_cpu_seconds(server.root_pid) - before) / tokens * 1000
    alone = [at_once(server, [prompt(seed + 1 + turn, 512)], 1) for turn in range(3)]
    found[FIRST] = statistics.median(checked(server, readings)[0].first * 1000 for readings in alone)
    for streams in (1, 4, 16):
        before = tree_cpu_seconds(server.root_pid)
        length = max(16, tokens // (1 if streams == 1 else 2 if streams == 4 else 4))
        prompts = [prompt(seed + 100 * streams + place, 32) for place in range(streams)]
        found[together(streams)] = rate(server, prompts, length)
        if streams == 16:
            spent = tree_cpu_seconds(server.root_pid) - before
            found[CPU_MANY] = spent / (streams * length) * 1000
    with busy_process():
        time.sleep(0.1)
        found[CONTENDED] = decode()
    return found


def rate(server: Server, prompts: list[list[int]], length: int) -> float:
    """Tokens a second from the first request's sending to the last token."""
    start = time.perf_counter()
    checked(server, at_once(server, prompts, length))
    return len(prompts) * length / (time.perf_counter() - start)
