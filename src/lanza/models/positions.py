"""How many tokens a model has positions for, from its config.json.

The model held here: a position table has as many rows as the config says, and a family of models that
descends from RoBERTa counts positions from the padding token's id plus one, so that many rows are never
reached. Families without a table (relative positions, ALiBi, recurrence) have no limit of their own.

A tokenizer's ``model_max_length`` says nothing about the table and is not read here.
"""

from __future__ import annotations

from typing import Final

from lanza.models.documents import Json

# Positions start after the padding token's id: see `create_position_ids` in each of these families.
_AFTER_PADDING: Final = frozenset(
    {
        "altclip_text_model",
        "bridgetower_text_model",
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)

# The config may still carry a `max_position_embeddings` or `n_positions`; no table has that size.
_NO_TABLE: Final = frozenset(
    {
        "bloom",
        "falcon_mamba",
        "funnel",
        "longt5",
        "mamba",
        "mamba2",
        "mt5",
        "rwkv",
        "switch_transformers",
        "t5",
        "umt5",
        "xlnet",
    }
)

_KEYS: Final = (
    "max_position_embeddings",
    "n_positions",
    "max_encoder_position_embeddings",
    "max_seq_len",
    "n_ctx",
)
_DEFAULT_PADDING: Final = 1  # in every family of `_AFTER_PADDING`


def max_positions(config: Json) -> int | None:
    """The longest sequence in tokens that the position table takes; None when there is no table."""
    family = str(config.get("model_type"))
    if family in _NO_TABLE or _has_relative_positions_only(family, config):
        return None
    rows = _rows(config)
    if rows is None:
        nested = config.get("text_config")
        return max_positions(nested) if isinstance(nested, dict) else None
    if family in _AFTER_PADDING:
        return max(rows - _padding(config) - 1, 1)
    return rows


def _rows(config: Json) -> int | None:
    for key in _KEYS:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _padding(config: Json) -> int:
    if config.get("model_type") == "mpnet":  # written into its code, whatever the config says
        return _DEFAULT_PADDING
    value = config.get("pad_token_id")
    return value if isinstance(value, int) and value >= 0 else _DEFAULT_PADDING


def _has_relative_positions_only(family: str, config: Json) -> bool:
    if family in {"deberta", "deberta-v2"}:
        return config.get("position_biased_input") is False
    if family == "esm":
        return config.get("position_embedding_type") == "rotary"
    return family == "falcon" and config.get("alibi") is True
