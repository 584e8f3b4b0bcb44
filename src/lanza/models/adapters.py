"""Where the base of a PEFT adapter lies on this machine: a folder, or a snapshot in the Hub's cache.

Nothing is fetched. The cache is read as `huggingface_hub` lays it out:
``models--owner--name/refs/<revision>`` names a commit, ``snapshots/<commit>`` holds its files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def hub_cache(environ: Mapping[str, str]) -> Path:
    """The folder where `huggingface_hub` keeps what it downloads."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return Path(environ[name]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def find_base(
    name: str, *, beside: Path, revision: str | None = None, cache: Path | None = None
) -> Path | None:
    """The folder of the model ``name`` that the adapter in ``beside`` was trained on, or None.

    A path is tried from the adapter's folder and from the working directory, then the cache.
    """
    folder = Path(name).expanduser()
    for candidate in (beside / folder, Path.cwd() / folder):
        # an adapter whose base is "." or empty would be its own base
        if (candidate / "config.json").is_file() and not candidate.samefile(beside):
            return candidate.resolve()
    return _cached(name, revision or "main", cache or hub_cache(os.environ))


def _cached(name: str, revision: str, cache: Path) -> Path | None:
    if not _REPO_ID.fullmatch(name) or ".." in name or ".." in revision:
        return None
    repo = cache / f"models--{name.replace('/', '--')}"
    try:
        commit = (repo / "refs" / revision).read_text().strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    snapshot = repo / "snapshots" / commit
    return snapshot if (snapshot / "config.json").is_file() else None
