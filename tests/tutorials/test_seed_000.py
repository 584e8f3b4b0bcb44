"""Saving, pushing and deploying a fine-tuned adapter, as the tutorial on endpoints has it.

The tutorial has no code: it names `save_model`, logging in with a token of chosen rights, `push_to_hub`, what
a handler.py has to have, and what to choose on the page that makes an endpoint. The scripts below are the
least that have it all. They run in `lanza shell --intercept`, so that Hugging Face's client finds this server
at the address that it has built in, and on a server that rehearses: the GPU that they ask for is not here.
"""

from __future__ import annotations

import hashlib
import json
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


HANDLER = """
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

class EndpointHandler:
    def __init__(self, path=""):
        base = AutoModelForSequenceClassification.from_pretrained("ana/base")
        self.model = PeftModel.from_pretrained(base, path).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path)

    def __call__(self, data):
        tokens = self.tokenizer(data["inputs"], return_tensors="pt")
        with torch.inference_mode():
            scores = self.model(**tokens).logits.softmax(-1)[0].tolist()
        labels = self.model.config.id2label
        return [[{"label": labels[i], "score": score} for i, score in enumerate(scores)]]
"""

DEPLOY = """
import json, sys
import requests
from huggingface_hub import create_inference_endpoint, login, upload_file

token = sys.stdin.readline().strip()
login(token=token)
upload_file(repo_id="ana/becas-lora", path_or_fileobj="handler.py", path_in_repo="handler.py")
endpoint = create_inference_endpoint(
    "becas-lora",
    repository="ana/becas-lora",
    framework="pytorch",
    task="text-classification",
    vendor="aws",
    region="us-east-1",
    accelerator="gpu",
    instance_type="nvidia-l4",
    instance_size="x1",
    type="authenticated",
    min_replica=0,
    max_replica=1,
    scale_to_zero_timeout=15,
)
endpoint.wait(timeout=150, refresh_every=1)
states = [endpoint.status]
answers = [[(it.label, it.score) for it in endpoint.client.text_classification("Me encanta.")]]
request = {"headers": {"Authorization": f"Bearer {token}"}, "json": {"inputs": "Me encanta."}}
url = endpoint.url
endpoint.pause()
states.append(endpoint.fetch().status)
paused = requests.post(url, **request)
endpoint.resume().wait(timeout=150, refresh_every=1)
states.append(endpoint.status)
answers.append([(it["label"], it["score"]) for it in requests.post(url, **request).json()[0]])
print(json.dumps({"states": states, "answers": answers, "paused": paused.status_code}))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    options = ("--no-upstream", "--rehearse")
    with hub(tmp_path / "data", *options, homes=tmp_path / "homes") as running:
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
    """Run a Python script in the shell, where no token is set; its first line of input is `token`."""
    unset = {"HF_TOKEN": "", "HF_ENDPOINT": "", "HF_HOME": ""}
    shell = (sys.executable, "-m", "lanza", "shell", "--intercept", "--server", ana.url)
    command = (*shell, sys.executable, "-c", script)
    return ana.run(*command, input=token + "\n", check=False, **{**unset, **more})


def lanza(ana: User, *words: str) -> str:
    return ana.run(sys.executable, "-m", "lanza", *words).stdout


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

    deploy_and_ask(server, ana)


def deploy_and_ask(server: Hub, ana: User) -> None:
    (ana.home / "handler.py").write_text(HANDLER)
    rights = (
        "repo.content.read",
        "repo.write",
        "inference.endpoints.write",
        "inference.endpoints.infer.write",
    )
    done = in_shell(ana, DEPLOY, scoped_token(server, *rights))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["states"] == ["running", "paused", "running"]
    assert found["paused"] == 503
    assert found["answers"][0] == found["answers"][1]
    assert sorted(label for label, _ in found["answers"][0]) == ["negativo", "positivo"]
    assert sum(score for _, score in found["answers"][0]) == pytest.approx(1)
    assert "this is a rehearsal: aws/us-east-1 nvidia-l4 x1 is not here" in done.stderr

    lanza(ana, "update", "becas-lora", "--type", "protected", "--no-wait")
    assert "ana/becas-lora (protected)" in lanza(ana, "show", "becas-lora")
    (cost,) = json.loads(lanza(ana, "costs", "becas-lora", "--json"))
    assert cost["requests"] >= 2
    assert cost["cost"] > 0


def test_a_token_that_may_only_read_is_told_so(server: Hub, ana: User) -> None:
    done = in_shell(ana, TRAIN, scoped_token(server, "repo.content.read"))
    assert done.returncode != 0
    assert "has no right to write to ana" in done.stderr
    assert [model.id for model in ana.api().list_models(author="ana")] == ["ana/base"]
