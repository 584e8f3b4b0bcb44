from __future__ import annotations

from lanza.cli.endpoints.show import hour_line, hour_of


def point(requests: int, errors: int, seconds: float, slowest: float) -> dict[str, float]:
    return {"requests": requests, "errors": errors, "seconds": seconds, "slowest": slowest}


def test_an_hour_is_its_minutes_together() -> None:
    hour = hour_of([point(3, 1, 0.6, 0.4), point(0, 0, 0.0, 0.0), point(1, 0, 1.0, 1.0)])
    assert hour == {"requests": 4, "errors": 1, "mean": 0.4, "slowest": 1.0}
    assert hour_line(hour) == "4 requests, 1 errors, 0.4 s on average, 1 s the slowest"


def test_an_hour_in_which_nobody_asked() -> None:
    assert hour_line(hour_of([point(0, 0, 0.0, 0.0)])) == hour_line(hour_of([])) == "no requests"
