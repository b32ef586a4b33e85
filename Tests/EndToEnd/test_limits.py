"""Limits of keys, revocation, and what one key's excess does to another: nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from house import House
from test_delivery import scripted


def test_a_key_over_its_limit_gets_429_and_others_do_not(tiny: House) -> None:
    small = tiny.new_key("--rpm", "3")["key"]
    other = tiny.new_key()["key"]
    answers = [tiny.chat("hi", max_tokens=1, key=small) for _ in range(6)]
    assert [a.status for a in answers[:3]] == [200] * 3
    last = answers[-1]
    assert last.status == 429
    assert last.error["type"] == "rate_limit_error" and last.error["code"] == "rate_limit_exceeded"
    assert int(last.headers["retry-after"]) >= 1
    assert int(last.headers["retry-after-ms"]) > 0
    assert last.headers["x-ratelimit-limit-requests"] == "3"
    assert last.headers["x-ratelimit-remaining-requests"] == "0"
    assert tiny.chat("hi", max_tokens=1, key=other).status == 200


def test_nginx_limits_a_flooding_key_alone(new_house: Callable[..., House]) -> None:
    house = new_house({"NGINX_KEY_RATE": "5", "NGINX_KEY_BURST": "5"})
    flood = house.new_key()["key"]
    other = house.new_key()["key"]
    statuses = [house.call("/v1/models", key=flood).status for _ in range(30)]
    assert 429 in statuses and 200 in statuses
    refused = next(a for a in (house.call("/v1/models", key=flood) for _ in range(30)) if a.status == 429)
    assert refused.error["code"] == "rate_limit_exceeded"
    assert "retry-after" in refused.headers and refused.headers["x-request-id"]
    assert house.call("/v1/models", key=other).status == 200


def test_more_connections_than_the_server_has_are_503(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    house = scripted(new_house, tiny_models, 20, NGINX_TOTAL_CONNECTIONS="2")
    assert house.chat("go", max_tokens=1).status == 200
    keys = [house.new_key()["key"] for _ in range(3)]
    statuses: list[int] = []

    def ask(key: str) -> None:
        statuses.append(house.chat("go", max_tokens=100, ignore_eos=True, key=key).status)

    running = [threading.Thread(target=ask, args=(key,)) for key in keys[:2]]
    for thread in running:
        thread.start()
    time.sleep(0.5)
    refused = house.chat("go", max_tokens=1, key=keys[2])
    assert refused.status == 503 and refused.error["code"] == "server_overloaded"
    assert refused.headers["retry-after"] == "1"
    assert house.call("/health", key="").status == 200
    for thread in running:
        thread.join(60)
    assert statuses == [200, 200]
    assert house.chat("go", max_tokens=1, key=keys[2]).status == 200


def test_a_revoked_key_is_refused_within_100_ms(tiny: House) -> None:
    made = tiny.new_key()
    assert tiny.call("/v1/models", key=made["key"]).status == 200
    tiny.keys("revoke", made["id"])
    time.sleep(0.1)
    assert tiny.call("/v1/models", key=made["key"]).status == 401


def test_revocation_ends_running_streams(tiny: House) -> None:
    made = tiny.new_key()
    body = {"messages": [{"role": "user", "content": "go"}], "stream": True, "max_tokens": 400,
            "ignore_eos": True}  # fmt: skip
    seen: list[float] = []

    def read() -> None:
        answer = tiny.call("/v1/chat/completions", body, key=made["key"])
        seen.append(time.monotonic())
        assert b"[DONE]" in answer.body

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    tiny.keys("revoke", made["id"])
    revoked = time.monotonic()
    reader.join(20)
    assert seen and seen[0] - revoked < 1.5


def test_too_many_parallel_requests_of_a_key(tiny: House) -> None:
    key = tiny.new_key("--max-parallel", "1")["key"]
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(tiny.chat("go", max_tokens=300, ignore_eos=True, key=key).status)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(statuses)[0] == 200 and 429 in statuses
