"""Requests of OpenAI's API: decoded, checked, and told as messages, prompts and plain settings."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lanza.errors import BadRequest
from lanza.protocols.huggingface import decode_json
from lanza.tasks.text_generation import MOST_TOP_TOKENS, check_stops

CHAT_TOKENS: Final = 2048
"""The most tokens of a chat answer when the request does not say: else a model could write for hours."""

COMPLETION_TOKENS: Final = 16
"""OpenAI's documented default for completions."""

_CHAT_HINT: Final = 'send JSON like {"messages": [{"role": "user", "content": "Hola"}]}'
_COMPLETION_HINT: Final = 'send JSON like {"prompt": "La beca se solicita", "max_tokens": 20}'
_ROLES: Final = {"developer": "system", "function": "tool"} | {
    role: role for role in ("assistant", "system", "tool", "user")
}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    text: str | None = None


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True):
    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[Any] | None = None


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    include_usage: bool | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What chat and completions share. `top_k` and `repetition_penalty` are a common extension."""

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Request, frozen=True, kw_only=True):
    messages: list[ChatMessage]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    response_format: Any = None


class CompletionRequest(Request, frozen=True, kw_only=True):
    """`prompt` is one text, or one list of token ids."""

    prompt: str | list[Any]
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None


def decode_chat(body: bytes) -> ChatRequest:
    """BadRequest says which field is wrong or not served."""
    request: ChatRequest = decode_json(body, ChatRequest, hint=_CHAT_HINT)
    _check(request)
    if not request.messages:
        raise BadRequest("`messages` is empty: send at least one message.")
    if request.tools and request.tool_choice != "none":
        raise BadRequest("`tools`: calling tools is not served by this engine yet: leave it out.")
    if request.functions:
        raise BadRequest("`functions`: calling functions is not served by this engine yet: leave it out.")
    if (kind := _format(request.response_format)) not in (None, "text"):
        raise BadRequest(f"`response_format` {kind!r} is not served by this engine yet: leave it out.")
    _between("top_logprobs", request.top_logprobs, 0, MOST_TOP_TOKENS)
    if request.top_logprobs and not request.logprobs:
        raise BadRequest('`top_logprobs` is for requests with "logprobs": true.')
    return request


def decode_completion(body: bytes) -> CompletionRequest:
    """BadRequest says which field is wrong or not served."""
    request: CompletionRequest = decode_json(body, CompletionRequest, hint=_COMPLETION_HINT)
    _check(request)
    if request.best_of not in (None, 1):
        raise BadRequest("`best_of`: only one answer is written: leave it out, or send 1.")
    if request.suffix:
        raise BadRequest("`suffix`: filling in the middle is not served: leave it out.")
    _between("logprobs", request.logprobs, 0, MOST_TOP_TOKENS)
    return request


def prompt_of(request: CompletionRequest) -> str | tuple[int, ...]:
    """The one prompt, as text or as token ids."""
    prompt = request.prompt
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if prompt and all(type(token) is int and token >= 0 for token in prompt):
        return tuple(prompt)
    raise BadRequest("`prompt` must be one text or one list of token ids: send several in several requests.")


def messages_of(request: ChatRequest) -> list[dict[str, Any]]:
    """The messages as chat templates know them: text alone, and roles that all of them know."""
    return [_message(number, message) for number, message in enumerate(request.messages)]


def settings(request: Request, *, room: int | None) -> dict[str, Any]:
    """How to choose tokens, by the names that engines have for it. OpenAI's default temperature is 1.

    `room` is how many positions the prompt leaves; it bounds the default length only.
    """
    most, default, top = request.max_tokens, COMPLETION_TOKENS, 0
    if isinstance(request, ChatRequest):
        most = request.max_completion_tokens if request.max_completion_tokens is not None else most
        # The first of the likeliest brings the token's own text along, which its log-probability needs.
        default, top = CHAT_TOKENS, max(1, request.top_logprobs or 0) if request.logprobs else 0
    elif isinstance(request, CompletionRequest):
        top = 0 if request.logprobs is None else max(1, request.logprobs)
    if most is None:
        most = default if room is None else max(1, min(default, room))
    return {
        "max_new_tokens": most,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k if request.top_k and request.top_k > 0 else None,
        "repetition_penalty": request.repetition_penalty,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": None if request.seed is None else request.seed % 2**63,
        "stop": request.stops,
        "top_logprobs": top,
    }


def _check(request: Request) -> None:
    if request.n not in (None, 1):
        raise BadRequest("`n`: only one answer is written for each request: leave it out, or send 1.")
    if request.logit_bias:
        raise BadRequest("`logit_bias` is not served by this engine yet: leave it out.")
    _between("temperature", request.temperature, 0, 2)
    _between("top_p", request.top_p, 0, 1, open_below=True)
    _between("frequency_penalty", request.frequency_penalty, -2, 2)
    _between("presence_penalty", request.presence_penalty, -2, 2)
    _between("repetition_penalty", request.repetition_penalty, 0, 100, open_below=True)
    _between("max_tokens", request.max_tokens, 1, 1_000_000)
    if isinstance(request, ChatRequest):
        _between("max_completion_tokens", request.max_completion_tokens, 1, 1_000_000)
    check_stops(request.stops, what="stop")


def _between(name: str, value: float | None, low: float, high: float, *, open_below: bool = False) -> None:
    if value is None or (low <= value <= high and not (open_below and value == low)):
        return
    bounds = f"above {low:,} and at most {high:,}" if open_below else f"from {low:,} to {high:,}"
    raise BadRequest(f"`{name}` is {value}: it must be {bounds}.")


def _format(response_format: Any) -> Any:
    return response_format.get("type") if isinstance(response_format, dict) else response_format


def _message(number: int, message: ChatMessage) -> dict[str, Any]:
    role = _ROLES.get(message.role)
    if role is None:
        raise BadRequest(
            f"`messages.{number}.role` is {message.role!r}: it must be one of {', '.join(sorted(_ROLES))}."
        )
    extra = {"name": message.name, "tool_call_id": message.tool_call_id, "tool_calls": message.tool_calls}
    return {
        "role": role,
        "content": _text(number, message.content),
        **{name: value for name, value in extra.items() if value is not None},
    }


def _text(number: int, content: str | list[Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.type not in ("text", "input_text") or part.text is None:
            raise BadRequest(
                f"`messages.{number}.content` has a part of type {part.type!r}, "
                "and this model reads text only."
            )
    return "\n".join(part.text or "" for part in content)
