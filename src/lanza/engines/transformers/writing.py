"""How long a model that writes may write: the caller's wishes within the model's positions.

Beyond the position table a model raises in the middle of its work, so what does not fit is refused before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lanza.errors import BadRequest
from lanza.models.positions import max_positions

DEFAULT_TOKENS: Final = 64
"""What is written when neither the caller nor the model's generation config says how much."""


def decoder_positions(model: Any) -> int | None:
    """How many tokens the part that writes has positions for; None where there is no table."""
    config = model.config.get_text_config(decoder=True)
    own = getattr(config, "max_target_positions", None)
    return int(own) if own else max_positions(config.to_dict())


def bounded(
    arguments: Mapping[str, Any],
    model: Any,
    *,
    positions: int | None,
    taken: int = 1,
    default: int = DEFAULT_TOKENS,
) -> dict[str, Any]:
    """The arguments with a length that fits. `taken` positions are the start's. BadRequest when none does."""
    room = None if positions is None else max(1, positions - taken)
    for name in ("max_new_tokens", "max_length"):
        if room is not None and arguments.get(name, 0) > room + (taken if name == "max_length" else 0):
            raise BadRequest(
                f"`{name}` is {arguments[name]} and this model writes at most {room} tokens: ask for fewer."
            )
    complete = dict(arguments)
    if "max_new_tokens" not in complete and "max_length" not in complete and not _says_length(model):
        complete["max_new_tokens"] = default if room is None else min(default, room)
    _check_least(complete, model, taken)
    return complete


def _says_length(model: Any) -> bool:
    own = model.generation_config
    return own.max_new_tokens is not None or own.max_length is not None


def _check_least(arguments: Mapping[str, Any], model: Any, taken: int) -> None:
    own = model.generation_config
    most = arguments.get("max_new_tokens")
    if most is None:
        whole = arguments.get("max_length") or own.max_length
        most = whole - taken if whole is not None else own.max_new_tokens
    for name, extra in (("min_new_tokens", 0), ("min_length", taken)):
        if arguments.get(name, 0) > most + extra:
            raise BadRequest(
                f"`{name}` is {arguments[name]} and at most {most} tokens are written: "
                "ask for fewer, or send a larger `max_new_tokens`."
            )
