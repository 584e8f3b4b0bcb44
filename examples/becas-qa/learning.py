"""A small BERT that learns to point at answers.

The model it holds: examples become rows of token numbers, rows become batches of like length, and one pass
over them trains a `Learner`. Besides the two ends of the answer, the learner also says what kind of fact
each token belongs to and what kind the question asks for. Those two heads teach the encoder faster and are
thrown away.

It neither writes text (`corpus.py`) nor files (`train.py`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from corpus import Example
from head_start import give_head_start
from tokenizers import (
    Encoding,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
POSITIONS = 512
VOCABULARY = 4096
OTHER = 0  # the kind of a token that belongs to no fact about a scholarship
IGNORED = -100  # the kind of padding


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How much is trained. ``tokens`` is what one step may hold."""

    short_examples: int = 20_000  # short contexts come first: matching is learned sooner there
    mixed_examples: int = 100_000
    heldout_examples: int = 2000
    tokens: int = 1536
    rate: float = 1e-3
    noise: float = 0.04
    heads_weight: float = 0.5
    seed: int = 11

    @property
    def examples(self) -> int:
        return self.short_examples + self.mixed_examples


@dataclass(frozen=True, kw_only=True)
class Row:
    """An example as numbers. ``first`` and ``last`` are the answer's tokens, ``kinds`` one per token."""

    ids: list[int]
    types: list[int]
    kinds: list[int]
    first: int
    last: int
    asked: int


def train_tokenizer(examples: Iterable[Example]) -> Tokenizer:
    """WordPiece without case or accents, digit by digit, so that any amount and date can be pointed at."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), show_progress=False, min_frequency=3
    )
    texts = (text for example in examples for text in (example.question, example.context))
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def tokens_of(encoding: Encoding, start: int, end: int) -> tuple[int, int]:
    """The first and last token of some characters of the context."""
    first, last = encoding.char_to_token(start, 1), encoding.char_to_token(end - 1, 1)
    if first is None or last is None:
        raise ValueError(f"characters {start} to {end} of the context begin or end outside any token")
    return first, last


def rows(tokenizer: Tokenizer, examples: Sequence[Example], kinds: Sequence[str]) -> Iterator[Row]:
    """Examples as numbers; the few that are longer than the model are left out."""
    number = {kind: at + 1 for at, kind in enumerate(kinds)}
    encoded = tokenizer.encode_batch([(one.question, one.context) for one in examples])
    for example, encoding in zip(examples, encoded, strict=True):
        if len(encoding.ids) > POSITIONS:
            continue
        tags = [OTHER] * len(encoding.ids)
        ends = {}
        for span in example.facts:
            first, last = ends[span] = tokens_of(encoding, span.start, span.end)
            tags[first : last + 1] = [number.get(span.kind, OTHER)] * (last + 1 - first)
        first, last = ends[example.answer]
        yield Row(
            ids=encoding.ids,
            types=encoding.type_ids,
            kinds=tags,
            first=first,
            last=last,
            asked=number.get(example.answer.kind, OTHER),
        )


class Learner(nn.Module):
    """The model and the two heads that only training uses."""

    def __init__(self, vocabulary: int, kinds: int) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=POSITIONS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.08,  # about 1 / sqrt(hidden_size): the usual 0.02 is meant for wider models
        )
        self.model = BertForQuestionAnswering(config)
        give_head_start(self.model.bert)
        self.token_kind = nn.Linear(config.hidden_size, kinds + 1)
        self.asked_kind = nn.Linear(config.hidden_size, kinds + 1)

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The losses: of the answer, of the tokens' kinds and of the question's kind."""
        encoder = self.model.bert(
            input_ids=batch["ids"],
            token_type_ids=batch["types"],
            attention_mask=batch["mask"],
            position_ids=batch["positions"],
        )[0]
        start, end = self.model.qa_outputs(encoder).unbind(-1)
        outside = batch["mask"] == 0
        across = nn.functional.cross_entropy
        answer = (
            across(start.masked_fill(outside, -1e4), batch["first"])
            + across(end.masked_fill(outside, -1e4), batch["last"])
        ) / 2
        tags = across(self.token_kind(encoder).transpose(1, 2), batch["kinds"], ignore_index=IGNORED)
        asked = across(self.asked_kind(encoder[:, 0]), batch["asked"])
        return answer, tags, asked


