"""How repositories, revisions and files stand in URLs, and the links that lead from one page of a list on.

Clients quote a branch or a path as one part of the URL (`refs%2Fpr%2F1`), so the server hands such slashes
down as `SLASH`, and the convertors here turn them back where a parameter may hold them. Importing this module
makes the convertors known to Starlette, for patterns like these:

    /api/{plural:kind}/{repo:repo}/tree/{rev:rev}/{path:file}
    /{plural:prefix}{repo:repo}/resolve/{rev:rev}/{path:file}

`plural` becomes a `Kind`, the others become text with plain slashes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request

from lanza.errors import BadRequest
from lanza.hub.names import Kind

T = TypeVar("T")

SLASH: Final = "\x1f"
"""A slash that was quoted in the URL. No path may hold this character (`names.check_path`)."""


def plain(value: str) -> str:
    """A route's parameter as the client meant it."""
    return value.replace(SLASH, "/")


class KindConvertor(Convertor[Kind]):
    """`models`, `datasets` or `spaces`."""

    regex = "|".join(kind.plural for kind in Kind)

    def convert(self, value: str) -> Kind:
        return Kind(value.removesuffix("s"))

    def to_string(self, value: Kind) -> str:
        return value.plural


class PrefixConvertor(Convertor[Kind]):
    """What stands before an id outside of `/api`: nothing for models, `datasets/` and `spaces/` else."""

    regex = "(?:" + "|".join(kind.prefix for kind in Kind if kind.prefix) + ")?"

    def convert(self, value: str) -> Kind:
        return Kind(value.removesuffix("s/")) if value else Kind.MODEL

    def to_string(self, value: Kind) -> str:
        return value.prefix


class PartConvertor(Convertor[str]):
    """One part of the URL, its quoted slashes turned back: a revision."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return plain(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="/")


class RepoConvertor(PartConvertor):
    """A repository's id, with its namespace or, as few of the public Hub are, without."""

    regex = "[^/]+(?:/[^/]+)?"


class FileConvertor(PartConvertor):
    """A path of one part or more."""

    regex = ".+"


register_url_convertor("kind", KindConvertor())
register_url_convertor("prefix", PrefixConvertor())
register_url_convertor("repo", RepoConvertor())
register_url_convertor("rev", PartConvertor())
register_url_convertor("file", FileConvertor())


def server_of(request: Request) -> str:
    """`http://host:port`, as the client wrote it: absolute URLs in answers begin with it."""
    return f"{request.url.scheme}://{request.url.netloc}"


def next_page(request: Request, cursor: Any) -> Mapping[str, str]:
    """The headers that send the client on to the next page: the same URL, with a `cursor`.

    `cursor` is any JSON; `cursor_of` gives it back when the client comes for that page.
    """
    packed = base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()
    asked = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = urlencode([*((name, value) for name, value in asked if name != "cursor"), ("cursor", packed)])
    path = (request.scope.get("raw_path") or quote(request.scope["path"]).encode()).decode("ascii")
    return {"Link": f'<{server_of(request)}{path}?{query}>; rel="next"'}


def cursor_of(packed: str | None, kind: type[T]) -> T | None:
    """What `next_page` packed; None on the first page. BadRequest for what it did not."""
    if packed is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise BadRequest(
            "this cursor is none of ours: follow the Link header of the page before, as it stands."
        ) from None
