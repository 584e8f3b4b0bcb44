"""Initial weights with which a small encoder learns from little text.

A transformer that starts at random first spends most of its training on two discoveries: who its neighbours
are, and which words are equal. Here it is born with both. Positions live in dimensions of their own, as
waves, so a head whose queries are turned by a fixed angle attends to the token that is that many places
away; and a head whose queries equal its keys attends to the same word elsewhere. Everything stays
trainable, and the architecture is untouched.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers import BertModel

SPREAD = 0.1  # standard deviation of a word's dimensions
WAVE = 0.2  # amplitude of a position's, which makes them about a quarter of the whole
SHARPNESS = 1.5
MATCH = None
# For the first layers, what each head looks at: a distance, or words equal to this one.
HEADS: tuple[tuple[int | None, ...], ...] = ((-1, 1, -2, MATCH), (-3, 2, -1, MATCH))


def frequencies(count: int) -> torch.Tensor:
    """From nearly half a turn per place, which tells neighbours apart, to one that tells sentences apart."""
    return torch.logspace(math.log10(3.0), math.log10(0.02), count)


@torch.no_grad()
def give_head_start(bert: BertModel) -> None:
    """Replace the random weights of the embeddings and of the heads in `HEADS`."""
    config = bert.config
    size = config.hidden_size // config.num_attention_heads
    words = config.hidden_size - size  # the last dimensions, as many as a head has, hold positions
    table = bert.embeddings
    table.word_embeddings.weight.normal_(0, SPREAD)
    table.word_embeddings.weight[:, words:] = 0
    table.token_type_embeddings.weight[:, words:] = 0
    turns = torch.arange(config.max_position_embeddings)[:, None] * frequencies(size // 2)
    table.position_embeddings.weight[:, :words] = 0
    table.position_embeddings.weight[:, words:] = WAVE * torch.cat([turns.sin(), turns.cos()], dim=1)
    for layer in bert.encoder.layer[: len(HEADS) - 1]:
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight[words:] = 0  # nothing is written over the positions that the next layer reads
    for layer, heads in zip(bert.encoder.layer, HEADS, strict=False):
        query, key = layer.attention.self.query, layer.attention.self.key
        for number, target in enumerate(heads):
            rows = slice(number * size, (number + 1) * size)
            if target is MATCH:
                match(query, key, rows, words)
            else:
                look_away(query, key, rows, words, target)


def match(query: nn.Linear, key: nn.Linear, rows: slice, words: int) -> None:
    """Equal words give equal queries and keys."""
    query.weight[rows] = 0
    query.weight[rows, :words] = torch.randn(rows.stop - rows.start, words) * SPREAD
    key.weight[rows] = query.weight[rows]


def look_away(query: nn.Linear, key: nn.Linear, rows: slice, words: int, distance: int) -> None:
    """The query for place i is the key of place i + ``distance``: each wave is turned by that many places."""
    size = rows.stop - rows.start
    angles = frequencies(size // 2) * distance
    sine, cosine = torch.diag(angles.sin()), torch.diag(angles.cos())
    turn = torch.cat([torch.cat([cosine, sine], dim=1), torch.cat([-sine, cosine], dim=1)])
    query.weight[rows, words:] = SHARPNESS * turn
    key.weight[rows, words:] = SHARPNESS * torch.eye(size)
    query.weight[rows, :words] *= 0.3
    key.weight[rows, :words] *= 0.3
