"""`hf endpoints ...` as a process, as tutorials type it; its fixed address is turned to the test's server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hubs import User
from serving import ROOT

REDIRECTED = Path(__file__).parent / "redirected"
HERE = ("--vendor", "lanza", "--region", "local", "--instance-type", "cpu", "--instance-size", "x1")


class Command:
    """`hf endpoints` of one user."""

    def __init__(self, user: User) -> None:
        self.user = user

    def __call__(self, *arguments: str, code: int = 0) -> str:
        program = str(Path(sys.executable).with_name("hf"))
        path = f"{REDIRECTED}:{ROOT / 'src'}"
        done = self.user.run(
            program,
            "endpoints",
            *arguments,
            check=False,
            PYTHONPATH=path,
            LANZA_TEST_URL=self.user.url,
            COLUMNS="200",
        )
        assert (done.returncode == 0) is (code == 0), done.stdout + done.stderr
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        said = self(*arguments, "--format", "json")
        return json.loads(said[min(at for at in (said.find("{"), said.find("[")) if at >= 0) :])

    def deploy(self, *more: str, name: str = "becas-qa", code: int = 0) -> str:
        repo = ("--repo", f"{self.user.name}/becas", "--framework", "pytorch", "--accelerator", "cpu")
        return self("deploy", name, *repo, *HERE, *more, code=code)


@pytest.fixture
def hf(ana: User) -> Command:
    return Command(ana)


def test_an_endpoint_from_its_deployment_to_its_end(hf: Command) -> None:
    assert "becas-qa" in hf.deploy("--task", "question-answering", "--min-replica", "0")
    assert f"{hf.user.name}/becas" in hf("ls")
    assert "question-answering" in hf("describe", "becas-qa")
    assert "paused" in hf("pause", "becas-qa")
    assert "pending" in hf("resume", "becas-qa")
    assert "scaledToZero" in hf("scale-to-zero", "becas-qa")
    assert "maxReplica" in hf("update", "becas-qa", "--max-replica", "3")
    hf("delete", "becas-qa", "--yes")
    assert "becas-qa" not in hf("ls")


def test_variables_and_secrets_from_files(hf: Command, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IDIOMA=es\n")
    (tmp_path / ".secrets").write_text("KEY=muy-secreto-2\n")
    said = hf.deploy("--env-file", str(tmp_path / ".env"), "--secrets-file", str(tmp_path / ".secrets"))
    assert "IDIOMA" in said
    assert "muy-secreto-2" not in said
    assert "muy-secreto-2" not in hf("describe", "becas-qa")


def test_hardware_and_the_catalog(hf: Command) -> None:
    assert "lanza" in hf("hardware")
    assert f"{hf.user.name}/becas" in hf("catalog", "ls", "--search", hf.user.name)
    assert "uno" in hf("catalog", "deploy", "--repo", f"{hf.user.name}/becas", "--name", "uno")
    assert "pytorch" in hf("describe", "uno")


def test_what_goes_wrong_is_said(hf: Command) -> None:
    hf.deploy()
    assert "choose another" in hf.deploy(code=1)
    assert "cannot be the name" in hf.deploy(name="Becas_QA", code=1)
    assert "there is no endpoint" in hf("describe", "nada", code=1)
    assert "the nearest is vendor lanza" in hf.deploy("--instance-type", "nvidia-l4", name="dos", code=1)
