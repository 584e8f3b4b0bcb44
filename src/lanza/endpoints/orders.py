"""From what is kept of a revision to an order for a platform, and where model folders come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lanza.endpoints import store
from lanza.endpoints.platform import Order, Program
from lanza.endpoints.records import Endpoint, Revision
from lanza.endpoints.repositories import Base
from lanza.endpoints.spec import EndpointSpec


@dataclass(frozen=True, kw_only=True)
class Stock:
    """A folder with a repository's files at one commit, to be read only; an adapter's has its `base`."""

    folder: Path
    base: Base | None = None


class Pantry(Protocol):
    """Makes folders of repositories. They may be removed when nothing is started from them any more."""

    async def fetch(self, repo_id: int, commit: str, base: Base | None) -> Stock:
        """The folder, made now or before, with the base of an adapter; None is the base as it is now.

        Raises errors of the tree, with what to do about it.
        """
        ...


def order_for(
    endpoint: Endpoint, revision: Revision, spec: EndpointSpec, replica: str, folder: Path | None,
    secrets: Mapping[str, str],
) -> Order:  # fmt: skip
    """One more replica of a revision."""
    custom = spec.model.custom
    program = None
    if custom is not None:
        program = Program(words=spec.model.words, port=custom.port, health_route=custom.health_route)
    return Order(
        id=replica,
        endpoint=f"{endpoint.namespace}/{endpoint.name}",
        revision=revision.number,
        instance=store.instance_of(revision),
        folder=folder,
        task=spec.model.task,
        engine=spec.model.engine,
        program=program,
        environment={**spec.model.env, **secrets},
        secrets=frozenset(secrets),
        deadline=spec.deadline,
        start_timeout=spec.start_timeout,
    )
