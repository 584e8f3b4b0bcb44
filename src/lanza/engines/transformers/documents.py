"""Questions about tables, pages and pictures, through transformers.

- `TableEngine`: TAPAS, which marks cells (`tables.py`).
- `DocumentEngine`: LayoutLM and LayoutLMv3, which point at words that somebody has read (`layout.py`), and
  Donut, which looks at the page and writes.
- `VisualEngine`: ViLT, which chooses among the answers it knows, and BLIP, which writes.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import torch

from lanza.engines.base import EngineOptions
from lanza.engines.transformers import tables
from lanza.engines.transformers.layout import Page, Window, best_answers
from lanza.engines.transformers.loading import load_model, load_tokenizer
from lanza.engines.transformers.media import (
    MediaEngine,
    Piece,
    labels_of,
    load_image_processor,
    make_work,
    patches,
    preprocessing,
)
from lanza.engines.transformers.ocr import read_words
from lanza.engines.transformers.writing import bounded, decoder_positions
from lanza.errors import BadRequest, MissingExtra, ModelError
from lanza.models.positions import max_positions
from lanza.tasks.document_question_answering import (
    MAX_QUESTION,
    DocumentAnswer,
    DocumentQuestionAnsweringBody,
    DocumentQuestionAnsweringParameters,
    WordBox,
    check_lengths,
    read_word_boxes,
)
from lanza.tasks.image import read_image
from lanza.tasks.table_question_answering import (
    TableQuestionAnsweringBody,
    TableQuestionAnsweringParameters,
    columns,
    queries,
)
from lanza.tasks.text import require_text, sigmoid
from lanza.tasks.text_classification import check_top_k, ranked
from lanza.tasks.visual_question_answering import (
    VisualAnswer,
    VisualQuestionAnsweringBody,
    question_and_image,
)
from lanza.tasks.work import Work

TOP_K: Final = 5
_PROMPT: Final = "<s_docvqa><s_question>{question}</s_question><s_answer>"
"""What Donut's page readers were trained to continue."""
_MARK: Final = re.compile(r"</?s_[^>]*>|<sep/>")
_WRITTEN: Final = 256
_UNBOUNDED: Final = 512


