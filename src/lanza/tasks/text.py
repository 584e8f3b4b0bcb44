"""Text for encoder models: from a string to token sequences, with no torch and no global state.

A `TextEncoder` cuts a text into `Tokens` (ids without special tokens, and where each lies in the text) and
composes one or two of them into the `TokenSequence` that the model reads. How the model frames them
(`[CLS] a [SEP] b [SEP]`, `<s> a </s></s> b </s>`, ...) is learned once from the tokenizer itself, so windows
over a long text cost a slice each. It does not pad: batches are padded by the engines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from lanza.errors import BadRequest, InputTooLong, ModelError

Output = Mapping[str, npt.NDArray[np.float32]]
"""What an engine answers for one sequence: each output of the model by name, padding cut off."""

UNBOUNDED: Final = 16_384
"""The most tokens in a sequence for a model without a position table: memory must end somewhere."""

MAX_CHARACTERS: Final = 500_000
"""The longest text that is cut into tokens at all: about a second's work and 150 MB."""

CHARACTERS_PER_TOKEN: Final = 64
"""No text of this many characters a token is expected: one that is to fit `limit` tokens has fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSequence:
    """What the model reads for one piece: ids and token types, both of the same length."""

    ids: list[int]
    type_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)


class Encoding(Protocol):
    """The part of `tokenizers.Encoding` that is used here."""

    @property
    def ids(self) -> list[int]: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]: ...
    @property
    def word_ids(self) -> list[int | None]: ...


class Tokens:
    """One text cut into tokens, special ones left out.

    `offsets[i]` is the half-open range of characters of token i in the text; `words[i]` numbers its word.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self.ids: list[int] = encoding.ids

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        return self._encoding.offsets

    @cached_property
    def words(self) -> list[int | None]:
        return self._encoding.word_ids

    @cached_property
    def texts(self) -> list[str]:
        return self._encoding.tokens


