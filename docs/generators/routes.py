"""The routes that the server has, and which of them an address would reach."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from fastapi import APIRouter
from starlette.routing import compile_path

from lanza.endpoints import api as endpoints
from lanza.hub import pages
from lanza.server.app import ROUTERS, nothing

SAMPLES: Mapping[str, str] = {
    "repo_type": "model",
    "src_repo_type": "model",
    "api_prefix": "models",
    "url_prefix": "",
    "repo_id": "ana/becas",
    "src_repo_id": "ana/becas",
    "from_id": "ana/becas",
    "encoded_path_in_repo": "/data",
}
"""What stands for placeholders of the client's addresses; for all others, `x` does."""


_FIXED = frozenset({*SAMPLES.values(), "data", "x", "models", "datasets", "spaces", "datasets/", "spaces/"})


@dataclass(frozen=True, kw_only=True)
class Route:
    """`path` is the server's own, with the kinds of its parameters."""

    method: str
    path: str
    purpose: str

    @property
    def plain(self) -> str:
        """The path as people read it."""
        return re.sub(r"\{plural:prefix\}", "", re.sub(r"\{(\w+):(?!prefix)\w+\}", r"{\1}", self.path))

    def takes(self, method: str, template: str) -> bool:
        """Whether it answers this request of the client. No parameter may take what is fixed there."""
        if method != self.method:
            return False
        found = self._pattern.match(re.sub(r"\{(\w+)\}", lambda name: SAMPLES.get(name[1], "x"), template))
        return found is not None and all(
            value.removesuffix(".git") in _FIXED for value in found.groupdict().values()
        )

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return compile_path(self.path)[0]


def routes() -> list[Route]:
    """All in the server's order, without endpoints', pages for people and those that find nothing."""
    return [
        Route(method=method, path=path, purpose=inspect.cleandoc(endpoint.__doc__ or "").partition("\n\n")[0])
        for router in ROUTERS
        if router not in (pages.router, endpoints.router)
        for path, methods, endpoint in found_in(router, "")
        if endpoint is not nothing
        for method in sorted(methods)
    ]


def found_in(router: APIRouter, prefix: str) -> Iterator[tuple[str, set[str], object]]:
    """Path, methods and function of each route."""
    for route in router.routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from found_in(inner, prefix + route.include_context.prefix)
        else:
            yield prefix + route.path, route.methods, route.endpoint
