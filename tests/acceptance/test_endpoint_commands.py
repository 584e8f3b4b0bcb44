"""The verbs for endpoints as people type them, against a real `lanza up` with real replicas.

One server and one model for all tests; each test has endpoints of its own.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubs import Hub, User, hub
from serving import ROOT

BECAS = ROOT / "examples" / "becas-qa"
SERVED = ("config.json", "tokenizer.json", "tokenizer_config.json", "README.md", "onnx", "model.safetensors")
QUESTION = {"question": "¿Cuándo cierra?", "context": "La convocatoria cierra el 29 de mayo."}
MODEL = "ana/becas-qa"

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, kw_only=True)
class Lanza:
    """`lanza` of one user."""

    user: User
    server: Hub

    def __call__(self, *words: str | Path, code: int = 0, **more: str) -> str:
        """What it prints: of its own output, or of all when it is to fail."""
        command = (sys.executable, "-m", "lanza", *map(str, words))
        done = self.user.run(*command, check=False, **more)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        return said if code else done.stdout

    def json(self, *words: str | Path) -> Any:
        return json.loads(self(*words, "--json"))

    def state(self, name: str) -> str:
        state: str = self.json("show", name)["status"]["state"]
        return state

    def ask(self, name: str) -> Any:
        body = {"inputs": QUESTION}
        return self.server.call("POST", f"/endpoints/ana/{name}", body, token=self.user.token)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("commands")
    with hub(folder / "data", "--no-upstream", homes=folder / "homes") as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder, without what it was trained with."""
    folder = tmp_path_factory.mktemp("models") / "becas-qa"
    folder.mkdir()
    for name in SERVED:
        if (BECAS / name).is_dir():
            shutil.copytree(BECAS / name, folder / name)
        else:
            shutil.copy(BECAS / name, folder)
    return folder


@pytest.fixture(scope="module")
def lanza(server: Hub, model: Path) -> Lanza:
    """Somebody whose model is pushed and deployed from its folder, as `ana/becas-qa`."""
    lanza = Lanza(user=server.user("ana"), server=server)
    said = lanza("deploy", model, "--budget", "5", "--max", "2")
    assert "ana/becas-qa is running" in said
    assert f"{server.url}/endpoints/ana/becas-qa/docs" in said
    return lanza


def test_looking_at_it(lanza: Lanza) -> None:
    assert lanza.ask("becas-qa")["answer"] == "29 de mayo"
    (row,) = [it for it in lanza.json("ps") if it["name"] == "becas-qa"]
    assert (row["status"]["state"], row["type"]) == ("running", "protected")
    assert "becas-qa" in lanza("ps")
    page = lanza("show", "becas-qa")
    assert "1 ready of 1, 0 to 2 allowed" in page
    assert "5 dollars a month" in page
    assert "served by onnx" in lanza("logs", "ana/becas-qa")
    assert "dollars in 30 days" in lanza("costs", "becas-qa", "--by", "day")
    assert "lanza local" in lanza("hardware")


