"""Replicas as they really are: kept connections, long bodies, and every way to die in the middle."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from wired import Serve, Wired, good, read_request, says

OK = b"HTTP/1.1 200 OK\r\n"
LONG = b"x" * (3 * 2**20)


def one(wired: Wired, *serving: Serve, tcp: bool = False, **asked: Any) -> Any:
    async def ask() -> Any:
        async with wired.listening(*serving, tcp=tcp):
            return await wired.call(**asked)

    return wired.run(ask())


@pytest.mark.parametrize("tcp", [False, True])
def test_connections_are_kept(wired: Wired, tcp: bool) -> None:
    async def several() -> list[Any]:
        async with wired.listening(good, tcp=tcp):
            return [await wired.call(body=b"%d" % number) for number in range(20)]

    assert [got.body for got in wired.run(several())] == [b"%d" % number for number in range(20)]
    assert wired.connections == [1]


@pytest.mark.parametrize(
    "bad",
    [
        says(b""),
        says(OK),
        says(OK + b"Content-Length: 10\r\n\r\nhalf"),
        says(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        says(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        says(OK + b"Content-Length: many\r\n\r\n"),
        says(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        says(OK + b"X: " + b"y" * 200_000),
        says(b"\x00\x01\x02 this is no HTTP\r\n\r\n"),
        says(b"SSH-2.0-OpenSSH_9.9\r\n"),
        says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
        says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_whatever_a_replica_does_instead_of_answering_another_answers(wired: Wired, bad: Serve) -> None:
    async def several() -> set[tuple[int, bytes]]:
        async with wired.listening(bad, good):
            calls = [await wired.call(body=b"hola") for _ in range(4)]
            return {(got.status, got.body) for got in calls}

    assert wired.run(several()) == {(200, b"hola")}
    assert wired.connections[0] >= 1


def test_a_replica_that_hangs_costs_its_deadline_and_no_more(wired: Wired) -> None:
    ended = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()
        ended.set()

    wired.endpoint("ana/slow", type="public", replicas=0, deadline=0.1)

    async def ask() -> Any:
        async with wired.listening(hang):
            wired.replica("ana/slow", address=f"unix:{wired.folder / 'r0'}")
            got = await wired.call("/endpoints/ana/slow")
            await ended.wait()
            return got

    assert wired.run(ask()).status == 504


def test_a_connection_that_was_closed_meanwhile_costs_nothing(wired: Wired) -> None:
    """The server closes after each answer without saying so, as one does that has had enough of waiting."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await reader.readexactly(1)  # the next request is taken and never answered

    async def several() -> list[int]:
        async with wired.listening(once):
            return [(await wired.call()).status for _ in range(5)]

    assert wired.run(several()) == [200] * 5


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"Content-Length: 2\r\n\r\nok", b"ok"),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok"),
        (b"Connection: close\r\n\r\nok", b"ok"),
        (b"\r\nok", b"ok"),  # up to the end of the connection
        (b"Content-Length: 2\r\n\r\nokand more that nobody asked for", b"ok"),
        (b"Content-Length: 0\r\n\r\n", b""),
    ],
)
def test_answers_of_every_framing(wired: Wired, answer: bytes, body: bytes) -> None:
    async def twice() -> list[Any]:
        async with wired.listening(says(OK + answer)):
            return [await wired.call() for _ in range(2)]

    for got in wired.run(twice()):
        assert (got.status, got.body, got.headers["content-length"]) == (200, body, str(len(body)))
        assert "transfer-encoding" not in got.headers


def test_what_precedes_an_answer_is_passed_over(wired: Wired) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    got = one(wired, says(early + early + OK + b"Content-Length: 2\r\n\r\nok"))
    assert (got.status, got.body) == (200, b"ok")
    assert "link" not in got.headers


def test_head_has_a_length_and_no_body(wired: Wired) -> None:
    async def twice() -> list[Any]:
        async with wired.listening(says(OK + b"Content-Length: 7\r\n\r\n"), good):
            return [await wired.call(method="HEAD", body=b"") for _ in range(2)]

    first = next(got for got in wired.run(twice()) if got.headers["content-length"] == "7")
    assert (first.status, first.body) == (200, b"")


# Long bodies and long answers


@pytest.mark.parametrize("declared", [True, False])
def test_a_long_body_is_passed_on_as_it_comes(wired: Wired, declared: bool) -> None:
    parts = [b"a" * 2**20, b"b" * 2**20, b"c"]
    headers = {"Content-Length": str(2**21 + 1)} if declared else {"Transfer-Encoding": "chunked"}
    got = one(wired, good, body=parts, headers=headers)
    assert got.status == 200
    assert got.body == b"".join(parts)


def test_a_long_body_goes_to_another_only_before_it_was_begun(wired: Wired) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    headers = {"Content-Length": str(2 * 2**20)}
    got = one(wired, refuse, body=[b"a" * 2**20, b"b" * 2**20], headers=headers)
    assert got.status == 503
    assert "is gone" in got.error


