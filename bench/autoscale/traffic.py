"""A day of requests from a seed: a wave that peaks in the afternoon, quiet hours, bursts on top. Pure."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

DAY: Final = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """`mean` requests per second over the day's wave; the deepest night has none for hours.

    `bursts` times a day, `burst_seconds` long, `burst_rate` requests per second come besides.
    """

    mean: float = 0.5
    bursts: int = 12
    burst_seconds: float = 60.0
    burst_rate: float = 20.0
    seed: int = 20261126


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """`at` is seconds since midnight; `seconds` what a replica needs for it."""

    at: float
    seconds: float


def rate(traffic: Traffic, at: float) -> float:
    """The wave: highest at 15:00, nothing from half past one to half past four."""
    wave = 0.85 + math.cos((at - 15 * 3600) / DAY * 2 * math.pi)
    return traffic.mean / 0.9 * max(0.0, wave)


def day(traffic: Traffic, *, service: float) -> list[Request]:
    """In order of time. A request takes `service` seconds on average, by a lognormal that is not wild."""
    chance = random.Random(traffic.seed)
    top = rate(traffic, 15 * 3600)
    moments = [it for it in _steady(chance, top, 0, DAY) if chance.random() * top < rate(traffic, it)]
    for _ in range(traffic.bursts):
        start = chance.uniform(6 * 3600, 23 * 3600)
        moments += _steady(chance, traffic.burst_rate, start, start + traffic.burst_seconds)
    moments.sort()
    sigma = 0.5
    scale = math.log(service) - sigma**2 / 2
    return [Request(at=it, seconds=chance.lognormvariate(scale, sigma)) for it in moments]


def _steady(chance: random.Random, per_second: float, start: float, end: float) -> list[float]:
    """Moments at random, as many everywhere."""
    found, at = [], start
    while (at := at + chance.expovariate(per_second)) < end:
        found.append(at)
    return found
