"""Write the pages of docs/reference that the code itself knows best; with --check, only say what is stale.

The other pages are written by hand. Needs the server's libraries and the Hub's client, and runs no model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from generators import cli, endpoint_spec, endpoints_api, errors, hub_api, tasks

REFERENCE = Path(__file__).parent / "reference"
GENERATORS = {
    "cli.md": cli,
    "endpoint-spec.md": endpoint_spec,
    "endpoints-api.md": endpoints_api,
    "errors.md": errors,
    "hub-api.md": hub_api,
    "tasks.md": tasks,
}
MARK = "<!-- Written by docs/generate.py from the code: `make docs` writes it anew. -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    pages = {name: "\n".join([MARK, "", *page.lines(), ""]) for name, page in GENERATORS.items()}
    stale = [name for name, text in pages.items() if _written(name) != text]
    if check and stale:
        print(f"docs/reference is behind the code ({', '.join(stale)}): `make docs` writes it anew.")
        return 1
    for name in stale:
        (REFERENCE / name).write_text(pages[name], encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


def _written(name: str) -> str | None:
    path = REFERENCE / name
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
