"""What a repository is, by what its files say."""

from __future__ import annotations

from typing import Any

import pytest

from lanza.hub.cards import read_card
from lanza.hub.evidence import Evidence, count_parameters
from lanza.hub.facts import Facts, facts_of, file_tags
from lanza.hub.names import Kind

BERT = {"model_type": "bert", "architectures": ["BertForQuestionAnswering"], "vocab_size": 30522, "secret": 1}


def facts(card: str = "", *names: str, kind: Kind = Kind.MODEL, **found: Any) -> Facts:
    text = f"---\n{card}\n---\nSee https://arxiv.org/abs/1810.04805 and arXiv:2004.05150."
    return facts_of(kind, Evidence(card=read_card(text), names=frozenset(names), **found))


def test_an_empty_repository_says_nothing() -> None:
    assert facts_of(Kind.MODEL, Evidence()) == Facts()


def test_a_card_has_the_tags_that_the_public_hub_would_give_it() -> None:
    card = """
license: mit
language: [es, en]
library_name: transformers
pipeline_tag: question-answering
tags: [becas, es]
datasets: [squad_es]
base_model: PlanTL/roberta"""
    made = facts(card, "model.safetensors", "pytorch_model-00001-of-2.bin", "onnx/", config=BERT)
    assert (made.library, made.pipeline_tag) == ("transformers", "question-answering")
    assert made.tags == (
        "transformers",
        "pytorch",
        "safetensors",
        "onnx",
        "bert",
        "question-answering",
        "becas",
        "es",
        "en",
        "dataset:squad_es",
        "base_model:PlanTL/roberta",
        "base_model:finetune:PlanTL/roberta",
        "arxiv:1810.04805",
        "arxiv:2004.05150",
        "license:mit",
    )


@pytest.mark.parametrize(
    ("found", "library", "task"),
    [
        ({"config": BERT}, "transformers", "question-answering"),
        ({"config": {"model_type": "whisper"}}, "transformers", None),
        (
            {"adapter": {"task_type": "CAUSAL_LM", "base_model_name_or_path": "meta/llama"}},
            "peft",
            "text-generation",
        ),
        (
            {"pipeline": {"_diffusers_version": "0.3", "_class_name": "FluxPipeline"}},
            "diffusers",
            "text-to-image",
        ),
        ({"names": ["modules.json"], "config": BERT}, "sentence-transformers", "sentence-similarity"),
        ({"names": ["weights-q4.gguf"]}, "gguf", None),
        ({"config": {"architectures": [3], "model_type": ["x"]}}, "transformers", None),
        ({"config": {"architectures": "BertModel"}}, "transformers", None),
    ],
)
def test_files_say_what_the_card_does_not(found: dict[str, Any], library: str, task: str | None) -> None:
    names = [*found.pop("names", []), *(["adapter_config.json"] if "adapter" in found else [])]
    made = facts("", *names, **found)
    assert (made.library, made.pipeline_tag) == (library, task)


def test_the_card_decides_against_the_files() -> None:
    made = facts("pipeline_tag: text-classification\nlibrary_name: keras", config=BERT)
    assert (made.library, made.pipeline_tag) == ("keras", "text-classification")


def test_an_adapter_names_its_base_itself() -> None:
    made = facts("", "adapter_config.json", adapter={"base_model_name_or_path": "meta/llama"})
    assert {"base_model:meta/llama", "base_model:adapter:meta/llama"} <= set(made.tags)
    here = facts("", "adapter_config.json", adapter={"base_model_name_or_path": "./llama"})
    assert not [tag for tag in here.tags if tag.startswith("base_model")]


def test_only_the_part_of_a_configuration_that_clients_read_is_told() -> None:
    tokenizer = {"mask_token": {"content": "[MASK]"}, "chat_template": "{{ x }}", "other": 1}
    made = facts("pipeline_tag: fill-mask", "tokenizer.json", config=BERT, tokenizer=tokenizer)
    assert made.details["config"] == {
        "architectures": ["BertForQuestionAnswering"],
        "model_type": "bert",
        "tokenizer_config": {"mask_token": {"content": "[MASK]"}, "chat_template": "{{ x }}"},
    }
    assert made.details["mask_token"] == "[MASK]"
    assert "conversational" in made.tags


@pytest.mark.parametrize(
    ("architecture", "auto"),
    [
        ("BertForMaskedLM", "AutoModelForMaskedLM"),
        ("GPT2LMHeadModel", "AutoModelForCausalLM"),
        ("BertModel", "AutoModel"),
        ("BartForConditionalGeneration", "AutoModelForSeq2SeqLM"),
    ],
)
def test_the_auto_class_follows_from_the_architecture(architecture: str, auto: str) -> None:
    made = facts("", "tokenizer.json", config={"architectures": [architecture]})
    assert made.details["transformersInfo"]["auto_model"] == auto
    assert made.details["transformersInfo"]["processor"] == "AutoTokenizer"


def test_parameters_are_told_by_type_and_in_all() -> None:
    made = facts("", parameters={"F16": 100, "I8": 7})
    assert made.details["safetensors"] == {"parameters": {"F16": 100, "I8": 7}, "total": 107}


def test_a_dataset_s_tags_have_prefixes() -> None:
    card = "language: es\ntask_categories: [question-answering]\nlicense: cc-by-4.0\ntags: [becas]"
    made = facts(card, kind=Kind.DATASET)
    assert made.tags == (
        "task_categories:question-answering",
        "language:es",
        "license:cc-by-4.0",
        "arxiv:1810.04805",
        "arxiv:2004.05150",
        "becas",
    )
    assert made.library is None


def test_a_space_says_what_it_runs_with() -> None:
    made = facts("sdk: gradio\nmodels: [ana/becas]\ndatasets: [squad_es]", kind=Kind.SPACE)
    assert made.tags == ("gradio", "model:ana/becas", "dataset:squad_es")
    assert made.details == {"sdk": "gradio", "models": ["ana/becas"], "datasets": ["squad_es"]}


def test_tags_are_bounded() -> None:
    made = facts("tags: [" + ", ".join(f"t{number}" for number in range(5000)) + "]")
    assert len(made.tags) == 1000


def test_formats_are_known_by_their_files() -> None:
    names = ["model.safetensors", "tf_model.h5", "q4.gguf", "runs/", "config.json", "my_model.onnx"]
    assert list(file_tags(names)) == ["tf", "safetensors", "onnx", "gguf", "tensorboard"]


def test_a_header_that_lies_counts_what_can_be() -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [10, 20], "data_offsets": [0, 800]},
        "b": {"dtype": "F32", "shape": []},
        "minus": {"dtype": "F32", "shape": [-1]},
        "huge": {"dtype": "F32", "shape": [2**40, 2**40]},
        "true": {"dtype": "F32", "shape": [True]},
        "text": {"dtype": "F32", "shape": "10"},
        "none": None,
    }
    assert count_parameters(header) == {"F32": 201}
