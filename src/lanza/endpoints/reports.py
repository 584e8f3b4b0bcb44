"""What was used and what it cost, for those who may know: sums of the `usage` table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import false, func, or_, select
from sqlalchemy.orm import Session

from lanza.database import now
from lanza.endpoints.records import Usage
from lanza.endpoints.usage import SUMS, Used, day_of


@dataclass(frozen=True, kw_only=True)
class Span:
    """The last `days`, today included, in UTC."""

    days: int = 30

    @property
    def first(self) -> str:
        return day_of(now() - timedelta(days=self.days - 1))


def of_endpoint(session: Session, endpoint: str, span: Span) -> list[Used]:
    """Each day and token of one endpoint (`namespace/name`); what replicas cost is nobody's."""
    rows = select(Usage).where(func.lower(Usage.endpoint) == endpoint.lower(), Usage.day >= span.first)
    found = session.scalars(rows.order_by(Usage.day, Usage.token))
    return [
        Used(endpoint=it.endpoint, day=it.day, token=it.token, **{name: getattr(it, name) for name in SUMS})
        for it in found
    ]


def summed(
    session: Session, namespaces: Sequence[str] | None, span: Span, *, endpoint: str | None, by: str
) -> list[dict[str, Any]]:
    """Sums by endpoint, day or token: of what is in `namespaces` (None: all), and called `endpoint` if given.

    Endpoints that are gone count too.
    """
    group = {"endpoint": Usage.endpoint, "day": Usage.day, "token": Usage.token}[by]
    sums = [func.sum(getattr(Usage, name)) for name in SUMS]
    wanted = select(group, *sums).where(Usage.day >= span.first)
    lower = func.lower(Usage.endpoint)
    if namespaces is not None:
        theirs = (lower.startswith(f"{it.lower()}/", autoescape=True) for it in namespaces)
        wanted = wanted.where(or_(false(), *theirs))
    if endpoint is not None:
        wanted = wanted.where(lower.endswith(f"/{endpoint.lower()}", autoescape=True))
    rows = session.execute(wanted.group_by(group).order_by(group))
    return [{by: row[0], **dict(zip(SUMS, map(_plain, row[1:]), strict=True))} for row in rows]


def _plain(total: Any) -> Any:
    """PostgreSQL adds whole numbers up to decimals."""
    return total if isinstance(total, float) else int(total)
