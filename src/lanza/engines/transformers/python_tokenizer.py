"""A stand-in for the Rust side of a tokenizer that is written in Python: the same few methods, slower.

The model held here: such a tokenizer does not say where its tokens lie in the text, so each is looked for
from the end of the one before it: as it is written, then without regard to case and accents. A token that is
not found (bytes of a character, a normalised sign) gets the empty range where it was expected. Words are what
stands between blanks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

_MARKS: Final = ("##", "▁", "@@", "</w>", "Ġ")
"""How vocabularies write that a token begins, or does not begin, a word."""


@dataclass(frozen=True, kw_only=True)
class PythonEncoding:
    """What `tokenizers.Encoding` says, for ids that a Python tokenizer made of `text`."""

    text: str
    ids: list[int]
    type_ids: list[int]
    sequence_ids: list[int | None]
    tokens: list[str]

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        return find_tokens(self.text, self.tokens)

    @cached_property
    def word_ids(self) -> list[int | None]:
        numbers: list[int] = []
        for i, sign in enumerate(self.text):
            begins = not sign.isspace() and (i == 0 or self.text[i - 1].isspace())
            numbers.append((numbers[-1] if numbers else -1) + begins)
        return [max(numbers[start], 0) if start < len(numbers) else None for start, _ in self.offsets]


class PythonTokenizer:
    """Implements `lanza.tasks.text.Tokenizer` over a transformers tokenizer without a Rust side."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(
        self, sequence: str, pair: str | None = None, *, add_special_tokens: bool = True
    ) -> PythonEncoding:
        encoded = self._tokenizer(
            sequence, pair, add_special_tokens=add_special_tokens, return_token_type_ids=True
        )
        ids: list[int] = list(encoded["input_ids"])
        return PythonEncoding(
            text=sequence,
            ids=ids,
            type_ids=list(encoded["token_type_ids"]),
            sequence_ids=self._sequences(ids, sequence, pair, framed=add_special_tokens),
            tokens=self._tokenizer.convert_ids_to_tokens(ids),
        )

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def token_to_id(self, token: str) -> int | None:
        return self._tokenizer.get_vocab().get(token)  # type: ignore[no-any-return]

    def id_to_token(self, id: int) -> str | None:
        token = self._tokenizer.convert_ids_to_tokens(id)
        return token if isinstance(token, str) else None

    def _sequences(self, ids: list[int], *texts: str | None, framed: bool) -> list[int | None]:
        """For each id the number of its text, None for a special token that frames the texts."""
        if not framed:
            return [0] * len(ids)
        result: list[int | None] = [None] * len(ids)
        position = 0
        for number, text in enumerate(texts):
            if text is None:
                continue
            own = self._tokenizer.encode(text, add_special_tokens=False)
            while position < len(ids) and ids[position : position + len(own)] != own:
                position += 1
            result[position : position + len(own)] = [number] * len(own)
            position += len(own)
        return result[: len(ids)]


def find_tokens(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where each token lies in `text`, as half-open ranges of characters, none before the one before it."""
    plain = _plain(text)
    places: list[tuple[int, int]] = []
    position = 0
    for token in tokens:
        surface = token
        for mark in _MARKS:
            surface = surface.removeprefix(mark).removesuffix(mark)
        start = _find(text, plain, surface, position)
        if surface and start >= 0:
            position = start + len(surface)
            places.append((start, position))
        else:
            places.append((position, position))
    return places


def _find(text: str, plain: str, surface: str, position: int) -> int:
    # Near, or not at all: a far match would skip over all the text between.
    end = position + len(surface) + 16
    found = text.find(surface, position, end)
    return found if found >= 0 else plain.find(_plain(surface), position, end)


def _plain(text: str) -> str:
    """`text` in lower case without accents, every character in its place."""
    return "".join(_plain_sign(sign) for sign in text)


def _plain_sign(sign: str) -> str:
    base = unicodedata.normalize("NFKD", sign)[:1].lower()
    return base if len(base) == 1 else sign
