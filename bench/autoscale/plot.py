"""The day as SVG: requests above, replicas of some settings below. Needs no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

DAY: Final = 86_400.0
WIDTH: Final = 860
LEFT: Final = 60
PANEL: Final = 110
GAP: Final = 34
BINS: Final = 288

Steps = Sequence[tuple[float, float]]


def binned(points: Steps) -> list[float]:
    """The most of each five minutes; what was before holds until the next."""
    found, last, index = [], 0.0, 0
    for number in range(BINS):
        end, most = (number + 1) * DAY / BINS, last
        while index < len(points) and points[index][0] < end:
            last = points[index][1]
            most = max(most, last)
            index += 1
        found.append(most)
    return found


def page(panels: Mapping[str, Sequence[float]]) -> str:
    """One panel below another; each is a title and `BINS` values."""
    height = len(panels) * (PANEL + GAP) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (title, values) in enumerate(panels.items()):
        lines += _panel(title, values, top=GAP + number * (PANEL + GAP), line=number == 0)
    for hour in range(0, 25, 3):
        x = _x(hour * 3600)
        lines.append(f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle" fill="#555">{hour}:00</text>')
    return "\n".join([*lines, "</svg>", ""])


def _panel(title: str, values: Sequence[float], *, top: int, line: bool) -> list[str]:
    most, bottom = max([*values, 1e-9]), top + PANEL
    colour = "#7a7a7a" if line else "#2457c5"
    steps = [f"M{LEFT},{bottom}"]
    for number, value in enumerate(values):
        y = bottom - value / most * (PANEL - 14)
        steps.append(f"L{_x(number * DAY / BINS):.1f},{y:.1f} L{_x((number + 1) * DAY / BINS):.1f},{y:.1f}")
    steps.append(f"L{WIDTH - 20},{bottom} Z")
    return [
        f'<text x="{LEFT}" y="{top - 4}" fill="#222">{title}</text>',
        f'<path d="{" ".join(steps)}" fill="{colour}" fill-opacity="0.35" stroke="{colour}"/>',
        f'<text x="{LEFT - 8}" y="{top + 18}" text-anchor="end" fill="#555">{most:.3g}</text>',
        f'<text x="{LEFT - 8}" y="{bottom}" text-anchor="end" fill="#555">0</text>',
    ]


def _x(at: float) -> float:
    return LEFT + at / DAY * (WIDTH - LEFT - 20)
