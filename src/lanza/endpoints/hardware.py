"""Which hardware an endpoint gets, of what there is here: a pure choice.

The model: what a spec says of its hardware must hold; what it leaves empty is the smallest that the model
fits in. Hardware that is not here is refused, with what there is and the nearest to it; or, where that is
asked for (a rehearsal of what is to run elsewhere), replaced by the nearest, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lanza.endpoints.platform import Instance
from lanza.endpoints.spec import Compute, Provider
from lanza.errors import BadRequest


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An instance. `warning` says what was asked for instead, if it was another."""

    instance: Instance
    warning: str = ""


def choose(
    compute: Compute,
    provider: Provider,
    offers: Sequence[Instance],
    *,
    needs_bytes: int = 0,
    rehearse: bool = False,
) -> Choice:
    """The instance for this. `offers` are in order of size; `needs_bytes` is what the model may need.

    BadRequest when there is none like it, which names those that there are.
    """
    if not offers:
        raise BadRequest("no replica can run here: this server was started without a platform.")
    matching = [it for it in offers if _matches(compute, provider, it)]
    if matching:
        return Choice(instance=_smallest(matching, needs_bytes))
    nearest = _nearest(compute, offers, needs_bytes)
    asked = words_of(compute, provider)
    if rehearse:
        return Choice(
            instance=nearest,
            warning=f"this is a rehearsal: {asked} is not here, so it runs on {_described(nearest)}.",
        )
    there = ", ".join(f"{it.type} {it.size}" for it in offers)
    raise BadRequest(
        f"{asked} is not here. {_of(offers[0])} has {there}; the nearest is vendor {nearest.vendor}, region "
        f"{nearest.region}, accelerator {nearest.accelerator}, instance type {nearest.type}, size "
        f"{nearest.size}. To try out what is meant for elsewhere, start the server with --rehearse."
    )


def fitting(offers: Sequence[Instance], needs_bytes: int) -> list[Instance]:
    """The hardware that has the memory."""
    return [it for it in offers if it.memory_bytes >= needs_bytes]


def words_of(compute: Compute, provider: Provider) -> str:
    """The hardware that is asked for, as people say it."""
    what = " ".join(it for it in (compute.instance_type, compute.instance_size) if it) or compute.accelerator
    return f"{provider.vendor}/{provider.region} {what}"


def _matches(compute: Compute, provider: Provider, offer: Instance) -> bool:
    pairs = (
        (provider.vendor, offer.vendor),
        (provider.region, offer.region),
        (compute.accelerator, offer.accelerator),
        (compute.instance_type, offer.type),
        (compute.instance_size, offer.size),
    )
    return all(not asked or asked.lower() == there.lower() for asked, there in pairs)


def _smallest(offers: Sequence[Instance], needs_bytes: int) -> Instance:
    """The first that has the memory, or the largest: whether that will do is for its platform to say."""
    return next(iter(fitting(offers, needs_bytes)), max(offers, key=lambda it: it.memory_bytes))


def _nearest(compute: Compute, offers: Sequence[Instance], needs_bytes: int) -> Instance:
    """The same accelerator if there is one, enough memory, then the closest size; the smaller one of two."""

    def distance(offer: Instance) -> tuple[bool, bool, bool, int]:
        return (
            offer.accelerator.lower() != compute.accelerator.lower(),
            offer.memory_bytes < needs_bytes,
            offer.type.lower() != compute.instance_type.lower(),
            abs(_times(offer.size) - _times(compute.instance_size)),
        )

    return min(offers, key=distance)


def _times(size: str) -> int:
    """The number in `x4`; sizes that have none are the smallest."""
    found = re.search(r"\d{1,6}", size)
    return int(found[0]) if found else 1


def _described(offer: Instance) -> str:
    return (
        f"{offer.type} {offer.size} of {_of(offer)} ({offer.cpus:g} cores, "
        f"{offer.memory_bytes / 2**30:.1f} GiB)"
    )


def _of(offer: Instance) -> str:
    return f"{offer.vendor}/{offer.region}"
