"""The server as openai-python sees it."""

from __future__ import annotations

import openai
import pytest
from house import SMOL, House

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def client(house: House, key: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=house.base + "/v1",
        api_key=key or house.key,
        max_retries=0,
        timeout=120,
        http_client=openai.DefaultHttpxClient(verify=house.context()),
    )


def test_an_answer_names_paris(smol: House) -> None:
    answer = client(smol).chat.completions.create(model=SMOL, messages=QUESTION, temperature=0, max_tokens=24)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


def test_the_stream_is_the_same_text(smol: House) -> None:
    whole = client(smol).chat.completions.create(model=SMOL, messages=QUESTION, temperature=0, max_tokens=24)
    chunks = list(
        client(smol).chat.completions.create(
            model=SMOL,
            messages=QUESTION,
            temperature=0,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert finishes == ["stop"]
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({c.id for c in chunks}) == 1


def test_a_request_without_model_uses_the_default(smol: House) -> None:
    answer = smol.call("/v1/chat/completions", {"messages": QUESTION, "temperature": 0, "max_tokens": 16})
    assert answer.status == 200 and "Paris" in answer.text
    assert answer.json["model"] == SMOL


def test_two_choices_differ_and_repeat_with_the_seed(tiny: House) -> None:
    def ask() -> list[str | None]:
        answer = client(tiny).chat.completions.create(
            model="llama-tied", messages=QUESTION, n=2, seed=7, temperature=1, max_tokens=16
        )
        assert [c.index for c in answer.choices] == [0, 1]
        return [c.message.content for c in answer.choices]

    first = ask()
    assert first == ask()
    assert first[0] != first[1]


def test_stop_strings_end_the_text_before_them(smol: House) -> None:
    whole = client(smol).chat.completions.create(model=SMOL, messages=QUESTION, temperature=0, max_tokens=24)
    text = whole.choices[0].message.content
    stop = text[10:14]
    cut = client(smol).chat.completions.create(
        model=SMOL, messages=QUESTION, temperature=0, max_tokens=24, stop=[stop]
    )
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_logprobs_come_with_each_token(smol: House) -> None:
    answer = client(smol).chat.completions.create(
        model=SMOL, messages=QUESTION, temperature=0, max_tokens=6, logprobs=True, top_logprobs=3
    )
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    for entry in entries:
        assert entry.logprob <= 0 and len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob, abs=1e-6)
        assert bytes(entry.bytes).decode(errors="replace") == entry.token
    assert "".join(e.token for e in entries) == answer.choices[0].message.content


def test_legacy_completions_take_text_and_tokens(tiny: House) -> None:
    prompt = "Once upon a time"
    ids = tiny.call("/v1/tokenize", {"prompt": prompt}).json["tokens"]
    by_text = client(tiny).completions.create(model="llama-tied", prompt=prompt, temperature=0, max_tokens=8)
    by_ids = client(tiny).completions.create(model="llama-tied", prompt=ids, temperature=0, max_tokens=8)
    assert by_text.choices[0].text == by_ids.choices[0].text
    streamed = client(tiny).completions.create(
        model="llama-tied", prompt=prompt, temperature=0, max_tokens=8, stream=True
    )
    assert "".join(c.choices[0].text for c in streamed if c.choices) == by_text.choices[0].text


def test_wrong_keys_unknown_models_and_bad_fields(tiny: House) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        client(tiny, "sk-wrong").chat.completions.create(model="llama-tied", messages=QUESTION)
    assert refused.value.code == "invalid_api_key" and refused.value.request_id
    with pytest.raises(openai.NotFoundError) as missing:
        client(tiny).chat.completions.create(model="no-such-model", messages=QUESTION)
    assert missing.value.code == "model_not_found" and missing.value.request_id
    with pytest.raises(openai.BadRequestError) as hot:
        client(tiny).chat.completions.create(model="llama-tied", messages=QUESTION, temperature="hot")
    assert hot.value.param == "temperature" and hot.value.request_id


def test_models_are_listed_and_shown(tiny: House) -> None:
    ids = {model.id for model in client(tiny).models.list()}
    assert {"llama-tied", SMOL} <= ids
    assert client(tiny).models.retrieve("llama-tied").owned_by == "user"
    with pytest.raises(openai.NotFoundError):
        client(tiny).models.retrieve("nope")