def test_its_page_opens_in_a_browser(lanza: Lanza) -> None:
    url = lanza("open", "becas-qa", BROWSER="true").strip()
    assert url == f"{lanza.server.url}/endpoints/ana/becas-qa/docs"
    navigating = urllib.request.Request(url, headers={"Sec-Fetch-Mode": "navigate"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(navigating)
    assert refused.value.headers["WWW-Authenticate"].startswith("Basic ")
    refused.value.close()
    password = base64.b64encode(f"ana:{lanza.user.token}".encode()).decode()
    navigating.add_header("Authorization", f"Basic {password}")
    with urllib.request.urlopen(navigating) as page:
        assert b"<h1>ana/becas-qa</h1>" in page.read()


def test_scaling_pausing_and_going_on(lanza: Lanza) -> None:
    lanza("deploy", MODEL, "--name", "escala", "--max", "3")
    lanza("scale", "escala", "--min", "1", "--idle", "5")
    scaling = lanza.json("show", "escala")["compute"]["scaling"]
    assert (scaling["minReplica"], scaling["maxReplica"], scaling["scaleToZeroTimeout"]) == (1, 3, 5)
    lanza("scale", "escala", "--min", "0")
    assert "scaledToZero" in lanza("scale", "escala", "--zero")
    assert lanza.ask("escala")["answer"] == "29 de mayo"
    assert "paused" in lanza("pause", "escala")
    assert "running" in lanza("resume", "escala")
    assert "running" in lanza("resume", "escala")  # it goes on, and that is no error
    lanza("rm", "escala", "--endpoint", "--yes")
    assert "there is no endpoint ana/escala" in lanza("show", "escala", code=1)


def test_changing_it_and_going_back(lanza: Lanza) -> None:
    lanza("deploy", MODEL, "--name", "cambia", "--env", "A=1", "--secret", "KEY", KEY="s3cr3t")
    lanza("update", "cambia", "--env", "A=2", "--type", "authenticated")
    changed = lanza.json("show", "cambia")
    assert (changed["model"]["env"], changed["type"]) == ({"A": "2"}, "authenticated")
    lanza("rollback", "cambia")
    back = lanza.json("show", "cambia")
    assert (back["model"]["env"], back["type"]) == ({"A": "1"}, "authenticated")
    assert "s3cr3t" not in json.dumps(back)
    assert "no revision 99" in lanza("rollback", "cambia", "--to", "99", code=1)
    lanza("rm", "cambia", "--endpoint", "--yes")


def test_from_a_file(lanza: Lanza, tmp_path: Path) -> None:
    file = tmp_path / "endpoint.yaml"
    file.write_text(
        f"name: de-archivo\nmodel:\n  repository: {MODEL}\ncompute:\n  scaling:\n    maxReplica: 2\n"
    )
    made = lanza.json("deploy", "-f", file, "--min", "1", "--no-wait")
    assert made["compute"]["scaling"]["maxReplica"] == 2
    assert made["compute"]["scaling"]["minReplica"] == 1
    lanza("rm", "de-archivo", "--endpoint", "--yes")
    file.write_text("model:\n  repositroy: ana/becas-qa\n")
    assert "repositroy" in lanza("deploy", "-f", file, code=1)


def test_hugging_face_s_own_command(lanza: Lanza) -> None:
    for words in (("hf",), ("shell", "hf"), ("shell", "--intercept", "hf")):
        assert "becas-qa" in lanza(*words, "endpoints", "ls")
    assert "Usage: hf endpoints" in lanza("hf", "endpoints", "nothing", code=2)


def test_a_folder_that_is_no_model_is_not_pushed(lanza: Lanza, tmp_path: Path) -> None:
    (tmp_path / "secreto.txt").write_text("lz_token")
    said = lanza("deploy", tmp_path, "--name", "nada", code=2)
    assert "holds no model" in said
    assert "lanza doctor" in said
    assert [it.id for it in lanza.user.api().list_models(author="ana")] == [MODEL]


def test_a_name_that_is_taken_is_said_before_anything_is_pushed(lanza: Lanza, model: Path) -> None:
    before = lanza.user.api().model_info(MODEL).sha
    (model / "notas.txt").write_text("nuevas")
    said = lanza("deploy", model, code=2)
    assert "there is an endpoint ana/becas-qa already" in said
    assert "lanza update ana/becas-qa" in said
    assert lanza.user.api().model_info(MODEL).sha == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("deploy",), 2, "name a model"),
        (("deploy", "./nothing"), 2, "neither a folder nor"),
        (("deploy", "ana/nothing"), 1, "no model"),
        (("deploy", MODEL, "--name", "Mal_Nombre"), 1, "cannot be the name of an endpoint"),
        (("deploy", MODEL, "--name", "x", "--size", "x99"), 1, "is not here"),
        (("deploy", MODEL, "--name", "x", "--min", "3", "--max", "2"), 2, "--min 3 is more than --max 2"),
        (("deploy", MODEL, "--name", "x", "--budget", "nan"), 2, "--budget wants dollars"),
        (("deploy", MODEL, "--name", "x", "--secret", "NOT_SET"), 2, "no variable of that name"),
        (("deploy", MODEL, "--name", "x", "--revision", "nada"), 1, "no branch, tag or commit"),
        (("deploy", MODEL, "--name", "x", "-n", "eva"), 1, "may not manage endpoints of eva"),
        (("scale", "becas-qa"), 2, "say what to change"),
        (("rm", "nothing", "--endpoint", "--yes"), 1, "there is no endpoint ana/nothing"),
        (("costs", "nothing"), 1, "there is no endpoint ana/nothing"),
        (("logs", "nothing"), 1, "there is no endpoint ana/nothing"),
        (("open", "nothing"), 1, "there is no endpoint ana/nothing"),
        (("pause", "a/b/c"), 2, "is no endpoint"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    lanza: Lanza, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in lanza(*words, code=code)


def test_without_a_token(lanza: Lanza) -> None:
    assert "lanza login" in lanza("deploy", MODEL, code=1, HF_TOKEN="")
    assert "Log in again" in lanza("ps", code=1, HF_TOKEN="lz_wrong")


def test_a_failure_is_told_with_its_reason(lanza: Lanza) -> None:
    said = lanza("deploy", MODEL, "--name", "falla", "--task", "traducir", code=1)
    assert "there is no task 'traducir' here" in said
    assert "falla" not in lanza("ps")
    said = lanza("deploy", MODEL, "--name", "falla", "--task", "translation", code=1)
    assert "translation" in said
    assert "lanza logs ana/falla" in said
    assert lanza.state("falla") == "failed"
    assert "running" in lanza("update", "falla", "--task", "question-answering")
    lanza("rm", "falla", "--endpoint", "--yes")
