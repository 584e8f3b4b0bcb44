"""`lanza estimate MODEL`, and what `lanza deploy` begins with: what a month of an endpoint costs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lanza.cli.context import Context, JsonOption, ServerOption, context
from lanza.cli.endpoints.options import (
    BudgetOption,
    EachOption,
    IdleOption,
    MaxOption,
    MinOption,
    PeakOption,
    PerDayOption,
    RehearseOption,
    SizeOption,
)


def estimate(
    model: Annotated[str | None, typer.Argument(help="A repository: namespace/name.")] = None,
    per_day: PerDayOption = None,
    each: EachOption = 1.0,
    peak: PeakOption = 3.0,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="endpoint.yaml", help="An endpoint, in a file.")
    ] = None,
    size: SizeOption = None,
    minimum: MinOption = None,
    maximum: MaxOption = None,
    idle: IdleOption = None,
    budget: BudgetOption = None,
    rehearse: RehearseOption = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a month of an endpoint would cost, and the size and replicas to choose. Nothing is made."""
    from lanza.cli.endpoints.model import repository_in, repository_of
    from lanza.cli.endpoints.tree import allowed_in, lay_over, read_tree

    chosen = context(server)
    tree = read_tree(file)
    repository = (
        repository_in(tree, "estimate") if model is None else repository_of(chosen, model, None, None)
    )
    lay_over(
        tree,
        allowed=allowed_in(tree),
        repository=repository,
        size=size,
        minimum=minimum,
        maximum=maximum,
        idle=idle,
        budget=budget,
    )
    found = forecast(chosen, tree, per_day=per_day, each=each, peak=peak, rehearse=rehearse)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for line in lines_of(found, per_day):
            typer.echo(line)


def forecast(
    server: Context,
    tree: Mapping[str, Any],
    *,
    per_day: float | None,
    each: float,
    peak: float,
    rehearse: bool,
) -> Any:
    """What the server says that an endpoint of this tree would cost."""
    from lanza.cli.api import call

    question = {"endpoint": tree, "requestsPerDay": per_day or 0, "secondsEach": each, "peak": peak}
    return call(server, "POST", f"/api/lanza/estimate{'?rehearse=1' if rehearse else ''}", question)


def tell(found: Mapping[str, Any], per_day: float | None) -> None:
    """Beside what a command gives."""
    for line in lines_of(found, per_day):
        print(f"lanza: {line}", file=sys.stderr)


def lines_of(found: Mapping[str, Any], per_day: float | None) -> list[str]:
    """The estimate for people: a line, one more where something else is suggested, one for each warning."""
    month = found["month"]
    costs = [f"{_money(month['idle'])} while nobody asks"]
    if per_day is not None:
        hours, starts = month["replicaHours"], month["starts"]
        costs.append(f"about {_money(month['expected'])} as expected ({hours:.0f} h, {starts:.0f} starts)")
    costs.append(f"{_money(month['worst'])} at worst")
    price = f"{found['pricePerHour']:g} an hour as of {found['priceAsOf']}"
    lines = [f"a month on {_plan(found)} costs {', '.join(costs)} (dollars; {price})"]
    suggestion = found["suggestion"]
    if per_day is not None and _plan(suggestion) != _plan(found):
        about = _money(suggestion["month"]["expected"])
        lines.append(f"for {per_day:g} requests a day {_plan(suggestion)} would do: about {about} a month")
    return [*lines, *found["warnings"]]


def _plan(one: Mapping[str, Any]) -> str:
    least, most = one["minReplica"], one["maxReplica"]
    return f"{least} to {most} {one['instanceType']} {one['instanceSize']}"


def _money(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.4g}"
