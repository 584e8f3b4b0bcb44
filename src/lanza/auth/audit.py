"""The audit log: who did what to what, when, from where. Only ever added to.

The model: what changes something notes it in the transaction that does it, so that neither is there without
the other. A target is a namespace or `namespace/name`; administrators of a namespace see what has one there.
Values of secrets never get in, whatever a caller hands over: their names stay. Reading is newest first, by
pages that end where the next one begins; an export is the same, oldest first, one JSON object a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from lanza.auth.principal import Principal
from lanza.auth.records import Deed
from lanza.database import Database, now

MOST: Final = 1000
"""Entries of one page."""
LONGEST_DETAILS: Final = 16 * 1024
SERVER: Final = "lanza"
"""Who does what nobody has asked for: a budget that is spent, an expiry."""

_SECRET: Final = frozenset(
    {"secrets", "env", "password", "token", "authorization", "credentials", "key", "api_key", "secret"}
)
_TOKEN: Final = re.compile(r"\b(lz_|hf_|api_|sk-|ghp_)[A-Za-z0-9_-]{16,}")
HIDDEN: Final = "***"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What to show. `namespace` bounds it to one; `what` and `target` are how they begin; `before` an id."""

    namespace: str | None = None
    who: str | None = None
    what: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


def note(
    session: Session,
    *,
    who: str,
    what: str,
    target: str,
    token: str = "",
    details: Mapping[str, Any] | None = None,
    request_id: str = "",
    address: str = "",
) -> None:
    """Add an entry, in the caller's transaction. `what` is a noun and a verb: `endpoint.pause`."""
    kept = without_secrets(details or {})
    if len(json.dumps(kept, default=str)) > LONGEST_DETAILS:
        kept = {"left_out": f"the details were over {LONGEST_DETAILS:,} characters"}
    session.add(
        Deed(
            at=now(),
            who=who,
            token=token,
            what=what,
            target=target,
            details=kept,
            request_id=request_id,
            address=address,
        )
    )


@dataclass(frozen=True, kw_only=True)
class Trail:
    """Who asks for what is done, by which request, from where: made at the edge, passed to what does it."""

    caller: Principal
    request_id: str = ""
    address: str = ""

    def note(self, session: Session, what: str, target: str, /, **details: Any) -> None:
        """Write it down in the transaction that does it."""
        note(
            session,
            who=self.caller.name,
            token=self.caller.token_name,
            what=what,
            target=target,
            details=details,
            request_id=self.request_id,
            address=self.address,
        )


def without_secrets(value: Any) -> Any:
    """`value` as JSON has it, with names of secrets and variables only, and tokens in texts hidden."""
    if isinstance(value, Mapping):
        return {
            str(name): _names(inner) if str(name).lower() in _SECRET else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, str):
        return _TOKEN.sub(HIDDEN, value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [without_secrets(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _names(secret: Any) -> Any:
    if isinstance(secret, Mapping):
        return {str(name): HIDDEN for name in secret}
    return None if secret is None else HIDDEN


def entries(session: Session, wanted: Filter, *, limit: int = 100) -> list[Deed]:
    """The newest first. The next page is that before the last one's id."""
    newest = _matching(wanted).order_by(Deed.id.desc()).limit(max(1, min(limit, MOST)))
    return list(session.scalars(newest))


def lines(database: Database, wanted: Filter) -> Iterator[str]:
    """All of it as JSON lines, the oldest first; read in pages, so that nothing waits for a slow reader."""
    after = 0
    while True:
        with database.reading() as session:
            page = _matching(wanted).where(Deed.id > after).order_by(Deed.id).limit(MOST)
            found = [described(deed) for deed in session.scalars(page)]
        for deed in found:
            yield json.dumps(deed, ensure_ascii=False) + "\n"
        if len(found) < MOST:
            return
        after = found[-1]["id"]


def described(deed: Deed) -> dict[str, Any]:
    return {
        "id": deed.id,
        "at": deed.at.isoformat(timespec="milliseconds"),
        "who": deed.who,
        "token": deed.token,
        "what": deed.what,
        "target": deed.target,
        "details": deed.details,
        "request_id": deed.request_id,
        "address": deed.address,
    }


def _matching(wanted: Filter) -> Select[Deed]:
    matching = select(Deed)
    if wanted.namespace is not None:
        mine, target = wanted.namespace.lower(), func.lower(Deed.target)
        matching = matching.where(or_(target == mine, target.startswith(f"{mine}/", autoescape=True)))
    if wanted.who is not None:
        matching = matching.where(func.lower(Deed.who) == wanted.who.lower())
    matching = matching.where(Deed.what.startswith(wanted.what, autoescape=True))
    matching = matching.where(Deed.target.startswith(wanted.target, autoescape=True))
    if wanted.since is not None:
        matching = matching.where(Deed.at >= wanted.since)
    if wanted.until is not None:
        matching = matching.where(Deed.at < wanted.until)
    if wanted.before is not None:
        matching = matching.where(Deed.id < wanted.before)
    return matching
