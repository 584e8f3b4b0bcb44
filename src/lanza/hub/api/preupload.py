"""Before an upload: which way each file goes, which are there already, and whether the card can be read.

A file is large when `.gitattributes` says so, when it is over the limit for files in git, or when its first
bytes are no text. The answer names what the branch holds at each path now, so that clients send only what
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from lanza.auth.principal import Scope
from lanza.errors import BadRequest, PayloadTooLarge, Unauthorized
from lanza.hub.access import find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, json_body
from lanza.hub.cards import read_card
from lanza.hub.contents import entry_at, is_text, text_at
from lanza.hub.git import GitRepo
from lanza.hub.names import check_path
from lanza.hub.objects import Commit, Entry
from lanza.hub.patterns import Attributes, Ignore

router = APIRouter()

MOST_FILES: Final = 1000
MOST_CARD: Final = 2**20
NO_METADATA: Final = "README.md has no metadata at its top: searches and filters find more with some."
NO_PULL_REQUESTS: Final = (
    "there are no pull requests on this server: push to a branch (revision=...) instead, without create_pr."
)


class Candidate(msgspec.Struct):
    """A file that a client has: `sample` are its first bytes."""

    path: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    sample: bytes = b""


class Candidates(msgspec.Struct, rename="camel"):
    files: list[Candidate]
    git_ignore: str | None = None


class Way(msgspec.Struct, rename="camel"):
    """How a file is to be sent, and the hash of what is at its path now."""

    path: str
    upload_mode: Literal["lfs", "regular"]
    should_ignore: bool
    oid: str | None


@router.post("/api/{plural:kind}/{repo:repo}/preupload/{rev:rev}")
def preupload(
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    rev: str,
    wanted: Annotated[Candidates, json_body(Candidates, 16 * 2**20)],
    create_pr: bool = False,
) -> Response:
    """The way for each of up to `MOST_FILES` files."""
    if create_pr:
        raise BadRequest(NO_PULL_REQUESTS)
    if len(wanted.files) > MOST_FILES:
        raise PayloadTooLarge(f"ask about at most {MOST_FILES} files at a time, not {len(wanted.files)}.")
    with hub.database.reading() as session:
        repo_id = find_repo(session, caller, name, scope=Scope.WRITE).id
    git = hub.git.open(repo_id)
    commit = git.resolve(rev)
    ways = decide(git, commit, wanted, largest=hub.limits.regular_bytes)
    body = msgspec.json.encode({"files": ways, "commitOid": commit.oid})
    return Response(body, media_type="application/json")


def decide(git: GitRepo, commit: Commit, wanted: Candidates, *, largest: int) -> Sequence[Way]:
    """BadRequest for a path that no file may have."""
    attributes = Attributes(text_at(git, commit, ".gitattributes"))
    ignored = wanted.git_ignore
    ignore = Ignore(text_at(git, commit, ".gitignore") if ignored is None else ignored)
    ways = []
    for file in wanted.files:
        there = entry_at(git, commit, check_path(file.path))
        large = bool(file.size) and (
            attributes.large(file.path) or file.size > largest or not is_text(file.sample)
        )
        ways.append(
            Way(
                path=file.path,
                upload_mode="lfs" if large else "regular",
                should_ignore=ignore.ignores(file.path),
                oid=_content_hash(there),
            )
        )
    return ways


def _content_hash(entry: Entry | None) -> str | None:
    """The hash that clients compare with that of their own file."""
    if entry is None or entry.kind != "file":
        return None
    return entry.lfs.sha256 if entry.lfs else entry.oid


class Readme(msgspec.Struct, rename="camel"):
    """A README.md that a client is about to commit."""

    content: str
    repo_type: str = "model"


@router.post("/api/validate-yaml")
def validate_yaml(caller: CallerDep, card: Annotated[Readme, json_body(Readme, MOST_CARD)]) -> Response:
    """Whether the front matter of a card can be read. Errors stop the client's commit, warnings do not."""
    if caller.anonymous:
        raise Unauthorized("checking a card needs a token: log in with `hf auth login`.")
    read = read_card(card.content)
    errors = [{"message": read.problem}] if read.problem else []
    warnings = [] if read.problem or read.data else [{"message": NO_METADATA}]
    body = msgspec.json.encode({"errors": errors, "warnings": warnings})
    return Response(body, status_code=400 if errors else 200, media_type="application/json")
