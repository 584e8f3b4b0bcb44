"""Names: of repositories, of files in them, of revisions. What may be one is decided here, and only here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lanza.auth.names import check_name
from lanza.errors import BadRequest

LONGEST_PATH: Final = 2048  # bytes
LONGEST_PART: Final = 255  # bytes, as file systems have it

_REF: Final = re.compile(r"[A-Za-z0-9._/+@=-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_GIT_FOLDER: Final = re.compile(r"\.git|git~\d+", re.IGNORECASE)
# Characters that HFS+ ignores in names, so that ".g\u200cit" is ".git" there.
_IGNORED: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


class Kind(StrEnum):
    """What a repository holds. `plural` stands in the API's paths, `prefix` before the id in all others."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"

    @property
    def plural(self) -> str:
        return f"{self.value}s"

    @property
    def prefix(self) -> str:
        return "" if self is Kind.MODEL else f"{self.plural}/"


@dataclass(frozen=True, slots=True)
class RepoName:
    """`namespace/name` of a kind. The namespace is empty for the few models of the public Hub without one."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return self.id

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def key(self) -> str:
        """What is unique: case does not tell names apart."""
        return self.id.lower()

    @property
    def path(self) -> str:
        """Below the server's address: `datasets/ana/becas`."""
        return self.kind.prefix + self.id


def parse_repo(kind: Kind, repo_id: str) -> RepoName:
    """A repository's id as clients write it. Says nothing about whether it exists, or could be made."""
    namespace, _, name = repo_id.rpartition("/")
    if not name or "/" in namespace:
        raise BadRequest(f"{repo_id!r} is no repository: write namespace/name.")
    return RepoName(kind, namespace, name)


def check_repo_name(name: str) -> str:
    """`name`, if a repository may have it within its namespace. BadRequest."""
    if name.lower().endswith((".git", ".ipynb")):
        raise BadRequest(f"a repository's name cannot end with {name[name.rindex('.') :]}: {name!r}.")
    return check_name(name, "a repository")


def check_path(path: str) -> str:
    """`path`, if a file in a repository may have it: relative, with nothing that any system would mistake."""
    if not path or len(path.encode(errors="replace")) > LONGEST_PATH:
        raise BadRequest(f"a file's path has 1 to {LONGEST_PATH} bytes.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadRequest("a file's path must be valid Unicode.") from None
    for part in path.split("/"):
        if reason := _wrong_part(part):
            raise BadRequest(f"{path!r} cannot be a file's path: {reason}.")
    return path


def _wrong_part(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "it must be relative, without empty, '.' or '..' parts"
    if _CONTROL.search(part) or "\\" in part:
        return "it has a control character or a backslash"
    if len(part.encode()) > LONGEST_PART:
        return f"a part of it has more than {LONGEST_PART} bytes"
    if _GIT_FOLDER.fullmatch(_IGNORED.sub("", part).rstrip(". ")):
        return "a part of it means git's own folder"
    return None


def check_ref_name(name: str) -> str:
    """`name`, if a branch or a tag may have it (git-check-ref-format), and is no commit's id."""
    wrong = (
        not _REF.fullmatch(name)
        or len(name) > LONGEST_PART
        or ".." in name
        or "//" in name
        or "@{" in name
        or name.startswith(("/", "-", "refs/"))
        or any(part.startswith(".") or part.endswith((".lock", ".")) for part in name.split("/"))
        or name.endswith("/")
        or name in ("@", "HEAD")
        or re.fullmatch(r"[0-9a-f]{40}", name)
    )
    if wrong:
        raise BadRequest(f"{name!r} cannot be the name of a branch or a tag.")
    return name
