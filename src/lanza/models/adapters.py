"""Where the base of a PEFT adapter lies on this machine: a folder, or a snapshot in a cache of the Hub.

Nothing is fetched. A cache is laid out as `huggingface_hub` does it:
``models--owner--name/refs/<revision>`` names a commit, ``snapshots/<commit>`` holds its files. An adapter's
folder may bring one along (`BROUGHT`), so that whoever loads the base by its name finds it there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BROUGHT: Final = ".hub"
"""The cache that a folder brings along."""
_REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def hub_cache(environ: Mapping[str, str]) -> Path:
    """The folder where `huggingface_hub` keeps what it downloads."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return _home(environ[name])
    if environ.get("HF_HOME"):
        return _home(environ["HF_HOME"]) / "hub"
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return _home(cache) / "huggingface" / "hub"


def find_base(
    name: str, *, beside: Path, revision: str | None = None, cache: Path | None = None
) -> Path | None:
    """The folder of the model ``name`` that the adapter in ``beside`` was trained on, or None.

    The cache that the adapter's folder brings along comes first; then a path is tried from that folder and
    from the working directory, then the cache.
    """
    if (brought := _cached(name, revision or "main", beside / BROUGHT)) is not None:
        return brought
    folder = _home(name)
    for candidate in (beside / folder, Path.cwd() / folder):
        # an adapter whose base is "." would be its own base
        if _has_config(candidate) and (place := candidate.resolve()) != beside.resolve():
            return place
    return _cached(name, revision or "main", cache or hub_cache(os.environ))


def cache_name(name: str) -> str:
    """The folder of a model in a cache."""
    return f"models--{name.replace('/', '--')}"


def _cached(name: str, revision: str, cache: Path) -> Path | None:
    if not _REPO_ID.fullmatch(name) or ".." in name or ".." in revision:
        return None
    repo = cache / cache_name(name)
    try:
        commit = (repo / "refs" / revision).read_text().strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = repo / "snapshots" / commit
    return snapshot if _has_config(snapshot) else None


def _has_config(folder: Path) -> bool:
    # not pathlib's: a name from a config may be longer than any path, and it raises on those
    return os.path.isfile(folder / "config.json")  # noqa: PTH113


def _home(name: str) -> Path:
    """The path, with a leading ~ resolved where there is such a user."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 (pathlib raises where there is none)
