"""Becomes the replica, where bubblewrap does not work: `launcher.py JSON WORDS...`.

It sees to it that the replica dies with its keeper, and with Landlock gives up all files but those that are
named. It is run by its path, with the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CANNOT_RUN = 127


def main(arguments: list[str]) -> int:
    told, words = json.loads(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != told["parent"]:
        return CANNOT_RUN  # it died before we asked to be told
    try:
        os.chdir(told["folder"])
        if "readable" in told:
            sys.path.insert(0, str(Path(__file__).parent))
            import landlock  # type: ignore[import-not-found]  # beside this file, which is run by its path

            landlock.restrict(told["readable"], told["writable"])
        os.execv(words[0], words)  # noqa: S606 -- no shell is the point
    except OSError as error:
        print(f"{words[0]} cannot be started: {error.strerror or error}", file=sys.stderr)
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