def batches(table: Sequence[Row], tokens: int, chooser: random.Random) -> list[list[Row]]:
    """Rows of like length together, as many as fit in ``tokens``, in random order."""
    made: list[list[Row]] = []
    group: list[Row] = []
    for row in sorted(table, key=lambda row: len(row.ids)):
        if group and (len(group) + 1) * len(row.ids) > tokens:
            made.append(group)
            group = []
        group.append(row)
    made.append(group)
    chooser.shuffle(made)
    return made


def stack(
    group: Sequence[Row], noise: float, vocabulary: int, draws: torch.Generator
) -> dict[str, torch.Tensor]:
    """Rows as tensors.

    Some words are swapped for others, so that no single one is leaned on; and the context may start at a
    later position, so that all positions are learned from short texts too.
    """
    size = max(len(row.ids) for row in group)

    def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([numbers + [fill] * (size - len(numbers)) for numbers in lists])

    ids, types = padded([row.ids for row in group], 0), padded([row.types for row in group], 0)
    mask = padded([[1] * len(row.ids) for row in group], 0)
    kinds = padded([row.kinds for row in group], IGNORED)
    swap = torch.rand(ids.shape, generator=draws) < noise
    swap &= (types == 1) & (ids >= len(SPECIAL)) & (kinds == OTHER)
    others = torch.randint(len(SPECIAL), vocabulary, ids.shape, generator=draws)
    gap = torch.randint(0, POSITIONS - size + 1, (len(group), 1), generator=draws)
    gap = gap * (torch.rand((len(group), 1), generator=draws) < 0.4)
    return {
        "ids": torch.where(swap, others, ids),
        "types": types,
        "mask": mask,
        "kinds": kinds,
        "positions": torch.arange(size)[None, :] + gap * types,
        "first": torch.tensor([row.first for row in group]),
        "last": torch.tensor([row.last for row in group]),
        "asked": torch.tensor([row.asked for row in group]),
    }


def rate(progress: float) -> float:
    """The share of the full learning rate: a short rise, then a half cosine down."""
    return min(1.0, progress / 0.03 + 0.01) * (0.5 + 0.5 * math.cos(math.pi * progress))


def train(learner: Learner, groups: Iterable[Sequence[Row]], recipe: Recipe) -> None:
    """One pass: no example is seen twice."""
    optimizer = torch.optim.AdamW(
        learner.parameters(), lr=recipe.rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True
    )
    draws = torch.Generator().manual_seed(recipe.seed)
    vocabulary = learner.model.config.vocab_size
    began, smooth, done = time.monotonic(), Smooth(), 0
    learner.train()
    for step, group in enumerate(groups):
        done += len(group)
        optimizer.param_groups[0]["lr"] = recipe.rate * rate(min(1.0, done / recipe.examples))
        losses = learner(stack(group, recipe.noise, vocabulary, draws))
        (losses[0] + recipe.heads_weight * (losses[1] + losses[2])).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        smooth.add([float(loss.detach()) for loss in losses])
        if step % 250 == 249:
            spent = time.monotonic() - began
            print(f"{done} of {recipe.examples} examples  losses {smooth}  {spent:.0f} s", flush=True)
    learner.eval()


class Smooth:
    """A running mean of the losses: of the answer, of the tokens' kinds and of the question's kind."""

    def __init__(self) -> None:
        self.means: list[float] = []

    def add(self, losses: list[float]) -> None:
        self.means = [m + 0.02 * (new - m) for m, new in zip(self.means or losses, losses, strict=True)]

    def __str__(self) -> str:
        return " ".join(f"{mean:.3f}" for mean in self.means)
