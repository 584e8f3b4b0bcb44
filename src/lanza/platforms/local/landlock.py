"""Landlock: a process gives up, for itself and all that it starts, the files that it does not name.

By the system calls, for the C library has no names for them. Rights that a kernel does not know yet are left
out (`_RIGHTS` by the version of its interface, which begins at 1, Linux 5.13). What Landlock cannot forbid:
to connect to a Unix socket whose path is known, and to learn by `stat` that a file exists.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Sequence
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVS: Final = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_SCOPES: Final = 3
"""From version 6 on: no abstract Unix sockets and no signals to processes outside."""

DEVICES: Final = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
)
KERNEL: Final = (
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/vm",
    "/proc/version",
)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    return max(0, int(_libc().syscall(_CREATE, None, 0, _VERSION)))


def restrict(readable: Sequence[str], writable: Sequence[str]) -> None:
    """From here on this process opens nothing else. OSError when that cannot be had."""
    libc, known = _libc(), version()
    if not known:
        raise OSError("this kernel has no Landlock")
    rights = _RIGHTS[min(known, max(_RIGHTS))]
    rules = _Ruleset(files=rights, scoped=_SCOPES if known >= 6 else 0)
    size = ctypes.sizeof(rules) if known >= 6 else 16 if known >= 4 else 8
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(rules), size, 0))
    try:
        for path, allowed in (*_each((*readable, *KERNEL), _READ), *_each((*writable, *DEVICES), rights)):
            _allow(libc, ruleset, path, allowed & rights)
        _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _each(paths: Iterable[str], rights: int) -> list[tuple[str, int]]:
    return [(path, rights) for path in paths]


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        number = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, so nothing of it can be opened
    try:
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            rights &= _OF_FILES
        rule = _Beneath(allowed=rights, parent=number)
        _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(number)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
