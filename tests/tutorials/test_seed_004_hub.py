"""Logging in, pushing and asking, as the tutorial on a Longformer has it, in `lanza shell --intercept`.

The tutorial's names for what is yours, `nombreUsuario/nombreRepositorio`, are taken at their word here, so
that its scripts run unchanged. Its request calls the same repository `nombreRepo`: it is moved there before.
Nothing is deployed: asking for a model starts it. The model is a small Longformer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny
from hubs import Hub, User, hub
from serving import ROOT
from terminal import Terminal

CODE = Path(__file__).parent / "code"
MODEL = "longformer-base-4096-spanish-finetuned-squad_9_10_trainer3"
REPO = "nombreUsuario/nombreRepositorio"
ASKED = "nombreUsuario/nombreRepo"
CONTEXT = "My name is Clara and I live in Berkeley."
PROMPT = "listo> "


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path / "data", "--no-upstream", homes=tmp_path / "homes") as running:
        yield running


@pytest.fixture
def student(server: Hub) -> User:
    """A user whose git has large files, and keeps credentials, as git for Windows does out of the box."""
    user = server.user("nombreUsuario")
    user.run("git", "lfs", "install", "--skip-repo")
    user.run("git", "config", "--global", "credential.helper", "store")
    return user


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The tutorial's folder: its script and, beside it, the fine-tuned model."""
    folder = tmp_path / "proyecto"
    tiny.longformer_qa(folder / MODEL, positions=512, window=16)
    shutil.copy(CODE / "004_push.py", folder / "subir.py")
    (tmp_path / "stand-ins").mkdir()
    (tmp_path / "stand-ins" / "flask.py").write_text("Flask = request = jsonify = None\n")
    return folder


def environment(student: User, work: Path) -> dict[str, str]:
    """What somebody has who has installed Lanza: nothing of Hugging Face's is set."""
    return {
        "HOME": str(student.home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(work.parent / "stand-ins")]),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "PS1": PROMPT,
        "GIT_TERMINAL_PROMPT": "0",
    }


@pytest.fixture
def request_script(student: User, work: Path) -> Path:
    """The tutorial's request, with the token that it leaves to the reader, and its answer printed."""
    script = work / "preguntar.py"
    code = (CODE / "004_request.py").read_text(encoding="utf-8")
    answer = "import json\nprint(json.dumps(data))\n"
    script.write_text(f"API_TOKEN = {student.token!r}\n{code}\n{answer}", encoding="utf-8")
    return script


def test_its_commands_and_its_scripts(server: Hub, student: User, work: Path, request_script: Path) -> None:
    with Terminal(
        *(sys.executable, "-m", "lanza", "shell", "--intercept", "--server", server.url),
        cwd=work,
        env=environment(student, work),
    ) as terminal:
        terminal.expect(PROMPT)
        log_in(terminal, student.token)
        terminal.enter("huggingface-cli whoami")
        assert "\nnombreUsuario\n" in terminal.expect(PROMPT)
        url = make_repository(terminal, server.url)
        terminal.enter("python subir.py && echo subido sin errores")
        terminal.expect("\nsubido sin errores\n", seconds=150)
        terminal.expect(PROMPT)
        terminal.enter(f"git clone {url} clon && echo clonado sin errores")
        terminal.expect("\nclonado sin errores\n")
        check_repository(student, work)
        student.api().move_repo(REPO, ASKED)
        terminal.enter(f"python {request_script.name} && echo preguntado sin errores")
        check_answer(terminal.expect("\npreguntado sin errores\n", seconds=150))
        terminal.enter("exit")
        assert terminal.end() == 0
        assert student.token not in terminal.text
    (endpoint,) = server.call("GET", f"/v2/endpoint/{student.name}", token=student.token)["items"]
    assert (endpoint["model"]["repository"], endpoint["type"]) == (ASKED, "protected")


def log_in(terminal: Terminal, token: str) -> None:
    terminal.enter("huggingface-cli login")
    terminal.expect("Enter your token (input will not be visible): ")
    terminal.enter(token)
    terminal.expect("Add token as git credential? (Y/n) ")
    terminal.enter("Y")
    for line in (
        "Token is valid (permission: write).",
        "Your token has been saved in your configured git credential helpers (store).",
        "Your token has been saved to ",
        "Login successful",
    ):
        terminal.expect(line)
    terminal.expect(PROMPT)


def make_repository(terminal: Terminal, server: str) -> str:
    """Gives the URL that is said to be good for `git clone`."""
    terminal.enter("huggingface-cli repo create nombreRepositorio")
    terminal.expect("git version ")
    terminal.expect("git-lfs/")
    terminal.expect(f"\n\nYou are about to create {REPO}\nProceed? [Y/n] ")
    terminal.enter("Y")
    url = f"{server}/{REPO}"
    terminal.expect(
        f"\n\nYour repo now lives at:\n  {url}\n\n"
        "You can clone it locally with the command below, and commit/push as usual.\n\n"
        f"  git clone {url}\n"
    )
    terminal.expect(PROMPT)
    return url


def check_answer(shown: str) -> None:
    """The last line but one is the answer: a piece of the context, and where it is."""
    data = json.loads(shown.splitlines()[-2])
    assert set(data) == {"answer", "score", "start", "end"}
    assert data["answer"] == CONTEXT[data["start"] : data["end"]] != ""
    assert 0 < data["score"] <= 1


def check_repository(student: User, work: Path) -> None:
    """The hub holds the model and its tokenizer, and knows what they are; so does the clone."""
    info = student.api().model_info(REPO, files_metadata=True)
    files = {file.rfilename: file for file in info.siblings}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= set(files)
    assert (info.author, info.private) == ("nombreUsuario", False)
    assert (info.pipeline_tag, info.library_name) == ("question-answering", "transformers")
    assert info.safetensors.total == parameters(work / MODEL / "model.safetensors")
    weights = (work / "clon" / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == files["model.safetensors"].lfs.sha256
    assert tensors(work / "clon") == tensors(work / MODEL)
    assert words(work / "clon") == words(work / MODEL)
    fsck = ["git", "-C", str(work / "clon"), "fsck", "--strict", "--full"]
    subprocess.run(fsck, check=True, capture_output=True)


def parameters(path: Path) -> int:
    from safetensors.numpy import load_file

    return sum(tensor.size for tensor in load_file(path).values())


def tensors(folder: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: tensor.tobytes() for name, tensor in load_file(folder / "model.safetensors").items()}


def words(folder: Path) -> list[int]:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)("¿Qué monto ofrece la beca?").input_ids
