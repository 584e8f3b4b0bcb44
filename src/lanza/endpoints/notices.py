"""What somebody should be told of an endpoint: the budget is near or spent, it failed, it was removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Event(StrEnum):
    BUDGET_WARNING = "budget.warning"
    BUDGET_REACHED = "budget.reached"
    FAILED = "endpoint.failed"
    UPDATE_FAILED = "endpoint.updateFailed"
    EXPIRED = "endpoint.expired"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """`endpoint` is namespace/name; `webhook` the address that its owner gave, or None."""

    event: Event
    endpoint: str
    message: str
    webhook: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


Notify = Callable[[Notice], None]
"""Takes a notice and returns at once; it may be called again for one that was lost."""
