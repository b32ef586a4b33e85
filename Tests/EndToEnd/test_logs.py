"""One request id through nginx, server and engine; no key, prompt or output in any log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from house import House

PROMPT = "marked-prompt-4711"


def test_a_request_s_id_is_in_every_log_and_secrets_in_none(
    new_house: Callable[..., House], tiny_models: Path
) -> None:
    settings = {"DTYPE": "float32", "LOG_LEVEL": "trace", "LOG_FORMAT": "json"}
    house = new_house(settings, model="llama-tied", models_dir=str(tiny_models))
    good = house.chat(PROMPT, max_tokens=12)
    assert good.status == 200
    streamed = house.chat(PROMPT, max_tokens=4, stream=True)
    wrong = "sk-tg-" + house.key[6:-6] + "abcdef"
    refused = [
        house.chat(PROMPT, key=wrong),
        house.chat(PROMPT, temperature=PROMPT),
        house.chat(PROMPT, model=PROMPT),
        house.call("/v1/chat/completions", raw=f'{{"messages": "{PROMPT}"'.encode()),
        house.call(f"/v1/models/{house.key}"),
    ]
    assert [answer.status for answer in refused] == [401, 400, 404, 400, 404]
    house.kill_engine()
    assert house.chat(PROMPT, max_tokens=2).status == 200
    house.stop()

    lines = [
        json.loads(line) for line in house.log.splitlines() if line.startswith("{")
    ]
    for answer in (good, streamed):
        rid = answer.headers["x-request-id"]
        rooms = {line["room"] for line in lines if rid in line.get("rid", "")}
        assert rooms >= {"torchgate", "torchgate-engine"}, rooms
    access = [path.read_text() for path in house.folder.rglob("*.json")]
    assert any(good.headers["x-request-id"] in text for text in access)

    secrets = [house.key, house.key[-12:], wrong, PROMPT, good.text]
    logs = [
        path
        for path in house.folder.rglob("*")
        if path.is_file() and path.name not in ("env", "first-key")
    ]
    assert house.folder / "torchgate.log" in logs
    for path in logs:
        text = path.read_text(errors="replace")
        for secret in secrets:
            assert secret not in text, (path, secret)
