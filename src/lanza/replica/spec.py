"""What a replica is told: which folder, by which engine, where to listen and how much to take on.

`lanza serve` makes one from its options; the control plane writes one to a file that
`python -m lanza.replica SPEC` reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from lanza.errors import UsageError

MIB: Final = 2**20

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a replica takes on. None is "what the engine finds best".

    `batch_tokens`: tokens in a batch, padding counted. `body_bytes`: the largest body. `waiting`: sequences
    in the queue before 429s begin. `deadline` and `drain`: seconds for one request, and for the last ones
    after SIGTERM.
    """

    batch_tokens: int | None = None
    body_bytes: int = 32 * MIB
    waiting: int = 8192
    deadline: float = 60.0
    drain: float = 30.0


class ReplicaSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`graph` is the path of an ONNX model that was made of the folder and lies elsewhere.

    `uds`, the path of a Unix socket, is used instead of `host` and `port` when given; `inherited`, the number
    of a socket that listens already, instead of all three.

    `environment` reaches a handler's process and nothing else. `hosts` are names under which browsers may
    call a replica that listens on a loopback address, besides its own.
    """

    folder: str
    engine: str
    why: str
    name: str
    home: str
    task: str | None = None
    graph: str | None = None
    host: str = "127.0.0.1"
    port: int = 8421
    uds: str | None = None
    inherited: int | None = None
    threads: int | None = None
    limits: Limits = Limits()
    hosts: list[str] = []
    environment: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> ReplicaSpec:
        """UsageError when the file is absent or is no spec."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(f"{path} is no replica spec: {error}") from error
