"""How events travel: one write a step and stream, at once, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import re
import select
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from house import ROOT, Answer, House, sse_events, wait_for

PROMPT = {"messages": [{"role": "user", "content": "go"}], "stream": True, "ignore_eos": True}


Reads = list[tuple[int, bytes]]
"""What each read gave, with the monotonic clock's nanoseconds after it."""


def scripted(
    new_house: Callable[..., House],
    tiny_models: Path,
    step_ms: int,
    stepLog: Path | None = None,
    words: str = "",
    **settings: str,
) -> House:
    """A server whose engine is the scripted one, with a step every so many milliseconds."""
    program = ROOT / ".build" / "release" / "scripted-engine"
    if not program.exists():
        program = ROOT / ".build-tests" / "release" / "scripted-engine"
    if not program.exists():
        pytest.skip("the scripted engine is not built: scripts/test.sh units builds it")
    wrapper = tiny_models.parent / f"engine-{step_ms}"
    words += f" --stepMs {step_ms} --slots 2000 --vocabularySize 1280 --tokens [64,65,66,67,68]"
    if stepLog:
        words += f" --stepLog {stepLog}"
    wrapper.write_text(f'#!/bin/sh\nexec {program} "$@" {words}\n')
    wrapper.chmod(0o755)
    values = {"ENGINE_EXECUTABLE": str(wrapper), "LIMITS_QUEUE": "4000", **settings}
    return new_house(values, model="llama-tied", models_dir=str(tiny_models))


