"""`python -m lanza.platforms.local.keeper FOLDER`: its instructions come on standard input.

It is started with the folder's lock held, under the number `LOCK`, and keeps it until its end.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Final

from lanza.platforms.local.instructions import Instructions
from lanza.platforms.local.keeper.keeping import Keeper
from lanza.platforms.local.layout import LOCK, RunFolder
from lanza.platforms.local.sandbox import OPEN_FILES

PR_SET_CHILD_SUBREAPER: Final = 36
OUT_OF_MEMORY_SCORE: Final = "500"
"""When the system runs out of memory, replicas go before the server does."""


def main(arguments: list[str]) -> None:
    folder = RunFolder(Path(arguments[0]))
    told = Instructions.decode(sys.stdin.buffer.read())
    os.set_inheritable(LOCK, False)
    os.chdir(folder.path)
    # What the replica loses in this way is left to us, so that nothing outlives it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _offer_to_the_killer()
    Keeper(folder, told).run()
    sys.stdout.flush()
    os._exit(0)  # nothing is left to be tidied


def _offer_to_the_killer() -> None:
    try:
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_SCORE)
    except OSError:
        return


if __name__ == "__main__":
    main(sys.argv[1:])
