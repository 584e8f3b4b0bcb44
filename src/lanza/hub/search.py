"""Finding repositories: by words, owner, tags and size, in an order, page by page.

Two ways lead to a page, and the cheaper one is taken. When one of the conditions alone leaves few
repositories (`FEW`), these are gathered and sorted. Otherwise an index in the order asked for is walked, and
since none of the conditions is rare the page is full soon. So a page costs about the same among a hundred
repositories and among a hundred thousand. A page ends with a cursor, the place in the order where the next
one begins: later changes neither repeat nor hide what did not change itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, exists, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, defer

from lanza.auth.principal import Principal
from lanza.auth.records import Account
from lanza.database import Moment
from lanza.errors import BadRequest
from lanza.hub.access import visible
from lanza.hub.names import Kind
from lanza.hub.records import Repo, RepoTag

FEW: Final = 3000
MOST_CONDITIONS: Final = 32

ORDERS: Final[dict[str, InstrumentedAttribute[Any]]] = {
    "lastModified": Repo.updated_at,
    "createdAt": Repo.created_at,
    "downloads": Repo.downloads,
    "likes": Repo.likes,
    "trendingScore": Repo.likes,
}
"""What lists can be sorted by. What is liked is what trends, here."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A repository's number or a count, as a cursor brings it back."""

