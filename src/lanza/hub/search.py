"""Finding repositories: by words, owner, tags and size, in an order, page by page.

What may fulfil a query is known from `postings.py`, whose sets are intersected: the number of those is known
before any of them is looked at. When they are `FEW`, they are gathered and sorted. Otherwise an index of the
order asked for is walked, past all that is not among them: repositories themselves are not read for that. It
begins at the front, where a page is full soon, and if those found turn out not to be there, at the first
stretch of the order that has any of them.

Either way, repositories are compared with all that was asked when there is a page of them, so that it changes
nothing what a database expects of the conditions. A page costs about the same among a hundred repositories
and among a hundred thousand. It ends with a cursor, the place in the order where the next one begins: later
changes neither repeat nor hide what did not change itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    bindparam,
    cast,
    exists,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, defer

from lanza.auth.principal import Principal
from lanza.auth.records import Account
from lanza.database import Moment
from lanza.errors import BadRequest
from lanza.hub import postings
from lanza.hub.access import visible
from lanza.hub.names import Kind
from lanza.hub.postings import BLOCK, Candidates
from lanza.hub.records import Repo, RepoTag

FEW: Final = 500
"""How many are gathered and sorted; it takes about as long as a page does otherwise."""

NEAR: Final = 3
"""How far an index is walked before it is asked where those found begin: how many times as far as it takes
when they are spread evenly."""

WIDER: Final = 8
"""How many times as many are looked at, when some were not what their sets said."""

MOST_CONDITIONS: Final = 32

Ends = tuple[int | None, int | None]
"""A range with both of its ends, either of which may be open."""

ORDERS: Final[dict[str, InstrumentedAttribute[Any]]] = {
    "lastModified": Repo.updated_at,
    "createdAt": Repo.created_at,
    "downloads": Repo.downloads,
    "likes": Repo.likes,
    "trendingScore": Repo.likes,
}
"""What lists can be sorted by. What is liked is what trends, here."""

Column = ColumnElement[Any] | InstrumentedAttribute[Any]

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A repository's number or a count, as a cursor brings it back."""

_TAGS: Final = select(RepoTag.repo_id, RepoTag.tag).where(
    RepoTag.repo_id.in_(bindparam("numbers", expanding=True))
)  # made once, since making a statement takes longer than asking it
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

    `words` are parts of ids, `parameters` is a range. `heavy` says that cards and
    configurations are wanted too.
    """

    kind: Kind
    words: Sequence[str] = ()
    author: str | None = None
    tags: Sequence[str] = ()
    gated: bool | None = None
    parameters: Ends = (None, None)
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
    found = _page(session, caller, query, column)
    repos = found[: query.limit]
    last = Cursor(value=getattr(repos[-1], column.key), id=repos[-1].id) if len(found) > query.limit else None
    return Page(repos=repos, tags=tags_of(session, [repo.id for repo in repos]), next=last)


def tags_of(session: Session, repo_ids: Sequence[int]) -> dict[int, list[str]]:
    """The tags of each of these repositories, sorted."""
    tags: dict[int, list[str]] = {repo_id: [] for repo_id in repo_ids}
    for repo_id, tag in session.execute(_TAGS, {"numbers": repo_ids}):
        tags[repo_id].append(tag)
    return {repo_id: sorted(each) for repo_id, each in tags.items()}


def parse_parameters(text: str) -> Ends:
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
        return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else value
    except (ValueError, OverflowError):
        raise BadRequest("this cursor is none of ours: begin again with the first page.") from None


def _column(order: str) -> InstrumentedAttribute[Any]:
    if order not in ORDERS:
        raise BadRequest(f"lists are sorted by {', '.join(ORDERS)}, and not by {order!r}.")
    return ORDERS[order]


def _page(
    session: Session, caller: Principal, query: Query, column: InstrumentedAttribute[Any]
) -> Sequence[Repo]:
    """The repositories of a page and, if there is one, the first of the next."""
    light = () if query.heavy else [defer(column, raiseload=True) for column in _HEAVY]
    page = _in_order(select(Repo).options(*light), query, column, Repo.id)
    wanted = _wanted(caller, query)
    if not wanted:
        return session.scalars(page.where(Repo.kind == query.kind.value)).all()  # the caller sees all
    page = page.where(*_conditions(query), visible(caller))
    found = _among(session, query, wanted)
    if len(found) <= FEW:
        return session.scalars(page.where(Repo.id.in_(_numbers(found)))).all()
    for walk in _walks(session, query, column, found):
        repos = session.scalars(page.where(Repo.id.in_(walk))).all()
        if len(repos) > query.limit:
            break
    return repos


def _walks(
    session: Session, query: Query, column: InstrumentedAttribute[Any], found: Candidates
) -> Iterator[Select[int]]:
    """The first of those found, by the index of the order: ever more, until it is all of them."""
    flags = literal(found.flags().encode(), LargeBinary)
    # Not an equality, of which PostgreSQL expects so few that it would sort them and walk no index.
    flagged = func.substr(flags, cast(Repo.id, Integer) + 1, 1) >= literal(b"1", LargeBinary)
    walk = select(Repo.id).where(Repo.kind == query.kind.value, flagged)
    walk = _in_order(walk, query, column, Repo.id)
    reach = query.limit + 1
    near = NEAR * reach * len(found.blocks) * BLOCK // len(found)
    yield _as_rows(walk.where(_within_first(near, query, column)).limit(reach))
    walk = walk.where(*_start(session, query, column, found))
    while True:
        yield _as_rows(walk.limit(reach))
        if reach >= len(found):
            return
        reach *= WIDER


def _as_rows(walk: Select[Any]) -> Select[int]:
    """A query of its own, so that it is planned without the one around it."""
    return select(walk.subquery().c.id)


def _within_first(count: int, query: Query, column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Whether a repository is among the first of its kind, in order; those with an equal value are, too."""
    every = aliased(Repo)
    place = getattr(every, column.key)
    of_kind = every.kind == query.kind.value
    after = _in_order(select(place).where(of_kind), query, place, every.id).offset(count).limit(1)
    last = select((func.max if query.ascending else func.min)(place)).where(of_kind)
    edge = func.coalesce(after.scalar_subquery(), last.scalar_subquery())
    return column <= edge if query.ascending else column >= edge


