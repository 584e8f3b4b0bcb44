"""Files that come by Xet: put together of chunks, verified, stored as blobs.

The model: a shard says which chunks of which xorbs a file is made of. Its bytes are read from there, and are
the blob with their SHA-256 when they have it. From then on its chunks are known as ranges of that blob
(`mapping.py`), and a xorb whose chunks are all in blobs loses its own file. So the disk holds files once, and
a later shard may still name old chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from lanza.auth.records import Account
from lanza.errors import BadRequest, NotFound
from lanza.hub.hub import Hub
from lanza.hub.incoming import PIECE
from lanza.hub.lfs import Large, check_stored, grant_all
from lanza.hub.records import Repo, RepoBlob
from lanza.hub.repos import check_room
from lanza.hub.xet.chunks import Chunks
from lanza.hub.xet.formats import File, Shard, Term
from lanza.hub.xet.mapping import find_xorbs, note, settle
from lanza.hub.xet.store import start_afresh, xorbs_folder

AT_ONCE: Final = 400
"""Files that are stored and recorded together."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    """What is known of a xorb: `path` is its file while it has one."""

    chunks: Chunks
    path: Path | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Bytes from `start` up to `end`: of a xorb's file, or of the blob that is called so."""

    source: Path | str
    start: int
    end: int


def register(hub: Hub, account_id: int, repo_id: int, shard: Shard) -> None:
    """Make blobs of the files that a shard describes, for a repository.

    A client that asks again, because the first time took long, waits for that and then finds all done. When
    a file cannot be put together the account's store starts afresh, so that the next try sends everything.
    """
    different = list({file.sha256: file for file in shard.files}.values())
    with hub.blobs.turn(f"xet {account_id}"):
        for start in range(0, len(different), AT_ONCE):
            _register(hub, account_id, repo_id, different[start : start + AT_ONCE])
        settle(hub, account_id, [*shard.xorbs, *_names(different)])


def _register(hub: Hub, account_id: int, repo_id: int, files: Sequence[File]) -> None:
    with hub.database.reading() as session:
        reached = _reached(hub, session, repo_id, files)
        _check_room(hub, session, repo_id, [file for file in files if file.sha256 not in reached])
        bundles = _bundles(hub, session, account_id, files)
    new = [file for file in files if file.sha256 not in reached or not _is_mapped(file, bundles)]
    try:
        hub.blobs.write_all((file.sha256, file.size, _content(hub, file, bundles)) for file in new)
    except (BadRequest, FileNotFoundError) as error:
        start_afresh(hub, account_id)
        reason = error.message if isinstance(error, BadRequest) else "chunks of it are missing here."
        raise BadRequest(
            f"a file could not be put together: {reason} Run the upload again: all of it will be sent."
        ) from error
    _record(hub, account_id, repo_id, new)


def _reached(hub: Hub, session: Session, repo_id: int, files: Sequence[File]) -> set[str]:
    """Those blobs of `files` that are here and that the repository may reach already."""
    names = [file.sha256 for file in files]
    query = select(RepoBlob.sha256).where(RepoBlob.repo_id == repo_id, RepoBlob.sha256.in_(names))
    return {sha256 for sha256 in session.scalars(query) if hub.blobs.has(sha256)}


def _check_room(hub: Hub, session: Session, repo_id: int, files: Sequence[File]) -> None:
    repo = session.get(Repo, repo_id)
    if repo is None:
        raise NotFound("the repository was removed meanwhile.")
    check_room(session, hub, session.get_one(Account, repo.owner_id), sum(file.size for file in files))


def _bundles(hub: Hub, session: Session, account_id: int, files: Sequence[File]) -> dict[str, _Bundle]:
    folder = xorbs_folder(hub, account_id)
    return {
        xorb.hash: _Bundle(Chunks.unpack(xorb.chunks), folder / xorb.hash if xorb.stored else None)
        for xorb in find_xorbs(session, account_id, _names(files))
    }


def _names(files: Iterable[File]) -> Iterator[str]:
    """The xorbs that the files are made of."""
    return (term.xorb for file in files for term in file.terms)


def _is_mapped(file: File, bundles: Mapping[str, _Bundle]) -> bool:
    """Whether all chunks of a file are known to lie in blobs."""
    return all(
        term.xorb in bundles
        and term.last <= len(bundles[term.xorb].chunks.lengths)
        and bundles[term.xorb].chunks.covers(term.first, term.last)
        for term in file.terms
    )


def _content(hub: Hub, file: File, bundles: Mapping[str, _Bundle]) -> Iterator[bytes]:
    for place in _joined(place for term in file.terms for place in _places(term, bundles)):
        yield from _read(hub, place)


def _places(term: Term, bundles: Mapping[str, _Bundle]) -> Iterator[_Place]:
    """Where the bytes of a term are. FileNotFoundError when they are nowhere."""
    bundle = bundles.get(term.xorb)
    if bundle is None:
        raise FileNotFoundError(term.xorb)
    chunks = bundle.chunks
    if term.last > len(chunks.lengths) or chunks.size(term.first, term.last) != term.size:
        raise BadRequest(f"the xorb {term.xorb} has no such chunks with {term.size:,} bytes.")
    if bundle.path is not None:
        yield _Place(bundle.path, chunks.starts[term.first], chunks.starts[term.last])
        return
    if not chunks.covers(term.first, term.last):
        raise FileNotFoundError(term.xorb)
    for span in chunks.within(term.first, term.last):
        yield _Place(span.sha256, span.offset, span.offset + chunks.size(span.first, span.last))


def _joined(places: Iterable[_Place]) -> Iterator[_Place]:
    """The same bytes in fewer places, so that they are read in large pieces."""
    last: _Place | None = None
    for place in places:
        if last is not None and (place.source, place.start) == (last.source, last.end):
            last = replace(last, end=place.end)
            continue
        if last is not None:
            yield last
        last = place
    if last is not None:
        yield last


def _read(hub: Hub, place: _Place) -> Iterator[bytes]:
    if isinstance(place.source, str):
        yield from hub.blobs.read(place.source, place.start, place.end, PIECE)
        return
    with place.source.open("rb", buffering=0) as file:
        at = file.seek(place.start)
        while at < place.end:
            data = file.read(min(PIECE, place.end - at))
            if not data:
                raise FileNotFoundError(place.source)
            at += len(data)
            yield data


def _record(hub: Hub, account_id: int, repo_id: int, files: Sequence[File]) -> None:
    """Let the repository reach the files, and note where their chunks are now."""
    large = [Large(sha256=file.sha256, size=file.size) for file in files]
    with hub.database.writing() as session:
        if session.get(Repo, repo_id) is None:
            raise NotFound("the repository was removed meanwhile.")
        grant_all(session, repo_id, large)
        check_stored(hub, large)
        note(session, account_id, files)
