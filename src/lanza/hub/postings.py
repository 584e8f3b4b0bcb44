"""Which repositories have what lists ask for, as sets: rare meetings of common things are found at once.

The model: a repository has *terms*. These are its tags, its owner, each run of one to three characters of its
id, whether it is public and gated, about how many parameters it has, and the *stretch* of each order that it
is in: the month of a date, the octave of a count. For each kind and term, rows of
`postings` hold the numbers of the repositories that have it, a bit each, `BLOCK` numbers in a row. What has
several terms is the intersection of their sets, which costs about the same however large these are.

A set may name too many, never too few: whoever asks compares what was found with the repositories themselves.
Numbers are never given again, so what a removed account's repositories leave behind does no harm.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Result, Row, bindparam, delete, func, insert, select
from sqlalchemy.orm import Session

from lanza.hub.names import Kind
from lanza.hub.records import Posting, Repo, RepoTag

BLOCK: Final = 4096
"""Numbers in a row of `postings`. Their bits are 512 bytes, which SQLite still keeps within a page."""

PUBLIC: Final = "public"

DATES: Final = ("updated_at", "created_at")
COUNTS: Final = ("downloads", "likes")
"""The columns of `repos` that lists are sorted by."""

_BYTES: Final = BLOCK // 8
_FEW_BITS: Final = 32
_FIRST_STRETCHES: Final = 6
_LONGEST_RUN: Final = 3
_MOST_RUNS: Final = 24  # of a word that is looked for: more of them hardly make the set smaller
_SETS: Final = select(Posting.term, Posting.block, Posting.bits).where(
    Posting.kind == bindparam("kind"), Posting.term.in_(bindparam("terms", expanding=True))
)  # made once, since making a statement takes longer than asking it
_LOCK: Final = 0x6C616E7A61  # a number of ours among PostgreSQL's advisory locks


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Numbers of repositories: for each block, its bits."""

    blocks: Mapping[int, int]

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self.blocks.values())

    def __and__(self, numbers: Iterable[int]) -> Candidates:
        kept = _blocks(numbers)
        return Candidates(blocks={block: kept.get(block, 0) & bits for block, bits in self.blocks.items()})

    def flags(self) -> str:
        """A character for each number from 0 on: "1" for those that are in here."""
        return "".join(
            f"{self.blocks.get(block, 0):0{BLOCK}b}"[::-1]
            for block in range(max(self.blocks, default=-1) + 1)
        )

    def numbers(self) -> list[int]:
        return _places(self.flags())


def terms_of(repo: Repo | Row[Any], tags: Iterable[str] = ()) -> frozenset[str]:
    """What a repository is found by, all of it or without its tags."""
    terms = {tag_term(tag) for tag in tags}
    terms |= {f"part={part}" for length in range(1, _LONGEST_RUN + 1) for part in _runs(repo.key, length)}
    terms |= {owner_term(repo.key.rpartition("/")[0]), gate_term(bool(repo.gated))}
    terms |= {stretch_term(column, getattr(repo, column)) for column in (*DATES, *COUNTS)}
    if repo.visibility == PUBLIC:
        terms.add(PUBLIC)
    if repo.parameters is not None:
        terms.add(f"size={_size(repo.parameters)}")
    return frozenset(terms)


def tag_term(tag: str) -> str:
    return f"tag={tag}"


def owner_term(namespace: str) -> str:
    return f"owner={namespace.lower()}"


def gate_term(gated: bool) -> str:
    return "gated" if gated else "open"


def word_terms(word: str) -> list[str]:
    """Those that all ids have in which `word` is a part."""
    length = min(len(word), _LONGEST_RUN)
    return [f"part={part}" for part in _runs(word.lower(), length)[:_MOST_RUNS]] if length else []


def size_terms(least: int | None, most: int | None) -> list[str]:
    """Those of which every number of parameters in the range has one."""
    first, last = _size(least or 0), _size(2**63 - 1 if most is None else most)
    return [f"size={size}" for size in range(first, last + 1)]


def stretch_term(column: str, value: datetime | int) -> str:
    return f"{column}={stretch_of(value)}"


def note(session: Session, repo: Repo | Row[Any], before: AbstractSet[str], after: AbstractSet[str]) -> None:
    """Write down that a repository had the terms `before`, and has those of `after` now.

    Best called last in a transaction: in PostgreSQL, others that note something wait for its end.
    """
    changed = before ^ after
    if not changed:
        return
    if session.get_bind().dialect.name == "postgresql":  # SQLite lets one write at a time anyway
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    block, bit = repo.id // BLOCK, 1 << repo.id % BLOCK
    here = (Posting.kind == repo.kind, Posting.block == block, Posting.term.in_(changed))
    present = {it.term: it.bits for it in session.execute(select(Posting.term, Posting.bits).where(*here))}
    sets = {term: _unpack(present[term]) if term in present else 0 for term in changed}
    sets = {term: bits | bit if term in after else bits & ~bit for term, bits in sets.items()}
    session.execute(delete(Posting).where(*here))
    rows = [_row(repo.kind, term, block, bits) for term, bits in sorted(sets.items()) if bits]
    if rows:
        session.execute(insert(Posting), rows)


