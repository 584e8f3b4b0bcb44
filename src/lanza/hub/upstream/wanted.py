"""Which addresses are read through: what a model is, its tree and history, and its files. Pure.

Paths come as the edge hands them down: decoded, with `SLASH` where a slash was quoted. What goes upstream
is put together anew from checked parts, so that nothing else of an address can reach another server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from lanza.errors import BadRequest
from lanza.hub.api.paths import plain
from lanza.hub.names import Kind, RepoName, check_path

LONGEST_QUERY: Final = 2048
LONGEST_REVISION: Final = 255

_API: Final = "/api/models/"
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_QUERY: Final = re.compile(r"[!-~]*")
_FILES: Final = "resolve"
_ABOUT: Final = ("revision", "tree", "commits", "refs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """`address` is the path, and query, to ask upstream for. `is_file` tells a file from JSON.

    `pinned`: the address names a commit, so that its answer never changes. `file` is the path of a file.
    """

    name: RepoName
    address: str
    is_file: bool = False
    pinned: bool = False
    file: str = ""

    def at(self, commit: str) -> str:
        """The address of the same file in a commit."""
        return _file_address(self.name, commit, self.file)


def wanted(path: str, query: bytes = b"") -> Wanted | None:
    """What a request for `path` would read through; None when it is none that may."""
    if path.startswith(_API):
        return _about(path.removeprefix(_API).split("/"), query.decode("latin-1"))
    return _file(path.removeprefix("/").split("/"))


def _about(parts: list[str], query: str) -> Wanted | None:
    short = len(parts) > 1 and parts[1] in (_ABOUT if len(parts) > 2 else _ABOUT[-1:])
    name = _name(parts[: 1 if short else 2])
    rest = parts[1 if short else 2 :]
    if name is None or len(query) > LONGEST_QUERY or not _QUERY.fullmatch(query):
        return None
    if rest and not _is_about(rest):
        return None
    address = _API + "/".join([name.id, *(quote(plain(part), safe="") for part in rest)])
    pinned = len(rest) > 1 and bool(_COMMIT.fullmatch(rest[1]))
    return Wanted(name=name, address=f"{address}?{query}" if query else address, pinned=pinned)


def _is_about(rest: list[str]) -> bool:
    match rest:
        case ["refs"]:
            return True
        case ["revision" | "commits", revision]:
            return _is_revision(revision)
        case ["tree", revision, *folder]:
            return _is_revision(revision) and (not folder or _is_path("/".join(folder)))
    return False


def _file(parts: list[str]) -> Wanted | None:
    at = next((number for number in (1, 2) if len(parts) > number + 2 and parts[number] == _FILES), None)
    name = _name(parts[:at]) if at else None
    if at is None or name is None:
        return None
    revision, path = plain(parts[at + 1]), plain("/".join(parts[at + 2 :]))
    if not _is_revision(revision) or not _is_path(path):
        return None
    return Wanted(
        name=name,
        address=_file_address(name, revision, path),
        is_file=True,
        pinned=bool(_COMMIT.fullmatch(revision)),
        file=path,
    )


def _file_address(name: RepoName, revision: str, path: str) -> str:
    return f"/{name.id}/{_FILES}/{quote(revision, safe='')}/{quote(path)}"


def _name(parts: list[str]) -> RepoName | None:
    if not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        return None
    return RepoName(Kind.MODEL, parts[0] if len(parts) == 2 else "", parts[-1])


def _is_revision(text: str) -> bool:
    return 0 < len(text) <= LONGEST_REVISION and _is_path(text)


def _is_path(text: str) -> bool:
    try:
        check_path(plain(text))
    except BadRequest:
        return False
    return True
