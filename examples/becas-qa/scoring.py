"""How well a question-answering model does: exact match and token F1 over answers that people would accept.

The model it holds: start and end logits per token become the best span inside the context, at most
`MAX_ANSWER_TOKENS` long, which is what a server does by default. Contexts longer than the model are cut
here; a server goes over them in windows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

MAX_ANSWER_TOKENS = 15
ARTICLES = re.compile(r"\b(el|la|los|las|un|una|unos|unas)\b")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with the answers that count as right."""

    question: str
    context: str
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Means over ``questions`` questions, 0 to 1."""

    exact_match: float
    f1: float
    questions: int


def read_asked(path: Path) -> list[Asked]:
    """A hand-written set. Raises ValueError if an answer is not in its context."""
    asked = [
        Asked(question=entry["question"], context=item["context"], answers=tuple(entry["answers"]))
        for item in json.loads(path.read_text("utf-8"))["items"]
        for entry in item["questions"]
    ]
    for one in asked:
        for answer in one.answers:
            if answer not in one.context:
                raise ValueError(f"{path.name}: {answer!r} is not in the context of {one.question!r}")
    return asked


def normalize(text: str) -> str:
    """Case, articles and punctuation at the edges of words do not count."""
    words = ARTICLES.sub(" ", text.lower()).split()
    return " ".join(word for word in (word.strip(".,;:¿?¡!()\"'") for word in words) if word)


def exact_match(given: str, answers: Sequence[str]) -> float:
    return float(any(normalize(given) == normalize(answer) for answer in answers))


def f1(given: str, answers: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, against the nearest accepted answer."""

    def one(answer: str) -> float:
        mine, theirs = normalize(given).split(), normalize(answer).split()
        shared = sum((Counter(mine) & Counter(theirs)).values())
        return 2 * shared / (len(mine) + len(theirs)) if shared else 0.0

    return max(one(answer) for answer in answers)


def best_span(start: torch.Tensor, end: torch.Tensor, inside: torch.Tensor) -> tuple[int, int]:
    """First and last token of the most probable answer; ``inside`` is true on the tokens of the context."""
    start = start.float().masked_fill(~inside, -1e9).softmax(-1)
    end = end.float().masked_fill(~inside, -1e9).softmax(-1)
    joint = (start[:, None] * end[None, :]).triu().tril(MAX_ANSWER_TOKENS - 1)
    first, last = divmod(int(joint.argmax()), joint.shape[1])
    return first, last


@torch.inference_mode()
def answer_all(model: Any, tokenizer: Tokenizer, asked: Sequence[Asked], batch: int = 16) -> list[str]:
    """The model's answer to each question, in order."""
    order = sorted(range(len(asked)), key=lambda at: len(asked[at].context))
    answers = [""] * len(asked)
    limit = model.config.max_position_embeddings
    for low in range(0, len(order), batch):
        chosen = order[low : low + batch]
        encoded = tokenizer.encode_batch([(asked[at].question, asked[at].context) for at in chosen])
        size = min(limit, max(len(encoding.ids) for encoding in encoded))
        ids = torch.full((len(chosen), size), model.config.pad_token_id)
        types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, encoding in enumerate(encoded):
            length = min(size, len(encoding.ids))
            ids[row, :length] = torch.tensor(encoding.ids[:length])
            types[row, :length] = torch.tensor(encoding.type_ids[:length])
            mask[row, :length] = 1
        output = model(input_ids=ids, token_type_ids=types, attention_mask=mask)
        for row, at in enumerate(chosen):
            sequence = encoded[row].sequence_ids[:size]
            inside = torch.tensor([number == 1 for number in sequence] + [False] * (size - len(sequence)))
            first, last = best_span(output.start_logits[row], output.end_logits[row], inside)
            answers[at] = asked[at].context[encoded[row].offsets[first][0] : encoded[row].offsets[last][1]]
    return answers


def score(asked: Sequence[Asked], given: Sequence[str]) -> Score:
    pairs = list(zip(asked, given, strict=True))
    return Score(
        exact_match=sum(exact_match(text, one.answers) for one, text in pairs) / len(pairs),
        f1=sum(f1(text, one.answers) for one, text in pairs) / len(pairs),
        questions=len(pairs),
    )
