"""The hardware that this machine offers, by size and price: pure functions of what it has and a price file.

The model: `cpu` sizes have 2 GiB for each core, which is plenty for most encoders; less where the machine has
less for each core that it promises. `memory` sizes have memory in proportion to their cores, the largest all
that there is.
"""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lanza.endpoints.platform import Instance
from lanza.errors import UsageError
from lanza.models.memory import this_machine

GIB: Final = 2**30
MIB: Final = 2**20
CORE_MEMORY: Final = 2 * GIB
"""Bytes for each core of a `cpu` size."""
SHIPPED: Final = Path(__file__).with_name("prices.toml")
VENDOR: Final = "lanza"
REGION: Final = "local"
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What replicas may have together: cores, bytes of memory. `architecture` is what its maker calls it."""

    cores: int
    memory: int
    architecture: str

    @classmethod
    def read(cls, *, reserve: int) -> Machine:
        """This machine, or the container that we are in; `reserve` bytes are kept for the server."""
        return cls(
            cores=_cores(_CGROUP),
            memory=max(0, this_machine().total - reserve),
            architecture=_processor(),
        )


@dataclass(frozen=True, kw_only=True)
class Prices:
    """US dollars for an hour of a core and of a GiB of memory; `as_of` is the date, as ISO has it."""

    core_hour: float
    gib_hour: float
    as_of: str

    @classmethod
    def read(cls, path: Path) -> Prices:
        """UsageError when the file does not say all three."""
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
            prices = cls(
                core_hour=float(tree["core_hour"]), gib_hour=float(tree["gib_hour"]), as_of=str(tree["as_of"])
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{path} is no price file ({error}): it has as_of, core_hour and gib_hour, as {SHIPPED} has."
            ) from error
        if not (prices.core_hour >= 0 and prices.gib_hour >= 0):
            raise UsageError(f"{path}: a price is not negative.")
        return prices

    def of(self, cores: float, memory: int) -> float:
        return round(cores * self.core_hour + memory / GIB * self.gib_hour, 6)


def offers(machine: Machine, prices: Prices, *, oversubscription: float) -> Sequence[Instance]:
    """All sizes, the smallest first."""
    whole = machine.memory // machine.cores
    small = min(CORE_MEMORY, int(whole / max(1.0, oversubscription)))
    kinds = {"cpu": small, "memory": whole} if small < whole else {"cpu": whole}
    found = [
        _offer(machine, prices, kind, cores, cores * each // MIB * MIB)
        for kind, each in kinds.items()
        for cores in _sizes(machine.cores)
    ]
    return sorted(found, key=lambda it: (it.cpus, it.memory_bytes))


def _sizes(cores: int) -> list[int]:
    """1, 2, 4 and so on, and all of them."""
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power <= cores), cores})


def _offer(machine: Machine, prices: Prices, kind: str, cores: int, memory: int) -> Instance:
    return Instance(
        vendor=VENDOR,
        region=REGION,
        accelerator="cpu",
        type=kind,
        size=f"x{cores}",
        architecture=machine.architecture,
        cpus=cores,
        memory_bytes=memory,
        price_per_hour=prices.of(cores, memory),
        price_as_of=prices.as_of,
    )


def _cores(cgroup: Path) -> int:
    """The cores that we may use: those of the machine, or of the container that we are in."""
    ours = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        ours = min(ours, max(1, int(quota) // int(period)))  # "max" where there is no bound
    return ours


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
