"""The position tables of real models: the last position that we promise works, and the next does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from lanza.models.facts import read_facts

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 24,
}
ROBERTA = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
FAMILIES = {
    "bert": {},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": {**ROBERTA, "pad_token_id": 3},
    "roberta-prelayernorm": ROBERTA,
    "data2vec-text": ROBERTA,
    "mpnet": {**ROBERTA, "pad_token_id": 3},  # its code takes 1 all the same
    "ibert": ROBERTA,
    "lilt": {**ROBERTA, "hidden_size": 24, "channel_shrink_ratio": 2},
    "luke": {**ROBERTA, "entity_vocab_size": 4, "entity_emb_size": 16},
    "longformer": {**ROBERTA, "attention_window": 4},
    "nystromformer": {"num_landmarks": 4, "segment_means_seq_len": 24},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    "gpt2": {"n_positions": 24, "n_embd": 16, "n_layer": 1, "n_head": 2, "max_position_embeddings": None},
    "opt": {"word_embed_proj_dim": 16, "ffn_dim": 16},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_position_works_and_the_next_does_not(family: str, tmp_path: Path) -> None:
    settings = {key: value for key, value in {**SMALL, **FAMILIES[family]}.items() if value is not None}
    config = AutoConfig.for_model(family, **settings)
    config.save_pretrained(tmp_path)
    positions = read_facts(tmp_path).max_positions
    assert positions is not None
    model = AutoModel.from_config(config).eval()

    def run(tokens: int) -> None:
        with torch.inference_mode():
            model(
                input_ids=torch.full((1, tokens), 7), attention_mask=torch.ones(1, tokens, dtype=torch.long)
            )

    run(positions)
    with pytest.raises((IndexError, RuntimeError)):
        run(positions + 1)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("deberta-v2", {"position_biased_input": False, "relative_attention": True, "pos_att_type": ["c2p"]}),
        ("t5", {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}),
        ("bloom", {"n_layer": 1, "n_head": 2}),
    ],
)
def test_without_a_table_no_length_is_too_much(
    family: str, settings: dict[str, object], tmp_path: Path
) -> None:
    config = AutoConfig.for_model(family, **{**SMALL, **settings})
    config.save_pretrained(tmp_path)
    assert read_facts(tmp_path).max_positions is None
    model = AutoModel.from_config(config).eval()
    ids = torch.full((1, 60), 7)
    more = {"decoder_input_ids": ids} if family == "t5" else {}
    with torch.inference_mode():
        model(input_ids=ids, **more)
