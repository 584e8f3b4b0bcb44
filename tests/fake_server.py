"""The server as a process, with endpoints on a platform without processes: replicas are ready at once.

python tests/fake_server.py --port 0 --data DATA [--rehearse]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fake_platform import FakePlatform
from lanza.server.process import run
from lanza.server.settings import ServerSettings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    settings = ServerSettings(
        data=given.data, port=given.port, rehearse=given.rehearse, upstream=None, commands=("sleep",)
    )
    platforms = {"local": FakePlatform(instant=True)}
    run(settings, ready=lambda url: print(url, flush=True), platforms=platforms)


if __name__ == "__main__":
    main()
