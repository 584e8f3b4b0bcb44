"""Saving and pushing a fine-tuned adapter, as the tutorial on endpoints has it, in `lanza shell`.

The tutorial has no code for this part: it names `save_model`, logging in with a token of chosen rights, and
`trainer.push_to_hub()`. The script below is the least that has them all.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny
from hubs import Hub, User, hub

TRAIN = """
import sys
from huggingface_hub import login
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

login(token=sys.stdin.readline().strip())
tokenizer = AutoTokenizer.from_pretrained("ana/base")
model = AutoModelForSequenceClassification.from_pretrained("ana/base")
model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query"]))
texts = [("Me encanta este programa.", 1), ("No estoy de acuerdo.", 0)]
trainer = Trainer(
    model=model,
    args=TrainingArguments("becas-lora", max_steps=2, use_cpu=True, report_to="none", save_strategy="no"),
    train_dataset=[{**tokenizer(text, padding="max_length", max_length=16), "label": n} for text, n in texts],
    processing_class=tokenizer,
)
trainer.train()
trainer.save_model("mi-modelo-ajustado")
trainer.push_to_hub()
"""

LOAD = """
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
model = AutoPeftModelForSequenceClassification.from_pretrained("ana/becas-lora").eval()
text = AutoTokenizer.from_pretrained("ana/becas-lora")("Me encanta.", return_tensors="pt")
print(model.peft_config["default"].base_model_name_or_path, model(**text).logits.isfinite().all().item())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path / "data", "--no-upstream", homes=tmp_path / "homes") as running:
        yield running


@pytest.fixture
def ana(server: Hub, tmp_path: Path) -> User:
    """Somebody whose base model is on the hub already."""
    user = server.user("ana")
    user.api().create_repo("ana/base", private=True)
    user.api().upload_folder(repo_id="ana/base", folder_path=tiny.bert(tmp_path / "base"))
    return user


def scoped_token(server: Hub, *scopes: str) -> str:
    """A token that may do this in its owner's namespace, and no more."""
    grants = [{"entity": "ana", "scopes": list(scopes)}]
    wanted = {"user": "ana", "name": "-".join(scopes), "role": "fine-grained", "grants": grants}
    token: str = server.call("POST", "/api/lanza/tokens", wanted)["token"]
    return token


def in_shell(ana: User, script: str, token: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in `lanza shell`, where no token is set; its first line of input is `token`."""
    unset = {"HF_TOKEN": "", "HF_ENDPOINT": "", "HF_HOME": ""}
    command = (sys.executable, "-m", "lanza", "shell", "--server", ana.url, sys.executable, "-c", script)
    return ana.run(*command, input=token + "\n", check=False, **{**unset, **more})


def test_a_trainer_saves_and_pushes_an_adapter(server: Hub, ana: User) -> None:
    token = scoped_token(server, "repo.content.read", "repo.write")
    done = in_shell(ana, TRAIN, token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert token not in done.stdout + done.stderr

    saved = ana.home / "mi-modelo-ajustado"
    assert (saved / "adapter_config.json").is_file()
    assert (saved / "training_args.bin").is_file()
    info = ana.api().model_info("ana/becas-lora", files_metadata=True, securityStatus=True)
    files = {file.rfilename: file for file in info.siblings}
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "tokenizer.json"} <= set(files)
    weights = (saved / "adapter_model.safetensors").read_bytes()
    assert files["adapter_model.safetensors"].lfs.sha256 == hashlib.sha256(weights).hexdigest()
    assert info.library_name == "peft"
    assert "base_model:ana/base" in info.tags

    loaded = in_shell(ana, LOAD, "", HF_TOKEN=token, HF_ENDPOINT=ana.url)
    assert loaded.stdout.split() == ["ana/base", "True"], loaded.stderr


def test_a_token_that_may_only_read_is_told_so(server: Hub, ana: User) -> None:
    done = in_shell(ana, TRAIN, scoped_token(server, "repo.content.read"))
    assert done.returncode != 0
    assert "has no right to write to ana" in done.stderr
    assert [model.id for model in ana.api().list_models(author="ana")] == ["ana/base"]