class TableEngine(MediaEngine):
    """Table question answering."""

    def __init__(self, options: EngineOptions) -> None:
        if importlib.util.find_spec("pandas") is None:
            raise MissingExtra("Models that read tables need pandas: pip install pandas.")
        model = load_model(options, "AutoModelForTableQuestionAnswering")
        self._limit = max_positions(model.config.to_dict()) or _UNBOUNDED
        super().__init__(options, model, limit=self._limit)
        self._tokenizer = load_tokenizer(options)

    def prepare(self, body: TableQuestionAnsweringBody) -> Work:
        parameters = body.parameters or TableQuestionAnsweringParameters()
        asked, sequential = queries(body.inputs), bool(parameters.sequential)
        table = import_module("pandas").DataFrame(columns(body.inputs), dtype=object)
        table = tables.fitting(
            table,
            self.model.config.type_vocab_sizes,
            limit=self._limit,
            cut=parameters.cut,
            questions=len(asked),
        )
        with preprocessing("this table"):
            tensors = tables.encode(self._tokenizer, table, asked, limit=self._limit, cut=parameters.cut)
        several = isinstance(body.inputs.query or body.inputs.question, list)

        def read(outputs: Any) -> Any:
            made = tables.answers(self._tokenizer, self.model.config, tensors, outputs, table)
            return made if several else made[0]

        return make_work(
            tensors, read, cost=tensors["input_ids"].numel(), arguments={"sequential": sequential}
        )

    def run(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        # A piece has all the questions about one table, which is a batch already.
        return [
            piece.read(tables.run(self.model, self.gather([piece]), **piece.arguments)) for piece in pieces
        ]


class DocumentEngine(MediaEngine):
    """Document question answering."""

    def __init__(self, options: EngineOptions) -> None:
        self._family = str(options.facts.model_type)
        self._writes = self._family == "vision-encoder-decoder"
        if not self._writes and self._family not in ("layoutlm", "layoutlmv3"):
            raise ModelError(
                f"{self._family} models do not answer questions about documents here: LayoutLM, LayoutLMv3 "
                "and Donut do. Wrap this one in a handler.py."
            )
        kind = "AutoModelForImageTextToText" if self._writes else "AutoModelForDocumentQuestionAnswering"
        model = load_model(options, kind)
        limit = max_positions(model.config.to_dict())
        super().__init__(options, model, limit=limit)
        self._tokenizer = load_tokenizer(options)
        self._processor = load_image_processor(options) if self._family != "layoutlm" else None
        self._page = None if self._writes else Page.of(self._tokenizer, limit=limit or _UNBOUNDED)

    def prepare(self, body: DocumentQuestionAnsweringBody) -> Work:
        parameters = body.parameters or DocumentQuestionAnsweringParameters()
        check_lengths(parameters)
        question = require_text(body.inputs.question, what="inputs.question")
        if len(question) > MAX_QUESTION:
            raise BadRequest(
                f"`inputs.question` has {len(question)} characters: send at most {MAX_QUESTION}."
            )
        if self._page is None:
            return self._to_write(question, body.inputs.image)
        words = self._words(body, parameters)
        windows = self._page.windows(question, words, parameters)
        pixels = self._pixels(body.inputs.image) if self._processor is not None else {}
        works = [
            make_work(self._tensors(window) | pixels, _logits, cost=len(window.ids)) for window in windows
        ]
        return Work(
            pieces=[piece for work in works for piece in work.pieces],
            lengths=[length for work in works for length in work.lengths],
            finish=lambda outputs: best_answers(windows, outputs, words, parameters),
            group=works[0].group,
        )

    def run(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        if not self._writes:
            return super().run(pieces)
        batch = self.gather(pieces)
        ids = self.model.generate(**batch, **pieces[0].arguments)
        written = ids[:, batch["decoder_input_ids"].shape[1] :]
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [piece.read(text) for piece, text in zip(pieces, texts, strict=True)]

    def _to_write(self, question: str, image: Any) -> Work:
        prompt = _PROMPT.format(question=_MARK.sub(" ", question))
        encoded = self._tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
        positions, taken = decoder_positions(self.model), encoded.shape[1]
        if positions is not None and taken >= positions:
            raise BadRequest(
                f"`inputs.question` makes {taken} tokens and this model has room for fewer than {positions}: "
                "shorten it."
            )
        asked = bounded({}, self.model, positions=positions, taken=taken, default=_WRITTEN)
        tensors = self._pixels(image) | {"decoder_input_ids": encoded}
        return make_work(tensors, _written, cost=patches(tensors), arguments=asked)

    def _pixels(self, upload: Any) -> dict[str, Any]:
        image = read_image(upload, what="inputs.image")
        # The words come from the caller or from `ocr.py`, the same way for every family.
        how = {"apply_ocr": False} if self._family == "layoutlmv3" else {}
        assert self._processor is not None
        with preprocessing("this image"):
            return dict(self._processor(images=image, return_tensors="pt", **how))

    def _words(
        self, body: DocumentQuestionAnsweringBody, parameters: DocumentQuestionAnsweringParameters
    ) -> list[WordBox]:
        given = parameters.word_boxes if parameters.word_boxes is not None else body.inputs.word_boxes
        if given is not None:
            return read_word_boxes(given)
        return read_words(read_image(body.inputs.image, what="inputs.image"), parameters.lang)

    def _tensors(self, window: Window) -> dict[str, Any]:
        tensors = {
            "input_ids": torch.tensor([window.ids]),
            "attention_mask": torch.ones(1, len(window.ids), dtype=torch.long),
            "bbox": torch.tensor([window.boxes]),
        }
        if self._family == "layoutlm":
            tensors["token_type_ids"] = torch.tensor([window.type_ids])
        return tensors


class VisualEngine(MediaEngine):
    """Visual question answering."""

    def __init__(self, options: EngineOptions) -> None:
        family = options.facts.model_type
        if family not in ("vilt", "blip"):
            raise ModelError(
                f"{family} models do not answer questions about pictures here: ViLT and BLIP do. "
                "Wrap this one in a handler.py."
            )
        model = load_model(options, "AutoModelForVisualQuestionAnswering")
        config = model.config.to_dict()
        self._limit = max_positions(config) or max_positions(config.get("text_config") or {})
        super().__init__(options, model, limit=self._limit)
        self._writes = family == "blip"
        self._processor = load_image_processor(options)
        self._tokenizer = load_tokenizer(options)
        self._labels = () if self._writes else labels_of(model.config)

    def prepare(self, body: VisualQuestionAnsweringBody) -> Work:
        top_k = body.parameters.top_k if body.parameters else None
        check_top_k(top_k)
        question, data = question_and_image(body)
        text = dict(self._tokenizer(question, return_tensors="pt"))
        if self._writes:
            text.pop("token_type_ids", None)
        tokens = text["input_ids"].shape[1]
        if self._limit is not None and tokens > self._limit:
            raise BadRequest(
                f"`question` has {tokens} tokens and this model takes at most {self._limit}: shorten it."
            )
        image = read_image(data, what="image")
        with preprocessing("this image"):
            tensors = text | dict(self._processor(images=image, return_tensors="pt"))
        if self._writes:
            asked = bounded({}, self.model, positions=decoder_positions(self.model))
            return make_work(tensors, _spoken, cost=patches(tensors), arguments=asked)
        return make_work(tensors, lambda outputs: self._known(outputs, top_k), cost=patches(tensors))

    def run(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        if not self._writes:
            return super().run(pieces)
        ids = self.model.generate(**self.gather(pieces), **pieces[0].arguments)
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [piece.read(text) for piece, text in zip(pieces, texts, strict=True)]

    def _known(self, outputs: Any, top_k: int | None) -> list[VisualAnswer]:
        # Several answers may be right, so each was trained as a yes or no of its own.
        best = ranked(sigmoid(outputs.logits[0].numpy()), self._labels, top_k or TOP_K)
        return [VisualAnswer(answer=label.label, score=label.score) for label in best]


def _logits(outputs: Any) -> tuple[Any, Any]:
    return outputs.start_logits[0].numpy(), outputs.end_logits[0].numpy()


def _written(text: str) -> list[DocumentAnswer]:
    return [DocumentAnswer(answer=_MARK.sub("", text.partition("</s_answer>")[0]).strip())]


def _spoken(text: str) -> list[VisualAnswer]:
    return [VisualAnswer(answer=text.strip(), score=None)]
