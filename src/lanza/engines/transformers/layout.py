"""Pages of words and boxes for models that point at words (LayoutLM, LayoutLMv3): windows in, spans out.

As with plain question answering, a page that is longer than the model is read in windows that overlap, and
probabilities are normalised over all of them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lanza.errors import BadRequest
from lanza.tasks.document_question_answering import (
    PAGE,
    DocumentAnswer,
    DocumentQuestionAnsweringParameters,
    WordBox,
)
from lanza.tasks.text import Frame
from lanza.tasks.work import check_count

STRIDE: Final = 128
ANSWER_LENGTH: Final = 15
_NOWHERE: Final = (0, 0, 0, 0)
_EVERYWHERE: Final = (PAGE, PAGE, PAGE, PAGE)

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the model reads: equally long lists. Words `words[i]` are those of the tokens from `offset` on."""

    ids: list[int]
    type_ids: list[int]
    boxes: list[tuple[int, int, int, int]]
    words: list[int]
    offset: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """The fixed parts of one model's input. `limit` is its most tokens."""

    tokenizer: Any
    limit: int
    separator: int
    separator_box: tuple[int, int, int, int]
    frame: Frame

    @classmethod
    def of(cls, tokenizer: Any, *, limit: int) -> Page:
        """From a transformers tokenizer that is backed by `tokenizers`."""
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return cls(
            tokenizer=backend,
            limit=limit,
            separator=tokenizer.sep_token_id,
            separator_box=tuple(getattr(tokenizer, "sep_token_box", _EVERYWHERE)),
            frame=Frame.learn(backend, texts=2),
        )

    def windows(
        self, question: str, words: Sequence[WordBox], parameters: DocumentQuestionAnsweringParameters
    ) -> list[Window]:
        """The page in windows. BadRequest when question or stride leave no room for it."""
        asked = self._pieces(question.split()).ids[: parameters.max_question_len]
        pieces = self._pieces([word for word, _ in words])
        if not pieces.ids:
            raise BadRequest("`word_boxes` has no word that this model can read: send the page's words.")
        limit = min(parameters.max_seq_len or self.limit, self.limit)
        room = limit - self.frame.size - len(asked)
        stride = min(STRIDE, max(room, 0) // 2) if parameters.doc_stride is None else parameters.doc_stride
        if room < 1 or stride >= room:
            raise BadRequest(
                f"the question has {len(asked)} tokens and a window {limit}, which leaves {max(room, 0)} for "
                f"the page, {stride} of them to overlap: shorten the question, or set a smaller `doc_stride`."
            )
        starts = range(0, max(1, len(pieces.ids) - stride), room - stride)
        check_count(len(starts), what="`word_boxes`")
        return [self._window(asked, pieces, slice(start, start + room), words) for start in starts]

    def _pieces(self, words: Sequence[str]) -> Any:
        return self.tokenizer.encode(list(words), is_pretokenized=True, add_special_tokens=False)

    def _window(self, asked: list[int], pieces: Any, part: slice, words: Sequence[WordBox]) -> Window:
        ids, numbers = pieces.ids[part], pieces.word_ids[part]
        sequence = self.frame.compose(asked, ids)
        offset = self.frame.start(1, before=len(asked))
        boxes = [self.separator_box if token == self.separator else _NOWHERE for token in sequence.ids]
        boxes[offset : offset + len(ids)] = [words[number][1] for number in numbers]
        return Window(
            ids=sequence.ids, type_ids=sequence.type_ids, boxes=boxes, words=list(numbers), offset=offset
        )


def best_answers(
    windows: Sequence[Window],
    outputs: Sequence[tuple[Logits, Logits]],
    words: Sequence[WordBox],
    parameters: DocumentQuestionAnsweringParameters,
) -> list[DocumentAnswer]:
    """The likeliest spans of all windows, best first; each span of words once."""
    starts = _probabilities([start for start, _ in outputs], windows)
    ends = _probabilities([end for _, end in outputs], windows)
    longest = parameters.max_answer_len or ANSWER_LENGTH
    found: dict[tuple[int, int], float] = {}
    for window, (start, _), (end, _) in zip(windows, starts, ends, strict=True):
        for first, last, score in _spans(start, end, longest, keep=4 * (parameters.top_k or 1)):
            span = window.words[first], window.words[last]
            found[span] = max(score, found.get(span, 0.0))
    answers = [
        DocumentAnswer(
            answer=" ".join(word for word, _ in words[first : last + 1]), score=score, start=first, end=last
        )
        for (first, last), score in found.items()
    ]
    if parameters.handle_impossible_answer:
        null = min(start * end for (_, start), (_, end) in zip(starts, ends, strict=True))
        answers.append(DocumentAnswer(answer="", score=null, start=0, end=0))
    return sorted(answers, key=lambda answer: -(answer.score or 0.0))[: parameters.top_k or 1]


def _probabilities(
    logits: Sequence[Logits], windows: Sequence[Window]
) -> list[tuple[npt.NDArray[np.float64], float]]:
    """For each window those of its page tokens, and that of its first token, which stands for no answer.

    The first token has its share whether or not an empty answer is wanted: a page without the answer must not
    look sure of itself.
    """
    highest = max(float(row.max()) for row in logits)
    raised = [np.exp(row.astype(np.float64) - highest) for row in logits]
    parts = [
        (row[window.offset : window.offset + len(window.words)], float(row[0]))
        for row, window in zip(raised, windows, strict=True)
    ]
    whole = sum(float(page.sum()) + none for page, none in parts)
    return [(page / whole, none / whole) for page, none in parts]


def _spans(start: Any, end: Any, longest: int, *, keep: int) -> list[tuple[int, int, float]]:
    """The `keep` best (first, last, score) of one window, of at most `longest` tokens."""
    scores = np.triu(np.tril(np.outer(start, end), min(longest, len(start)) - 1))
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")[:keep]
    return [(int(i // len(start)), int(i % len(start)), float(flat[i])) for i in order if flat[i] > 0]
