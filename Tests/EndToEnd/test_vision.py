"""Vision-language models through HTTP: equal to the parity tool, alone and together, beside running text."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import statistics
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import vision_weights
from house import BIN, FIXTURES, House, wait_for

NAMES = ["qwen2_5_vl", "qwen3_vl"]
Content = list[dict[str, Any]]


def png(width: int, height: int, seed: int) -> dict[str, Any]:
    """A picture with slopes and a pattern of its own."""
    rows = b"".join(
        b"\0" + bytes((x * (3 + seed) + c * 40 + y * seed) % 256 for x in range(width) for c in range(3))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    file = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    url = "data:image/png;base64," + base64.b64encode(file).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def clip(name: str) -> dict[str, Any]:
    file = (FIXTURES / "media" / name).read_bytes()
    url = "data:video/x-matroska;base64," + base64.b64encode(file).decode()
    return {"type": "video_url", "video_url": {"url": url}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


CASES: list[Content] = [
    [png(100, 60, 1), text("what is it")],
    [text("hello model")],
    [png(64, 64, 2), text(" vs "), png(150, 90, 3), text("compare")],
    [clip("ffv1-rgb.mkv"), text("what happens")],
    [text("def forward(self): return 1")],
    [png(40, 200, 4), clip("ffv1-rgb.mkv"), text("both")],
    [png(100, 60, 1), text("and now")],
    [png(333, 177, 5), text("large")],
]


@pytest.fixture(scope="module")
def models(folder: Path) -> Path:
    models = folder / "vlm"
    for seed, name in enumerate(NAMES):
        shutil.copytree(FIXTURES / "processors" / name, models / name)
        vision_weights.write(models / name, seed)
    return models


@pytest.fixture(scope="module")
def seeing(folder: Path, models: Path) -> Iterator[House]:
    house = House(folder / "seeing", {"DTYPE": "float32"}, model=NAMES[1], models_dir=str(models))
    house.folder.mkdir()
    yield house.start()
    house.stop()


def tokens(house: House, model: str, content: Content, count: int = 12) -> list[str]:
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": count,
            "temperature": 0, "logprobs": True, "ignore_eos": True}  # fmt: skip
    answer = house.call("/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    assert answer.json["usage"]["completion_tokens"] == count
    return [entry["token"] for entry in answer.json["choices"][0]["logprobs"]["content"]]


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_http_gives_what_the_parity_tool_gives(
    seeing: House, models: Path, tmp_path: Path, model: str, case: int
) -> None:
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"messages": [{"role": "user", "content": CASES[case]}]}))
    done = subprocess.run(
        [str(BIN / "torchgate-engine"), "logits", "--model", str(models / model), "--request", str(request),
         "--greedy", "12", "--output", str(tmp_path / "out.safetensors")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    raw = (tmp_path / "out.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    start, end = json.loads(raw[8 : 8 + length])["greedy_tokens"]["data_offsets"]
    wanted = list(struct.unpack(f"<{(end - start) // 8}q", raw[8 + length + start : 8 + length + end]))
    got = tokens(seeing, model, CASES[case])
    text_of = [seeing.call("/v1/detokenize", {"model": model, "tokens": [t]}).json["prompt"] for t in wanted]
    assert got == text_of


@pytest.mark.parametrize("model", NAMES)
def test_eight_together_are_what_each_is_alone(seeing: House, model: str) -> None:
    alone = [tokens(seeing, model, case) for case in CASES]
    assert len({tuple(answer) for answer in alone}) > 4
    for _ in range(3):
        with ThreadPoolExecutor(len(CASES)) as pool:
            together = list(pool.map(lambda case: tokens(seeing, model, case), CASES))
        assert together == alone


def test_media_survive_the_engine_s_death(seeing: House) -> None:
    alone = [tokens(seeing, NAMES[1], case, 200) for case in CASES[:4]]
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(tokens, seeing, NAMES[1], case, 200) for case in CASES[:4]]
        wait_for("a running engine", 10, lambda: seeing.status()["running"] > 0)
        seeing.kill_engine()
        assert [future.result() for future in running] == alone


def test_text_goes_on_while_a_large_picture_is_seen(seeing: House) -> None:
    """Between two tokens of a text stream lies a block of the tower at most, never the whole of it."""
    large = [png(1024, 1024, 6), text("what is it")]
    began = time.monotonic()
    tokens(seeing, NAMES[1], large, 1)
    whole = time.monotonic() - began
    arrivals: list[float] = []
    body = {"model": NAMES[1], "messages": [{"role": "user", "content": "go on"}], "max_tokens": 3000,
            "temperature": 0, "stream": True, "ignore_eos": True}  # fmt: skip
    seen = threading.Event()

    def read() -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", seeing.https, context=seeing.context())
        headers = {"Authorization": f"Bearer {seeing.key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        while not seen.is_set() and reply.readline():
            arrivals.append(time.monotonic())
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    wait_for("the stream", 10, lambda: len(arrivals) > 50)
    start = time.monotonic()
    tokens(seeing, NAMES[1], [png(1024, 1024, 7), text("what is it")], 1)
    end = time.monotonic()
    seen.set()
    reader.join()
    during = [at for at in arrivals if start <= at <= end]
    gaps = [b - a for a, b in zip(during, during[1:], strict=False)]
    print(f"alone {whole:.2f} s, beside text {end - start:.2f} s, {len(during)} lines meanwhile")
    print(f"gaps: longest {max(gaps) * 1000:.0f} ms, median {statistics.median(gaps) * 1000:.1f} ms")
    assert len(during) > 20
    assert max(gaps) < max(0.5, 0.5 * whole)


def test_features_of_a_picture_are_kept_for_the_next_turn(seeing: House) -> None:
    picture = png(1000, 1000, 8)
    def first_token(words: str) -> float:
        began = time.monotonic()
        tokens(seeing, NAMES[0], [picture, text(words)], 1)
        return time.monotonic() - began

    tokens(seeing, NAMES[0], [text("warm")], 1)
    cold = first_token("a")
    warm = min(first_token(words) for words in ("b", "c"))
    print(f"cold {cold:.2f} s, features known {warm:.2f} s")
    assert warm < cold
