"""Pushes as they stand on the wire: git's packets, the commands of a push, the report about them. Pure.

A packet is four hexadecimal digits with its length, themselves included, and that many bytes; `0000` ends a
group (git's `gitprotocol-pack`). A push is one group of commands, each the old value of a ref, its new one
and its name, and then a pack. What is offered here is what clients use over HTTP, and nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lanza.errors import BadRequest
from lanza.hub.refs import Move

FLUSH: Final = b"0000"
LONGEST: Final = 65520
"""Bytes of a packet, its length included."""

MOST_COMMANDS: Final = 10_000

CAPABILITIES: Final = "report-status delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1"

_NOTHING: Final = "0" * 40
_COMMAND: Final = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([^\0\n]+)\n?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Push:
    """What a client wants moved, and how it wants to be told: `banded` when in numbered bands."""

    moves: tuple[Move, ...]
    atomic: bool
    reported: bool
    banded: bool

    @property
    def brings_objects(self) -> bool:
        """Whether a pack follows: nothing does when refs are only removed."""
        return any(move.new is not None for move in self.moves)


def packet(content: bytes) -> bytes:
    return b"%04x%s" % (len(content) + 4, content)


def packet_length(digits: bytes) -> int:
    """How many bytes follow the four `digits`; 0 at the end of a group. BadRequest."""
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
        raise BadRequest("this is not what git sends: a packet has no length.")
    length = int(digits, 16)
    if length in range(1, 5) or length > LONGEST:
        raise BadRequest(f"this is not what git sends: a packet of {length} bytes.")
    return max(0, length - 4)


def advertised(refs: Iterable[tuple[str, str]], *, agent: str) -> bytes:
    """What a push begins with: names and values of the refs, and what this server can do."""
    lines = [f"{value} {name}" for name, value in refs] or [f"{_NOTHING} capabilities^{{}}"]
    first, *others = lines
    first = f"{first}\0{CAPABILITIES} agent={agent}"
    return b"".join(packet(f"{line}\n".encode()) for line in (first, *others)) + FLUSH


def read_push(packets: Sequence[bytes]) -> Push:
    """The commands of a push. BadRequest for what is none."""
    abilities: frozenset[bytes] = frozenset()
    moves = []
    for line in packets:
        if line.startswith(b"shallow "):
            continue  # what is missing below is found when the new commits are followed
        command, _, said = line.partition(b"\0")
        abilities |= frozenset(said.split())
        found = _COMMAND.fullmatch(command)
        if found is None:
            raise BadRequest("this is not what git sends: a command has an old and a new value, and a ref.")
        old, new = found[1].decode(), found[2].decode()
        moves.append(Move(found[3].decode(errors="replace"), _value(old), _value(new)))
    if len({move.ref for move in moves}) < len(moves):
        raise BadRequest("a push moves each ref only once.")
    return Push(
        moves=tuple(moves),
        atomic=b"atomic" in abilities,
        reported=b"report-status" in abilities,
        banded=b"side-band-64k" in abilities,
    )


def _value(oid: str) -> str | None:
    return None if oid == _NOTHING else oid


def report(
    push: Push, refused: Mapping[str, str], *, unpacked: str = "ok", notes: Sequence[str] = ()
) -> bytes:
    """How a push went: `refused` says why, by ref; `notes` are lines that git shows as they are."""
    if not push.reported:
        return b""
    lines = [f"unpack {_line(unpacked)}"]
    for move in push.moves:
        why = refused.get(move.ref)
        lines.append(f"ok {move.ref}" if why is None else f"ng {move.ref} {_line(why)}")
    told = b"".join(packet(f"{line}\n".encode()) for line in lines) + FLUSH
    if not push.banded:
        return told
    shown = "".join(f"{_line(note)}\n" for note in notes).encode()
    return _band(2, shown) + _band(1, told) + FLUSH


def _band(number: int, content: bytes) -> bytes:
    most = LONGEST - 5
    pieces = (content[at : at + most] for at in range(0, len(content), most))
    return b"".join(packet(bytes([number]) + piece) for piece in pieces)


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)[:1000].strip()
