"""Noting where chunks are, once files hold them, and dropping the xorbs that nobody needs then.

A client that has the same content in several files at once may send a chunk twice, in xorbs of which one is
in no file. So while a xorb has its own file its record has the hashes of its chunks too: those that are known
elsewhere need not wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from lanza.hub.hub import Hub
from lanza.hub.records import Xorb
from lanza.hub.xet.chunks import Chunks, Span
from lanza.hub.xet.formats import File
from lanza.hub.xet.store import xorbs_folder

AT_ONCE: Final = 400
"""Values in one SQL statement."""


def find_xorbs(session: Session, account_id: int, names: Iterable[str]) -> Iterator[Xorb]:
    """The records of those of the xorbs that the account has."""
    asked = sorted(set(names))
    for start in range(0, len(asked), AT_ONCE):
        some = Xorb.hash.in_(asked[start : start + AT_ONCE])
        yield from session.scalars(select(Xorb).where(Xorb.account_id == account_id, some))


def note(session: Session, account_id: int, files: Sequence[File]) -> None:
    """Note that the blobs of `files` hold their chunks."""
    spans: dict[str, list[Span]] = {}
    for file in files:
        offset = 0
        for term in file.terms:
            spans.setdefault(term.xorb, []).append(Span(term.first, term.last, file.sha256, offset))
            offset += term.size
    for xorb in find_xorbs(session, account_id, spans):
        xorb.chunks = Chunks.unpack(xorb.chunks).having(spans[xorb.hash]).pack()


def settle(hub: Hub, account_id: int, names: Iterable[str]) -> None:
    """Drop those of the xorbs whose chunks are all in blobs."""
    with hub.database.writing() as session:
        waiting = [xorb for xorb in find_xorbs(session, account_id, names) if xorb.stored]
        known = {xorb.hash: Chunks.unpack(xorb.chunks) for xorb in waiting}
        places = _places(known)
        dropped = []
        for xorb in waiting:
            chunks = known[xorb.hash]
            chunks = chunks.having(
                Span(at, at + 1, *places[chunks.hashes[at]])
                for at in chunks.missing()
                if chunks.hashes[at] in places
            )
            if chunks.complete:
                xorb.stored = False
                dropped.append(xorb.hash)
            xorb.chunks = chunks.pack(with_hashes=xorb.stored)
    for name in dropped:
        (xorbs_folder(hub, account_id) / name).unlink(missing_ok=True)


def _places(known: Mapping[str, Chunks]) -> dict[bytes, tuple[str, int]]:
    """Where each chunk is of those that one xorb misses and another knows: the blob, and the offset in it."""
    missing = {chunks.hashes[at] for chunks in known.values() for at in chunks.missing()}
    return {
        chunks.hashes[at]: (span.sha256, span.offset + chunks.size(span.first, at))
        for chunks in (known.values() if missing else ())
        for span in chunks.spans
        for at in range(span.first, span.last)
        if chunks.hashes[at] in missing
    }
