"""A spec's tree on the command line: what a file says, and what options say laid over it."""

from __future__ import annotations

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
        return dict(read_document(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error


def given_variables(option: str, given: list[str] | None, file: Path | None) -> dict[str, str]:
    from lanza.cli.endpoints.variables import pairs, read_file

    return {**(read_file(file) if file else {}), **pairs(option, given or [])}


def lay_over(
    tree: dict[str, Any],
    *,
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
    """Put what options say into a spec's tree. UsageError for what is no budget or no span of time."""
    from lanza.cli.duration import duration

    scaling = {"minReplica": minimum, "maxReplica": maximum, "scaleToZeroTimeout": idle}
    if minimum is not None and maximum is None and minimum > 1:
        scaling["maxReplica"] = minimum
    wanted: dict[str, Any] = {
        "type": access.value if access else None,
        "model": {"revision": revision, "task": task, "env": variables or None, "secrets": secrets or None},
        "compute": {"instanceSize": size, "scaling": scaling},
        "budget": _budget(budget) if budget else None,
        "expires": (datetime.now(UTC) + duration(expires, "--expires")).isoformat() if expires else None,
    }
    _overlay(tree, wanted)


def _overlay(tree: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """What is None was not said."""
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            inner = dict(tree.get(key) or {})
            _overlay(inner, value)
            if inner:
                tree[key] = inner
        elif value is not None:
            tree[key] = value


def _budget(text: str) -> dict[str, Any]:
    from lanza.errors import UsageError

    amount, _, period = text.removeprefix("$").partition("/")
    try:
        found = {"amount": float(amount), "period": period or "month"}
    except ValueError:
        found = {}
    if not found or found["period"] not in ("day", "month", "total"):
        raise UsageError("--budget wants dollars, and perhaps a period: 5, 2.5/day, 20/month, 50/total.")
    return found
