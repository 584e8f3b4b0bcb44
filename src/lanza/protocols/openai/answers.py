"""Answers of OpenAI's API: whole, in parts, and errors, as bytes of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from lanza.protocols import refusals
from lanza.protocols.openai.requests import ChatRequest, CompletionRequest
from lanza.tasks.text_generation import Written


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What every part of one answer repeats."""

    id: str
    created: int
    model: str


def encode_chat(
    heading: Heading, tokens: Sequence[Written], request: ChatRequest, *, prompt_tokens: int
) -> bytes:
    message = {"role": "assistant", "content": "".join(token.text for token in tokens), "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _chat_logprobs(tokens, request),
        "finish_reason": _finish(tokens[-1]),
    }
    return _answer("chat.completion", heading, [choice], usage=_usage(prompt_tokens, len(tokens)))


def encode_chat_chunk(heading: Heading, token: Written, request: ChatRequest, *, first: bool) -> bytes:
    """One part of a streamed chat: what one token adds."""
    delta = {"role": "assistant", "content": token.text} if first else {"content": token.text}
    choice = {
        "index": 0,
        "delta": delta,
        "logprobs": _chat_logprobs([token], request),
        "finish_reason": _finish(token),
    }
    return _answer("chat.completion.chunk", heading, [choice])


def encode_completion(
    heading: Heading,
    tokens: Sequence[Written],
    request: CompletionRequest,
    *,
    before: str,
    prompt_tokens: int,
) -> bytes:
    """The whole answer; `before` is the prompt when it is to be repeated, else empty."""
    choice = _completion_choice(tokens, request, before=before)
    return _answer("text_completion", heading, [choice], usage=_usage(prompt_tokens, len(tokens)))


def encode_completion_chunk(
    heading: Heading, token: Written, request: CompletionRequest, *, before: str
) -> bytes:
    """One part of a streamed completion; `before` comes with the first part only."""
    return _answer("text_completion", heading, [_completion_choice([token], request, before=before)])


def encode_usage(heading: Heading, kind: str, *, prompt_tokens: int, tokens: int) -> bytes:
    """The last part of a stream whose request asked for its usage: no choices."""
    return _answer(kind, heading, [], usage=_usage(prompt_tokens, tokens))


def encode_models(models: Sequence[str], *, created: int) -> bytes:
    entries = [{"id": name, "object": "model", "created": created, "owned_by": "lanza"} for name in models]
    return msgspec.json.encode({"object": "list", "data": entries})


encode_error: Final = refusals.openai
"""The body of an error, and the data of an error in a stream."""


def _answer(kind: str, heading: Heading, choices: list[Any], *, usage: Any = None) -> bytes:
    body = {
        "id": heading.id,
        "object": kind,
        "created": heading.created,
        "model": heading.model,
        "system_fingerprint": None,
        "choices": choices,
    }
    return msgspec.json.encode(body if usage is None else body | {"usage": usage})


def _usage(prompt_tokens: int, tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
    }


def _finish(token: Written) -> str | None:
    return "stop" if token.finish == "stop_sequence" else token.finish


def _chat_logprobs(tokens: Sequence[Written], request: ChatRequest) -> dict[str, Any] | None:
    if not request.logprobs:
        return None
    most = request.top_logprobs or 0
    content = [
        {
            **_logprob(_own_text(token), token.logprob),
            "top_logprobs": [_logprob(text, p) for _, text, p in token.top[:most]],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _logprob(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _own_text(token: Written) -> str:
    """The token alone. Its `text` is what it lets be told, which may be nothing yet, or others' as well."""
    return next((text for i, text, _ in token.top if i == token.id), token.text)


def _completion_choice(tokens: Sequence[Written], request: CompletionRequest, *, before: str) -> Any:
    logprobs = None
    if request.logprobs is not None:
        logprobs = {
            "tokens": [_own_text(token) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{text: p for _, text, p in token.top[: request.logprobs]} for token in tokens],
            "text_offset": _offsets(tokens, start=len(before)),
        }
    text = before + "".join(token.text for token in tokens)
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": _finish(tokens[-1])}


def _offsets(tokens: Sequence[Written], *, start: int) -> list[int]:
    """Where each token's text begins in the answer."""
    offsets = []
    for token in tokens:
        offsets.append(start)
        start += len(token.text)
    return offsets