class Tokenizer(Protocol):
    """What cuts text: `tokenizers.Tokenizer`, or a stand-in for a tokenizer written in Python."""

    def encode(self, sequence: str, pair: str | None = None, *, add_special_tokens: bool = True) -> Any: ...
    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str: ...
    def token_to_id(self, token: str) -> int | None: ...
    def id_to_token(self, id: int) -> str | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The special tokens that a model wants around one text, or around two.

    `parts[i]` are the (id, type id) pairs before text i; the last part stands at the end. `type_ids[i]` is
    the token type of text i.
    """

    parts: tuple[tuple[tuple[int, int], ...], ...]
    type_ids: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.parts)

    @classmethod
    def learn(cls, tokenizer: Tokenizer, *, texts: int) -> Frame:
        """Read the frame off an example that the tokenizer itself has put together."""
        encoding = tokenizer.encode("a", "b" if texts == 2 else None)
        parts: list[list[tuple[int, int]]] = [[] for _ in range(texts + 1)]
        type_ids = [0] * texts
        seen = 0
        rows = zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True)
        for token_id, type_id, text in rows:
            if text is None:
                parts[seen].append((token_id, type_id))
            else:
                type_ids[text] = type_id
                seen = text + 1
        return cls(parts=tuple(tuple(part) for part in parts), type_ids=tuple(type_ids))

    def compose(self, *texts: list[int]) -> TokenSequence:
        ids: list[int] = []
        types: list[int] = []
        for part, text, text_type in zip(self.parts[:-1], texts, self.type_ids, strict=True):
            for token_id, type_id in part:
                ids.append(token_id)
                types.append(type_id)
            ids += text
            types += [text_type] * len(text)
        for token_id, type_id in self.parts[-1]:
            ids.append(token_id)
            types.append(type_id)
        return TokenSequence(ids=ids, type_ids=types)

    def start(self, text: int, before: int = 0) -> int:
        """Where text number `text` begins, when the text before it has `before` tokens."""
        return sum(len(part) for part in self.parts[: text + 1]) + before


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """Cuts texts and composes sequences for one model.

    `limit` is the most tokens in a sequence, special ones included: the model's position table.
    """

    tokenizer: Tokenizer
    limit: int
    mask_token: str | None = None
    single: Frame = field(init=False)
    pair: Frame = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "single", Frame.learn(self.tokenizer, texts=1))
        object.__setattr__(self, "pair", Frame.learn(self.tokenizer, texts=2))

    @classmethod
    def from_file(cls, path: str, *, limit: int | None, mask_token: str | None = None) -> TextEncoder:
        """Load a `tokenizer.json`; truncation and padding that were saved in it are turned off."""
        from tokenizers import Tokenizer as FastTokenizer

        try:
            tokenizer = FastTokenizer.from_file(path)
        except Exception as error:
            raise ModelError(
                f"tokenizer.json cannot be read ({error}): save the tokenizer again with save_pretrained()."
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer=tokenizer, limit=limit or UNBOUNDED, mask_token=mask_token)

    def tokens(self, text: str, *, what: str = "inputs") -> Tokens:
        """`text` cut into tokens. BadRequest when it is longer than any model reads."""
        check_characters(text, what=what)
        # The library frees Python's lock while it works on a batch, and only then.
        in_batches = getattr(self.tokenizer, "encode_batch", None)
        if in_batches is None:
            return Tokens(self.tokenizer.encode(text, add_special_tokens=False))
        return Tokens(in_batches([text], add_special_tokens=False)[0])

    def ids(self, text: str, *, what: str = "inputs") -> list[int]:
        """The ids of `tokens`, for those who need no more: offsets cost a sixth of the time."""
        fast = getattr(self.tokenizer, "encode_batch_fast", None)
        if fast is None:
            return self.tokens(text, what=what).ids
        check_characters(text, what=what)
        ids: list[int] = fast([text], add_special_tokens=False)[0].ids
        return ids

    def sequence(
        self,
        text: str,
        pair: str | None = None,
        *,
        truncate: bool = False,
        keep: str = "right",
        what: str = "inputs",
    ) -> TokenSequence:
        """Encode one text or two; too long is `InputTooLong`, or is cut when `truncate`.

        `keep` is the side whose *end* is cut: "right" drops the last tokens, "left" the first.
        """
        ids = self.ids(self._bounded(text, truncate=truncate, keep=keep), what=what)
        if pair is None:
            return self.single.compose(
                self.fit(ids, self.single.size, truncate=truncate, keep=keep, what=what)
            )
        second = self.ids(pair, what=what)
        first = self.fit(ids, self.pair.size + len(second), truncate=truncate, keep=keep, what=what)
        return self.pair.compose(first, second)

    def _bounded(self, text: str, *, truncate: bool, keep: str) -> str:
        """The part of `text` that can matter: nobody waits for a book to be read whose end is cut off."""
        most = self.limit * CHARACTERS_PER_TOKEN
        if not truncate or len(text) <= most:
            return text
        return text[:most] if keep == "right" else text[-most:]

    def fit(
        self, ids: list[int], taken: int, *, truncate: bool, keep: str = "right", what: str = "inputs"
    ) -> list[int]:
        """`ids` as they are if they fit beside `taken` other tokens, else cut or refused."""
        room = self.limit - taken
        if len(ids) <= room:
            return ids
        if not truncate or room < 1:
            raise InputTooLong(tokens=len(ids) + taken, limit=self.limit, what=what)
        return ids[:room] if keep == "right" else ids[-room:]


def check_characters(text: str, *, what: str = "inputs") -> str:
    """Refuse a text that would take seconds to cut into tokens."""
    if len(text) > MAX_CHARACTERS:
        raise BadRequest(
            f"`{what}` has {len(text)} characters and at most {MAX_CHARACTERS} are read: split it."
        )
    return text


def require_text(text: str, *, what: str = "inputs") -> str:
    """Refuse a text that is empty or blank: no model says anything of use about it."""
    if not text or text.isspace():
        raise BadRequest(f"`{what}` is empty: send some text.")
    return text


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def sigmoid(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 1.0 / (1.0 + np.exp(-logits))  # type: ignore[no-any-return]
