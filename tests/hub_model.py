"""What a repository is, as dictionaries: its commits, branches and tags, and what may not be done to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pushes import Push

File = tuple[bytes, bool]
"""A file's content, and whether it is a large one."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A commit."""

    files: dict[str, File]
    title: str
    parent: str | None


class Refused(Exception):
    """What the model says that the server answers instead."""

    def __init__(self, status: int, code: str | None = None) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


@dataclass(kw_only=True)
class Model:
    """A repository, as it should be."""

    commits: dict[str, Made] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str:
        for known in (self.branches, self.tags):
            if revision in known:
                return known[revision]
        if revision in self.commits:
            return revision
        raise Refused(404, "RevisionNotFound")

    def head(self, branch: str) -> str:
        if branch not in self.branches:
            raise Refused(404, "RevisionNotFound")
        return self.branches[branch]

    def history(self, oid: str | None) -> Iterator[tuple[str, Made]]:
        while oid is not None:
            yield oid, self.commits[oid]
            oid = self.commits[oid].parent

    def forget(self) -> None:
        """Forget commits that no ref leads to: large files of theirs may be collected."""
        heads = [*self.branches.values(), *self.tags.values()]
        kept = {oid for head in heads for oid, _ in self.history(head)}
        self.commits = {oid: made for oid, made in self.commits.items() if oid in kept}

    def changed(self, branch: str, push: Push) -> dict[str, File]:
        """The files of the branch after a push."""
        head = self.head(branch)
        if push.parent is not None and push.parent != head:
            raise Refused(412)
        files = dict(self.commits[head].files)
        for folder in push.folders_deleted:
            inside = _inside(files, folder)
            if not inside:
                raise Refused(404, "EntryNotFound")
            for path in inside:
                del files[path]
        for path in push.deleted:
            if files.pop(path, None) is None:
                raise Refused(404, "EntryNotFound")
        for path, content in push.small.items():
            _put(files, path, (content, False))
        for path, content in push.large.items():
            _put(files, path, (content, True))
        return files


def _inside(files: dict[str, File], folder: str) -> list[str]:
    return [path for path in files if path.startswith(f"{folder}/")]


def _put(files: dict[str, File], path: str, file: File) -> None:
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    if _inside(files, path) or any(folder in files for folder in above):
        raise Refused(400)
    files[path] = file


def room_for_ref(known: dict[str, str], name: str) -> None:
    if any(it == name or it.startswith(f"{name}/") or name.startswith(f"{it}/") for it in known):
        raise Refused(409)