def test_a_replica_that_does_not_read_a_long_body_is_not_waited_for_for_ever(wired: Wired) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    wired.endpoint("ana/slow", type="public", replicas=0, deadline=0.1)
    headers = {"Content-Length": str(4 * len(LONG))}

    async def ask() -> Any:
        async with wired.listening(deaf):
            wired.replica("ana/slow", address=f"unix:{wired.folder / 'r0'}")
            return await wired.call("/endpoints/ana/slow", body=[LONG] * 4, headers=headers)

    got = wired.run(ask())
    assert got.status == 503
    assert "does not read" in got.error


@pytest.mark.parametrize("long", [True, False])
def test_a_client_that_announces_a_body_and_sends_none_is_told(wired: Wired, long: bool) -> None:
    wired.settings = replace(wired.settings, client_timeout=0.05)
    headers = {"Content-Length": str(2**22 if long else 100)}

    async def silent() -> Any:
        async with wired.listening(good):
            return await wired.call(body=[b"x", None], headers=headers)

    got = wired.run(silent())
    assert got.status == 400
    assert "nothing more of the body came" in got.error


def test_a_replica_that_has_seen_enough_of_a_long_body_may_say_so(wired: Wired) -> None:
    async def too_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(5)

    headers = {"Content-Length": str(len(LONG) + 1)}
    got = one(wired, too_large, body=[LONG, b"x"], headers=headers)
    assert (got.status, got.body) == (413, b"big")


@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
def test_a_long_answer_is_passed_on_in_parts(wired: Wired, framing: str) -> None:
    heads = {
        "length": b"Content-Length: %d\r\n\r\n" % len(LONG) + LONG,
        "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(LONG) + LONG + b"\r\n0\r\n\r\n",
        "end": b"\r\n" + LONG,
    }
    got = one(wired, says(OK + heads[framing]))
    assert got.body == LONG
    assert got.complete
    assert len(got.parts) > 2


def test_a_long_answer_that_stops_is_cut_so_that_nobody_takes_it_for_whole(wired: Wired) -> None:
    got = one(wired, says(OK + b"Content-Length: 9999999\r\n\r\n" + LONG), good)
    if got.status == 200 and got.headers["content-length"] == "9999999":
        assert not got.complete


def test_events_come_one_by_one_and_the_connection_is_kept(wired: Wired) -> None:
    seen = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"9\r\ndata: 1\n\n\r\n")
            await seen.wait()  # the second is not sent before the first has reached the client
            writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
            await writer.drain()

    async def twice() -> list[Any]:
        async with wired.listening(speak):
            wired.on_part = lambda part: seen.set() if part else None
            return [await wired.call() for _ in range(2)]

    for got in wired.run(twice()):
        assert got.parts == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert wired.connections == [1]


def test_a_client_that_reads_slowly_slows_the_replica_down(wired: Wired) -> None:
    """No more of an answer waits here than a bound: the replica's writes stop when the client's reads do."""
    sent = 0
    opened = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(OK + b"Content-Type: text/event-stream\r\n\r\n")
        for _ in range(640):
            writer.write(b"x" * 2**16)
            await writer.drain()
            sent += 2**16

    async def slow() -> int:
        async with wired.listening(pour):
            stopped = asyncio.Event()

            async def hold(part: bytes) -> None:
                stopped.set()
                await opened.wait()

            wired.on_part = hold
            call = asyncio.create_task(wired.call())
            await stopped.wait()
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.05)
            opened.set()
            await call
            return before

    assert wired.run(slow()) < 8 * 2**20
    assert sent == 640 * 2**16


def test_a_client_that_stops_reading_is_let_go(wired: Wired) -> None:
    wired.settings = replace(wired.settings, client_timeout=0.05)
    ended = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK + b"Content-Type: text/event-stream\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 2**16)
                await writer.drain()
        finally:
            ended.set()

    async def stuck() -> Any:
        async with wired.listening(pour):

            async def never(part: bytes) -> None:
                await asyncio.Event().wait()

            wired.on_part = never
            got = await wired.call()
            await ended.wait()
            return got

    assert not wired.run(stuck()).complete


def test_a_client_that_leaves_ends_the_work_of_the_replica(wired: Wired) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        began.set()
        await reader.read()
        ended.set()

    async def leave() -> None:
        async with wired.listening(work):
            gone = asyncio.Event()
            call = asyncio.create_task(wired.call(gone=gone))
            await began.wait()
            gone.set()
            await call
            await ended.wait()

    wired.run(leave())


def test_under_load_replicas_die_and_nobody_notices(wired: Wired) -> None:
    """Three servers, one of which is always being killed with all its connections: 300 answers, all right."""

    async def load() -> list[Any]:
        async with wired.listening(good, good, good) as servers:
            done = False

            async def kill() -> None:
                number = 0
                while not done:
                    servers[number].close()
                    wired.cut(number)
                    await asyncio.sleep(0.01)
                    servers[number] = await wired.again(number, good)
                    number = (number + 1) % 3
                    await asyncio.sleep(0.01)

            async def client(number: int) -> list[Any]:
                return [(await wired.call(body=b"%d" % number), number) for _ in range(10)]

            killing = asyncio.create_task(kill())
            answers = await asyncio.gather(*map(client, range(30)))
            done = True
            await killing
            return [pair for pairs in answers for pair in pairs]

    for got, number in wired.run(load()):
        assert (got.status, got.body) == (200, b"%d" % number)
