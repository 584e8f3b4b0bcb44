"""Text generation: a prompt continued, in the words of the text-generation-inference protocol.

What that protocol names and no engine here does yet is refused by name. Sampling begins when the body asks
for it, by `do_sample` or by any setting that only matters to sampling; else the likeliest token is taken.
"""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol

import msgspec

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Parameters, Task

NEW_TOKENS: Final = 100
"""How many tokens an answer has when nobody says: what clients document as the default."""

MOST_TOP_TOKENS: Final = 20
MOST_STOPS: Final = 16

FinishReason = Literal["length", "eos_token", "stop_sequence"]


class Written(Protocol):
    """One token as it was written, as far as wire formats tell.

    `top` has (id, text, log-probability) of the likeliest, as many as were asked for; the token itself is
    among them or stands after them.
    """

    @property
    def id(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def logprob(self) -> float: ...
    @property
    def special(self) -> bool: ...
    @property
    def top(self) -> tuple[tuple[int, str, float], ...]: ...
    @property
    def finish(self) -> Literal["stop", "length", "stop_sequence"] | None: ...


class TextGenerationParameters(Parameters, frozen=True, kw_only=True):
    """All that the protocol has. `truncate` keeps so many tokens of the prompt's end."""

    adapter_id: str | None = None
    best_of: int | None = None
    decoder_input_details: bool | None = None
    details: bool | None = None
    do_sample: bool | None = None
    frequency_penalty: float | None = None
    grammar: Any = None
    max_new_tokens: int | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    return_full_text: bool | None = None
    seed: int | None = None
    stop: list[str] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_n_tokens: int | None = None
    top_p: float | None = None
    truncate: int | None = None
    typical_p: float | None = None
    watermark: bool | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (*(self.stop or ()), *(self.stop_sequences or ()))

    @property
    def samples(self) -> bool:
        chosen = (self.temperature, self.top_k, self.top_p, self.typical_p)
        return self.do_sample if self.do_sample is not None else any(value is not None for value in chosen)


class TextGenerationBody(Body, frozen=True, kw_only=True):
    inputs: str
    parameters: TextGenerationParameters | None = None
    stream: bool | None = None


class GeneratedToken(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    text: str
    logprob: float
    special: bool


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    finish_reason: FinishReason
    generated_tokens: int
    seed: int | None
    prefill: list[GeneratedToken]
    tokens: list[GeneratedToken]
    top_tokens: list[list[GeneratedToken]] | None = None


class Generated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    generated_text: str
    details: Details | None = None


def check(parameters: TextGenerationParameters) -> None:
    """Refuse what is not served, and what is out of bounds. BadRequest names it."""
    _check_served(parameters)
    for name, low, high in _BOUNDS:
        value = getattr(parameters, name)
        if value is not None and not low <= value <= high:
            raise BadRequest(f"`parameters.{name}` is {value}: it must be from {low:,} to {high:,}.")
    for name in ("top_p", "typical_p", "repetition_penalty"):
        if getattr(parameters, name) == 0:
            raise BadRequest(f"`parameters.{name}` is 0: it must be above 0.")
    check_stops(parameters.stops, what="parameters.stop")


def check_stops(stops: tuple[str, ...], *, what: str) -> None:
    if len(stops) > MOST_STOPS:
        raise BadRequest(f"`{what}` has {len(stops)} strings: send at most {MOST_STOPS}.")
    if not all(stops):
        raise BadRequest(f"`{what}` has an empty string, which every answer would begin with: leave it out.")


_BOUNDS: Final[tuple[tuple[str, float, float], ...]] = (
    ("frequency_penalty", -2, 2),
    ("max_new_tokens", 1, 1_000_000),
    ("presence_penalty", -2, 2),
    ("repetition_penalty", 0, 100),
    ("seed", 0, 2**63 - 1),
    ("temperature", 0, 100),
    ("top_k", 0, 1_000_000),
    ("top_n_tokens", 0, MOST_TOP_TOKENS),
    ("top_p", 0, 1),
    ("truncate", 1, 1_000_000),
    ("typical_p", 0, 1),
)

_UNSERVED: Final = {
    "adapter_id": "choosing an adapter by request",
    "decoder_input_details": "log-probabilities of the prompt",
    "grammar": "constrained generation",
    "watermark": "watermarks",
}


def _check_served(parameters: TextGenerationParameters) -> None:
    for name, what in _UNSERVED.items():
        if getattr(parameters, name):
            raise BadRequest(f"`parameters.{name}`: {what} is not served by this engine yet: leave it out.")
    if parameters.best_of not in (None, 1):
        raise BadRequest("`parameters.best_of`: only one answer is written: leave it out, or send 1.")


TASK = Task(
    name="text-generation",
    body=TextGenerationBody,
    answer=list[Generated] | Generated,
    example={"inputs": "La beca se solicita", "parameters": {"max_new_tokens": 20}},
)
