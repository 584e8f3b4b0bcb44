"""The real clients, through the gateway behind the real HTTP server, to a replica of a few lines."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from databases import new_database
from lanza.endpoints.records import Usage
from lanza.writes import Protocol
from wired import Wired, read_request

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def _chunk(delta: dict[str, Any], **more: Any) -> bytes:
    part = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}
    part.setdefault("choices", [{"index": 0, "delta": delta, "finish_reason": None}])
    return b"data: " + json.dumps(part).encode() + b"\n\n"


async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Embeddings at the root, chat below /v1, a stream that breaks, and a count of what is sent to /count."""
    while True:
        head, body = await read_request(reader)
        path = head.split(b" ")[1]
        if path == b"/count":
            answer = b"%d" % len(body)
        elif path == b"/broken":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
            await writer.drain()
            return
        elif path == b"/v1/chat/completions" and json.loads(body).get("stream"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for part in (_chunk({"content": "ho"}), _chunk({"content": "la"})):
                writer.write(part)
                await writer.drain()
            writer.write(_chunk({}, choices=[], usage=USAGE) + b"data: [DONE]\n\n")
            await writer.drain()
            return
        elif path == b"/v1/chat/completions":
            message = {"role": "assistant", "content": "hola"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
            answer = json.dumps({**whole, "choices": [choice], "usage": USAGE}).encode()
        else:
            answer = b"[[0.5, 0.25]]"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
        await writer.drain()


@contextmanager
def served(wired: Wired) -> Iterator[str]:
    """The gateway on a port, in a thread."""
    started, urls = threading.Event(), []
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        async with wired.listening(speak):
            config = uvicorn.Config(
                wired.gateway,
                port=0,
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
            )
            servers.append(server := uvicorn.Server(config))
            running = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.005)
            urls.append(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
            started.set()
            await running

    thread = threading.Thread(target=wired.run, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield urls[0]
    finally:
        servers[0].should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Wired]:
    database = new_database(tmp_path)
    wired = Wired(database=database, sockets=True, folder=tmp_path, run=asyncio.run)
    wired.endpoint(replicas=0)
    yield wired
    database.close()


def test_the_inference_client(world: Wired) -> None:
    token = world.user("ana")
    with served(world) as url:
        for model in (f"{url}/endpoints/ana/becas", f"{url}/models/ana/becas"):
            client = InferenceClient(model=model, token=token)
            assert client.feature_extraction("hola").tolist() == [[0.5, 0.25]]
        with pytest.raises(HfHubHTTPError) as refused:
            InferenceClient(model=f"{url}/endpoints/ana/becas").feature_extraction("hola")
    assert refused.value.response.status_code == 401


def test_openais_client(world: Wired) -> None:
    token = world.user("ana")
    said: Any = [{"role": "user", "content": "di hola"}]
    with served(world) as url:
        for base in (f"{url}/v1", f"{url}/endpoints/ana/becas/v1"):
            with openai.OpenAI(base_url=base, api_key=token, max_retries=0) as client:
                whole = client.chat.completions.create(model="ana/becas", messages=said)
                assert whole.choices[0].message.content == "hola"
                stream = client.chat.completions.create(model="ana/becas", messages=said, stream=True)
                parts = [part.choices[0].delta.content for part in stream if part.choices]
                assert parts == ["ho", "la"]
        with openai.OpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["ana/becas"]
            with pytest.raises(openai.NotFoundError, match="ana/becas"):
                client.chat.completions.create(model="gpt-4o", messages=said)
        wrong = "lz_" + "x" * 40
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key=wrong, max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(model="ana/becas", messages=said)
    with world.database.reading() as session:
        row = session.query(Usage).one()
        assert (row.requests, row.tokens_in, row.tokens_out) == (4, 12, 8)


def test_bodies_of_all_lengths_reach_the_replica_and_connections_live_on(world: Wired) -> None:
    headers = {"Authorization": f"Bearer {world.user('ana')}"}
    with served(world) as url, httpx.Client(base_url=f"{url}/endpoints/ana/becas", headers=headers) as client:
        for size in (0, 1, 2**16, 2**20, 2**20 + 1, 5 * 2**20):
            assert client.post("/count", content=b"x" * size).text == str(size)
            parts = (b"x" * 1000 for _ in range(size // 1000))
            assert client.post("/count", content=parts).text == str(size // 1000 * 1000)
        expecting = client.post("/count", content=b"x" * 100, headers={"Expect": "100-continue"})
        assert expecting.text == "100"
        assert client.head("/").status_code == 200
        refused = client.post("/count", content=b"x" * 2**21, headers={"Authorization": "Bearer wrong"})
        assert refused.status_code == 401
        assert client.post("/count", content=b"xy").text == "2"


def test_a_stream_that_breaks_is_seen_to_break(world: Wired) -> None:
    headers = {"Authorization": f"Bearer {world.user('ana')}"}
    seen: list[bytes] = []

    def read(answer: httpx.Response) -> None:
        for part in answer.iter_raw():
            seen.append(part)

    with (
        served(world) as url,
        httpx.Client(headers=headers) as client,
        client.stream("GET", f"{url}/endpoints/ana/becas/broken") as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        read(answer)
    assert b"".join(seen).startswith(b"data: 1\n\n")
    assert b"ended in the middle of its answer" in b"".join(seen)
