"""The whole server over a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import place
from fake_platform import FakePlatform
from hub_app import Server
from lanza.server.app import application
from lanza.server.folder import DataFolder, open_hub
from lanza.server.settings import ServerSettings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = ServerSettings(data=tmp_path / "data", upstream=None)
    place(settings.data)
    with DataFolder(path=settings.data).held():
        hub = open_hub(settings)
        yield Server(app=application(hub, settings, {"local": FakePlatform()}), hub=hub)
        hub.database.close()
