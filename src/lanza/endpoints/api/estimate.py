"""What an endpoint would cost, over HTTP: asked before it is deployed."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter

from lanza.auth.api.dependencies import json_body
from lanza.endpoints import wire
from lanza.endpoints.api.dependencies import CallerDep, ControlDep, RehearseDep
from lanza.endpoints.estimate import Expected
from lanza.errors import BadRequest

router: Final = APIRouter(prefix="/api/lanza")

UNNAMED: Final = "estimate"
"""The name that an endpoint has here which has none yet."""


class Question(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A spec's tree, whose name may be left out, or just a repository; and what is expected of it.

    `peak` is how many times more come at the busiest than on average.
    """

    endpoint: dict[str, Any] | None = None
    repository: str | None = None
    requests_per_day: float = 0.0
    seconds_each: float = 1.0
    peak: float = 3.0


@router.post("/estimate")
def estimate_endpoint(
    control: ControlDep,
    caller: CallerDep,
    rehearse: RehearseDep,
    question: Annotated[Question, json_body(Question)],
) -> dict[str, Any]:
    """What a month of an endpoint will cost (idle, expected, at worst), and the size and replicas for it."""
    expected = Expected(per_day=question.requests_per_day, seconds=question.seconds_each, peak=question.peak)
    return wire.forecast(control.forecast(caller, _tree(question), expected, rehearse=rehearse))


def _tree(question: Question) -> dict[str, Any]:
    if (question.endpoint is None) == (question.repository is None):
        raise BadRequest("send either `endpoint`, a spec's tree, or `repository`.")
    if question.endpoint is None:
        return {"name": UNNAMED, "model": {"repository": question.repository}}
    return {"name": UNNAMED, **question.endpoint}
