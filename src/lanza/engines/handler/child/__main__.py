"""The script that the replica starts: loads its own folder as a package, by path, and runs it."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from pathlib import Path

NAME = "lanza_handler_child"


def start() -> None:
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    import_module(f"{NAME}.main").main(sys.argv[1:])


if __name__ == "__main__":
    start()
