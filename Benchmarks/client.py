"""A small load client: streamed completions over sockets of its own, one thread a stream."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass

from servers import Server


@dataclass
class Reading:
    """When what arrived, in seconds after the request was sent."""

    first: float = 0.0
    last: float = 0.0
    tokens: int = 0
    error: str = ""


def complete(server: Server, prompt: list[int], max_tokens: int) -> Reading:
    """One greedy completion that ignores the end token; tokens as the server's usage counts them."""
    body = json.dumps(
        {
            "model": server.model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Authorization: Bearer {server.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    reading = Reading()
    received = bytearray()
    with socket.create_connection(("127.0.0.1", server.port), timeout=300) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        stream.sendall(head + body)
        while chunk := stream.recv(65536):
            received += chunk
            # Parsing waits for the end: the client must not take the cores that it measures.
            if b'"choices"' in chunk:
                reading.last = time.perf_counter() - start
                reading.first = reading.first or reading.last
    if not received.startswith(b"HTTP/1.1 200"):
        reading.error = bytes(received[:400]).decode(errors="replace")
    for line in received.split(b"\n"):
        if line.startswith(b"data: {") and b'"completion_tokens":' in line:
            usage = json.loads(line[6:]).get("usage") or {}
            reading.tokens = int(usage.get("completion_tokens", 0))
    if not reading.error and reading.tokens != max_tokens:
        reading.error = f"{reading.tokens} tokens where {max_tokens} were asked for"
    return reading


def at_once(server: Server, prompts: list[list[int]], max_tokens: int) -> list[Reading]:
    """As many streams as prompts, together."""
    readings = [Reading() for _ in prompts]

    def work(place: int) -> None:
        try:
            readings[place] = complete(server, prompts[place], max_tokens)
        except OSError as error:
            readings[place].error = str(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return readings
