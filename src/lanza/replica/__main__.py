"""`python -m lanza.replica SPEC`: how a supervisor starts a replica."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from lanza.errors import LanzaError, UsageError
from lanza.replica.process import run
from lanza.replica.spec import ReplicaSpec


def main(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) != 1:
            raise UsageError("usage: python -m lanza.replica SPEC")
        run(ReplicaSpec.read(Path(arguments[0])))
    except LanzaError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
