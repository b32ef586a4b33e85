"""One test for each error of the API, and bad input that must disturb nothing."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import ROOT, House, fixture_models

GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
CHAT = "/v1/chat/completions"


def post(house: House, change: dict[str, Any]) -> Any:
    return house.call(CHAT, {**GOOD, **change})


def test_every_route_but_four_needs_a_key(tiny: House) -> None:
    for path in ["/v1/models", CHAT, "/status", "/unload", "/v1/tokenize", "/nope", "//v1/models", "/V1/x"]:
        answer = tiny.call(path, key="")
        assert answer.status == 401, path
        assert answer.error["code"] == "invalid_api_key"
        assert answer.headers["x-request-id"]
    for path in ["/", "/health", "/livez", "/readyz"]:
        assert tiny.call(path, key="").status == 200, path


@pytest.mark.parametrize("key", ["x", "sk-tg-AAAAAAAAAAAA-" + "b" * 38, "' OR 1=1 --", "é" * 10])
def test_bad_credentials_get_one_message(tiny: House, key: str) -> None:
    answer = tiny.call("/v1/models", key=key.encode().decode("latin-1"))
    assert answer.status == 401
    assert answer.error["type"] == "invalid_request_error"
    assert "b" * 10 not in answer.error["message"]


def test_the_key_may_come_as_x_api_key(tiny: House) -> None:
    assert tiny.call("/v1/models", key="", headers={"X-Api-Key": tiny.key}).status == 200


def test_scope_and_model_limits_are_403(tiny: House) -> None:
    plain = tiny.new_key("--scopes", "infer", "--models", "llama-*")["key"]
    refused = tiny.call("/unload", {}, key=plain)
    assert refused.status == 403 and refused.error["code"] == "insufficient_scope"
    other = tiny.chat("hi", model="SmolLM2-135M-Instruct", key=plain)
    assert other.status == 403 and other.error["code"] == "model_not_allowed"
    ids = [m["id"] for m in tiny.call("/v1/models", key=plain).json["data"]]
    assert "llama-tied" in ids and "SmolLM2-135M-Instruct" not in ids


def test_unknown_urls_and_methods(tiny: House) -> None:
    missing = tiny.call("/v1/nothing")
    assert missing.status == 404 and missing.error["code"] == "unknown_url"
    wrong = tiny.call(CHAT, method="GET")
    assert wrong.status == 405 and wrong.error["code"] == "method_not_allowed"
    assert "POST" in wrong.headers["allow"]
    later = tiny.call("/v1/embeddings", {"input": "x"})
    assert later.status == 404 and later.error["code"]


def test_numbers_that_only_just_are_in_range_are_served(tiny: House) -> None:
    for name in ("top_p", "repetition_penalty", "min_p", "temperature"):
        answer = tiny.chat("hi", **{"temperature": 1, "max_tokens": 3, name: 1e-300})
        assert answer.status == 200, (name, answer.body)


def test_a_session_s_id_belongs_to_one_request(tiny: House) -> None:
    messages = [{"role": "user", "content": "a"}]
    body = {"session_id": "one", "prompt": ["a", "b"], "max_tokens": 4, "messages": messages}
    first = tiny.call("/v1/completions", body)
    assert first.status == 200 and len(first.json["choices"]) == 2
    again = tiny.call("/v1/completions", body)
    assert again.status == 200 and again.json["choices"] == first.json["choices"]
    for path, other in ((CHAT, body), ("/v1/completions", {**body, "max_tokens": 5})):
        answer = tiny.call(path, other)
        assert answer.status == 409 and answer.error["code"] == "session_conflict"


def test_echo_without_new_tokens_is_streamed_as_asked(tiny: House) -> None:
    body = {"prompt": ["one", "two"], "max_tokens": 0, "echo": True}
    whole = tiny.call("/v1/completions", body)
    assert [choice["text"] for choice in whole.json["choices"]] == ["one", "two"]
    assert whole.json["usage"]["completion_tokens"] == 0
    streamed = tiny.call("/v1/completions", {**body, "stream": True})
    assert streamed.headers["content-type"] == "text/event-stream"
    lines = streamed.body.decode().splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    texts = ["", ""]
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == ["one", "two"] and streamed.body.rstrip().endswith(b"data: [DONE]")


def test_a_default_length_gives_way_to_the_prompt(new_house: Callable[..., House], tiny_models: Path) -> None:
    settings = {"DTYPE": "float32", "GENERATION_MAX_TOKENS": "1000000"}
    house = new_house(settings, model="llama-tied", models_dir=str(tiny_models))
    answer = house.chat("hi")
    assert answer.status == 200 and answer.json["usage"]["completion_tokens"] > 0
    assert house.chat("hi", max_tokens=1000000).error["code"] == "context_length_exceeded"


def test_wrong_content_type_is_415(tiny: House) -> None:
    answer = tiny.call(CHAT, raw=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 415 and answer.error["code"] == "unsupported_media_type"


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": 2.5}, "temperature"),
    ({"temperature": -1e308}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -5}, "top_k"),
    ({"min_p": 1.5}, "min_p"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"n": 100000}, "n"),
    ({"n": 0}, "n"),
    ({"seed": "x"}, "seed"),
    ({"stop": ["x"] * 10000}, "stop"),
    ({"stop": 5}, "stop"),
    ({"logit_bias": {"-1": 5}}, "logit_bias"),
    ({"logit_bias": {"99999999": 5}}, "logit_bias"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role"),
    ({"stream": "yes"}, "stream"),
    ({"session_id": "a b"}, "session_id"),
    ({"model": 5}, "model"),
]


@pytest.mark.parametrize(("change", "param"), BAD_FIELDS, ids=lambda v: str(v)[:40])
def test_a_bad_field_is_named(tiny: House, change: dict[str, Any], param: str) -> None:
    answer = post(tiny, change)
    assert answer.status == 400, answer.body
    assert answer.error["param"] == param
    assert answer.headers["x-request-id"]


BAD_BODIES = {
    "truncated": b'{"messages":[{"role":"user","con',
    "duplicate keys": b'{"messages":[],"messages":[{"role":"user","content":"x"}]}',
    "nested": b'{"messages":' + b"[" * 1_000_000,
    "NaN": b'{"messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    "infinite": b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}',
    "not an object": b"[1]",
    "empty": b"",
    "invalid UTF-8": b'{"messages":[{"role":"user","content":"\xff\xfe"}]}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_400(tiny: House, name: str) -> None:
    answer = tiny.call(CHAT, raw=BAD_BODIES[name])
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request_error"


def test_a_body_of_100_mb_is_413(tiny: House) -> None:
    done = subprocess.run(
        ["curl", "-sS", "--cacert", tiny.ca, "-H", f"Authorization: Bearer {tiny.key}", "-H", "Expect:",
         "-H", "Content-Type: application/json", "--data-binary", "@-", "-w", "\n%{http_code}",
         tiny.base + CHAT],
        input=b"x" * 100_000_000, capture_output=True, timeout=60,
    )  # fmt: skip
    body, status = done.stdout.decode().rsplit("\n", 1)
    assert status == "413", done.stderr
    assert json.loads(body)["error"]["code"] == "request_too_large"


def test_a_prompt_beyond_the_context_names_the_numbers(tiny: House) -> None:
    answer = tiny.chat("word " * 30000)
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert sum(c.isdigit() for c in answer.error["message"]) >= 3


def test_token_ids_outside_the_vocabulary_are_400(tiny: House) -> None:
    for ids in ([-1], [10**9], [1.5], [[1], ["x"]]):
        answer = tiny.call("/v1/completions", {"prompt": ids, "max_tokens": 1})
        assert answer.status == 400 and answer.error["param"].startswith("prompt"), ids


def test_a_slow_body_is_408_or_closed(tiny: House) -> None:
    context = tiny.context()
    with socket.create_connection(("127.0.0.1", tiny.https)) as plain, context.wrap_socket(
        plain, server_hostname="localhost"
    ) as tls:
        tls.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n")
        tls.sendall(f"Authorization: Bearer {tiny.key}\r\n\r\n{{".encode())
        tls.settimeout(1)
        with pytest.raises(TimeoutError):
            assert tls.recv(100) == b""
    assert tiny.chat("hi", max_tokens=1).status == 200


def test_tls_1_1_is_refused(tiny: House) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", tiny.https)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)


def test_request_ids_are_taken_over_or_made(tiny: House) -> None:
    assert tiny.call("/v1/models", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    odd = tiny.call("/v1/models", headers={"X-Request-Id": "a b<>"}).headers["x-request-id"]
    assert odd and odd != "a b<>"


def test_a_client_cannot_forge_the_key_id(tiny: House) -> None:
    for name in ["LLM_KEY_ID", "LLM-KEY-ID", "X-Key-Id", "HTTP-LLM-KEY-ID"]:
        answer = tiny.call("/v1/models", key="", headers={name: tiny.key[6:18]})
        assert answer.status == 401


def test_a_looping_template_is_500_within_a_second(new_house: Callable[..., House]) -> None:
    house = new_house()
    house.stop()
    models = fixture_models(house.folder)
    looping = models / "looping"
    looping.mkdir()
    for file in (models / "llama-tied").resolve().iterdir():
        if file.name != "chat_template.jinja":
            (looping / file.name).symlink_to(file)
    inner = "{% for b in range(100000) %}{% set c = b %}{% endfor %}"
    endless = "{% for a in range(100000) %}" + inner + "{% endfor %}"
    (looping / "chat_template.jinja").write_text(endless)
    house.models_dir = str(models)
    house.start()
    started = time.monotonic()
    answer = house.chat("hi", model="looping")
    assert answer.status == 500 and answer.error["code"] == "template_error"
    assert time.monotonic() - started < 2


BROKEN = [
    ("cut-tokenizer", "tokenizer.json", '{"version": "1.0", "model": {"type": "BPE", "vo'),
    ("junk-config", "config.json", "junk"),
    ("syntax", "chat_template.jinja", "{% if messages %}{{ messages | nonsense }}{% endfor %}"),
    ("failing", "chat_template.jinja", "{{ messages[0]['content'] + 1 }}"),
]
"""Model, its broken file, what stands in it."""


def test_damaged_models_are_503_and_nothing_else_stops(new_house: Callable[..., House]) -> None:
    house = new_house({"ENGINE_COOL_DOWN": "1"})
    house.stop()
    models = fixture_models(house.folder)
    whole = (models / "llama-tied").resolve()
    lying = models / "lying"
    lying.mkdir()
    for file in whole.iterdir():
        if file.name != "model.safetensors":
            (lying / file.name).symlink_to(file)
    data = bytearray((whole / "model.safetensors").read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = next(k for k in header if k != "__metadata__")
    header[name]["data_offsets"] = [2**62, 2**62 + 64]
    encoded = json.dumps(header).encode()
    (lying / "model.safetensors").write_bytes(
        len(encoded).to_bytes(8, "little") + encoded + bytes(data[8 + size :])
    )
    cut = models / "cut"
    cut.mkdir()
    source = next((ROOT / ".deps/models/SmolLM2-135M-Instruct").glob("*.gguf"))
    with source.open("rb") as file:
        (cut / "cut.gguf").write_bytes(file.read(20_000_000))
    for broken, file, text in BROKEN:
        (models / broken).mkdir()
        for other in whole.iterdir():
            if other.name != file:
                (models / broken / other.name).symlink_to(other)
        (models / broken / file).write_text(text)
    (models / "short").mkdir()
    (models / "short" / "short.gguf").write_bytes(b"GGUF\3\0\0\0")
    house.models_dir = str(models)
    house.start()
    for model in ("lying", "cut"):
        answer = house.chat("hi", model=model, max_tokens=1)
        assert answer.status == 503, (model, answer.body)
        assert answer.error["code"] == "model_load_failed"
        assert "retry-after" in answer.headers
        assert "/" not in answer.error["message"]
    # What only the server reads: its log has the cause, once, and nothing of the request.
    for model, file in [(model, file) for model, file, _ in BROKEN] + [("short", "short.gguf")]:
        for _ in range(2):
            answer = house.chat("marked-4711", model=model, max_tokens=1)
            assert answer.status in (500, 503), (model, answer.body)
            assert "/" not in answer.error["message"]
        lines = [x for x in house.log.splitlines() if "model cannot be used" in x and f"/{model}" in x]
        assert len(lines) == 1 and file in lines[0], (model, lines)
    assert "marked-4711" not in house.log
    assert house.chat("hi", model="llama-tied", max_tokens=1).status == 200
