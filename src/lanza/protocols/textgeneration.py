"""The wire of text-generation-inference: whole answers, stream events and errors, as bytes.

One string as input gets a list with one answer when the body asks for no details, else the answer itself:
that is what clients of it expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lanza.errors import BadRequest, LanzaError, Overloaded
from lanza.tasks.text_generation import (
    NEW_TOKENS,
    Details,
    FinishReason,
    Generated,
    GeneratedToken,
    TextGenerationParameters,
    Written,
)

_FINISH: Final[dict[str | None, FinishReason]] = {
    "stop": "eos_token",
    "length": "length",
    "stop_sequence": "stop_sequence",
}


def settings(parameters: TextGenerationParameters, *, room: int | None) -> dict[str, Any]:
    """How to choose tokens, by the names that engines have for it.

    `room` is how many positions the prompt leaves; it bounds the default length only.
    """
    default = NEW_TOKENS if room is None else max(1, min(NEW_TOKENS, room))
    temperature = 1.0 if parameters.temperature is None else parameters.temperature
    return {
        "max_new_tokens": default if parameters.max_new_tokens is None else parameters.max_new_tokens,
        "temperature": temperature if parameters.samples else 0.0,
        "top_p": parameters.top_p,
        "top_k": parameters.top_k,
        "typical_p": parameters.typical_p,
        "repetition_penalty": parameters.repetition_penalty,
        "frequency_penalty": parameters.frequency_penalty,
        "presence_penalty": parameters.presence_penalty,
        "seed": parameters.seed,
        "stop": parameters.stops,
        "top_logprobs": parameters.top_n_tokens or 0,
    }


def encode_answer(tokens: Sequence[Written], parameters: TextGenerationParameters, *, before: str) -> bytes:
    """The whole answer; `before` is the prompt when it is to be repeated, else empty."""
    text = before + "".join(token.text for token in tokens)
    if not parameters.details:
        return msgspec.json.encode([Generated(generated_text=text)])
    details = Details(
        finish_reason=_FINISH[tokens[-1].finish],
        generated_tokens=len(tokens),
        seed=parameters.seed,
        prefill=[],
        tokens=[_token(token) for token in tokens],
        top_tokens=[_top(token, parameters.top_n_tokens) for token in tokens]
        if parameters.top_n_tokens
        else None,
    )
    return msgspec.json.encode(Generated(generated_text=text, details=details))


def encode_token(
    index: int, token: Written, parameters: TextGenerationParameters, *, text: str, prompt_tokens: int
) -> bytes:
    """The data of one stream event, `index` from 1. `text` is the whole answer, sent with the last token."""
    last = token.finish is not None
    event: dict[str, Any] = {"index": index, "token": _token(token)}
    if parameters.top_n_tokens:
        event["top_tokens"] = _top(token, parameters.top_n_tokens)
    event["generated_text"] = text if last else None
    event["details"] = None
    if last:
        event["details"] = {
            "finish_reason": _FINISH[token.finish],
            "generated_tokens": index,
            "input_length": prompt_tokens,
            "seed": parameters.seed,
        }
    return msgspec.json.encode(event)


def encode_error(error: LanzaError, request_id: str = "") -> bytes:
    """The body of an error, and the data of an error event."""
    body = {"error": error.message, "error_type": _error_type(error), "code": error.code}
    return msgspec.json.encode(body | ({"request_id": request_id} if request_id else {}))


def _error_type(error: LanzaError) -> str:
    if isinstance(error, Overloaded):
        return "overloaded"
    return "validation" if isinstance(error, BadRequest) else "generation"


def _token(token: Written) -> GeneratedToken:
    return GeneratedToken(id=token.id, text=token.text, logprob=token.logprob, special=token.special)


def _top(token: Written, most: int) -> list[GeneratedToken]:
    return [GeneratedToken(id=i, text=text, logprob=p, special=False) for i, text, p in token.top[:most]]
