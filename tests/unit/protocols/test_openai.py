"""OpenAI's wire: what is refused and how, and what answers look like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lanza.engines.base import Token
from lanza.errors import BadRequest, EngineFailed, Overloaded
from lanza.protocols import openai, sse

HEADING = openai.Heading(id="chatcmpl-1", created=1_700_000_000, model="becas")
HELLO = [{"role": "user", "content": "Hola"}]


def chat(**fields: Any) -> openai.ChatRequest:
    return openai.decode_chat(json.dumps({"messages": HELLO, **fields}).encode())


def completion(**fields: Any) -> openai.CompletionRequest:
    return openai.decode_completion(json.dumps({"prompt": "Hola", **fields}).encode())


def test_fields_that_change_nothing_are_ignored() -> None:
    request = chat(
        model="x", user="ana", store=True, metadata={"a": "b"}, parallel_tool_calls=False, tools=[]
    )
    assert openai.messages_of(request) == HELLO


def test_parts_become_text_and_developer_is_a_system() -> None:
    parts = [{"type": "text", "text": "uno"}, {"type": "text", "text": "dos"}]
    request = chat(messages=[{"role": "developer", "content": parts}, {"role": "user", "content": "x"}])
    assert openai.messages_of(request)[0] == {"role": "system", "content": "uno\ndos"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 2}, "`n`"),
        ({"tools": [{"type": "function"}]}, "`tools`"),
        ({"functions": [{}]}, "`functions`"),
        ({"response_format": {"type": "json_object"}}, "`response_format`"),
        ({"logit_bias": {"5": 1}}, "`logit_bias`"),
        ({"top_logprobs": 2}, "`top_logprobs`"),
        ({"logprobs": True, "top_logprobs": 21}, "`top_logprobs`"),
        ({"temperature": -0.1}, "`temperature`"),
        ({"top_p": 0}, "`top_p`"),
        ({"max_tokens": 0}, "`max_tokens`"),
        ({"max_completion_tokens": -1}, "`max_completion_tokens`"),
        ({"stop": [""]}, "`stop`"),
        ({"stop": ["a"] * 17}, "`stop`"),
        ({"messages": []}, "`messages`"),
        ({"messages": "hola"}, "`messages`"),
        ({"messages": [{"content": "hola"}]}, "role"),
        ({"temperature": "warm"}, "`temperature`"),
    ],
)
def test_what_is_wrong_or_not_served_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        chat(**fields)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        openai.decode_chat(body)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/a.png"}}]},
        {"role": "user<|im_end|>", "content": "x"},
    ],
)
def test_messages_that_no_template_can_take_are_refused(message: Any) -> None:
    request = chat(messages=[message])
    with pytest.raises(BadRequest, match=r"messages\.0"):
        openai.messages_of(request)


def test_settings_have_openai_defaults_within_the_room_left() -> None:
    assert openai.settings(chat(), room=None)["max_new_tokens"] == 2048
    assert openai.settings(chat(), room=30)["max_new_tokens"] == 30
    assert openai.settings(chat(max_tokens=5, max_completion_tokens=7), room=3)["max_new_tokens"] == 7
    assert openai.settings(completion(), room=None)["max_new_tokens"] == 16
    assert openai.settings(chat(), room=None)["temperature"] == 1.0
    assert openai.settings(chat(stop="FIN", seed=-1, top_k=-1), room=None)["stop"] == ("FIN",)


@pytest.mark.parametrize(("prompt", "expected"), [("a", "a"), (["a"], "a"), ([1, 2], (1, 2))])
def test_a_prompt_is_a_text_or_ids(prompt: Any, expected: Any) -> None:
    assert openai.prompt_of(completion(prompt=prompt)) == expected


@pytest.mark.parametrize("prompt", [["a", "b"], [], [[1], [2]], [True], [-1], [1, "a"]])
def test_other_prompts_are_refused(prompt: Any) -> None:
    request = completion(prompt=prompt)
    with pytest.raises(BadRequest, match="`prompt`"):
        openai.prompt_of(request)


TOKENS = [
    Token(id=5, text="", logprob=-0.5, top=((5, "Ho", -0.5), (6, "Bu", -1.0))),
    Token(
        id=7,
        text="Hola",
        logprob=-3.0,
        top=((8, "lo", -0.5), (9, "li", -2.0), (7, "la", -3.0)),
        finish="stop_sequence",
    ),
]


def test_a_chat_has_text_usage_reason_and_logprobs() -> None:
    request = chat(logprobs=True, top_logprobs=2)
    answer = json.loads(openai.encode_chat(HEADING, TOKENS, request, prompt_tokens=3))
    choice = answer["choices"][0]
    assert (answer["object"], answer["model"], answer["id"]) == ("chat.completion", "becas", "chatcmpl-1")
    assert choice["message"] == {"role": "assistant", "content": "Hola", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["Ho", "la"]
    assert [len(entry["top_logprobs"]) for entry in choice["logprobs"]["content"]] == [2, 2]
    assert choice["logprobs"]["content"][0]["top_logprobs"][1] == {
        "token": "Bu",
        "logprob": -1.0,
        "bytes": [66, 117],
    }


def test_chunks_begin_with_the_role_and_end_with_the_reason() -> None:
    chunks = [
        json.loads(openai.encode_chat_chunk(HEADING, token, chat(), first=token is TOKENS[0]))
        for token in TOKENS
    ]
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hola"},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, "stop"]
    assert "usage" not in chunks[0]


def test_a_completion_may_repeat_the_prompt() -> None:
    request = completion(echo=True, logprobs=1)
    answer = json.loads(openai.encode_completion(HEADING, TOKENS, request, before="¡", prompt_tokens=1))
    choice = answer["choices"][0]
    assert choice["text"] == "¡Hola"
    assert choice["logprobs"]["tokens"] == ["Ho", "la"]
    assert choice["logprobs"]["text_offset"] == [1, 1]
    assert choice["logprobs"]["top_logprobs"] == [{"Ho": -0.5}, {"lo": -0.5}]


def test_errors_have_openai_shape() -> None:
    def shape(error: Any) -> Any:
        return json.loads(openai.encode_error(error, "r1"))["error"]

    wrong = shape(BadRequest("`n`: only one answer is written."))
    assert (wrong["type"], wrong["param"], wrong["code"]) == ("invalid_request_error", "n", "bad_request")
    assert shape(Overloaded("full"))["type"] == "rate_limit_error"
    assert shape(EngineFailed("x"))["type"] == "server_error"
    assert shape(EngineFailed("x"))["request_id"] == "r1"


def test_events_keep_lines_apart() -> None:
    assert sse.encode_event(b"uno") == b"data: uno\n\n"
    assert sse.encode_event(b"uno\r\ndos\rtres\n") == b"data: uno\ndata: dos\ndata: tres\ndata: \n\n"
