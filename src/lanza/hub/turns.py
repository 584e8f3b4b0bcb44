"""Turns: of all who work on something with the same name, in this process or another, one at a time.

The model: threads of one process wait for each other by a lock in memory; processes, by a lock of the
operating system on a file, which ends with the process however that ends. The file is removed by whoever
held it last, so who gets a lock looks whether it is still that of the file there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock


class Turns:
    """Turns by name; `folder` is for their files. Where several processes cannot serve, it has none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = Lock()
        self._locks: dict[str, tuple[Lock, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Be the only one, for as long as the block lasts."""
        with self._among_threads(name), _among_processes(self._folder / sha256(name.encode()).hexdigest()):
            yield

    @contextmanager
    def _among_threads(self, name: str) -> Iterator[None]:
        with self._guard:
            lock, users = self._locks.get(name, (Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[name]
                if users == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = (lock, users - 1)


@contextmanager
def _among_processes(path: Path) -> Iterator[None]:
    if os.name == "nt":
        yield
        return
    descriptor = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path) -> int:
    """An open file with the lock that whoever comes next will wait for."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
