"""What an address asks for: pure functions from a path, as it stands in the URL, to what is meant.

/endpoints/{ns}/{name}[/rest]                an endpoint; what follows its name is the replica's path
/v1/{chat/completions,...}                   an endpoint that the body's `model` names
/v1/models[/{id}]                            what may be named there
POST /models/{repo_id}[/rest]                an endpoint that serves a repository, started if need be
POST /pipeline/{task}/{repo_id}              the same, as it was before
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

BY_MODEL: Final = frozenset(
    {b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings", b"/v1/moderations", b"/v1/responses"}
)
LONGEST: Final = 200


class Means(Enum):
    """How the endpoint is named."""

    NAME = auto()
    MODEL = auto()
    MODELS = auto()
    REPOSITORY = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Address:
    """`what` is the endpoint's key, the repository or the model; `path` is the replica's, still quoted.

    `prefix` is what stands before the replica's path.
    """

    means: Means
    what: str = ""
    path: bytes = b"/"
    prefix: bytes = b""

    @property
    def openai(self) -> bool:
        """Whether errors are to have the form of OpenAI's."""
        return self.path.startswith(b"/v1/") or self.means is Means.MODELS


@lru_cache(maxsize=4096)
def read_address(raw: bytes, method: str) -> Address | None:
    """What `raw` means; None when it is no address of the gateway's."""
    parts = raw.split(b"/", 4)
    match parts:
        case [b"", b"endpoints", namespace, name, *rest] if namespace and name:
            path = b"/" + b"".join(rest)
            key = f"{_plain(namespace)}/{_plain(name)}".lower()
            return Address(Means.NAME, key, path, raw[: len(raw) - len(path)] if rest else raw)
        case [b"", b"v1", *_]:
            return _of_openai(raw)
        case [b"", b"models" | b"pipeline", *_] if method in ("POST", "OPTIONS"):
            return _of_repository(raw)
    return None


def _of_openai(raw: bytes) -> Address:
    if raw in BY_MODEL:
        return Address(Means.MODEL, path=raw)
    if raw == b"/v1/models":
        return Address(Means.MODELS, path=raw)
    if raw.startswith(b"/v1/models/"):
        return Address(Means.MODELS, _plain(raw.removeprefix(b"/v1/models/")), raw)
    return Address(Means.NOTHING, path=raw)


def _of_repository(raw: bytes) -> Address | None:
    parts = raw.strip(b"/").split(b"/")
    skipped = 1 if parts[0] == b"models" else 2
    named = parts[skipped:]
    # Old repositories of the public Hub have no namespace; `v1` is none either.
    length = 1 if len(named) == 1 or named[1:2] == [b"v1"] else 2
    if not named or not all(named[:length]):
        return None
    prefix = b"/" + b"/".join(parts[: skipped + length])
    repository = "/".join(_plain(part) for part in named[:length])
    return Address(Means.REPOSITORY, repository, b"/" + b"/".join(named[length:]), prefix)


def _plain(quoted: bytes) -> str:
    """A name as it is. One that no name can be stays something that nothing is called."""
    return unquote_to_bytes(quoted[: 3 * LONGEST]).decode("utf-8", "replace").replace("\0", "\ufffd")
