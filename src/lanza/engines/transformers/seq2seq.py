"""Summarization and translation through torch: whatever AutoModelForSeq2SeqLM can make, as a `BatchEngine`.

The model held here: a text becomes ids (with the prefix or the language that the model wants), ids of
requests with the same settings are padded together and written on by transformers' own loop, and the ids
that come back become text. Settings come from the request, then from the config's recipe for the task, then
from the folder's generation settings.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import torch

from lanza.engines.base import About, EngineOptions
from lanza.engines.transformers.languages import Direction, Languages
from lanza.engines.transformers.loading import about, load_model, load_tokenizer, run_facts
from lanza.errors import BadRequest, InputTooLong, ModelError
from lanza.models.facts import ModelFacts
from lanza.tasks.rewriting import RewritingParameters, texts_of
from lanza.tasks.sampling import GenerationParameters
from lanza.tasks.summarization import Summary
from lanza.tasks.text import UNBOUNDED, check_characters, require_text
from lanza.tasks.translation import Translation, TranslationParameters
from lanza.tasks.work import Work

BATCH_TOKENS: Final = {"cpu": 1024, "cuda": 16_384}
NEW_TOKENS: Final = 256
"""How many tokens are written when nobody says: the library's own 20 would cut most answers off."""

NO_TABLE_LIMIT: Final = 4096
"""The longest input without a position table, unless the tokenizer allows more: memory must end somewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One text as ids, and the arguments of the generation loop, the same for all of its group."""

    ids: list[int]
    arguments: tuple[tuple[str, Any], ...]


