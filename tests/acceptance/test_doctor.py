"""`lanza doctor` on folders as transformers, peft, torch and onnx write them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import tiny
from lanza.cli import app
from lanza.models.choice import OPTIONAL_MODULES, installed_modules

pytestmark = pytest.mark.skipif(
    installed_modules() != OPTIONAL_MODULES, reason="the engine chosen depends on what is installed"
)


def doctor(path: Path) -> dict[str, Any]:
    """What --json prints, with the exit code checked against it."""
    result = CliRunner().invoke(app, ["doctor", str(path), "--json"])
    report: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == report["exit_code"]
    assert report["servable"] == (result.exit_code < 2)
    return report


def codes(report: dict[str, Any], level: str | None = None) -> list[str]:
    return [found["code"] for found in report["findings"] if level in (None, found["level"])]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound model, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "model"))


def test_a_sound_classifier(sound: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    report = doctor(sound)
    assert (report["exit_code"], codes(report)) == (0, [])
    assert (report["kind"], report["task"]) == ("transformers", "text-classification")
    assert (report["engine"]["name"], report["engine"]["needs_conversion"]) == ("onnx", True)
    loaded = AutoModelForSequenceClassification.from_pretrained(sound)
    assert report["parameters"] == loaded.num_parameters()
    assert report["dtypes"] == {"F32": loaded.num_parameters()}
    assert report["tokenizer"]["tokens"] == loaded.config.vocab_size
    assert report["memory"]["needs"][0]["weights_bytes"] == 4 * loaded.num_parameters()


@pytest.mark.parametrize(
    ("build", "task", "engine"),
    [
        (lambda path: tiny.bert(path, task="question-answering"), "question-answering", "onnx"),
        (lambda path: tiny.encoder(path, arch="roberta", task="fill-mask"), "fill-mask", "onnx"),
        (lambda path: tiny.longformer_qa(path, positions=128), "question-answering", "transformers"),
        (lambda path: tiny.causal(path, arch="qwen2"), "text-generation", "transformers"),
        (lambda path: tiny.seq2seq(path, arch="marian"), "translation", "transformers"),
        (lambda path: tiny.seq2seq(path, arch="t5"), "summarization", "transformers"),
    ],
)
def test_models_of_many_families(tmp_path: Path, build: Any, task: str, engine: str) -> None:
    report = doctor(build(tmp_path))
    assert codes(report, "error") == []
    assert (report["task"], report["engine"]["name"]) == (task, engine)


def test_an_image_classifier_and_its_processor(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    assert codes(doctor(tmp_path)) == ["no_processor"]
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    report = doctor(tmp_path)
    assert (report["exit_code"], report["task"]) == (0, "image-classification")
    assert report["has_processor"]


def test_an_adapter_with_and_without_its_base(sound: Path, tmp_path: Path) -> None:
    adapter = tiny.lora(tmp_path / "adapter", base=sound)
    report = doctor(adapter)
    assert (report["exit_code"], report["kind"], report["task"]) == (0, "adapter", "text-classification")
    described = report["adapter"]
    assert (described["type"], described["rank"], described["target_modules"]) == ("LORA", 4, ["query"])
    assert described["base_path"] == str(sound.resolve())
    assert report["engine"]["name"] == "transformers"

    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "ana/not-downloaded"
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    report = doctor(adapter)
    assert report["exit_code"] == 2
    assert "ana/not-downloaded" in report["findings"][0]["message"]


def test_tokens_added_and_the_embedding_forgotten(model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = len(tokenizer)
    tokenizer.add_tokens(["<nota>", "<curso>"])
    tokenizer.save_pretrained(model)
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (2, ["tokens_beyond_embedding"])
    assert report["tokenizer"]["highest_id"] == rows + 1
    assert f"{rows} rows" in report["findings"][0]["message"]


def test_weights_saved_as_a_pickle(model: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (0, ["unused_pickle"])
    (model / "model.safetensors").unlink()
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (1, ["pickled_weights"])
    assert report["weights"]["format"] == "pickle"


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


class System:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo run",)


@pytest.mark.parametrize(("payload", "code"), [(System(), "unsafe_pickle"), (Malice(), "unknown_pickle")])
def test_weights_that_run_code(
    model: Path, payload: object, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (model / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(2), "more": payload}, model / "pytorch_model.bin")
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (2, [code])
    assert "run" not in capfd.readouterr().out.splitlines()
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(model / "pytorch_model.bin", weights_only=True)


def test_what_a_trainer_leaves_behind(model: Path) -> None:
    from transformers import TrainingArguments

    torch.save(TrainingArguments(output_dir=str(model / "out"), use_cpu=True), model / "training_args.bin")
    optimizer = torch.optim.AdamW([torch.zeros(2, requires_grad=True)])
    torch.save(optimizer.state_dict(), model / "optimizer.pt")
    torch.save({"python": (3, (1, 2), None)}, model / "rng_state.pth")
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (0, ["never_loaded"])
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
        assert name in report["findings"][0]["message"]


def test_shards_and_a_missing_one(model: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    loaded = AutoModelForSequenceClassification.from_pretrained(model)
    (model / "model.safetensors").unlink()
    loaded.save_pretrained(model, max_shard_size="40KB")
    shards = sorted(model.glob("model-*.safetensors"))
    assert len(shards) > 1
    report = doctor(model)
    assert (report["exit_code"], report["parameters"]) == (0, loaded.num_parameters())
    shards[0].unlink()
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (2, ["missing_shards"])
    assert shards[0].name in report["findings"][0]["message"]


def test_a_download_that_broke_off(model: Path) -> None:
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    report = doctor(model)
    assert (report["exit_code"], codes(report)) == (2, ["damaged_weights"])
    assert "cut short" in report["findings"][0]["message"]


def test_a_graph_without_its_data(model: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(torch.ones(300, 300).numpy(), "weight")
    node = onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 300]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    onnx.save(
        onnx.helper.make_model(graph),
        model / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
    )
    (model / "model.safetensors").unlink()
    report = doctor(model)
    assert (report["exit_code"], report["kind"]) == (0, "onnx")
    assert report["engine"] == {
        "name": "onnx",
        "why": "a text encoder with its ONNX form in model.onnx",
        "needs_conversion": False,
    }
    assert report["weights"]["files"] == ["model.onnx", "model.onnx_data"]
    (model / "model.onnx_data").unlink()
    assert codes(doctor(model)) == ["missing_shards"]


def test_a_handler(model: Path) -> None:
    (model / "handler.py").write_text(
        "from transformers import AutoModel, AutoTokenizer\n"
        "class EndpointHandler:\n"
        "    def __init__(self, path):\n"
        "        self.model = AutoModel.from_pretrained('ana/base')\n"
        "        self.tokenizer = AutoTokenizer.from_pretrained('luis/other')\n"
        "    def __call__(self, data):\n"
        "        return self.model(**self.tokenizer(data['inputs'])).tolist()\n"
    )
    report = doctor(model)
    assert (report["exit_code"], report["kind"], report["engine"]["name"]) == (1, "handler", "handler")
    assert sorted(set(codes(report))) == [
        "fetched_at_start",
        "no_eval",
        "no_no_grad",
        "tokenizer_of_another_model",
    ]


def test_for_people_it_is_short_and_says_what_to_do(model: Path) -> None:
    (model / "[red]odd.pkl").write_bytes(b"cos\nsystem\n(S'echo run'\ntR.")
    result = CliRunner().invoke(app, ["doctor", str(model)])
    assert result.exit_code == 2
    for part in ("text-classification", "BertForSequenceClassification", "onnx", "memory", "Delete it"):
        assert part in result.stdout
    assert "[red]odd.pkl would run os.system" in result.stdout
    assert result.stdout.rstrip().endswith("Not servable.")


@pytest.mark.parametrize(
    "name", ["absent", "model/config.json", "model", "", "~nobody_here", "broken", "-", "a\nb"]
)
def test_json_is_one_object_whatever_is_broken(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"a": ')
    result = subprocess.run(
        [sys.executable, "-c", "from lanza.cli import main; main()", "doctor", "--json", "--", name],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(result.stdout)
    assert isinstance(report, dict)
    assert result.returncode == report["exit_code"] == 2
    assert report["findings"]
    assert "Traceback" not in result.stderr
