"""What somebody should be told of an endpoint: the budget is near or spent, it failed, it was removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lanza.endpoints import usage
from lanza.endpoints.decide import Decision, Money
from lanza.endpoints.records import Endpoint
from lanza.endpoints.spec import EndpointSpec
from lanza.endpoints.states import Intent, State


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


def news(
    endpoint: Endpoint, spec: EndpointSpec, decision: Decision, money: Money, moment: datetime
) -> list[Notice]:
    """What is new with a decision that is not yet written. Notes that its owner was warned of the budget."""
    name, told = f"{endpoint.namespace}/{endpoint.name}", []
    if money.warns and not money.over and spec.budget is not None:
        period = usage.period_start(spec.budget.period, moment) or "total"
        if endpoint.warned != period:
            endpoint.warned = period
            told.append((Event.BUDGET_WARNING, f"{money.spent:.2f} of {money.budget:.2f} dollars are spent"))
    if event := _event(endpoint, decision):
        told.append((event, decision.message))
    return [
        Notice(event=event, endpoint=name, message=message, webhook=spec.webhook) for event, message in told
    ]


def _event(endpoint: Endpoint, decision: Decision) -> Event | None:
    if decision.intent is Intent.PAUSE:
        return Event.BUDGET_REACHED
    if decision.intent is Intent.REMOVE:
        return None if endpoint.serverless else Event.EXPIRED
    if endpoint.state == decision.state.value:
        return None
    return {State.FAILED: Event.FAILED, State.UPDATE_FAILED: Event.UPDATE_FAILED}.get(decision.state)
