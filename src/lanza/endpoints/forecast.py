"""What an endpoint would cost, before it is made: its spec, resolved, and an estimate of a month.

The model: a `Forecast` has two months. One is the spec's own, on the hardware that it would get with the
replicas that it allows; the other is that of the suggestion. `warnings` say what the spec's own month does
not bear: a budget, or the requests that are expected. Nothing is made or kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from lanza.auth.principal import Principal
from lanza.endpoints.estimate import MONTH_HOURS, Estimate, Expected, Suggestion, estimate, suggest
from lanza.endpoints.making import Maker
from lanza.endpoints.platform import Instance
from lanza.endpoints.spec import Budget, EndpointSpec


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`month` is the spec's on `instance`, `suggested` that of `suggestion`."""

    spec: EndpointSpec
    instance: Instance
    month: Estimate
    suggestion: Suggestion
    suggested: Estimate
    warnings: tuple[str, ...]


def forecast(
    maker: Maker, caller: Principal, tree: Mapping[str, Any], expected: Expected, *, rehearse: bool = False
) -> Forecast:
    """BadRequest, RepoNotFound, Forbidden say what is wrong with the spec, as when it is made."""
    fit = maker.fit(caller, tree, rehearse=rehearse)
    scaling = fit.spec.compute.scaling
    month = estimate(expected, scaling, fit.choice.instance)
    suggestion = suggest(expected, fit.offers, needs_bytes=fit.needs_bytes)
    wanted = replace(scaling, min_replica=suggestion.min_replica, max_replica=suggestion.max_replica)
    said = (
        fit.choice.warning,
        fit.uncounted,
        *_over(fit.spec.budget, month),
        *_too_few(fit.spec, suggestion),
    )
    return Forecast(
        spec=fit.spec,
        instance=fit.choice.instance,
        month=month,
        suggestion=suggestion,
        suggested=estimate(expected, wanted, suggestion.instance),
        warnings=tuple(it for it in said if it),
    )


def _over(budget: Budget | None, month: Estimate) -> Iterator[str]:
    """That the worst case is above the budget, or even what is expected."""
    if budget is None:
        return
    share = 24 / MONTH_HOURS if budget.period == "day" else 1.0
    of = {"day": " a day", "month": " a month", "total": ""}[budget.period]
    for cost, what in ((month.expected, "what is expected"), (month.worst, "the worst case")):
        if cost * share > budget.amount:
            spent = f"{_dollars(cost * share)} dollars a {'day' if budget.period == 'day' else 'month'}"
            yield (
                f"{what} is {spent}, above the budget of {_dollars(budget.amount)} dollars{of}: the endpoint "
                "is paused when that is spent."
            )
            return


def _too_few(spec: EndpointSpec, suggestion: Suggestion) -> Iterator[str]:
    most = spec.compute.scaling.max_replica
    if most < suggestion.max_replica:
        yield (
            f"at the busiest, about {suggestion.max_replica} replicas have work, and "
            f"compute.scaling.maxReplica is {most}: some requests will wait."
        )


def _dollars(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.4g}"