def find(session: Session, kind: Kind, wanted: Sequence[Collection[str]]) -> Candidates:
    """The repositories that have, of each group of terms, at least one."""
    terms = {term for group in wanted for term in group}
    sets: dict[str, dict[int, int]] = {}
    for term, block, bits in session.execute(_SETS, {"kind": kind.value, "terms": list(terms)}):
        sets.setdefault(term, {})[block] = _unpack(bits)
    first, *rest = [_union([sets[term] for term in group if term in sets]) for group in wanted]
    for other in rest:
        first = {block: met for block, bits in first.items() if (met := bits & other.get(block, 0))}
    return Candidates(blocks=first)


def stretch_of(value: datetime | int) -> int:
    """The stretch of an order that a value is in: larger for larger values."""
    if isinstance(value, int):
        return value.bit_length()
    moment = value.astimezone(UTC)
    return moment.year * 12 + moment.month - 1


def least_of(stretch: int, column: str) -> datetime | int:
    """The least value in a stretch of the order by `column`."""
    if column in DATES:
        return datetime(stretch // 12, stretch % 12 + 1, 1, tzinfo=UTC)
    return (1 << stretch) >> 1


def first_stretch(
    session: Session, kind: Kind, column: str, stretches: Sequence[int], found: Candidates
) -> int | None:
    """The first of these stretches of an order that has any of the candidates."""
    rank = {f"{column}={stretch}": stretch for stretch in stretches}
    terms, width = list(rank), _FIRST_STRETCHES
    while terms:
        here, terms, width = terms[:width], terms[width:], 4 * width
        these = session.execute(_SETS, {"kind": kind.value, "terms": here})
        met = {term for term, block, bits in these if _unpack(bits) & found.blocks.get(block, 0)}
        if met:
            return next(rank[term] for term in here if term in met)
    return None


def rebuild(session: Session) -> None:
    """Write all sets anew. Asks for no more columns than it needs, since migrations call it."""
    session.execute(delete(Posting))
    ordered = [getattr(Repo, column) for column in (*DATES, *COUNTS)]
    columns = (Repo.id, Repo.kind, Repo.key, Repo.visibility, Repo.gated, Repo.parameters, *ordered)
    last = session.scalar(select(func.max(Repo.id))) or 0
    for block in range(last // BLOCK + 1):
        here = Repo.id.between(block * BLOCK, (block + 1) * BLOCK - 1)
        tags: dict[int, list[str]] = {}
        for repo_id, tag in session.execute(
            select(RepoTag.repo_id, RepoTag.tag).join(Repo, Repo.id == RepoTag.repo_id).where(here)
        ):
            tags.setdefault(repo_id, []).append(tag)
        sets: dict[tuple[str, str], int] = {}
        found: Result[Any] = session.execute(select(*columns).where(here))
        for repo in found:
            for term in terms_of(repo, tags.get(repo.id, ())):
                sets[repo.kind, term] = sets.get((repo.kind, term), 0) | 1 << repo.id % BLOCK
        rows = [_row(kind, term, block, bits) for (kind, term), bits in sorted(sets.items())]
        if rows:
            session.execute(insert(Posting), rows)


def _row(kind: str, term: str, block: int, bits: int) -> dict[str, Any]:
    return {"kind": kind, "term": term, "block": block, "bits": _pack(bits)}


def _pack(bits: int) -> bytes:
    """The places of a few bits, or all bits: the length tells which."""
    if bits.bit_count() > _FEW_BITS:
        return bits.to_bytes(_BYTES, "little")
    places = _places(f"{bits:b}"[::-1])
    return struct.pack(f"<{len(places)}H", *places)


def _unpack(packed: bytes) -> int:
    if len(packed) == _BYTES:
        return int.from_bytes(packed, "little")
    return sum(1 << place for place in struct.unpack(f"<{len(packed) // 2}H", packed))


def _places(flags: str) -> list[int]:
    return [found.start() for found in re.finditer("1", flags)]


def _union(sets: Sequence[Mapping[int, int]]) -> dict[int, int]:
    union: dict[int, int] = {}
    for one in sets:
        for block, bits in one.items():
            union[block] = union.get(block, 0) | bits
    return union


def _blocks(numbers: Iterable[int]) -> dict[int, int]:
    return _union([{number // BLOCK: 1 << number % BLOCK} for number in numbers])


def _runs(text: str, length: int) -> list[str]:
    return list(dict.fromkeys(text[at : at + length] for at in range(len(text) - length + 1)))


def _size(parameters: int) -> int:
    """The half of an octave that a number is in, counted from 0."""
    octave = parameters.bit_length()
    return 2 * octave + (parameters >> max(octave - 2, 0) & 1)
