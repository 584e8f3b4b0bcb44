"""What a text task may know of a model, read from its folder: encoder, labels, pooling, special tokens.

The model held here is `lanza.tasks.base.TextModel`, the same for every engine: the engine gives the encoder
where a tokenizer.json does not, and nothing of it is read from weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lanza.errors import ModelError
from lanza.models.documents import Json, read_json_or_empty
from lanza.models.facts import ModelFacts
from lanza.models.sentence import read_pooling
from lanza.tasks.base import TextModel
from lanza.tasks.text import TextEncoder

_POOLS: Final = frozenset({"feature-extraction", "sentence-similarity"})
_MOST_CLASSES: Final = 100_000
_GENERIC_TOKENIZERS: Final = frozenset({"PreTrainedTokenizerFast", "TokenizersBackend"})


def build_text_model(facts: ModelFacts, encoder: TextEncoder | None = None) -> TextModel:
    """The folder's `TextModel`; `encoder` when its tokenizer is not a tokenizer.json."""
    pooling = read_pooling(facts.path) if facts.sentence_modules and facts.task in _POOLS else None
    return TextModel(
        encoder=encoder or _encoder(facts),
        config=facts.config,
        labels=read_labels(facts.config),
        pooling=pooling.how if pooling else None,
        normalize=pooling.normalize if pooling else False,
        prompts=pooling.prompts if pooling else {},
    )


def text_limit(facts: ModelFacts) -> int | None:
    """The most tokens in a text: the position table, or what the tokenizer says where there is none."""
    return facts.max_positions or facts.tokenizer_max_length


def read_labels(config: Json) -> tuple[str, ...]:
    """The classes' names in order; LABEL_0, LABEL_1, ... where the config does not name them."""
    named = config.get("id2label")
    labels: dict[int, str] = {}
    if isinstance(named, dict):
        labels = {int(key): str(value) for key, value in named.items() if str(key).isdecimal()}
    stated = config.get("num_labels")
    count = max([stated if isinstance(stated, int) else 0, *(index + 1 for index in labels)])
    if count > _MOST_CLASSES:
        raise ModelError(f"config.json counts {count} classes: correct its id2label or num_labels.")
    return tuple(labels.get(index, f"LABEL_{index}") for index in range(count or 2))


def reads_token_types(facts: ModelFacts) -> bool:
    """Whether the model is given token types, by the rule of transformers: its tokenizer's class decides.

    A generic tokenizer gives none, unless tokenizer_config.json lists them; families such as BERT's do.
    """
    listed = read_json_or_empty(tokenizer_folder(facts) / "tokenizer_config.json").get("model_input_names")
    if isinstance(listed, list):
        return "token_type_ids" in listed
    return facts.tokenizer_class not in _GENERIC_TOKENIZERS


def token_text(facts: ModelFacts, name: str) -> str | None:
    """The text of a special token ("pad_token", "mask_token"), from the files beside the tokenizer."""
    folder = tokenizer_folder(facts)
    for document in ("tokenizer_config.json", "special_tokens_map.json"):
        value: Any = read_json_or_empty(folder / document).get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str) and value:
            return value
    return None


def token_id(facts: ModelFacts, name: str) -> int | None:
    """The id of a special token: config.json's, which the model was trained with, else the tokenizer's."""
    known = facts.config.get(f"{name}_id")
    if isinstance(known, int) and not isinstance(known, bool) and known >= 0:
        return known
    text = token_text(facts, name)
    for token in read_json_or_empty(tokenizer_folder(facts) / "tokenizer.json").get("added_tokens") or ():
        if isinstance(token, dict) and text is not None and token.get("content") == text:
            found = token.get("id")
            return found if isinstance(found, int) else None
    return None


def tokenizer_folder(facts: ModelFacts) -> Path:
    """Where the tokenizer's files are: an adapter without them uses its base's."""
    if facts.is_adapter and not facts.has_tokenizer and facts.base_path is not None:
        return facts.base_path
    return facts.path


def _encoder(facts: ModelFacts) -> TextEncoder:
    path = tokenizer_folder(facts) / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            "there is no tokenizer.json in the folder: "
            "load its tokenizer with AutoTokenizer and save_pretrained() it."
        )
    return TextEncoder.from_file(
        str(path), limit=text_limit(facts), mask_token=token_text(facts, "mask_token")
    )
