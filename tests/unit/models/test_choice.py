from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanza.errors import MissingExtra, ModelError, UnsafeModel
from lanza.models.choice import (
    CONVERSION_MODULES,
    OPTIONAL_MODULES,
    TRANSFORMERS_MODULES,
    EngineChoice,
    choose_engine,
    installed_modules,
)
from lanza.models.facts import read_facts

from .conftest import BERT, TOKENIZER, WriteFolder, weights

BASE: frozenset[str] = frozenset()


def knows(model_type: str) -> bool:
    return model_type != "strange"


def choose(path: Path, installed: frozenset[str], wanted: str | None = None) -> EngineChoice:
    return choose_engine(read_facts(path), installed=installed, wanted=wanted, knows=knows)


def test_an_exported_encoder_needs_the_base_install_only(folder: WriteFolder) -> None:
    files = {"config.json": BERT, "tokenizer.json": TOKENIZER, "onnx/model.onnx": b"x"}
    choice = choose(folder(files), BASE)
    assert (choice.engine, choice.needs_conversion) == ("onnx", False)
    assert "onnx/model.onnx" in choice.why


def test_an_encoder_is_converted_where_it_can_be(classifier: Path) -> None:
    choice = choose(classifier, CONVERSION_MODULES)
    assert (choice.engine, choice.needs_conversion) == ("onnx", True)
    choice = choose(classifier, TRANSFORMERS_MODULES)
    assert choice.engine == "transformers"
    assert "lanza[convert]" in choice.why
    with pytest.raises(MissingExtra, match=r"pip install 'lanza\[convert\]'"):
        choose(classifier, BASE)


def test_the_user_decides(classifier: Path) -> None:
    assert choose(classifier, CONVERSION_MODULES, "transformers") == EngineChoice(
        engine="transformers", why="asked for"
    )
    with pytest.raises(MissingExtra, match=r"lanza\[convert\]"):
        choose(classifier, TRANSFORMERS_MODULES, "onnx")
    with pytest.raises(MissingExtra, match=r"lanza\[transformers\]"):
        choose(classifier, BASE, "transformers")
    with pytest.raises(ModelError, match=r"no handler\.py"):
        choose(classifier, CONVERSION_MODULES, "handler")
    with pytest.raises(ModelError, match="no engine"):
        choose(classifier, CONVERSION_MODULES, "abacus")


def test_a_handler_wins_unless_another_is_asked_for(folder: WriteFolder) -> None:
    files = {"config.json": BERT, "tokenizer.json": TOKENIZER, "model.safetensors": weights()}
    path = folder(files | {"handler.py": ""})
    assert choose(path, BASE).engine == "handler"
    assert choose(path, CONVERSION_MODULES, "transformers").engine == "transformers"
    assert choose(folder({"handler.py": ""}, name="alone"), BASE).engine == "handler"
    with pytest.raises(ModelError, match="no model that Lanza knows"):
        choose(folder({"handler.py": ""}, name="alone"), CONVERSION_MODULES, "onnx")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BERT | {"model_type": "longformer"}, "longformer"),
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, "summarization"),
        ({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}, "text-generation"),
        ({"architectures": ["ViTForImageClassification"], "model_type": "vit"}, "image-classification"),
    ],
)
def test_what_onnx_cannot_take_says_why(folder: WriteFolder, config: dict[str, Any], reason: str) -> None:
    path = folder({"config.json": config, "tokenizer.json": TOKENIZER, "model.safetensors": weights()})
    choice = choose(path, OPTIONAL_MODULES)
    assert choice.engine == "transformers"
    assert reason in choice.why


def test_a_tokenizer_that_is_python_code(folder: WriteFolder) -> None:
    files = {
        "config.json": BERT,
        "vocab.txt": "hola",
        "tokenizer_config.json": {"tokenizer_class": "BertJapaneseTokenizer"},
        "model.safetensors": weights(),
    }
    choice = choose(folder(files), CONVERSION_MODULES)
    assert choice.engine == "transformers"
    assert "tokenizer" in choice.why


def test_onnx_alone_needs_its_tokenizer(folder: WriteFolder) -> None:
    path = folder({"config.json": BERT, "model.onnx": b"x", "vocab.txt": "hola"})
    for installed in (BASE, CONVERSION_MODULES):
        with pytest.raises(ModelError, match=r"no tokenizer\.json"):
            choose(path, installed)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        choose(path, CONVERSION_MODULES, "transformers")


def test_onnx_of_an_image_model_is_refused_with_the_reason(folder: WriteFolder) -> None:
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
    with pytest.raises(ModelError, match="does not serve image-classification"):
        choose(folder({"config.json": config, "model.onnx": b"x"}), OPTIONAL_MODULES)


def test_an_adapter_needs_its_base_and_peft(folder: WriteFolder) -> None:
    folder({"config.json": BERT}, name="base")
    adapter = {"base_model_name_or_path": "../base", "task_type": "SEQ_CLS"}
    files = {"adapter_config.json": adapter, "adapter_model.safetensors": weights()}
    path = folder(files)
    with pytest.raises(MissingExtra, match="peft"):
        choose(path, CONVERSION_MODULES)
    assert choose(path, OPTIONAL_MODULES).engine == "transformers"
    with pytest.raises(ModelError, match="peft"):
        choose(path, OPTIONAL_MODULES, "onnx")

    orphan = files | {"adapter_config.json": adapter | {"base_model_name_or_path": "ana/no-such-base"}}
    with pytest.raises(ModelError, match=r"ana/no-such-base.*not on this machine"):
        choose(folder(orphan, name="orphan"), OPTIONAL_MODULES)


def test_code_that_comes_with_a_model_is_not_run(folder: WriteFolder) -> None:
    config = BERT | {"auto_map": {"AutoModel": "modeling.Strange"}}
    files = {"tokenizer.json": TOKENIZER, "model.safetensors": weights()}
    strange = config | {"model_type": "strange"}
    with pytest.raises(UnsafeModel, match="auto_map"):
        choose(folder(files | {"config.json": strange}), CONVERSION_MODULES)
    # a family that transformers has itself does not need the code
    assert choose(folder(files | {"config.json": config}), CONVERSION_MODULES).engine == "onnx"


def test_an_unknown_family_is_no_promise(folder: WriteFolder) -> None:
    files = {"config.json": BERT | {"model_type": "strange"}, "model.safetensors": weights()}
    with pytest.raises(ModelError, match="does not know"):
        choose(folder(files), CONVERSION_MODULES)
    with pytest.raises(ModelError, match="does not know"):
        choose(folder(files | {"tokenizer.json": TOKENIZER}), CONVERSION_MODULES)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no model that Lanza knows"),
        ({"config.json": BERT}, "no weights"),
        ({"config.json": BERT, "tf_model.h5": b""}, "no weights"),
        ({"config.json": {"model_type": "bert"}, "model.safetensors": weights()}, "--task"),
    ],
)
def test_what_cannot_be_served_says_what_to_do(folder: WriteFolder, files: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        choose(folder(files), OPTIONAL_MODULES)


@pytest.mark.parametrize(
    ("task", "module"), [("image-classification", "PIL"), ("audio-classification", "soundfile")]
)
def test_images_and_sounds_need_their_readers(classifier: Path, task: str, module: str) -> None:
    facts = replace(read_facts(classifier), task=task)
    with pytest.raises(MissingExtra, match=module):
        choose_engine(facts, installed=CONVERSION_MODULES, knows=knows)


def test_installed_modules_are_found_without_importing_them() -> None:
    assert installed_modules(("json", "no_such_module_at_all")) == {"json"}
