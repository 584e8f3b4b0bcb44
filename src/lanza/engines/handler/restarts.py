"""How long to wait before the handler is started again: 0.1 s at first, doubling to 10 s, forgotten after a
healthy minute.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.1
LONGEST: Final = 10.0
HEALTHY: Final = 60.0


def delay_after(failures: int) -> float:
    """Seconds to wait after the `failures`-th death in a row, counted from 1."""
    return min(FIRST * 2.0 ** min(failures - 1, 16), LONGEST)


def count_failure(failures: int, *, lived: float) -> int:
    """The deaths in a row, one more of them after a life of `lived` seconds."""
    return 1 if lived >= HEALTHY else failures + 1
