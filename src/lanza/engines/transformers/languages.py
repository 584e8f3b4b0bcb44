"""How a sequence-to-sequence model is told what to do: a prefix, a language's code, or nothing.

The model held here: families differ. T5 reads an instruction before the text, which its config spells out
for each task; Marian's models of many targets read a code such as `>>fra<<`; NLLB, M2M100 and mBART have a
token for each language, put around the source by the tokenizer and forced upon the answer's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lanza.errors import BadRequest

_FLORES: Final = re.compile(r"[a-z]{2,4}_[A-Z][A-Za-z]{1,3}")
_SHOWN: Final = 8


@dataclass(frozen=True, kw_only=True)
class Direction:
    """What one request's languages come to. `source` is set on the tokenizer, None leaves it as it is."""

    prefix: str = ""
    source: str | None = None
    first_token: int | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Languages:
    """What one model can be told. `codes` maps languages to tokens; `recipes` are T5's, by task name.

    `decided` is whether the model's own settings already say which language it writes.
    """

    task: str
    codes: Mapping[str, int]
    markers: frozenset[str]
    recipes: Mapping[str, Mapping[str, Any]]
    decided: bool
    default_target: str | None = None

    @classmethod
    def read(cls, task: str, tokenizer: Any, config: Mapping[str, Any], generation: Any) -> Languages:
        codes = language_codes(tokenizer)
        recipes = config.get("task_specific_params")
        starts = {
            getattr(generation, "forced_bos_token_id", None),
            getattr(generation, "decoder_start_token_id", None),
        }
        target = getattr(tokenizer, "tgt_lang", None)
        return cls(
            task=task,
            codes=codes,
            markers=frozenset(getattr(tokenizer, "supported_language_codes", None) or ()),
            recipes=_recipes(recipes),
            decided=bool(starts & set(codes.values())),
            default_target=target if target in codes else None,
        )

    def direct(self, source: str | None, target: str | None) -> Direction:
        """BadRequest when a language is unknown, or is needed and not given."""
        if (source is None) != (target is None):
            raise BadRequest("`parameters.src_lang` and `parameters.tgt_lang` belong together: send both.")
        if source is None or target is None:
            return self._undirected()
        if self.codes:
            return Direction(
                source=self._known("src_lang", source),
                first_token=self.codes[self._known("tgt_lang", target)],
            )
        if f">>{target}<<" in self.markers:
            return Direction(prefix=f">>{target}<< ")
        return self._by_recipe(f"{self.task}_{source}_to_{target}")

    def _undirected(self) -> Direction:
        if self.task in self.recipes:
            return _direction(self.recipes[self.task])
        if self.task == "translation" and self.codes and not self.decided:
            if self.default_target is not None:
                return Direction(first_token=self.codes[self.default_target])
            raise BadRequest(
                "this model translates between many languages: send `parameters.src_lang` and "
                f"`parameters.tgt_lang`, such as {_some(self.codes)}."
            )
        return Direction()

    def _known(self, name: str, code: str) -> str:
        if code not in self.codes:
            raise BadRequest(
                f"`parameters.{name}` is {code!r}, which this model does not know; "
                f"it knows {_some(self.codes)}."
            )
        return code

    def _by_recipe(self, name: str) -> Direction:
        if name in self.recipes:
            return _direction(self.recipes[name])
        known = [recipe for recipe in self.recipes if recipe.startswith(f"{self.task}_")] or sorted(
            self.markers
        )
        raise BadRequest(
            "`parameters.src_lang` and `parameters.tgt_lang`: this model "
            + (f"knows {_some(known)}." if known else "has one direction only: leave them out.")
        )


def language_codes(tokenizer: Any) -> dict[str, int]:
    """Language to token id, empty for a tokenizer that has no languages."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    named = getattr(tokenizer, "lang_code_to_id", None)
    if isinstance(named, dict) and named:
        return {str(code): int(token) for code, token in named.items()}
    special = [token for token in tokenizer.all_special_tokens if _FLORES.fullmatch(token)]
    return {token: int(tokenizer.convert_tokens_to_ids(token)) for token in special}


def _recipes(value: Any) -> dict[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        return {}
    return {str(name): recipe for name, recipe in value.items() if isinstance(recipe, dict)}


def _direction(recipe: Mapping[str, Any]) -> Direction:
    prefix = recipe.get("prefix")
    return Direction(prefix=prefix if isinstance(prefix, str) else "", defaults=recipe)


def _some(names: Any) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
