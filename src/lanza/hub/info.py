"""What clients are told of a repository: the JSON of `/api/models/{id}` and of lists.

The names are those of Hugging Face's API. Each is a `Field`: how its value is made, and in which answers it
stands when the client does not say what it wants (`expand`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from lanza.errors import BadRequest
from lanza.hub.access import name_of
from lanza.hub.facts import Facts
from lanza.hub.names import Kind
from lanza.hub.objects import Entry
from lanza.hub.records import Repo


@dataclass(frozen=True, kw_only=True)
class View:
    """A repository at one commit. `siblings` are its files, where somebody wants them."""

    repo: Repo
    facts: Facts
    sha: str | None
    siblings: Sequence[Entry] = ()
    with_sizes: bool = False


class Stands(IntEnum):
    """In which answers a field stands unasked."""

    NOWHERE = 0
    IN_ANSWERS = 1
    IN_LISTS_TOO = 2


@dataclass(frozen=True, slots=True)
class Field:
    """`heavy`: made from parts of the record that lists do not load. `optional`: left out when it is None."""

    of: Callable[[View], Any]
    stands: Stands = Stands.IN_LISTS_TOO
    heavy: bool = False
    optional: bool = False


def _detail(name: str, *, optional: bool = True, stands: Stands = Stands.IN_ANSWERS) -> Field:
    return Field(lambda view: view.facts.details.get(name), stands, heavy=True, optional=optional)


def _sdk(view: View) -> str | None:
    sdk: str | None = view.facts.details.get("sdk") or view.repo.settings.get("sdk")
    return sdk


_UNKNOWN: Final = Field(lambda view: None, Stands.NOWHERE)

_SHARED: Final[Mapping[str, Field]] = {
    "author": Field(lambda view: view.repo.namespace),
    "cardData": Field(lambda view: view.facts.card, Stands.IN_ANSWERS, heavy=True),
    "createdAt": Field(lambda view: moment(view.repo.created_at)),
    "disabled": Field(lambda view: False),
    "gated": Field(lambda view: view.repo.gated or False),
    "lastModified": Field(lambda view: moment(view.repo.updated_at)),
    "likes": Field(lambda view: view.repo.likes),
    "private": Field(lambda view: view.repo.visibility == "private"),
    "resourceGroup": _UNKNOWN,
    "sha": Field(lambda view: view.sha),
    "siblings": Field(
        lambda view: [_sibling(it, view.with_sizes) for it in view.siblings], Stands.IN_ANSWERS
    ),
    "tags": Field(lambda view: list(view.facts.tags)),
    "trendingScore": Field(lambda view: view.repo.likes, Stands.NOWHERE),
    "usedStorage": Field(lambda view: view.repo.stored_bytes, Stands.IN_ANSWERS),
    # Clients 0.30 to 0.35 ask this before they send large files. Their Xet may be too old: LFS is safe.
    "xetEnabled": Field(lambda view: False, Stands.NOWHERE),
}
_DOWNLOADED: Final[Mapping[str, Field]] = {
    "downloads": Field(lambda view: view.repo.downloads),
    "downloadsAllTime": Field(lambda view: view.repo.downloads, Stands.NOWHERE),
}
FIELDS: Final[Mapping[Kind, Mapping[str, Field]]] = {
    Kind.MODEL: {
        **_SHARED,
        **_DOWNLOADED,
        "baseModels": _UNKNOWN,
        "childrenModelCount": _UNKNOWN,
        "config": _detail("config"),
        "evalResults": _UNKNOWN,
        "gguf": _UNKNOWN,
        "inference": _UNKNOWN,
        "inferenceProviderMapping": Field(lambda view: {}, Stands.NOWHERE),
        "library_name": Field(lambda view: view.facts.library, optional=True),
        "mask_token": _detail("mask_token"),
        "model-index": _detail("model-index"),
        "pipeline_tag": Field(lambda view: view.facts.pipeline_tag, optional=True),
        "safetensors": _detail("safetensors"),
        "spaces": Field(lambda view: [], Stands.IN_ANSWERS),
        "transformersInfo": _detail("transformersInfo"),
        "widgetData": _detail("widgetData"),
    },
    Kind.DATASET: {
        **_SHARED,
        **_DOWNLOADED,
        "citation": _UNKNOWN,
        "description": _UNKNOWN,
        "mainSize": Field(lambda view: view.repo.stored_bytes, Stands.NOWHERE),
        "paperswithcode_id": _UNKNOWN,
    },
    Kind.SPACE: {
        **_SHARED,
        "datasets": _detail("datasets"),
        "models": _detail("models"),
        "region": _UNKNOWN,
        "runtime": _UNKNOWN,
        "sdk": Field(_sdk, heavy=True, optional=True),
        "subdomain": _UNKNOWN,
    },
}
"""All that can be asked for, by kind. What this server does not know is there, and empty."""


def usual(kind: Kind, stands: Stands = Stands.IN_ANSWERS) -> frozenset[str]:
    """What an answer about one repository has; or what each repository of a list has."""
    return frozenset(name for name, field in FIELDS[kind].items() if field.stands >= stands)


def expanded(kind: Kind, names: Iterable[str]) -> frozenset[str]:
    """Just these. BadRequest names the ones that a repository of this kind can have."""
    wanted = frozenset(names)
    if unknown := wanted - FIELDS[kind].keys():
        raise BadRequest(
            f"`expand` cannot name {', '.join(sorted(unknown))} for a {kind}: it takes "
            f"{', '.join(sorted(FIELDS[kind]))}."
        )
    return wanted


def needs_files(names: frozenset[str]) -> bool:
    return "siblings" in names


def is_heavy(kind: Kind, names: frozenset[str]) -> bool:
    """Whether more of the record is wanted than lists load unasked."""
    return any(FIELDS[kind][name].heavy for name in names)


def describe(view: View, names: frozenset[str]) -> dict[str, Any]:
    """The repository with these fields."""
    name = name_of(view.repo)
    made: dict[str, Any] = {"_id": f"{view.repo.id:024x}", "id": name.id}
    if name.kind is Kind.MODEL:
        made["modelId"] = name.id
    for key, field in FIELDS[name.kind].items():
        if key in names and ((value := field.of(view)) is not None or not field.optional):
            made[key] = value
    return made


def moment(date: datetime) -> str:
    """As clients parse dates: `2026-08-21T10:00:00.000Z`."""
    return date.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _sibling(entry: Entry, with_sizes: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"rfilename": entry.path}
    if not with_sizes:
        return made
    made |= {"blobId": entry.oid, "size": entry.size}
    if entry.lfs:
        made["lfs"] = {
            "sha256": entry.lfs.sha256,
            "size": entry.lfs.size,
            "pointerSize": entry.lfs.pointer_size,
        }
    return made
