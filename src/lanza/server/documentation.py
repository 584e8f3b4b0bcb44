"""`/openapi.json` and `/docs`: the server's routes, for programs and for people.

The model: FastAPI reads what the routes' signatures say; what it cannot see is added here. Bodies are msgspec
types, which a dependency reads. Parts of addresses that a dependency reads (a repository's name) are in the
template alone. The page is the document in HTML, and nothing on it comes from elsewhere or runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lanza.hub import html

router: Final = APIRouter(include_in_schema=False)

DESCRIPTION: Final = (
    "The API of the Hugging Face Hub, as its clients speak it, and what administers this server. Send a "
    "token as `Authorization: Bearer TOKEN`. Git's own protocol and pages for people are not listed."
)
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "What is wrong, and what to do next."}},
}
BEFORE_NAME: Final = "/{plural}{repo}"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
_PLURALS: Final = {"type": "string", "enum": ["models", "datasets", "spaces"]}
_KNOWN_PARTS: Final[Mapping[str, str]] = {
    "plural": "Which kind of repository.",
    "repo": "The repository: `namespace/name`. Outside of /api, `datasets/` or `spaces/` before it say that "
    "it is no model.",
    "rev": "A branch, a tag or a commit, its slashes quoted.",
}


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """What this server takes and answers, for programs."""
    return JSONResponse(request.app.openapi())


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> Response:
    """The same for people."""
    document = request.app.openapi()
    return html.page("docs.html", document=document, tags=_by_tag(document), shown=partial(_shown, document))


class Documented(FastAPI):
    """An application whose document says all that a client has to know."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            _complete_all(super().openapi(), self.routes)
        document: dict[str, Any] | None = self.openapi_schema
        assert document is not None
        return document


def _complete_all(document: dict[str, Any], routes: Iterable[Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = _ERROR
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"token": []}]
    bodies = dict(_bodies(routes))
    _, found = msgspec.json.schema_components(
        list(bodies.values()), ref_template="#/components/schemas/{name}"
    )
    schemas |= found
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, path, bodies.get((path, method.upper())))
    # Before a name stands nothing, `datasets/` or `spaces/`: one part for those who read this.
    document["paths"] = {path.replace(BEFORE_NAME, "/{repo}"): it for path, it in document["paths"].items()}


def _complete(operation: dict[str, Any], path: str, body: Any) -> None:
    """Add to an operation what FastAPI does not see of it."""
    said = operation.get("description", "").partition("\n\n")
    operation["summary"] = said[0].replace("\n", " ").rstrip(".") or operation["summary"]
    operation["description"] = said[2]
    parameters = operation.setdefault("parameters", [])
    declared = {one["name"] for one in parameters}
    for name in _IN_PATH.findall(path):
        if name not in declared and not (name == "plural" and path.startswith(BEFORE_NAME)):
            parameters.append(_part(name))
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "An error, which says what to do next",
        "headers": {"X-Error-Message": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _part(name: str) -> dict[str, Any]:
    schema = _PLURALS if name == "plural" else {"type": "string"}
    described = _KNOWN_PARTS.get(name)
    more = {"description": described} if described else {}
    return {"name": name, "in": "path", "required": True, "schema": schema, **more}


def _bodies(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[tuple[str, str], Any]]:
    """What routes read as their body, by path and method."""
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from _bodies(inner.routes, prefix + route.include_context.prefix)
        elif isinstance(route, APIRoute):
            reads = (getattr(one.call, "body", None) for one in route.dependant.dependencies)
            for read in filter(None, reads):
                yield from (((prefix + route.path_format, method), read) for method in route.methods or ())


def _shown(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A schema for people: the one that it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return json.dumps(document["components"]["schemas"].get(name, schema), indent=2)


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            row = {"method": method.upper(), "path": path, "requestBody": None, **operation}
            found.setdefault(operation["tags"][0], []).append(row)
    return found
