"""A proxy and its authority, for as long as a shell is open, and the variables that lead clients to it."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lanza.cli.extras import needs
from lanza.cli.intercept.authority import Authority, make_authority
from lanza.cli.intercept.hosts import HOSTS
from lanza.cli.intercept.proxy import Proxy, Target

BUNDLES: Final = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
"""Where OpenSSL (and so httpx), requests, curl, Node and git look for what to trust."""


@contextmanager
def intercepting(url: str, outside: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """While this lasts, the hosts are answered for by the server at `url`. Gives the variables to set."""
    with tempfile.TemporaryDirectory(prefix="lanza-shell-") as folder:
        with needs("client"):
            authority = make_authority(Path(folder), tuple(HOSTS), trusted=_trusted(outside))
        password = secrets.token_urlsafe(24)
        outer = outside.get("HTTPS_PROXY") or outside.get("https_proxy")
        proxy = Proxy(target=Target(url=url), tls=authority.context(), password=password, outer=outer)
        with _running(proxy) as port:
            yield _variables(authority, f"http://lanza:{password}@127.0.0.1:{port}", outside)


@contextmanager
def _running(proxy: Proxy) -> Iterator[int]:
    """The proxy on an event loop of a thread of its own; gives its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lanza-intercept", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(proxy.start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _variables(authority: Authority, proxy: str, outside: Mapping[str, str]) -> dict[str, str]:
    near = [outside.get("NO_PROXY") or outside.get("no_proxy", ""), "127.0.0.1", "localhost", "::1"]
    no_proxy = ",".join(filter(None, near))
    found = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": no_proxy, "no_proxy": no_proxy}
    return found | dict.fromkeys(BUNDLES, str(authority.bundle))


def _trusted(outside: Mapping[str, str]) -> str:
    """What is trusted outside: the file that is named there, else the system's, else certifi's."""
    paths = ssl.get_default_verify_paths()
    named = (outside.get("SSL_CERT_FILE"), outside.get("REQUESTS_CA_BUNDLE"), paths.cafile, _certifi())
    for name in named:
        if name and Path(name).is_file():
            return Path(name).read_text(encoding="ascii", errors="ignore")
    return ""


def _certifi() -> str | None:
    try:
        import certifi
    except ModuleNotFoundError:
        return None
    return certifi.where()