def stream_over_http_1_1(house: House, log: Path, tokens: int) -> Reads:
    """The reads of one stream; the log has the steps of this stream only."""
    assert house.chat("warm", max_tokens=2).status == 200
    log.write_text("")
    body = json.dumps({**PROMPT, "max_tokens": tokens}).encode()
    reads: Reads = []
    with socket.create_connection(("127.0.0.1", house.https)) as plain, house.context().wrap_socket(
        plain, server_hostname="localhost"
    ) as tls:
        tls.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {house.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        while not reads or b"[DONE]" not in reads[-1][1]:
            data = tls.recv(65536)
            assert data
            reads.append((time.monotonic_ns(), data))
    return reads


def check_delivery(reads: Reads, log: Path) -> None:
    """At least 95 % of the events come in reads of their own, within 50 ms of the engine's step."""
    steps = [int(line) for line in log.read_text().split()]
    good = 0
    arrived: list[int] = []
    for at, data in reads:
        tokens = data.count(b'"content":"') - data.count(b'"role"')
        arrived += [at] * tokens
        good += tokens == 1 and at - steps[len(arrived) - 1] < 50_000_000
    assert len(arrived) == len(steps) == 60
    assert good >= 57, [(at - step) / 1e6 for at, step in zip(arrived, steps, strict=True)]


def test_events_arrive_one_by_one_over_http_1_1(new_house: Callable[..., House], tiny_models: Path) -> None:
    log = tiny_models.parent / "steps-1"
    house = scripted(new_house, tiny_models, 20, stepLog=log)
    reads = stream_over_http_1_1(house, log, tokens=60)
    assert b"Transfer-Encoding: chunked" in b"".join(data for _, data in reads).split(b"\r\n\r\n")[0]
    check_delivery(reads, log)


def test_events_arrive_one_by_one_over_http_2(new_house: Callable[..., House], tiny_models: Path) -> None:
    log = tiny_models.parent / "steps-2"
    house = scripted(new_house, tiny_models, 20, stepLog=log)
    assert house.chat("warm", max_tokens=2).status == 200
    log.write_text("")
    process = subprocess.Popen(
        ["curl", "-sSN", "--http2", "-D", "/dev/stderr", "--cacert", house.ca, "-H",
         f"Authorization: Bearer {house.key}", "-H", "Content-Type: application/json", "-d",
         json.dumps({**PROMPT, "max_tokens": 60}), house.base + "/v1/chat/completions"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stderr
    reads: Reads = []
    while data := os.read(process.stdout.fileno(), 65536):
        reads.append((time.monotonic_ns(), data))
    assert process.stderr.read().startswith(b"HTTP/2 200")
    check_delivery(reads, log)


def test_the_time_between_tokens_is_the_engine_s(new_house: Callable[..., House], tiny_models: Path) -> None:
    log = tiny_models.parent / "steps-3"
    house = scripted(new_house, tiny_models, 10, stepLog=log)
    medians = []
    for _ in range(3):  # other work on the machine may spoil one
        times = [at for at, data in stream_over_http_1_1(house, log, tokens=200) if b'"content":"' in data]
        assert len(times) > 150
        medians.append(statistics.median(b - a for a, b in pairwise(times)) / 1e6)
    assert min(medians) <= 11, medians


def test_one_flush_a_step_and_stream(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = scripted(new_house, tiny_models, 10)
    assert house.chat("warm", max_tokens=2).status == 200

    def flushes() -> float:
        text = house.call("/metrics").body.decode()
        found = re.search(r"^torchgate_flushes_total ([0-9.]+)", text, re.M)
        assert found
        return float(found.group(1))

    before = flushes()
    answer = house.call("/v1/chat/completions", {**PROMPT, "max_tokens": 100})
    assert answer.body.count(b"data: {") >= 101
    used = flushes() - before
    assert 95 <= used <= 110, used


def test_heartbeats_and_load_progress_while_nothing_comes(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = scripted(new_house, tiny_models, 1500, STREAMS_HEARTBEAT="0.3", STREAMS_HEADER_DELAY="0.2")
    answer = house.call("/v1/chat/completions", {**PROMPT, "max_tokens": 2})
    assert answer.body.startswith(b": ok\n")
    assert answer.body.count(b": ping\n") >= 3
    assert b": ping\n\n" not in answer.body


def test_a_client_that_leaves_cancels_its_work(new_house: Callable[..., House], tiny_models: Path) -> None:
    house = scripted(new_house, tiny_models, 20)
    assert house.chat("warm", max_tokens=2).status == 200
    for stream in ("true", "false"):
        body = json.dumps({**PROMPT, "max_tokens": 4000, "stream": stream == "true"})
        process = subprocess.Popen(
            ["curl", "-sN", "--cacert", house.ca, "-H", f"Authorization: Bearer {house.key}", "-H",
             "Content-Type: application/json", "-d", body, house.base + "/v1/chat/completions"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for("the generation", 5, lambda: house.status()["running"] == 1)
        process.kill()
        process.wait()
        wait_for("its end", 1, lambda: house.status()["running"] == 0)


def test_a_thousand_streams_complete_in_little_memory(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = scripted(
        new_house, tiny_models, 50, NGINX_KEY_CONNECTIONS="2000", NGINX_KEY_BURST="2000",
        NGINX_KEY_RATE="2000", SERVER_MAX_CONNECTIONS="1500", ENGINE_SLOTS="2000",
    )  # fmt: skip
    assert house.chat("warm", max_tokens=2).status == 200
    body = json.dumps({**PROMPT, "max_tokens": 100}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {house.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    sockets: list[socket.socket] = []
    for _ in range(1000):
        # In clear on loopback: the client must not be what is measured.
        connection = socket.create_connection(("127.0.0.1", house.http))
        connection.sendall(head + body)
        sockets.append(connection)
    received = {connection.fileno(): b"" for connection in sockets}
    events = {connection.fileno(): 0 for connection in sockets}
    peak = 0
    poll = select.epoll()
    for connection in sockets:
        poll.register(connection.fileno(), select.EPOLLIN)
    open_streams = {connection.fileno(): connection for connection in sockets}
    deadline = time.monotonic() + 90
    next_look = 0.0
    while open_streams and time.monotonic() < deadline:
        for number, _ in poll.poll(0.2):
            data = open_streams[number].recv(65536)
            events[number] += data.count(b"data: {")
            received[number] = (received[number] + data)[-200:]
            if not data or b"[DONE]" in received[number]:
                poll.unregister(number)
                del open_streams[number]
        if time.monotonic() > next_look:
            next_look = time.monotonic() + 0.5
            peak = max(peak, resident(house.server_pid()))
    complete = sum(b"[DONE]" in tail for tail in received.values())
    assert complete == 1000, next(tail for tail in received.values() if b"[DONE]" not in tail)
    assert min(events.values()) >= 100
    assert peak < 150 << 20, f"{peak >> 20} MiB"
    for connection in sockets:
        connection.close()


def resident(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found
    return int(found.group(1)) * 1024


def test_the_server_is_small_quick_and_without_libtorch(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = scripted(new_house, tiny_models, 10)
    time.sleep(5)
    pid = house.server_pid()
    assert resident(pid) < 40 << 20, f"{resident(pid) >> 20} MiB"
    program = ROOT / ".build" / "release" / "torchgate"
    libraries = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    assert "torch" not in libraries and "swift" not in libraries


def test_distinct_prompts_at_once_equal_the_same_alone(smol: House) -> None:
    prompts = [f"Count from {i} to {i + 5}." for i in range(64)]

    def ask(prompt: str) -> str:
        answer = smol.chat(prompt, max_tokens=16)
        assert answer.status == 200, answer.body
        return answer.text

    alone = [ask(prompt) for prompt in prompts]
    with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        together = list(pool.map(ask, prompts))
    assert together == alone
    assert len(set(together)) > 32


def test_a_seed_draws_the_same_alone_and_in_a_batch(smol: House) -> None:
    def draw() -> str:
        return smol.chat("Tell me a story.", max_tokens=16, temperature=1, seed=42).text

    alone = draw()
    found: list[str] = []

    def other(number: int) -> None:
        smol.chat(f"Say {number}.", max_tokens=24, temperature=1, seed=number)

    others = [threading.Thread(target=other, args=(i,)) for i in range(15)]
    for thread in others:
        thread.start()
    found.append(draw())
    for thread in others:
        thread.join(120)
    assert found == [alone]


def test_beyond_the_queue_comes_503_with_retry_after(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = scripted(new_house, tiny_models, 200, LIMITS_QUEUE="2")
    house.stop()
    wrapper = tiny_models.parent / "engine-200"
    wrapper.write_text(wrapper.read_text().replace("--slots 2000", "--slots 1"))
    house.start()
    answers = []

    def ask() -> None:
        answers.append(house.chat("x", max_tokens=5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    refused = [a for a in answers if a.status == 503]
    assert refused and len(refused) < 8
    assert refused[0].error["code"] == "server_overloaded" and int(refused[0].headers["retry-after"]) >= 1


def events(answer: Answer) -> list[tuple[str | None, str]]:
    assert answer.status == 200, answer.body
    return list(sse_events(iter(answer.body.splitlines(keepends=True))))


def test_a_stream_goes_on_after_the_last_event(tiny: House) -> None:
    body = {**PROMPT, "max_tokens": 12, "session_id": "resumed", "temperature": 0}
    path = "/v1/chat/completions"
    whole = events(tiny.call(path, body))
    ids = [name for name, _ in whole[:-1]]
    assert ids == [f"resumed:{n}" for n in range(len(ids))] and whole[-1] == (None, "[DONE]")
    # The same request again is the same stream from its begin; nothing is generated.
    assert events(tiny.call(path, body)) == whole
    for last in (0, 5, len(ids) - 1):
        mark = f"resumed:{last}"
        rest = whole[last + 1 :]
        assert events(tiny.call(path, body, headers={"Last-Event-ID": mark})) == rest
        assert events(tiny.call(f"{path}?last_event_id={mark}", body)) == rest
        assert events(tiny.call("/v1/streams/resumed", headers={"Last-Event-ID": mark})) == rest
    assert events(tiny.call("/v1/streams/resumed")) == whole
    # Never a silent gap, never another stream.
    ahead = tiny.call(path, body, headers={"Last-Event-ID": f"resumed:{len(ids) + 5}"})
    assert ahead.status == 409 and ahead.error["code"] == "events_expired"
    unknown = tiny.call(path, {**body, "session_id": "lost"}, headers={"Last-Event-ID": "lost:3"})
    assert unknown.status == 409 and unknown.error["code"] == "events_expired"
    for wrong in ("other:1", "resumed:", "resumed:-1", "resumed:" + "9" * 30):
        answer = tiny.call(path, body, headers={"Last-Event-ID": wrong})
        assert answer.status == 400 and answer.error["param"] == "last_event_id", wrong
    other = tiny.new_key("--owner", "somebody-else")["key"]
    foreign = tiny.call("/v1/streams/resumed", key=other)
    missing = tiny.call("/v1/streams/missing", key=other)
    assert (foreign.status, missing.status) == (404, 404)
    assert foreign.error["code"] == missing.error["code"] == "stream_not_found"


def test_a_reader_that_was_cut_off_takes_up_a_running_stream(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = scripted(new_house, tiny_models, 20)
    body = {**PROMPT, "max_tokens": 100, "session_id": "cut"}
    request = urllib.request.Request(
        house.base + "/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {house.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20, context=house.context()) as reply:
        seen = list(itertools.islice(sse_events(iter(reply)), 20))
    mark = str(seen[-1][0])
    rest = events(house.call("/v1/streams/cut", headers={"Last-Event-ID": mark}))
    names = [name for name, _ in seen + rest[:-1]]
    assert names == [f"cut:{n}" for n in range(len(names))]
    assert seen + rest == events(house.call("/v1/chat/completions", body))
