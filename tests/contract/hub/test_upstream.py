"""A hub behind a hub: the public one as a small server that behaves like it, then a second Lanza."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from hubs import Hub, User, hub
from lanza.errors import UpstreamUnavailable
from lanza.hub.upstream.upstream import AWAY_SECONDS, Upstream

COMMIT = "1" * 40


ANSWERS: dict[str, tuple[int, dict[str, str]]] = {
    "/gpt2/config.json": (307, {"Location": "/org/gpt2/config.json"}),
    "/org/gpt2/config.json": (200, {"X-Repo-Commit": COMMIT, "Set-Cookie": "session=1"}),
    "/weights": (
        302,
        {"Location": "https://cdn.hf.co/x?Signature=a%2Fb", "X-Linked-Size": "5", "X-Linked-Etag": '"abc"'},
    ),
    "/elsewhere": (302, {"Location": "http://169.254.169.254/latest/meta-data"}),
    "/round": (302, {"Location": "/round"}),
    "/busy": (429, {"Retry-After": "7"}),
}


class Public:
    """What the public Hub does that matters here. `seen` are the headers of all requests."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        status, headers = ANSWERS.get(request.path, (404, {}))
        return web.Response(status=status, headers=headers, text="{}")


@asynccontextmanager
async def served(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def asked(folder: Path, method: str, address: str, public: Public) -> tuple[int, dict[str, str], bytes, bool]:
    async def main() -> tuple[int, dict[str, str], bytes, bool]:
        async with served(public) as url:
            upstream = Upstream(url, cache=folder)
            try:
                for _ in range(2):
                    async with upstream.ask(method, address) as reply:
                        found = (reply.status, dict(reply.headers), await reply.read(99), reply.elsewhere)
                return found
            finally:
                await upstream.close()

    return asyncio.run(main())


def test_no_token_and_no_cookie_goes_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HF_TOKEN", "mine")
    public = Public()
    status, headers, body, _ = asked(tmp_path, "GET", "/gpt2/config.json", public)
    assert (status, body, headers["X-Repo-Commit"]) == (200, b"{}", COMMIT)
    assert len(public.seen) == 4
    for seen in public.seen:
        assert seen.keys() <= {"host", "user-agent", "accept", "accept-encoding"}


def test_what_lies_elsewhere_is_told_by_the_hub_itself(tmp_path: Path) -> None:
    status, headers, _, elsewhere = asked(tmp_path, "HEAD", "/weights", Public())
    assert (status, headers["X-Linked-Size"], elsewhere) == (200, "5", True)


@pytest.mark.parametrize("address", ["/elsewhere", "/round", "/busy"])
def test_it_is_followed_only_where_it_may_lead(tmp_path: Path, address: str) -> None:
    with pytest.raises(UpstreamUnavailable, match="cannot be asked") as refused:
        asked(tmp_path, "GET", address, Public())
    assert refused.value.retry_after == (7 if address == "/busy" else 1)


def test_a_hub_that_is_away_is_not_tried_again_for_a_moment(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    times = [0.0]
    upstream = Upstream(url, cache=tmp_path, clock=lambda: times[0])

    async def ask() -> str:
        try:
            async with upstream.ask("GET", "/x"):
                return ""
        except UpstreamUnavailable as error:
            return error.message
        finally:
            await upstream.close()

    assert "Connect" in asyncio.run(ask())
    assert "a moment ago" in asyncio.run(ask())
    times[0] = AWAY_SECONDS + 1
    assert "Connect" in asyncio.run(ask())


# A second Lanza


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("far") / "data", "--no-upstream") as running:
        yield running


@pytest.fixture(scope="module")
def near(far: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("near") / "data", "--upstream", far.url) as running:
        yield running


@pytest.fixture(scope="module")
def bea(far: Hub, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody who has a public model on the far hub."""
    user = far.user("bea")
    folder = tmp_path_factory.mktemp("modelo")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "pesos.bin").write_bytes(bytes(range(256)) * 50_000)
    user.api().create_repo("bea/becas")
    user.api().upload_folder(repo_id="bea/becas", folder_path=folder)
    user.api().create_repo("bea/secreto", private=True)
    return user


@pytest.fixture(scope="module")
def ana(near: Hub) -> User:
    return near.user("ana")


def test_an_unknown_model_is_read_through(ana: User, bea: User, tmp_path: Path) -> None:
    there = bea.api().model_info("bea/becas")
    assert ana.api().model_info("bea/becas").sha == there.sha
    done = snapshot_download("bea/becas", endpoint=ana.url, token=ana.token, cache_dir=tmp_path)
    assert Path(done).name == there.sha
    assert Path(done, "pesos.bin").read_bytes() == bytes(range(256)) * 50_000
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("bea/becas", "missing.json", endpoint=ana.url, token=ana.token, cache_dir=tmp_path)


def test_what_is_private_or_missing_there_is_missing_here(ana: User, bea: User) -> None:
    for name in ("bea/secreto", "bea/nothing", "ana/nothing"):
        with pytest.raises(RepositoryNotFoundError):
            ana.api().model_info(name)


def test_offline_what_was_read_is_still_there_and_the_rest_fails_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path / "far", "--no-upstream") as far:
        bea = far.user("bea")
        bea.api().create_repo("bea/becas")
        bea.api().upload_file(repo_id="bea/becas", path_in_repo="a.bin", path_or_fileobj=bytes(10_000))
        with hub(tmp_path / "near", "--upstream", far.url) as near:
            ana = near.user("ana")
            asking = {"endpoint": ana.url, "token": ana.token}
            hf_hub_download("bea/becas", "a.bin", cache_dir=tmp_path / "one", **asking)
            far.stop()
            again = hf_hub_download("bea/becas", "a.bin", cache_dir=tmp_path / "two", **asking)
            assert Path(again).read_bytes() == bytes(10_000)
            with pytest.raises(urllib.error.HTTPError) as refused:
                near.call("GET", "/api/models/bea/other")
            assert refused.value.code == 424
            said: Any = json.loads(refused.value.read())
            assert "cannot be asked" in said["error"]
            assert "--no-upstream" in said["error"]
            with pytest.raises(RepositoryNotFoundError):
                HfApi(**asking).model_info("ana/nothing")
            # a 503 would be repeated, for more than a minute
            monkeypatch.setattr("time.sleep", _no_sleep)
            with pytest.raises(LocalEntryNotFoundError):
                hf_hub_download("bea/other", "config.json", cache_dir=tmp_path / "three", **asking)


def _no_sleep(seconds: float) -> None:
    raise AssertionError(f"the client waits for {seconds} s, to ask again")
