"""A tokenizer of whole words, framed as BERT's or RoBERTa's, and models that only carry it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from lanza.tasks.base import TextModel
from lanza.tasks.text import TextEncoder

WORDS = "la beca cierra en abril y abre en marzo el importe es de mil euros clara estudia".split()

MakeModel = Callable[..., TextModel]


def tokenizer(style: str = "bert") -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *dict.fromkeys(WORDS)])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(special)
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1" if style == "bert" else "[CLS] $A [SEP] [SEP] $B [SEP]"
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


@pytest.fixture
def make_model() -> MakeModel:
    def make(*, limit: int = 64, style: str = "bert", **more: Any) -> TextModel:
        encoder = TextEncoder(tokenizer=tokenizer(style), limit=limit, mask_token="[MASK]")
        return TextModel(encoder=encoder, config=more.pop("config", {}), **more)

    return make
