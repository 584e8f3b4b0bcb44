"""The data folder: one server at a time, and what a first start leaves in it."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanza.auth.tokens import Authenticator
from lanza.errors import Unauthorized, UsageError
from lanza.hub.hub import Hub
from lanza.server.folder import DataFolder, make_admin, open_hub, renew_admin_token
from lanza.server.settings import ServerSettings


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(path=tmp_path / "data")


@pytest.fixture
def hub(folder: DataFolder) -> Iterator[Hub]:
    with folder.held():
        opened = open_hub(ServerSettings(data=folder.path, upstream=None))
        yield opened
        opened.database.close()


def test_two_servers_cannot_have_one_folder(folder: DataFolder) -> None:
    with folder.held(), pytest.raises(UsageError, match=r"another Lanza \(process \d+\)"), folder.held():
        raise AssertionError
    with folder.held():
        assert (folder.path / "lock").exists()


def test_a_folder_that_cannot_be_made_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--data"), DataFolder(path=tmp_path / "file" / "data").held():
        raise AssertionError


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
def test_a_first_start_leaves_a_token_for_its_owner_s_eyes(folder: DataFolder, hub: Hub) -> None:
    assert stat.S_IMODE(folder.admin_token.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    token = folder.admin_token.read_text().strip()
    assert Authenticator(hub.database).principal(f"Bearer {token}").rules


def test_a_second_start_makes_no_other_administrator(folder: DataFolder, hub: Hub) -> None:
    token = folder.admin_token.read_text()
    assert not make_admin(hub.database, folder.admin_token)
    assert folder.admin_token.read_text() == token
    folder.admin_token.unlink()  # a careful operator has taken it away
    assert not make_admin(hub.database, folder.admin_token)
    assert not folder.admin_token.exists()


def test_a_token_that_could_not_be_written_was_never_issued(
    folder: DataFolder, hub: Hub, tmp_path: Path
) -> None:
    before = folder.admin_token.read_text().strip()
    with pytest.raises(OSError, match="nowhere"):
        renew_admin_token(hub.database, tmp_path / "nowhere" / "admin.token")
    assert Authenticator(hub.database).principal(f"Bearer {before}").rules


def test_a_new_admin_token_makes_the_old_one_worthless(folder: DataFolder, hub: Hub) -> None:
    before = folder.admin_token.read_text().strip()
    renew_admin_token(hub.database, folder.admin_token)
    after = folder.admin_token.read_text().strip()
    authenticator = Authenticator(hub.database)
    assert authenticator.principal(f"Bearer {after}").rules
    with pytest.raises(Unauthorized):
        authenticator.principal(f"Bearer {before}")


def test_what_an_earlier_run_left_half_way_is_gone_after_a_start(folder: DataFolder) -> None:
    folder.scratch.mkdir(parents=True)
    (folder.scratch / "half").write_text("of a file")
    with folder.held():
        open_hub(ServerSettings(data=folder.path, upstream=None)).database.close()
    assert list(folder.scratch.iterdir()) == []
