"""Where conversions are kept: one folder for each content of a model and task.

A model's content is the hash of all that its export is made from. What is served beside the graph (config,
tokenizer, pooling) is read from the model's own folder; only a tokenizer.json that the model lacks is kept
here. Hashes of files are remembered by size and time of change, so that a start does not read gigabytes to
learn that nothing changed. Folders appear whole (written aside, then renamed) and are never changed. A
refusal is kept too, so that the same libraries do not try again.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from lanza.convert.report import FORMAT, ConversionReport, makers
from lanza.errors import ConversionFailed
from lanza.models.facts import ModelFacts
from lanza.models.layout import TOKENIZER_FILES

GRAPH: Final = "model.onnx"

TOKENIZING: Final = (
    *TOKENIZER_FILES,
    "merges.txt",
    "target.spm",
    "added_tokens.json",
    "bpe.codes",
    "dict.txt",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
"""What a tokenizer.json is made from, where there is none."""

LEFTOVER_SECONDS: Final = 24 * 3600
"""A folder aside that is older belongs to a conversion that was killed."""


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
        aside = self._index.with_suffix(f".{secrets.token_hex(8)}")
        with suppress(OSError):  # a home that cannot be written costs time, not correctness
            self._index.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(msgspec.json.encode(self._known))
            aside.replace(self._index)
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def content_names(facts: ModelFacts) -> list[str]:
    """The files that an export is made from; those of a tokenizer only where one is to be made of them."""
    others = ("config.json", *(TOKENIZING if facts.tokenizer_file is None else ()))
    return sorted({*facts.weights, *(name for name in others if facts.has(name))})


class Store:
    """Conversions below the folder `root`. What cannot be read or written is a ConversionFailed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hashes = FileHashes(root / "hashes.json")

    def source(self, facts: ModelFacts) -> str:
        """The hash of all that decides what an export of the model computes."""
        return self.hash([(name, facts.path / name) for name in content_names(facts)])

    def hash(self, files: list[tuple[str, Path]]) -> str:
        """One hash of several files and the names that they go by."""
        digest = hashlib.sha256()
        try:
            for name, path in files:
                digest.update(f"{name}\0{self.hashes.of(path)}\n".encode())
        except OSError as error:
            raise ConversionFailed(f"{error.filename} cannot be read: {error.strerror}") from error
        self.hashes.save()
        return digest.hexdigest()

    def folder(self, source: str, task: str) -> Path:
        key = hashlib.sha256(f"{FORMAT}\0{source}\0{task}".encode()).hexdigest()
        return self.root / key[:32]

    def find(self, source: str, task: str) -> tuple[Path, ConversionReport] | None:
        """A conversion that was finished, accepted or refused; not the refusal of other libraries."""
        folder = self.folder(source, task)
        report = ConversionReport.read(folder)
        if report is None:
            return None
        if not report.accepted:
            return (folder, report) if report.makers == makers() else None
        return (folder, report) if not report.exporter or (folder / GRAPH).is_file() else None

    def begin(self, source: str, task: str) -> Path:
        """An empty folder beside the final one, to be filled and then given to `commit`."""
        aside = self.folder(source, task).with_suffix(f".{secrets.token_hex(8)}")
        with self._writing():
            aside.mkdir(parents=True)
        self._sweep()
        return aside

    def commit(self, aside: Path, source: str, task: str) -> Path:
        """Give a filled folder its name. When somebody else was first, theirs stays: it is the same."""
        folder = self.folder(source, task)
        with self._writing():
            if self.find(source, task) is None:  # what is there is damaged, or counts no longer
                shutil.rmtree(folder, ignore_errors=True)
            try:
                aside.rename(folder)
            except OSError:
                if self.find(source, task) is None:
                    raise
                shutil.rmtree(aside, ignore_errors=True)
        return folder

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConversionFailed(
                f"conversions cannot be kept in {self.root} ({error.strerror}): make it writable, free space "
                "there, or set LANZA_HOME to another folder."
            ) from error

    def _sweep(self) -> None:
        """Remove what killed conversions left."""
        oldest = time.time() - LEFTOVER_SECONDS
        for path in self.root.glob(f"{'[0-9a-f]' * 32}.*"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    shutil.rmtree(path, ignore_errors=True)


def place(folder: Path, target: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Copy the files of `folder` into `target`, but those in `keep`; each appears whole. OSError if not."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name in keep:
            continue
        aside = target / f".{path.name}.{secrets.token_hex(8)}"
        try:
            shutil.copyfile(path, aside)
            aside.replace(target / path.name)
        finally:
            aside.unlink(missing_ok=True)
