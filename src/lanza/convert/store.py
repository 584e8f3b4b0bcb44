"""Where conversions are kept: one folder for each content of a model and task.

A model's content is the hash of its weights, config and tokenizer. Hashes of files are remembered by size and
time of change, so that a start does not read gigabytes to learn that nothing changed. Folders appear whole
(written aside, then renamed) and are never changed. A refusal is kept too, so that it is not tried again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from lanza.convert.report import FORMAT, ConversionReport
from lanza.models.facts import ModelFacts

CONTENT: Final = ("config.json", "tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
SKIPPED: Final = frozenset({".git", "onnx", "__pycache__"})


class FileHashes:
    """SHA-256 of files, remembered in one JSON file by path, size and time of change."""

    def __init__(self, index: Path) -> None:
        self._index = index
        self._known: dict[str, str] = {}
        with suppress(OSError, msgspec.DecodeError):
            self._known = msgspec.json.decode(index.read_bytes(), type=dict[str, str])
        self._new = False

    def of(self, path: Path) -> str:
        stat = path.stat()
        key = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}"
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            self._new = True
        return self._known[key]

    def save(self) -> None:
        """Write what was learned; another process that does so at the same time may win, at no harm."""
        if not self._new:
            return
        with suppress(OSError):  # a home that cannot be written costs time, not correctness
            self._index.parent.mkdir(parents=True, exist_ok=True)
            aside = self._index.with_suffix(f".{os.getpid()}")
            aside.write_bytes(msgspec.json.encode(self._known))
            aside.replace(self._index)


def content_hash(facts: ModelFacts, hashes: FileHashes) -> str:
    """The hash of all that decides what the model computes."""
    names = sorted({*facts.weights, *(name for name in CONTENT if facts.has(name))})
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{hashes.of(facts.path / name)}\n".encode())
    return digest.hexdigest()


class Store:
    """Conversions below the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hashes = FileHashes(root / "hashes.json")

    def source(self, facts: ModelFacts) -> str:
        source = content_hash(facts, self.hashes)
        self.hashes.save()
        return source

    def folder(self, source: str, task: str) -> Path:
        key = hashlib.sha256(f"{FORMAT}\0{source}\0{task}".encode()).hexdigest()
        return self.root / key[:32]

    def find(self, source: str, task: str) -> tuple[Path, ConversionReport] | None:
        """A conversion that was finished, accepted or refused."""
        folder = self.folder(source, task)
        report = ConversionReport.read(folder)
        return None if report is None else (folder, report)

    def begin(self, source: str, task: str) -> Path:
        """An empty folder beside the final one, to be filled and then given to `commit`."""
        aside = self.folder(source, task).with_suffix(f".{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        return aside

    def commit(self, aside: Path, source: str, task: str) -> Path:
        """Give a filled folder its name. When somebody else was first, theirs stays: it is the same."""
        folder = self.folder(source, task)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(aside, ignore_errors=True)
        return folder


def copy_files(source: Path, target: Path, names: list[str]) -> None:
    """Copy files by name from one folder to another, folders in their names included."""
    for name in names:
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, destination)
