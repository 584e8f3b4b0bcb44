"""Sockets and failures of the process, without a model."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lanza.errors import ModelError, UsageError
from lanza.replica import app
from lanza.replica.process import bind, run
from lanza.replica.spec import ReplicaSpec


def spec(tmp_path: Path, **more: object) -> ReplicaSpec:
    values = {"folder": str(tmp_path), "engine": "onnx", "why": "", "name": "x", "home": str(tmp_path)}
    return ReplicaSpec(**{**values, "port": 0, **more})  # type: ignore[arg-type]


def test_a_unix_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "replica.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    bind(spec(tmp_path, uds=path)).close()


def test_a_unix_socket_that_is_in_use_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "replica.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(UsageError, match="cannot listen"):
            bind(spec(tmp_path, uds=path))


def test_a_socket_that_listens_already_is_taken_over(tmp_path: Path) -> None:
    """A supervisor's, who has nothing to do with it from then on; nor have the replica's own children."""
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "s"))
        theirs.listen()
        number = theirs.detach()
    with bind(spec(tmp_path, inherited=number, uds="unused")) as listener:
        assert listener.fileno() == number
        assert not listener.get_inheritable()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))


def test_a_number_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w") as file, pytest.raises(UsageError, match="is no socket"):
        bind(spec(tmp_path, inherited=file.fileno()))


def test_a_load_that_fails_in_any_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silence and exit code 0."""

    def broken(*arguments: object) -> None:
        raise TypeError("int() argument must not be NoneType")

    monkeypatch.setattr(app, "_load_engine", broken)
    with pytest.raises(ModelError, match="could not be loaded: TypeError"):
        run(spec(tmp_path))
