"""From token ids to text as it grows: whole characters only, and never a part of a stop string.

The model held here: a token's text depends on those before it, so a window of ids is decoded with and
without the new one, and the difference is what it adds. While the difference ends in half a character it is
kept; what could be the beginning of a stop string is kept as well, until it is one or cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

CONTEXT: Final = 6
"""How many ids of the prompt are decoded along: some tokenizers drop the blank before a first word."""

_UNFINISHED: Final = "\ufffd"
_LONGEST_CHARACTER: Final = 8
"""Ids that one character can take, with room to spare: more than that is no character being finished."""


class TextStream:
    """The text of one generation. `decode` is the tokenizer's, special tokens skipped."""

    def __init__(
        self, decode: Callable[[list[int]], str], *, prompt: Sequence[int] = (), stop: Sequence[str] = ()
    ) -> None:
        self._decode = decode
        self._ids = list(prompt[-CONTEXT:])
        self._before = 0
        self._read = len(self._ids)
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that may be told now that `token` has come; `stopped` once that met a stop string."""
        self._ids.append(token)
        return self._release(self._grown())

    def end(self) -> str:
        """What was held back, now that nothing more comes."""
        if self.stopped:
            return ""
        text = self._release(self._grown(finish=True))
        rest, self._held = self._held, ""
        return text + rest

    def _grown(self, *, finish: bool = False) -> str:
        before = self._decode(self._ids[self._before : self._read])
        after = self._decode(self._ids[self._before :])
        waiting = len(self._ids) - self._read
        if after.endswith(_UNFINISHED) and waiting < _LONGEST_CHARACTER and not finish:
            return ""
        self._before, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def _release(self, text: str) -> str:
        text = self._held + text
        found = [place for place in (text.find(stop) for stop in self._stop) if place >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
