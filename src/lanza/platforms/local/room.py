"""Whether one more replica fits: a pure function of what the machine has and what runs, with the figures.

Cores may be promised several times, for a replica that nobody asks uses none; memory may not, for what is
not there makes the whole machine swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lanza.endpoints.platform import Instance
from lanza.errors import BadRequest, NoRoom
from lanza.platforms.local.offers import Machine

MOST_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one replica has been given: cores, and bytes of memory of which it uses `used`."""

    endpoint: str
    cpus: float
    memory: int
    used: int = 0


def require_room(
    instance: Instance,
    machine: Machine,
    taken: Sequence[Taken],
    *,
    oversubscription: float,
    available: int,
    needs: int = 0,
) -> None:
    """BadRequest when it never fits, NoRoom when it does not now. `available`: bytes that are free now."""
    _require_possible(instance, machine, needs)
    cores = machine.cores * oversubscription
    cores_left = cores - sum(it.cpus for it in taken)
    if instance.cpus > cores_left + 1e-9:
        raise NoRoom(
            f"{_name(instance)} asks for {instance.cpus:g} cores, and {max(0.0, cores_left):g} of {cores:g} "
            f"are free ({machine.cores} cores, each promised {oversubscription:g} times){_takers(taken)}."
        )
    promised = machine.memory - sum(it.memory for it in taken)
    # Others on this machine take memory as well; what replicas may still take is spoken for.
    really = available - sum(max(0, it.memory - it.used) for it in taken)
    left = max(0, min(promised, really))
    if instance.memory_bytes > left:
        raise NoRoom(
            f"{_name(instance)} asks for {_gib(instance.memory_bytes)} of memory, and {_gib(left)} of "
            f"{_gib(machine.memory)} is free{_takers(taken)}."
        )


def _require_possible(instance: Instance, machine: Machine, needs: int) -> None:
    if instance.cpus > machine.cores or instance.memory_bytes > machine.memory:
        raise BadRequest(
            f"{_name(instance)} has {instance.cpus:g} cores and {_gib(instance.memory_bytes)} of memory, and "
            f"this machine {machine.cores} and {_gib(machine.memory)}: choose a smaller one."
        )
    if needs > instance.memory_bytes:
        raise BadRequest(
            f"the model needs about {_gib(needs)} of memory, and {_name(instance)} has "
            f"{_gib(instance.memory_bytes)}: choose one with more."
        )


def _name(instance: Instance) -> str:
    return f"{instance.type}-{instance.size}"


def _takers(taken: Sequence[Taken]) -> str:
    """Who has the rest, the largest first."""
    if not taken:
        return ""
    sums: dict[str, tuple[float, int]] = {}
    for it in taken:
        cpus, memory = sums.get(it.endpoint, (0.0, 0))
        sums[it.endpoint] = (cpus + it.cpus, memory + it.memory)
    order = sorted(sums.items(), key=lambda it: it[1][1], reverse=True)
    named = [f"{name} ({cpus:g} cores, {_gib(memory)})" for name, (cpus, memory) in order[:MOST_NAMED]]
    more = [f"{len(order) - MOST_NAMED} more"] if len(order) > MOST_NAMED else []
    return f"; the rest is taken by {', '.join([*named, *more])}"


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
