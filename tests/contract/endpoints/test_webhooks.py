"""Webhooks against a real small server: what arrives, what is tried again, where nothing is sent."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from urllib.error import HTTPError

import pytest
from aiohttp import web

from hubs import Hub, User
from lanza.endpoints import webhooks
from lanza.endpoints.notices import Event, Notice
from lanza.endpoints.webhooks import PAUSES, Webhooks, secret_of, signature

KEY = b"k" * 32
HERE = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


@dataclass
class Receiver:
    """Answers with `statuses` in turn, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append(({name.lower(): it for name, it in request.headers.items()}, await request.read()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


Use = Callable[[int, Webhooks], Awaitable[None]]


def with_receiver(receiver: Receiver, use: Use, **options: Any) -> None:
    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        given = {"allowed": HERE, "sleep": receiver.sleep, "clock": lambda: 1_700_000_000.5, **options}
        hooks = Webhooks(KEY, **given)
        try:
            await use(port, hooks)
            while hooks._tasks:
                await asyncio.gather(*hooks._tasks)
        finally:
            await hooks.close()
            await runner.cleanup()

    asyncio.run(run())


def notice(port: int, host: str = "127.0.0.1", **more: Any) -> Notice:
    url = f"http://{host}:{port}/hook"
    return Notice(**{"event": Event.FAILED, "endpoint": "ana/becas", "message": "no", "webhook": url, **more})


def deliver(
    receiver: Receiver, *, host: str = "127.0.0.1", told: dict[str, Any] | None = None, **more: Any
) -> None:
    async def use(port: int, hooks: Webhooks) -> None:
        hooks.send(notice(port, host, **(told or {})))

    with_receiver(receiver, use, **more)


def test_what_arrives_is_signed() -> None:
    receiver = Receiver()
    deliver(receiver)
    [(headers, body)] = receiver.got
    assert json.loads(body) == {
        "id": headers["x-lanza-delivery"],
        "event": "endpoint.failed",
        "endpoint": "ana/becas",
        "at": "2023-11-14T22:13:20+00:00",
        "message": "no",
        "details": {},
    }
    assert headers["x-lanza-timestamp"] == "1700000000"
    expected = signature(secret_of(KEY, "ana/becas"), headers["x-lanza-timestamp"], body)
    assert headers["x-lanza-signature"] == expected
    assert headers["content-type"] == "application/json"
    assert receiver.slept == []


def test_a_name_is_resolved_and_its_address_checked() -> None:
    receiver = Receiver()
    deliver(receiver, host="localhost")
    assert len(receiver.got) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_nothing_is_sent_to_internal_addresses(host: str, caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    with caplog.at_level(logging.WARNING, logger="lanza.endpoints"):
        deliver(receiver, host=host, allowed=())
    assert receiver.got == []
    assert receiver.slept == []
    assert "internal address" in caplog.text or "is no address" in caplog.text


def test_it_is_tried_again_until_it_is_taken() -> None:
    receiver = Receiver(statuses=[500, 429, 200])
    deliver(receiver)
    assert len(receiver.got) == 3
    assert receiver.slept == [1.0, 5.0]
    assert len({headers["x-lanza-delivery"] for headers, _ in receiver.got}) == 1


def test_it_is_given_up_after_the_last_try(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver(statuses=[503])
    with caplog.at_level(logging.WARNING, logger="lanza.endpoints"):
        deliver(receiver)
    assert len(receiver.got) == 1 + len(PAUSES)
    assert receiver.slept == list(PAUSES)
    assert "it answered 503" in caplog.text


@pytest.mark.parametrize("status", [302, 307, 400, 401, 404, 410])
def test_a_refusal_is_final_and_no_redirect_followed(status: int) -> None:
    receiver = Receiver(statuses=[status])
    deliver(receiver)
    assert len(receiver.got) == 1


def test_nobody_there_is_tried_again() -> None:
    receiver = Receiver()

    async def use(_: int, hooks: Webhooks) -> None:
        hooks.send(notice(9))

    with_receiver(receiver, use)
    assert receiver.slept == list(PAUSES)


def test_secrets_do_not_leave() -> None:
    receiver = Receiver()
    told = {
        "message": "it ended: token lz_abcdefghijklmnopqrstuvwxyz0123456789ABCD is wrong",
        "details": {"env": {"KEY": "s3cr3t"}, "password": "s3cr3t"},
    }
    deliver(receiver, told=told)
    [(headers, body)] = receiver.got
    assert b"lz_abc" not in body
    assert b"s3cr3t" not in body
    assert secret_of(KEY, "ana/becas") not in str(headers)


def test_what_is_under_way_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhooks, "MOST", 3)
    receiver = Receiver()

    async def use(port: int, hooks: Webhooks) -> None:
        for _ in range(10):
            hooks.send(notice(port))
        hooks.send(notice(port, webhook=None))

    with_receiver(receiver, use)
    assert len(receiver.got) == 3
    assert caplog.text.count("was dropped") == 7


@pytest.mark.parametrize("url", ["http://", "http://[::", "http://a b/", "http://x:99999/"])
def test_an_address_that_is_none_harms_nobody(url: str) -> None:
    receiver = Receiver()

    async def use(_: int, hooks: Webhooks) -> None:
        hooks.send(notice(0, webhook=url))

    with_receiver(receiver, use)
    assert receiver.got == []


def test_the_secret_is_told_to_who_may_manage_it(
    server: Hub, ana: User, deploy: Callable[..., Any], new_user: Callable[[], User]
) -> None:
    deploy("avisos", secrets={"KEY": "s3cr3t"})
    path = f"/api/lanza/endpoints/{ana.name}/avisos/webhook"
    told = server.call("GET", path)
    assert told["url"] is None
    assert told["secret"].startswith("whsec_")
    with pytest.raises(HTTPError) as caught:
        server.call("GET", path, token=new_user().token)
    assert caught.value.code == 403
    caught.value.close()


def test_what_is_done_to_endpoints_is_in_the_audit_log(
    server: Hub, ana: User, deploy: Callable[..., Any]
) -> None:
    endpoint = deploy("diario", secrets={"KEY": "s3cr3t"})
    endpoint.update(max_replica=2)
    endpoint.pause()
    endpoint.resume()
    endpoint.delete()
    found = server.call("GET", f"/api/lanza/audit?target={ana.name}/diario", token=ana.token)
    assert [it["what"].partition(".")[2] for it in found["items"]] == [
        "remove", "resume", "pause", "update", "create",
    ]  # fmt: skip
    assert {it["who"] for it in found["items"]} == {ana.name}
    assert "s3cr3t" not in json.dumps(found)
    assert "KEY" in json.dumps(found)
