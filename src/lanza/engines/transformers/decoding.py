"""One prompt being continued, a step at a time, so that several can take turns.

The model held here: what the model has read is kept in a cache, and each step reads a little more: a part of
the prompt, or the token that came last. A model that keeps no cache of the usual kind reads everything again
at each step: slower, and as right.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from lanza.engines.base import Generation, Token
from lanza.engines.transformers.sampler import Sampler
from lanza.engines.transformers.text_stream import TextStream

PROMPT_STEP: Final = 512
"""Tokens of a prompt that are read in one step: a long prompt must not make the others wait."""

CACHE_NAMES: Final = ("cache", "past_key_values")
"""What transformers calls a model's cache: since 5.24, and before."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """A causal model with what is needed to write with it.

    `ends` are the ids that end an answer, `special` those that are no text. `cache` is the name under which
    the model takes what it has read, or empty when it keeps none; `keeps`: it can be told to compute the last
    logits only.
    """

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    device: torch.device
    cache: str = field(init=False)
    keeps: bool = field(init=False)
    special: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        takes = inspect.signature(self.model.forward).parameters
        usual = getattr(self.model, "_supports_default_dynamic_cache", lambda: True)()
        supported = usual and not getattr(self.model, "_is_stateful", False)
        named = next((name for name in CACHE_NAMES if name in takes), "")
        object.__setattr__(self, "cache", named if supported else "")
        object.__setattr__(self, "keeps", "logits_to_keep" in takes)
        object.__setattr__(self, "special", frozenset(self.tokenizer.all_special_ids))

    def decode(self, ids: list[int], *, special: bool = False) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=not special))


class Decoding:
    """The state of one generation. `step` is called from one thread at a time."""

    def __init__(self, language: Language, generation: Generation) -> None:
        self._language = language
        self._sampling = generation.sampling
        self._ids = list(generation.prompt)
        self._prompt = len(self._ids)
        self._read = 0
        self._cache: Any = None
        self._sampler = Sampler(generation.sampling, language.device)
        self._text = TextStream(language.decode, prompt=generation.prompt, stop=generation.sampling.stop)

    def step(self) -> Token | None:
        """Read on; the next token, or None while there is more of the prompt to be read."""
        with torch.inference_mode():
            logits = self._logits()
            if logits is None:
                return None
            token, logprob, top = self._sampler.choose(logits, self._ids)
        self._ids.append(token)
        return self._token(token, logprob, top)

    def _logits(self) -> Any:
        """The logits [vocabulary] after all ids, or None when only a part of the prompt was read."""
        language = self._language
        if not language.cache:
            return self._forward(self._ids, cache={})
        if self._cache is None:
            from transformers import DynamicCache

            self._cache = DynamicCache(config=language.model.config.get_text_config(decoder=True))
        chunk = self._ids[self._read : self._read + PROMPT_STEP]
        logits = self._forward(chunk, cache={language.cache: self._cache, "use_cache": True})
        self._read += len(chunk)
        return logits if self._read == len(self._ids) else None

    def _forward(self, ids: list[int], *, cache: dict[str, Any]) -> Any:
        language = self._language
        read = self._read + len(ids) if cache else len(ids)
        keep = {"logits_to_keep": 1} if language.keeps else {}
        output = language.model(
            input_ids=torch.tensor([ids], device=language.device),
            attention_mask=torch.ones((1, read), dtype=torch.long, device=language.device),
            return_dict=True,
            **keep,
            **cache,
        )
        return output.logits[0, -1]

    def _token(self, token: int, logprob: float, top: list[tuple[int, float]]) -> Token:
        ended = token in self._language.ends
        text = "" if ended else self._text.add(token)
        finish: Any = None
        if ended:
            finish = "stop"
        elif self._text.stopped:
            finish = "stop_sequence"
        elif len(self._ids) - self._prompt >= self._sampling.max_new_tokens:
            finish = "length"
        return Token(
            id=token,
            text=text + self._text.end() if finish else text,
            logprob=logprob,
            special=token in self._language.special,
            top=tuple((i, self._language.decode([i], special=True), p) for i, p in top),
            finish=finish,
        )