class Seq2SeqEngine:
    """A `BatchEngine` of `Piece`s. Outputs are lists of ids."""

    streams = 1

    def __init__(self, options: EngineOptions) -> None:
        if options.task is None or options.task.name not in _ANSWERS:
            raise ModelError("sequence-to-sequence models serve summarization and translation: give --task.")
        if options.facts.possible_tasks[:1] == ("text-generation",):
            raise ModelError(
                f"{options.facts.architecture} continues texts and has no encoder to read one with: "
                f"serve it with --task text-generation, and ask for a {options.task.name} in the prompt."
            )
        self._task = options.task.name
        self._model = load_model(options, "AutoModelForSeq2SeqLM")
        self._tokenizer = load_tokenizer(options)
        self._changing = threading.Lock()  # a tokenizer holds its language and its truncation as state
        facts = run_facts(options.facts, self._model)
        self._languages = Languages.read(
            self._task, self._tokenizer, facts.config, self._model.generation_config
        )
        self._limit = _limit(facts)
        self._positions = facts.config.get("max_decoder_position_embeddings") or facts.max_positions
        self._device = next(self._model.parameters()).device
        self.batch_tokens = BATCH_TOKENS[self._device.type]
        self._about = about(
            options, self._model, limit=self._limit, languages=len(self._languages.codes) or None
        )

    @property
    def about(self) -> About:
        return self._about

    def prepare(self, body: Any) -> Work:
        parameters: RewritingParameters = body.parameters or TranslationParameters()
        source, target = getattr(parameters, "src_lang", None), getattr(parameters, "tgt_lang", None)
        direction = self._languages.direct(source, target)
        arguments = self._arguments(parameters, direction)
        texts = texts_of(body.inputs)
        pieces = [
            Piece(ids=self._encode(text, direction, cut=parameters.cut), arguments=arguments)
            for text in texts
        ]
        clean = parameters.clean_up_tokenization_spaces

        def finish(outputs: Sequence[list[int]]) -> list[Any]:
            return [_ANSWERS[self._task](self._decode(ids, clean)) for ids in outputs]

        return Work(
            pieces=pieces, lengths=[len(piece.ids) for piece in pieces], finish=finish, group=arguments
        )

    def forward(self, pieces: Sequence[Piece], *, alone: bool) -> Sequence[list[int]]:
        arguments = dict(pieces[0].arguments)
        try:
            with torch.inference_mode():
                output = self._model.generate(**self._feeds(pieces), **arguments)
        except ValueError as error:  # settings that do not go together are found out by the loop itself
            raise BadRequest(f"these generation parameters cannot be used together: {error}") from error
        return output.tolist()  # type: ignore[no-any-return]

    def close(self) -> None:
        del self._model

    def _encode(self, text: str, direction: Direction, *, cut: bool) -> list[int]:
        require_text(text)
        if direction.prefix and not text.startswith(direction.prefix):
            text = direction.prefix + text
        with self._changing:
            if direction.source is not None:
                self._tokenizer.src_lang = direction.source
            ids: list[int] = self._tokenizer(check_characters(text))["input_ids"]
            if len(ids) <= self._limit:
                return ids
            if not cut:
                raise InputTooLong(tokens=len(ids), limit=self._limit)
            return list(self._tokenizer(text, truncation=True, max_length=self._limit)["input_ids"])

    def _decode(self, ids: list[int], clean: bool | None) -> str:
        with self._changing:
            text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean)
        return str(text).strip()

    def _arguments(
        self, parameters: RewritingParameters, direction: Direction
    ) -> tuple[tuple[str, Any], ...]:
        """The loop's arguments, hashable. BadRequest for more tokens than the model can write."""
        asked = parameters.arguments
        arguments = _recipe(direction.defaults, asked) | asked
        if direction.first_token is not None:
            arguments["forced_bos_token_id"] = direction.first_token
        self._bound(arguments, asked)
        return tuple(sorted(arguments.items()))

    def _bound(self, arguments: dict[str, Any], asked: Mapping[str, Any]) -> None:
        """See to it that the answer's length is bounded, by whom it may be, and by the positions."""
        settings = self._model.generation_config
        if "max_length" in asked:
            arguments["max_new_tokens"] = None  # the folder's own would take precedence
        elif not arguments.keys() & {"max_length", "max_new_tokens"} and not (
            settings.max_length or settings.max_new_tokens
        ):
            arguments["max_new_tokens"] = min(NEW_TOKENS, (self._positions or NEW_TOKENS + 1) - 1)
        most = asked.get("max_new_tokens") or asked.get("max_length")
        if most is None:
            return
        if self._positions is not None and most > self._positions - ("max_new_tokens" in asked):
            raise BadRequest(
                f"{most} new tokens are asked for and this model has positions for {self._positions}: "
                "ask for fewer."
            )
        least = asked.get("min_new_tokens") or asked.get("min_length") or 0
        if least > most:
            raise BadRequest(f"at least {least} tokens are asked for, and at most {most}: swap them.")
        if (settings.min_length or 0) > most:
            arguments.setdefault("min_length", 0)  # the folder's own is for longer answers

    def _feeds(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        shape = (len(pieces), max(len(piece.ids) for piece in pieces))
        ids = torch.full(shape, self._tokenizer.pad_token_id or 0)
        mask = torch.zeros(shape, dtype=torch.long)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece.ids)] = torch.tensor(piece.ids)
            mask[row, : len(piece.ids)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask}
        if self._model.config.model_type == "led":
            # Its authors trained it with the first token seeing, and seen by, all others.
            feeds["global_attention_mask"] = torch.zeros_like(mask).index_fill_(1, torch.tensor(0), 1)
        return {name: tensor.to(self._device) for name, tensor in feeds.items()}


_ANSWERS: Final[Mapping[str, Any]] = {
    "summarization": lambda text: Summary(summary_text=text),
    "translation": lambda text: Translation(translation_text=text),
}


def _limit(facts: ModelFacts) -> int:
    return facts.max_positions or min(max(facts.tokenizer_max_length or 0, NO_TABLE_LIMIT), UNBOUNDED)


def _recipe(defaults: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the config's recipe says of the loop, as far as the request does not say otherwise."""
    known = {
        name: value for name, value in defaults.items() if name in GenerationParameters.__struct_fields__
    }
    if "max_new_tokens" in asked:
        known.pop("max_length", None)
    if asked.keys() & {"max_new_tokens", "max_length"}:
        known.pop("min_length", None)
    try:
        return RewritingParameters(generate_parameters=msgspec.convert(known, GenerationParameters)).arguments
    except msgspec.ValidationError as error:
        raise ModelError(f"config.json's task_specific_params: {error}") from error
