"""How models that write text about an image or a recording may be told to write it.

A closed list of parameters, each with its bounds, so that no caller can reach the rest of what a generation
loop takes. Turned into plain keyword arguments; nothing here knows a model.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from lanza.errors import BadRequest
from lanza.tasks.base import Parameters

MAX_NEW_TOKENS: Final = 4096
MAX_BEAMS: Final = 16

_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "max_length": (1, MAX_NEW_TOKENS),
    "max_new_tokens": (1, MAX_NEW_TOKENS),
    "min_length": (0, MAX_NEW_TOKENS),
    "min_new_tokens": (0, MAX_NEW_TOKENS),
    "no_repeat_ngram_size": (0, 64),
    "num_beams": (1, MAX_BEAMS),
    "temperature": (0.0, 100.0),
    "top_k": (0, 100_000),
    "top_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "epsilon_cutoff": (0.0, 1.0),
    "eta_cutoff": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
    "length_penalty": (-10.0, 10.0),
}
_OPEN_BELOW: Final = frozenset({"top_p", "typical_p"})
_SAMPLES: Final = frozenset({"temperature", "top_k", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff"})
_REMOVED: Final = {"num_beam_groups": 1, "penalty_alpha": 0.0}


class GenerationParameters(Parameters, frozen=True, kw_only=True):
    """`generation_parameters` (or, by its older name, `generate_kwargs`) of a body."""

    do_sample: bool | None = None
    early_stopping: bool | Literal["never"] | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    length_penalty: float | None = None
    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    no_repeat_ngram_size: int | None = None
    num_beam_groups: int | None = None
    num_beams: int | None = None
    penalty_alpha: float | None = None
    repetition_penalty: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    use_cache: bool | None = None


def generation_arguments(parameters: GenerationParameters | None) -> dict[str, Any]:
    """The parameters that were given, by name. BadRequest for one that is out of bounds."""
    if parameters is None:
        return {}
    given = {
        name: value
        for name in parameters.__struct_fields__
        if (value := getattr(parameters, name)) is not None
    }
    for name, value in given.items():
        _check(name, value)
    for name, neutral in _REMOVED.items():
        if given.pop(name, neutral) != neutral:
            raise BadRequest(f"`generation_parameters.{name}` is not served here: leave it out.")
    return _consistent(given)


def _check(name: str, value: Any) -> None:
    if name not in _BOUNDS:
        return
    low, high = _BOUNDS[name]
    if not low <= value <= high or (name in _OPEN_BELOW and value == low):
        bounds = f"above {low:g} and at most {high:g}" if name in _OPEN_BELOW else f"from {low:g} to {high:g}"
        raise BadRequest(f"`generation_parameters.{name}` is {value:g}: it must be {bounds}.")


def _consistent(given: dict[str, Any]) -> dict[str, Any]:
    if "max_length" in given and "max_new_tokens" in given:
        del given["max_length"]  # `max_new_tokens` takes precedence, as its description promises
    most = given.get("max_new_tokens")
    if most is not None and given.get("min_new_tokens", 0) > most:
        raise BadRequest(
            f"`generation_parameters.min_new_tokens` is {given['min_new_tokens']} "
            f"and `max_new_tokens` is {most}: ask for no more than the most."
        )
    if given.get("temperature") == 0.0:
        del given["temperature"]  # the likeliest token each time, which is what no sampling does
        given["do_sample"] = False
    if given.get("do_sample") is False or (given.get("do_sample") is None and not _SAMPLES & given.keys()):
        return {name: value for name, value in given.items() if name not in _SAMPLES}
    # A sampling parameter that is sent is meant: without `do_sample` the loop would ignore it.
    return given | {"do_sample": True}
