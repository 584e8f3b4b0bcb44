"""Sizes and numbers as people read them."""

from __future__ import annotations


def size(count: int) -> str:
    """Bytes: 17 B, 1.4 kB, 256 MB, 2.1 GB."""
    value, units = float(count), ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"


def amount(count: int) -> str:
    """A number, of parameters for example: 312, 66.0 k, 22.7 M, 7.6 B."""
    for limit, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return str(count)
