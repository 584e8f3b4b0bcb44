"""What a fine-grained token may do: as people write it, as it is kept, as the rules use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lanza.auth.principal import Grant, Scope
from lanza.errors import BadRequest

MOST: Final = 200
LONGEST: Final = 200

_SCOPES: Final = frozenset(Scope)


def read_grant(entity: str, scopes: Sequence[str]) -> Grant:
    """A grant from words. BadRequest says which of them is wrong."""
    namespace, slash, name = entity.partition("/")
    if (
        not namespace
        or (slash and not name)
        or "/" in name
        or len(entity) > LONGEST
        or not entity.isprintable()
    ):
        raise BadRequest(f"{entity!r} is nothing to grant: write NAMESPACE, or NAMESPACE/NAME.")
    if not scopes:
        raise BadRequest(f"say what may be done with {entity}: its scopes are missing.")
    for word in scopes:
        if word not in _SCOPES:
            raise BadRequest(f"{word!r} is no scope: use some of {', '.join(Scope)}.")
    if Scope.ADMIN in scopes:
        raise BadRequest("administering is no matter of one namespace: use a token of role admin instead.")
    return Grant(entity=entity, scopes=frozenset(map(Scope, scopes)))


def kept(grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """As the database has them, and as the API shows them."""
    return [{"entity": grant.entity, "scopes": sorted(grant.scopes)} for grant in grants]


def restored(rows: Iterable[Mapping[str, Any]]) -> tuple[Grant, ...]:
    """What `kept` was given."""
    return tuple(Grant(entity=row["entity"], scopes=frozenset(map(Scope, row["scopes"]))) for row in rows)
