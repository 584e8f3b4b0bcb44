"""One Hub for all tests of this folder; each test has users and repositories of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubs import Hub, User, hub

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    with hub(folder / "data", "--no-upstream", homes=folder / "homes") as running:
        yield running


@pytest.fixture(autouse=True)
def no_cache_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users have the same names in each run: what was downloaded before is not theirs."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "downloads"))


@pytest.fixture
def new_user(server: Hub) -> Callable[[], User]:
    return lambda: server.user(f"user{next(_numbers)}")


@pytest.fixture
def ana(new_user: Callable[[], User]) -> User:
    return new_user()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder's worth of files: small ones, a large one, one in a folder, one with an odd name."""
    path = tmp_path / "modelo"
    (path / "onnx").mkdir(parents=True)
    (path / "README.md").write_text("---\nlicense: mit\nlanguage: es\npipeline_tag: fill-mask\n---\n")
    (path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    (path / "pesos.bin").write_bytes(bytes(range(256)) * 20_000)
    (path / "onnx" / "model.onnx").write_bytes(b"onnx" * 300_000)
    (path / "año 2026.txt").write_text("¿cuándo?")
    (path / "empty.txt").write_bytes(b"")
    return path
