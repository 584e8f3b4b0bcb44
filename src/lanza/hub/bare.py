"""A bare repository as a folder: made, copied and removed, so that it is there whole or not at all.

Each of the three works on a folder aside and renames it. What a killed process leaves beside has a name that
nobody asks for, and goes when the next repository near it is made or removed, or garbage is collected.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lanza.hub.packs import ASIDE, sync_folder
from lanza.hub.refs import MAIN

_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = false\n\tbare = true\n"
_ASIDE: Final = ".aside-"
_GONE: Final = ".gone-"


@contextmanager
def making(final: Path) -> Iterator[Path]:
    """An empty repository aside, which becomes `final` when the block ends well; what was there goes."""
    aside = _beside(final, _ASIDE)
    for folder in ("objects/pack", "objects/info", "refs/heads", "refs/tags"):
        (aside / folder).mkdir(parents=True)
    (aside / "HEAD").write_text(f"ref: refs/heads/{MAIN}\n", encoding="ascii")
    (aside / "config").write_text(_CONFIG, encoding="ascii")
    try:
        yield aside
        _sync(aside)
        remove(final)
        aside.rename(final)
        sync_folder(final.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def replicate(source: Path, target: Path) -> None:
    """Fill the empty repository `target` with refs and objects of `source`, to which nobody may be writing.

    Packs never change, so they are shared by hard links where the file system has them.
    """
    for name in ("HEAD", "packed-refs"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    locks = shutil.ignore_patterns("*.lock")
    shutil.copytree(source / "refs", target / "refs", ignore=locks, dirs_exist_ok=True)
    unfinished = shutil.ignore_patterns(f"{ASIDE}*", "tmp_*")
    shutil.copytree(
        source / "objects", target / "objects", ignore=unfinished, copy_function=_link, dirs_exist_ok=True
    )


def remove(folder: Path) -> None:
    """Remove a repository, if it is there. At once, as others see it."""
    for path in folder.parent.glob(f"*{_GONE}*"):
        shutil.rmtree(path, ignore_errors=True)
    gone = folder.with_name(f"{folder.name}{_GONE}{secrets.token_hex(8)}")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    sync_folder(folder.parent)
    shutil.rmtree(gone, ignore_errors=True)


def remove_leftovers(root: Path, *, older_than: float) -> None:
    """Remove what processes that were killed that many seconds ago left beside repositories below `root`."""
    for mark in (_ASIDE, _GONE):
        for path in root.glob(f"*/*{mark}*"):
            if changed_at(path) <= time.time() - older_than:
                shutil.rmtree(path, ignore_errors=True)


def changed_at(path: Path) -> float:
    """When a folder changed last; now, if it has just gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def size_of(folder: Path) -> int:
    """What the files in a folder hold, while others may be removed from it."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).stat().st_size
    return total


def _beside(final: Path, mark: str) -> Path:
    final.parent.mkdir(parents=True, exist_ok=True)
    sync_folder(final.parent.parent)
    for path in final.parent.glob(f"{final.name}{mark}*"):
        shutil.rmtree(path, ignore_errors=True)  # only one process makes a repository of this number
    return final.with_name(f"{final.name}{mark}{secrets.token_hex(8)}")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sync(folder: Path) -> None:
    """See that everything below `folder` is on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))