def _in_order(rows: Select[Any], query: Query, place: Column, number: Column) -> Select[Any]:
    """As many as a page has and one more, in order, from where the query begins."""
    if query.after is not None:
        key, after = tuple_(place, number), (query.after.value, query.after.id)
        rows = rows.where(key > after if query.ascending else key < after)
    order = (place.asc(), number.asc()) if query.ascending else (place.desc(), number.desc())
    return rows.order_by(*order).limit(query.limit + 1)


def _among(session: Session, query: Query, wanted: Sequence[Collection[str]]) -> Candidates:
    """Those that may fulfil the query."""
    found = postings.find(session, query.kind, wanted)
    if query.parameters != (None, None) and len(found) > FEW:
        sized = select(Repo.id).where(Repo.kind == query.kind.value)
        sized = sized.where(*_within(Repo.parameters, query.parameters))
        numbers = session.scalars(sized.limit(FEW + 1)).all()
        found = found & numbers if len(numbers) <= FEW else found
    return found


def _numbers(found: Candidates) -> BindParameter[list[int]]:
    # Not with the kind, too: with it, databases take the index of the order, and walk all of it.
    return bindparam("numbers", found.numbers(), expanding=True, literal_execute=True)


def _start(
    session: Session, query: Query, column: InstrumentedAttribute[Any], found: Candidates
) -> list[ColumnElement[bool]]:
    """A condition that leaves out what comes before the first stretch that has any of those found."""
    stretches = _stretches(session, query, column)
    first = postings.first_stretch(session, query.kind, column.key, stretches, found)
    if first is None or first == stretches[0]:
        return []
    edge = postings.least_of(first if query.ascending else first + 1, column.key)
    return [column >= edge if query.ascending else column < edge]


def _stretches(session: Session, query: Query, column: InstrumentedAttribute[Any]) -> Sequence[int]:
    """Those of the order, from where the query begins to where the last repository is."""
    kind = Repo.kind == query.kind.value
    ends = [select(end(column)).where(kind).scalar_subquery() for end in (func.min, func.max)]
    values = session.execute(select(*ends)).one()
    least, most = (None if value is None else postings.stretch_of(value) for value in values)
    if least is None or most is None:
        return ()
    if query.after is not None:
        begin = postings.stretch_of(query.after.value)
        least, most = (max(least, begin), most) if query.ascending else (least, min(most, begin))
    stretches = range(least, most + 1)
    return stretches if query.ascending else stretches[::-1]


def _wanted(caller: Principal, query: Query) -> list[list[str]]:
    """Groups of terms: what is looked for has one of each group."""
    wanted = [[term] for word in query.words for term in postings.word_terms(word)]
    wanted += [[postings.tag_term(tag)] for tag in query.tags]
    if query.author:
        wanted.append([postings.owner_term(query.author)])
    if query.gated is not None:
        wanted.append([postings.gate_term(query.gated)])
    if query.parameters != (None, None):
        wanted.append(postings.size_terms(*query.parameters))
    if not caller.rules:
        entities = {*caller.memberships, *(grant.entity for grant in caller.grants)}
        owners = {postings.owner_term(entity.partition("/")[0]) for entity in entities}
        wanted.append([postings.PUBLIC, *owners])
    return wanted


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions = [Repo.key.contains(word.lower(), autoescape=True) for word in query.words]
    conditions += [exists().where(RepoTag.repo_id == Repo.id, RepoTag.tag == tag) for tag in query.tags]
    if query.author:
        owner = select(Account.id).where(Account.key == query.author.lower()).scalar_subquery()
        conditions.append(Repo.owner_id + 0 == owner)
    if query.gated is not None:
        conditions.append(Repo.gated != "" if query.gated else Repo.gated == "")
    # Computed with, here and above, a column leads databases to no index of its own.
    return conditions + _within(Repo.parameters + 0, query.parameters)


def _within(column: Column, ends: Ends) -> list[ColumnElement[bool]]:
    least, most = ends
    conditions = [] if least is None else [column >= least]
    return conditions if most is None else [*conditions, column <= most]