_HEAVY: Final = (Repo.card, Repo.facts, Repo.findings)
_COUNT: Final = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)([KMBT]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The last repository of a page: its value in the order, and its number."""

    value: datetime | int
    id: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """What to look for: all conditions hold at once.

    `words` are parts of ids, `parameters` is a range with both of its ends, either of which may be open.
    `heavy` says that cards and configurations are wanted too.
    """

    kind: Kind
    words: Sequence[str] = ()
    author: str | None = None
    tags: Sequence[str] = ()
    gated: bool | None = None
    parameters: tuple[int | None, int | None] = (None, None)
    order: str = "lastModified"
    ascending: bool = False
    limit: int = 100
    after: Cursor | None = None
    heavy: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """Repositories in order, their tags by number, and where the next page begins, if there is one."""

    repos: Sequence[Repo]
    tags: dict[int, list[str]]
    next: Cursor | None


def find(session: Session, caller: Principal, query: Query) -> Page:
    """One page of what the caller may see."""
    column = _column(query.order)
    if len(query.words) + len(query.tags) > MOST_CONDITIONS:
        raise BadRequest(f"ask for at most {MOST_CONDITIONS} words and tags at a time.")
    if any("\0" in text for text in (*query.words, *query.tags, query.author or "")):
        raise BadRequest("no name, word or tag has a NUL in it.")
    found = list(session.scalars(_select(session, caller, query, column)))
    repos = found[: query.limit]
    last = Cursor(value=getattr(repos[-1], column.key), id=repos[-1].id) if len(found) > query.limit else None
    return Page(repos=repos, tags=tags_of(session, [repo.id for repo in repos]), next=last)


def tags_of(session: Session, repo_ids: Sequence[int]) -> dict[int, list[str]]:
    """The tags of each of these repositories, sorted."""
    tags: dict[int, list[str]] = {repo_id: [] for repo_id in repo_ids}
    rows = select(RepoTag.repo_id, RepoTag.tag).where(RepoTag.repo_id.in_(repo_ids))
    for repo_id, tag in session.execute(rows):
        tags[repo_id].append(tag)
    return {repo_id: sorted(each) for repo_id, each in tags.items()}


def parse_parameters(text: str) -> tuple[int | None, int | None]:
    """`min:6B,max:128B`, either part alone, or one number: the range of parameters. BadRequest."""
    ends: dict[str, int] = {}
    for part in text.split(","):
        name, colon, number = part.strip().rpartition(":")
        match = _COUNT.fullmatch(number)
        if not match or (colon and name not in ("min", "max")) or name in ends:
            raise BadRequest(f"`num_parameters` is written like min:6B,max:128B, and not {text!r}.")
        ends[name] = min(int(float(match[1]) * _UNITS[match[2].upper()]), 2**63 - 1)
    return ends.get("min", ends.get("")), ends.get("max", ends.get(""))


def parse_value(order: str, value: int | str) -> datetime | int:
    """A cursor's value, as `order` has them: dates come as text. BadRequest."""
    if isinstance(_column(order).type, Moment) != isinstance(value, str):
        raise BadRequest("this cursor belongs to a list in another order: begin again with the first page.")
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise BadRequest("this cursor is none of ours: begin again with the first page.") from None


def _column(order: str) -> InstrumentedAttribute[Any]:
    if order not in ORDERS:
        raise BadRequest(f"lists are sorted by {', '.join(ORDERS)}, and not by {order!r}.")
    return ORDERS[order]


def _select(
    session: Session, caller: Principal, query: Query, column: InstrumentedAttribute[Any]
) -> Select[Repo]:
    conditions: list[ColumnElement[bool]] = [
        exists().where(RepoTag.repo_id == Repo.id, RepoTag.tag == tag) for tag in query.tags
    ]
    few = _few(session, query)
    if few is None:
        conditions.append(Repo.kind == query.kind.value)
    else:
        # Not the bare column: with it, databases take the index of the order, and walk all of it.
        conditions += [Repo.id.in_(few), func.lower(Repo.kind) == query.kind.value]
    key = tuple_(column, Repo.id)
    if query.after is not None:
        place = (query.after.value, query.after.id)
        conditions.append(key > place if query.ascending else key < place)
    order = (column.asc(), Repo.id.asc()) if query.ascending else (column.desc(), Repo.id.desc())
    chosen = select(Repo).where(*conditions, *_plain_conditions(query), visible(caller))
    light = () if query.heavy else [defer(column, raiseload=True) for column in _HEAVY]
    return chosen.options(*light).order_by(*order).limit(query.limit + 1)


def _few(session: Session, query: Query) -> Select[int] | None:
    """A query for the numbers of few repositories, all that are looked for among them; if there is one."""
    return next((it for it in _sources(session, query) if _count(session, it) <= FEW), None)


def _sources(session: Session, query: Query) -> Iterator[Select[int]]:
    """The conditions that an index can answer, the cheapest first."""
    ids = select(Repo.id).correlate(None)
    if query.author:
        yield ids.where(_owned_by(query.author))
    if query.tags:
        yield _tagged(sorted(query.tags, key=lambda tag: _count(session, _tagged([tag]))))
    if query.words:
        yield ids.where(Repo.kind == query.kind.value, *_with_words(query.words))


def _count(session: Session, source: Select[int]) -> int:
    """How many there are, up to one more than `FEW`."""
    return session.scalar(select(func.count()).select_from(source.limit(FEW + 1).subquery())) or 0


def _tagged(tags: Sequence[str]) -> Select[int]:
    """Those that have all of these tags, found by the first."""
    other = aliased(RepoTag)
    rest = [exists().where(other.repo_id == RepoTag.repo_id, other.tag == tag) for tag in tags[1:]]
    return select(RepoTag.repo_id).where(RepoTag.tag == tags[0], *rest).correlate(None)


def _plain_conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions = _with_words(query.words)
    if query.author:
        conditions.append(_owned_by(query.author))
    if query.gated is not None:
        conditions.append(Repo.gated != "" if query.gated else Repo.gated == "")
    least, most = query.parameters
    if least is not None:
        conditions.append(Repo.parameters >= least)
    if most is not None:
        conditions.append(Repo.parameters <= most)
    return conditions


def _with_words(words: Sequence[str]) -> list[ColumnElement[bool]]:
    return [Repo.key.contains(word.lower(), autoescape=True) for word in words]


def _owned_by(author: str) -> ColumnElement[bool]:
    return Repo.owner_id == select(Account.id).where(Account.key == author.lower()).scalar_subquery()
