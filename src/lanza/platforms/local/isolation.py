"""Which isolation works on this machine: found out by trying, for a kernel may have it and forbid it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Final

from lanza.platforms.local.instructions import BUBBLEWRAP, LANDLOCK, NONE, Sandbox
from lanza.platforms.local.sandbox import command

PATIENCE: Final = 10.0
NEWEST: Final = ("--disable-userns",)
"""What bubblewrap knows since 0.8: no user namespaces within, and so less of the kernel within reach."""
_TELLS: Final = {
    BUBBLEWRAP: "bubblewrap: a root, processes and users of their own",
    LANDLOCK: "Landlock: only their own files, for bubblewrap does not work here ({why})",
    NONE: "none: neither bubblewrap ({why}) nor Landlock works here",
}


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The best `kind` that works, the program that brings it, its options, and why no better one does."""

    kind: str
    tool: str
    options: tuple[str, ...] = ()
    why: str = ""

    @classmethod
    def probe(cls, *, bubblewrap: str = "bwrap") -> Isolation:
        """Try one after the other, each with a process that ends at once."""
        found = shutil.which(bubblewrap)
        why = "it is not installed"
        if found is not None:
            for options in (NEWEST, ()):
                why = what_is_wrong(BUBBLEWRAP, found, options)
                if not why:
                    return cls(kind=BUBBLEWRAP, tool=found, options=options)
        if not what_is_wrong(LANDLOCK, sys.executable):
            return cls(kind=LANDLOCK, tool=sys.executable, why=why)
        return cls(kind=NONE, tool=sys.executable, why=why)

    def __str__(self) -> str:
        return _TELLS[self.kind].format(why=self.why)


def what_is_wrong(kind: str, tool: str, options: tuple[str, ...] = ()) -> str:
    """Why this isolation does not work here; empty when it does."""
    with tempfile.TemporaryDirectory() as tmp:
        sandbox = Sandbox(isolation=kind, tool=tool, folder=tmp, writable=(tmp,), options=options)
        program = shutil.which("true") or "/bin/true"
        try:
            tried = subprocess.run(
                command([program], sandbox, tmp=tmp), capture_output=True, timeout=PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    said = tried.stderr.decode(errors="replace").strip().splitlines()
    return "" if tried.returncode == 0 else (said[-1] if said else f"it ended with {tried.returncode}")
