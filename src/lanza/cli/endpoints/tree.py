"""A spec's tree on the command line: what a file says, and what options say laid over it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lanza.cli.endpoints.options import Access


def read_tree(file: Path | None) -> dict[str, Any]:
    """What an endpoint.yaml says; nothing without one."""
    from lanza.errors import UsageError

    if file is None:
        return {}
    from lanza.cli.extras import needs

    with needs("client"):
        from lanza.endpoints.document import read_document
    try:
        tree = dict(read_document(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    for name in ("model", "provider", "compute", "budget"):
        part(tree, name)
    part(part(tree, "compute"), "scaling")
    return tree


def part(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that has fields of its own. UsageError for one that has not."""
    from lanza.errors import UsageError

    found = tree.get(name)
    if found is not None and not isinstance(found, Mapping):
        example = "repository: namespace/name" if name == "model" else "..."
        raise UsageError(f"`{name}` has fields of its own: write `{name}: {{{example}}}`, not {found!r}.")
    return dict(found or {})


def allowed_in(tree: Mapping[str, Any]) -> int:
    """How many replicas a spec allows."""
    found = part(part(tree, "compute"), "scaling").get("maxReplica")
    return found if isinstance(found, int) else 1


def given_variables(option: str, given: list[str] | None, file: Path | None) -> dict[str, str]:
    from lanza.cli.endpoints.variables import pairs, read_file

    return {**(read_file(file) if file else {}), **pairs(option, given or [])}


def lay_over(
    tree: dict[str, Any],
    *,
    allowed: int = 1,
    repository: str | None = None,
    access: Access | None = None,
    revision: str | None = None,
    task: str | None = None,
    size: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    idle: float | None = None,
    budget: str | None = None,
    expires: str | None = None,
    variables: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> None:
    """Put what options say into a spec's tree. UsageError for what is none of what it has to be.

    `allowed` is how many replicas it may have as it is: a minimum alone raises that, and never lowers it.
    """
    from lanza.cli.duration import duration

    wanted: dict[str, Any] = {
        "type": access.value if access else None,
        "model": {
            "repository": repository,
            "revision": revision,
            "task": task,
            "env": variables or None,
            "secrets": secrets or None,
        },
        "compute": {"instanceSize": size, "scaling": _scaling(minimum, maximum, idle, allowed)},
        "budget": _budget(budget) if budget else None,
        "expires": (datetime.now(UTC) + duration(expires, "--expires")).isoformat() if expires else None,
    }
    _overlay(tree, wanted)


def _overlay(tree: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """What is None was not said."""
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            inner = part(tree, key)
            _overlay(inner, value)
            if inner:
                tree[key] = inner
        elif value is not None:
            tree[key] = value


def _scaling(minimum: int | None, maximum: int | None, idle: float | None, allowed: int) -> dict[str, Any]:
    from lanza.errors import UsageError

    if minimum is not None and maximum is None and minimum > allowed:
        maximum = minimum
    if minimum is not None and maximum is not None and minimum > maximum:
        raise UsageError(f"--min {minimum} is more than --max {maximum}.")
    if idle is not None and not 0 < idle < math.inf:
        raise UsageError("--idle wants minutes, more than 0; --min 1 keeps one replica running.")
    return {"minReplica": minimum, "maxReplica": maximum, "scaleToZeroTimeout": idle}


def _budget(text: str) -> dict[str, Any]:
    from lanza.errors import UsageError

    number, slash, period = text.removeprefix("$").partition("/")
    try:
        amount = float(number)
    except ValueError:
        amount = 0.0
    if not 0 < amount < math.inf or (slash and period not in ("day", "month", "total")):
        raise UsageError(
            "--budget wants dollars, more than 0, and perhaps a period: 5, 2.5/day, 20/month, 50/total."
        )
    return {"amount": amount, "period": period or "month"}
