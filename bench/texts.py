"""Texts of an exact number of tokens, all different, so that no cache of any contestant can answer for it.

Their words are drawn from the model's own vocabulary by a seeded generator: each is one token, and two runs
send the same requests. Nothing here knows of HTTP.
"""

from __future__ import annotations

import random
from typing import Any


def make_texts(tokenizer: Any, *, tokens: int, count: int, seed: int = 0) -> list[str]:
    """`count` different texts that `tokenizer` (of the tokenizers library) makes `tokens` long, special
    tokens included. ValueError when it has too few whole words for that."""
    words = [word for word in sorted(tokenizer.get_vocab()) if word.isascii() and word.isalpha()]
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    draw = random.Random(f"{seed} {tokens}")
    texts: dict[str, None] = {}
    for _ in range(10 * count):
        text = " ".join(draw.choices(words, k=tokens - special)) if words else ""
        if len(tokenizer.encode(text).ids) == tokens:
            texts[text] = None
        if len(texts) == count:
            return list(texts)
    raise ValueError(f"the tokenizer's vocabulary makes no {count} texts of {tokens} tokens.")
