"""The Xet stores of accounts: xorbs come and wait here until all of their chunks are in blobs.

The model: a xorb is unpacked as it comes and waits in a file of its own, until shards have made blobs of all
its chunks (`assembly.py`). It belongs to the account that sent it: nobody may name another's chunks.

Clients remember for weeks what they have sent, by the address of the store, so its id stands there. It is
another for each account, and changes when anything was lost, so that clients begin anew. Xorbs are not synced
to the disk: what a crash takes is found missing or wrong later, and comes again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import delete
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from lanza.database import now
from lanza.errors import BadRequest
from lanza.hub.hub import Hub
from lanza.hub.incoming import PIECE, feed, full_disk
from lanza.hub.records import HubState, Xorb
from lanza.hub.xet.chunks import Chunks
from lanza.hub.xet.formats import Unpacker

STORE: Final = "xet_store"
USED: Final = "xet_used"


def open_store(session: Session, account_id: int) -> str:
    """The id of the account's store, for a client that is about to write to it."""
    _set(session, f"{USED}:{account_id}", now().isoformat())
    for name in (STORE, f"{STORE}:{account_id}"):
        if session.get(HubState, name) is None:
            _set(session, name, secrets.token_hex(16))
    found = store_id(session, account_id)
    assert found is not None
    return found


def store_id(session: Session, account_id: int) -> str | None:
    """The id that the account's store has now; None before the first upload."""
    parts = [session.get(HubState, name) for name in (STORE, f"{STORE}:{account_id}")]
    values = [part.value for part in parts if part is not None]
    if len(values) != len(parts):
        return None
    return hashlib.sha256(":".join([*values, str(account_id)]).encode()).hexdigest()[:32]


def used_since(session: Session, account_id: int, moment: datetime) -> bool:
    """Whether a client was let write to the account's store since then."""
    used = session.get(HubState, f"{USED}:{account_id}")
    return used is not None and datetime.fromisoformat(used.value) >= moment


def start_afresh(hub: Hub, account_id: int) -> None:
    """Forget all xorbs of an account, and give its store another id: clients then send everything again."""
    with hub.database.writing() as session:
        _set(session, f"{STORE}:{account_id}", secrets.token_hex(16))
        session.execute(delete(Xorb).where(Xorb.account_id == account_id))
    for path in xorbs_folder(hub, account_id).glob("*"):
        if not path.suffix:  # and not what is still coming
            path.unlink(missing_ok=True)


def xorbs_folder(hub: Hub, account_id: int) -> Path:
    return hub.blobs.staging / "xorbs" / str(account_id)


def _set(session: Session, name: str, value: str) -> None:
    session.merge(HubState(name=name, value=value))
    session.flush()


async def receive(hub: Hub, account_id: int, name: str, chunks: AsyncIterator[bytes]) -> bool:
    """Take the xorb called `name`. Whether it is new. BadRequest when its chunks do not have that hash."""
    if await run_in_threadpool(_is_known, hub, account_id, name):
        async for _ in chunks:
            pass
        return False
    xorb = _Incoming(xorbs_folder(hub, account_id), name)
    try:
        await feed(chunks, xorb.write)
        await run_in_threadpool(_keep, hub, account_id, xorb)
    finally:
        xorb.drop()
    return True


class _Incoming:
    """A xorb that is unpacked into a file while it comes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.path = folder / name
        self.unpacker = Unpacker()
        self._aside = folder / f"{name}.{secrets.token_hex(8)}"
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self._aside.open("xb", buffering=PIECE)

    def write(self, data: bytes) -> None:
        with full_disk():
            for chunk in self.unpacker.feed(data):
                self._file.write(chunk)

    def finish(self) -> Chunks:
        found = self.unpacker.finish()
        if found != self.name:
            raise BadRequest(f"this xorb has the hash {found}, and not {self.name}: send it again.")
        with full_disk():
            self._file.close()
            self._aside.replace(self.path)
        return Chunks(self.unpacker.lengths, hashes=self.unpacker.hashes)

    def drop(self) -> None:
        with suppress(OSError):  # what cannot be written any more need not be
            self._file.close()
        self._aside.unlink(missing_ok=True)


def _is_known(hub: Hub, account_id: int, name: str) -> bool:
    with hub.database.reading() as session:
        xorb = session.get(Xorb, (account_id, name))
        if xorb is None:
            return False
        stored, size = xorb.stored, xorb.size
    return not stored or _size(xorbs_folder(hub, account_id) / name) == size


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _keep(hub: Hub, account_id: int, incoming: _Incoming) -> None:
    chunks = incoming.finish()
    with hub.database.writing() as session:
        session.merge(
            Xorb(
                account_id=account_id,
                hash=incoming.name,
                size=incoming.unpacker.size,
                stored=True,
                chunks=chunks.pack(),
                created_at=now(),
            )
        )
