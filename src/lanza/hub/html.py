"""Values into HTML: the templates, the policy that every page has, and how dates are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from lanza import __version__
from lanza.errors import LanzaError
from lanza.hub.names import Kind
from lanza.models.figures import amount, size

TEMPLATES: Final = Path(__file__).parent / "templates"
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load: nothing that runs, nothing from elsewhere."""


def page(template: str, **values: Any) -> Response:
    """A template, filled, as an answer. All values are escaped but those that it calls safe."""
    text = _environment().get_template(template).render(values)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "private, no-cache"}
    return Response(text, media_type="text/html; charset=utf-8", headers=headers)


def error_page(error: LanzaError) -> str:
    """The body of an answer that a person reads."""
    try:
        title = HTTPStatus(error.status).phrase
    except ValueError:
        title = "Error"
    values = {"status": error.status, "title": title, "message": error.message}
    return _environment().get_template("error.html").render(values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"amount": amount, "size": size, "day": day, "quoted": quote, "part": _part}
    made.globals |= {"version": __version__, "query_of": query_of, "kinds": tuple(Kind)}
    return made


def _part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")


def query_of(**values: Any) -> str:
    """A query with those of `values` that say something; a first page needs no number."""
    said: Mapping[str, Any] = {name: value for name, value in values.items() if value not in (None, "", 1)}
    return f"?{urlencode(said)}" if said else ""


def day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")
