"""A server whose replicas are ready at once, people in it, and the client's fixed addresses turned to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubs import Hub, User, hub
from serving import ROOT

CONFIG = b'{"model_type": "bert", "architectures": ["BertForQuestionAnswering"]}'
CARD = b"---\nlicense: mit\n---\n# Becas\n"

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("endpoints")
    program = (str(ROOT / "tests" / "fake_server.py"),)
    with hub(folder / "data", homes=folder / "homes", program=program) as running:
        yield running


@pytest.fixture(autouse=True)
def redirected(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people would write: two addresses of the client, which no variable sets."""
    monkeypatch.setattr("huggingface_hub.constants.INFERENCE_ENDPOINTS_ENDPOINT", f"{server.url}/v2")
    catalog = f"{server.url}/api/v1/catalog"
    monkeypatch.setattr("huggingface_hub.constants.INFERENCE_CATALOG_ENDPOINT", catalog)


@pytest.fixture
def new_user(server: Hub) -> Callable[[], User]:
    return lambda: server.user(f"persona{next(_numbers)}")


@pytest.fixture
def ana(new_user: Callable[[], User], monkeypatch: pytest.MonkeyPatch) -> User:
    """A user with a model, as whom the client of this process calls."""
    user = new_user()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", user.url)
    monkeypatch.setenv("HF_TOKEN", user.token)
    api = user.api()
    repo = api.create_repo("becas").repo_id
    for path, content in (("config.json", CONFIG), ("README.md", CARD)):
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo)
    return user


@pytest.fixture
def deploy(ana: User) -> Callable[..., Any]:
    """`create_inference_endpoint` as tutorials call it, on hardware that is here."""

    def create(name: str = "becas-qa", **changes: Any) -> Any:
        given = {
            "repository": f"{ana.name}/becas",
            "framework": "pytorch",
            "task": "question-answering",
            "accelerator": "cpu",
            "vendor": "lanza",
            "region": "local",
            "instance_size": "x1",
            "instance_type": "cpu",
            "type": "authenticated",
            **changes,
        }
        return ana.api().create_inference_endpoint(name, **given)

    return create
