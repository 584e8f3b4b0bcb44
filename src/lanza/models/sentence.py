"""How a sentence-transformers folder makes one vector of many: its modules, read from their small files.

The model held here: modules.json lists steps after the encoder. Pooling and normalising are read here; a
folder with any other step (a dense layer, for one) would be answered wrongly without it, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lanza.errors import ModelError
from lanza.models.documents import Json, parse_json, read_json, read_json_or_empty
from lanza.models.layout import is_inside

MODES: Final = ("cls", "lasttoken", "max", "mean")
"""The ways of pooling that are served; each token counts the same, or one token counts alone."""

_OLD_MODES: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """`how` is one of MODES; `prompts` are named prefixes of texts."""

    how: str
    normalize: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)


def read_pooling(path: Path) -> Pooling:
    """What modules.json and the files that it names say. ModelError when a step of it is not served here."""
    how: str | None = None
    normalize = False
    for module in _modules(path):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            how = _mode(read_json(path / _folder(module) / "config.json"))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ModelError(
                f"modules.json has a {kind or 'nameless'} step, which is not served: "
                "wrap the model in a handler.py that runs sentence-transformers."
            )
    return Pooling(how=how or "mean", normalize=normalize, prompts=_prompts(path))


def _modules(path: Path) -> list[Json]:
    modules = parse_json(path / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError("modules.json is not a list of steps: save the model again with its save().")
    return modules


def _folder(module: Json) -> str:
    name = module.get("path")
    if not isinstance(name, str) or (name and not is_inside(name)):
        raise ModelError(f"modules.json names the folder {name!r}, which is not inside the model's.")
    return name


def _mode(config: Json) -> str:
    if config.get("include_prompt") is False:
        raise ModelError(
            "1_Pooling/config.json leaves prompts out of the vector, which is not served: "
            "wrap the model in a handler.py."
        )
    chosen: Any = config.get("pooling_mode")
    if chosen is None:
        chosen = [mode for key, mode in _OLD_MODES.items() if config.get(key)] or ["mean"]
    modes = [chosen] if isinstance(chosen, str) else list(chosen)
    if len(modes) != 1 or modes[0] not in MODES:
        raise ModelError(
            f"1_Pooling/config.json pools by {' and '.join(map(str, modes))}; served are: {', '.join(MODES)}."
        )
    return str(modes[0])


def _prompts(path: Path) -> dict[str, str]:
    prompts = read_json_or_empty(path / "config_sentence_transformers.json").get("prompts")
    if not isinstance(prompts, dict):
        return {}
    return {str(name): text for name, text in prompts.items() if isinstance(text, str) and text}
