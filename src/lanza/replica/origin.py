"""Who may call from a browser: pages of this very address, and no others.

A replica on a loopback address is protected by being out of reach, and a browser on the same machine is a way
to reach it: a page from anywhere may post to 127.0.0.1, and a name of its own may be made to point there.
Browsers say where a request comes from; what is no browser says nothing and is let through.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from lanza.errors import Forbidden
from lanza.replica.http import Exchange


def cross_site(exchange: Exchange, hosts: Sequence[str] | None) -> Forbidden | None:
    """Why a browser's request is refused; None when it is not, or comes from no browser.

    `hosts` are the names that the page's address may have; None leaves that to others.
    """
    site, origin = exchange.header(b"sec-fetch-site"), exchange.header(b"origin")
    if not site and not origin:
        return None
    address = exchange.header(b"host")
    # A link from elsewhere to a page of ours is followed by GET, which changes nothing.
    asks = exchange.scope["method"] not in ("GET", "HEAD")
    if asks and (site == "cross-site" or (not site and urlsplit(origin).netloc != address)):
        return Forbidden(f"this page ({origin or 'of another site'}) may not call {address} from a browser.")
    name = urlsplit(f"//{address}").hostname or ""
    if hosts is not None and name not in hosts:
        return Forbidden(f"browsers may not call this replica as {name}: serve it with --allow-host {name}.")
    return None
