"""Markdown that anybody wrote, as HTML that is safe to show on a page of ours.

The model: Markdown and the HTML in it become HTML, of which only harmless elements and attributes are kept.
No script, style, form or frame survives; images are shown from the repository itself and from nowhere else,
so that reading a page tells no third party.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt

from lanza.hub.names import RepoName

LONGEST: Final = 2**18
"""Characters of a card that are shown: more than any card has that is meant to be read."""

_CUT: Final = "\n\n*The rest of this file is too long to be shown here.*\n"
_ATTRIBUTES: Final = {
    **{tag: {"align"} for tag in ("div", "p", "h1", "h2", "h3", "td", "th", "table")},
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height", "align"},
    "code": {"class"},
    "ol": {"start"},
}
_TAGS: Final = frozenset(
    """a b blockquote br center code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img kbd li ol p pre s
    samp small span strong sub summary sup table tbody td tfoot th thead tr ul var""".split()  # noqa: SIM905
)


def as_html(text: str, name: RepoName, revision: str) -> str:
    """`text` as HTML. Relative links lead into the repository `name` at `revision`."""
    shown = text if len(text) <= LONGEST else text[:LONGEST] + _CUT
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

    def rewrite(tag: str, attribute: str, value: str) -> str | None:
        if (tag, attribute) == ("img", "src"):
            return _inside(value, name, revision, "resolve")
        if (tag, attribute) == ("a", "href"):
            return _inside(value, name, revision, "blob") or value
        return value

    return nh3.clean(
        markdown.render(shown),
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        attribute_filter=rewrite,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
    )


def _inside(value: str, name: RepoName, revision: str, verb: str) -> str | None:
    """A relative address as one of the repository's files; None for any other address."""
    parts = urlsplit(value)
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    path = quote(unquote(parts.path.removeprefix("./")), safe="/")
    return f"/{name.path}/{verb}/{quote(revision, safe='')}/{path}"
