"""What a push is refused for. Nothing, unless somebody has asked for it.

The model: findings (`inspection.py`) are of a few kinds. The server refuses some of them everywhere, a
namespace's owner others in that namespace. Judged is what a push adds or changes: a file that is at its path
already stays, whatever is wrong with it. What there was no time to look at is refused too, as nobody knows
what it holds. Blobs that were uploaded for a refused push stay for the next one, until they are collected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lanza.auth.records import Account
from lanza.errors import BadRequest, PushRefused
from lanza.hub.blobs import BlobStore
from lanza.hub.git import Change, Commit, Copy, Entry, GitRepo, Lfs, Put, PutLarge
from lanza.hub.hub import Hub
from lanza.hub.inspection import UNFINISHED, Finding, Look, Read
from lanza.hub.objects import read_pointer, write_pointer
from lanza.hub.packs import Kind, object_id
from lanza.hub.trees import FILE

KINDS: Final = ("pickle", "safetensors", "secret")
"""Pickles that run code or cannot be scanned, damaged safetensors files, secrets in text."""

SECONDS: Final = 300.0
"""How long one push may be looked at, about."""

MOST_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What `server` and `namespace` refuse, for one namespace called `name`."""

    name: str
    server: frozenset[str]
    namespace: frozenset[str]
    blobs: BlobStore

    @property
    def kinds(self) -> frozenset[str]:
        return self.server | self.namespace

    def check(self, git: GitRepo, head: Commit, changes: Sequence[Change]) -> None:
        """PushRefused, when what `changes` add to the commit `head` is refused here."""
        if not self.kinds:
            return
        contents = _Contents(git)
        files = [file for file in contents.files(changes) if not _is_there(git, head, file)]
        if found := self.complaints(files, contents.read):
            raise PushRefused("nothing was committed. " + " ".join(found))

    def complaints(self, files: Iterable[Entry], read: Read) -> list[str]:
        """What speaks against files that a push adds, and last what to do; `read` gives what git keeps."""
        if not self.kinds:
            return []
        found = Look(self.blobs, read, seconds=SECONDS).at(list(files))
        refused = [one for one in found if one.kind in self.kinds or one.kind == UNFINISHED]
        if not refused:
            return []
        said = [_in_words(one) for one in refused[:MOST_NAMED]]
        if len(refused) > MOST_NAMED:
            said.append(f"And {len(refused) - MOST_NAMED} more.")
        return [*said, self._remedy({one.kind for one in refused} - {UNFINISHED})]

    def _remedy(self, kinds: set[str]) -> str:
        """What can be done. `kinds` is empty when there was too little time."""
        again = "Mend these files or leave them out, in each commit that is new, and push again."
        if kinds and kinds <= self.namespace - self.server:
            return f"{again} {self.name} refuses {_listed(kinds)}: `lanza policy {self.name}` changes that."
        return f"{again} This server refuses {_listed(kinds or self.kinds)}: ask its administrator."


def policy_of(hub: Hub, owner: Account) -> Policy:
    """The policy for what `owner` owns."""
    return Policy(name=owner.name, server=hub.refused, namespace=frozenset(owner.refused), blobs=hub.blobs)


def checked_kinds(given: Iterable[str]) -> frozenset[str]:
    """BadRequest for a kind of finding that there is not."""
    kinds = frozenset(given)
    if unknown := kinds - set(KINDS):
        raise BadRequest(f"what can be refused is {_listed(KINDS)}: not {_listed(unknown)}.")
    return kinds


def file_entry(path: str, oid: str, size: int, lfs: Lfs | None) -> Entry:
    """A file to be judged, which may be in no commit yet."""
    return Entry(path=path, kind="file", oid=oid, size=lfs.size if lfs else size, lfs=lfs, mode=FILE)


class _Contents:
    """The files that changes make, and what git would keep of them."""

    def __init__(self, git: GitRepo) -> None:
        self._git = git
        self._new: dict[str, bytes] = {}

    def files(self, changes: Sequence[Change]) -> Iterator[Entry]:
        """Each path once, as the last of its changes leaves it."""
        for change in {one.path: one for one in changes}.values():
            match change:
                case Put(path, content):
                    yield self._file(path, content)
                case PutLarge(path, sha256, size):
                    yield self._file(path, write_pointer(sha256, size))
                case Copy(path, oid):
                    yield self._file(path, self._git.read(oid))

    def read(self, oid: str) -> bytes:
        return self._new[oid]

    def _file(self, path: str, content: bytes) -> Entry:
        oid = object_id(Kind.BLOB, content).hex()
        self._new[oid] = content
        return file_entry(path, oid, len(content), read_pointer(content))


def _is_there(git: GitRepo, head: Commit, file: Entry) -> bool:
    found = git.entry(head, file.path)
    return found is not None and found.oid == file.oid


def _in_words(finding: Finding) -> str:
    if finding.kind == UNFINISHED:
        return f"{finding.path}: from this file on, there was no time to look: push fewer files at a time."
    return f"{finding.path}: {finding.message}"


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(kinds))
