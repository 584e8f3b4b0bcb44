"""Whether a model's tokenizer and processor are there, and whether the tokenizer fits the model.

The model held here: a tokenizer gives ids, and each must be a row of the embedding. An id beyond the
last row breaks the first request that meets it; rows without an id are only wasted (models pad their
vocabularies to round numbers).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lanza.models.facts import ModelFacts
from lanza.models.findings import Finding, Level, error, note
from lanza.models.heads import AUDIO_TASKS, IMAGE_TASKS
from lanza.models.weights import Tensor, read_header

_EMBEDDINGS: Final = (
    "word_embeddings.weight",
    "word_embedding.weight",
    "embed_tokens.weight",
    "embed_in.weight",
    "tok_embeddings.weight",
    "wte.weight",
    "shared.weight",
)
_SPEECH_WITHOUT_TEXT: Final = frozenset({"audio-classification"})
_IMAGE_WITHOUT_TEXT: Final = frozenset({"image-classification", "object-detection", "image-segmentation"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """The ids that a tokenizer.json gives once loaded: how many, and the highest."""

    tokens: int
    highest_id: int


def read_vocabulary(path: Path) -> Vocabulary | str:
    """The vocabulary of a tokenizer.json, or why the tokenizers library cannot load it."""
    from tokenizers import Tokenizer

    try:
        ids = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True).values()
    except (KeyboardInterrupt, SystemExit):
        raise
    # The library raises a bare Exception, and a BaseException of its own when its Rust code panics.
    except BaseException as problem:  # noqa: BLE001
        return str(problem)[:200]
    return Vocabulary(tokens=len(ids), highest_id=max(ids, default=-1))


def embedding_rows(facts: ModelFacts) -> int | None:
    """Rows of the input embedding, from the weights' headers, else from the config."""
    headers = (read_header(facts.path / name) for name in facts.weights if name.endswith(".safetensors"))
    rows = _rows(tensor for header in headers for tensor in header.tensors)
    return rows if rows is not None else vocab_size(facts)


def vocab_size(facts: ModelFacts) -> int | None:
    """The vocabulary's size as config.json has it, at its root or for its text part."""
    nested = facts.config.get("text_config")
    for config in (facts.config, nested if isinstance(nested, dict) else {}):
        size = config.get("vocab_size")
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            return size
    return None


def examine_tokenizer(
    facts: ModelFacts, base: ModelFacts | None, vocabulary: Vocabulary | str | None
) -> Iterator[Finding]:
    """Findings on tokenizer and processor; an adapter without its own uses those of its ``base``."""
    yield from _check_presence(facts, base)
    if isinstance(vocabulary, str):
        yield error(
            "bad_tokenizer",
            f"tokenizer.json cannot be loaded: {vocabulary}.",
            "Write it again: AutoTokenizer.from_pretrained(BASE_MODEL).save_pretrained(FOLDER).",
            path="tokenizer.json",
        )
    elif vocabulary is not None:
        yield from _check_fit(facts, base, vocabulary)
    yield from _check_lengths(facts)


def _check_presence(facts: ModelFacts, base: ModelFacts | None) -> Iterator[Finding]:
    # a handler may bring its own
    level = Level.NOTE if facts.has_handler else Level.ERROR
    if _reads_text(facts) and not (facts.has_tokenizer or (base and base.has_tokenizer)):
        yield Finding(
            level=level,
            code="no_tokenizer",
            message="There is no tokenizer: no tokenizer.json and no vocabulary file.",
            next_step="Save the one that it was trained with: tokenizer.save_pretrained(FOLDER).",
        )
    needs_processor = facts.task in IMAGE_TASKS | AUDIO_TASKS
    if needs_processor and not (facts.has_processor or (base and base.has_processor)):
        yield Finding(
            level=level,
            code="no_processor",
            message=f"There is no preprocessor_config.json, which {facts.task} needs to read its inputs.",
            next_step="Save the one that it was trained with: processor.save_pretrained(FOLDER).",
        )


def _reads_text(facts: ModelFacts) -> bool:
    return facts.task is not None and facts.task not in _SPEECH_WITHOUT_TEXT | _IMAGE_WITHOUT_TEXT


def _check_fit(facts: ModelFacts, base: ModelFacts | None, vocabulary: Vocabulary) -> Iterator[Finding]:
    if vocabulary.tokens == 0:
        yield error(
            "empty_tokenizer",
            "tokenizer.json has an empty vocabulary.",
            "Save the tokenizer that the model was trained with: tokenizer.save_pretrained(FOLDER).",
            path="tokenizer.json",
        )
        return
    rows = _rows_with_base(facts, base)
    if rows is None or not _reads_text(facts):
        return
    if vocabulary.highest_id >= rows:
        yield Finding(
            level=Level.WARNING if facts.has_handler else Level.ERROR,
            code="tokens_beyond_embedding",
            message=f"The tokenizer gives ids up to {vocabulary.highest_id:,} and the embedding has {rows:,} "
            "rows: a text with such a token cannot be answered.",
            next_step="Save the tokenizer that belongs to these weights, or call "
            "model.resize_token_embeddings(len(tokenizer)) and train on.",
            path="tokenizer.json",
        )
    elif (unused := rows - vocabulary.tokens) > 0:
        yield note(
            "unused_rows",
            f"{unused:,} of the embedding's {rows:,} rows have no token.",
            "Nothing to do: models round their vocabularies up.",
            path="tokenizer.json",
        )


def examine_embedding(facts: ModelFacts) -> Iterator[Finding]:
    """Whether config.json and the weights agree on the size of the vocabulary."""
    rows, promised = embedding_rows(facts), vocab_size(facts)
    if not facts.is_adapter and rows is not None and promised is not None and rows != promised:
        yield error(
            "vocab_size_mismatch",
            f"config.json says vocab_size {promised:,} and the embedding in the weights has {rows:,} rows.",
            f"Set vocab_size to {rows} in config.json, or save model and config together.",
            path="config.json",
        )


def _check_lengths(facts: ModelFacts) -> Iterator[Finding]:
    length, positions = facts.tokenizer_max_length, facts.max_positions
    if length is not None and positions is not None and length > positions:
        yield note(
            "length_above_positions",
            f"The tokenizer's model_max_length is {length:,}, and the model has {positions:,} positions.",
            f"Nothing to do: inputs are held to {positions:,} tokens.",
            path="tokenizer_config.json",
        )


def _rows_with_base(facts: ModelFacts, base: ModelFacts | None) -> int | None:
    """An adapter that was trained with new tokens carries an embedding of its own."""
    own = embedding_rows(facts)
    if base is None or (own is not None and own != vocab_size(facts)):
        return own
    return embedding_rows(base)


def _rows(tensors: Iterable[Tensor]) -> int | None:
    for tensor in tensors:
        if tensor.name.endswith(_EMBEDDINGS) and len(tensor.shape) == 2:
            return tensor.shape[0]
    return None
