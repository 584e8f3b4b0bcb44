"""What is pushed and pulled: seeded random bytes, which nothing can compress, in one file or in many.

The same seed makes the same bytes, on every machine. Nothing here is measured.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PIECE: Final = 2**20
MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """A repository of `files` files of `size` bytes each."""

    name: str
    files: int
    size: int

    @property
    def bytes(self) -> int:
        return self.files * self.size

    @property
    def title(self) -> str:
        one = f"{self.size // MIB} MiB" if self.size >= MIB else f"{self.size // 1024} KiB"
        return f"one file of {one}" if self.files == 1 else f"{self.files:,} files of {one}"


WHOLE: Final = (Case(name="large", files=1, size=1024 * MIB), Case(name="small", files=2000, size=MIB // 2))
QUICK: Final = (Case(name="large", files=1, size=64 * MIB), Case(name="small", files=100, size=MIB // 2))


@dataclass(frozen=True, kw_only=True)
class Made:
    """A case on the disk: its folder, and the SHA-256 of each file by its name."""

    case: Case
    folder: Path
    digests: Mapping[str, str]


def make(case: Case, work: Path) -> Made:
    """Write the files of a case anew."""
    folder = work / "data" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = random.Random(f"lanza {case.name}")
    digests = {name: _write(folder / name, _noise(source, case.size)) for name in _names(case)}
    return Made(case=case, folder=folder, digests=digests)


def _names(case: Case) -> Iterator[str]:
    if case.files == 1:
        yield "weights.bin"
    else:
        yield from (f"part-{number:05}.bin" for number in range(case.files))


def _noise(source: random.Random, size: int) -> Iterator[bytes]:
    for start in range(0, size, PIECE):
        yield source.randbytes(min(PIECE, size - start))


def _write(path: Path, pieces: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    with path.open("wb") as file:
        for piece in pieces:
            found.update(piece)
            file.write(piece)
    return found.hexdigest()


Edit = Callable[[Path, random.Random], None]


def _middle(path: Path, source: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(source.randbytes(MIB))


def _front(path: Path, source: random.Random) -> None:
    longer = path.with_suffix(".longer")
    with path.open("rb") as old, longer.open("wb") as new:
        new.write(source.randbytes(1000))
        shutil.copyfileobj(old, new, PIECE)
    longer.replace(path)


def _end(path: Path, source: random.Random) -> None:
    with path.open("ab") as file:
        file.write(source.randbytes(MIB))


EDITS: Final[Mapping[str, Edit]] = {
    "1 MiB changed in the middle": _middle,
    "1,000 bytes inserted at the front": _front,
    "1 MiB appended": _end,
}
"""How a file becomes an almost equal one, in its place."""


def edit(name: str, path: Path) -> None:
    EDITS[name](path, random.Random(f"lanza {name}"))
