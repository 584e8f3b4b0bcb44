"""Handlers of each kind behind HTTP: answers, streams, files, errors, deaths, clients that leave."""

from __future__ import annotations

import json
import socket
import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

import tiny_media
from serving import served

Serve = Callable[[str], AbstractContextManager[str]]


@pytest.fixture
def serve(tmp_path: Path, home: Path) -> Serve:
    """Serve a handler, given its methods."""

    def start(methods: str, **limits: Any) -> AbstractContextManager[str]:
        folder = tmp_path / "model"
        folder.mkdir()
        head = "import os, asyncio\n\n\nclass EndpointHandler:\n"
        (folder / "handler.py").write_text(head + textwrap.indent(textwrap.dedent(methods), "    "))
        return served(folder, home=home, **limits)

    return start


SYNC = """
def __init__(self, path):
    self.path = path

def __call__(self, data):
    return [{"label": data["inputs"].upper(), "score": 1.0, "extra": data.get("parameters")}]
"""


def test_a_handler_answers_the_client(serve: Serve) -> None:
    with serve(SYNC) as url:
        answer = httpx.post(url, json={"inputs": "hola"})
        assert answer.json() == [{"label": "HOLA", "score": 1.0, "extra": None}]
        assert answer.headers["x-lanza-engine"] == "handler"
        asked = httpx.post(f"{url}/predict?top_k=3&name=x", json={"inputs": "hola"}).json()
        assert asked[0]["extra"] == {"top_k": 3, "name": "x"}


def test_bad_bodies_never_reach_it(serve: Serve) -> None:
    with serve(SYNC) as url:
        for body in (b"hola", b"[1]", b"{}", b'{"inputs": NaN}', b""):
            answer = httpx.post(url, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400, body
            assert answer.json()["error"]


def test_its_own_errors_reach_the_caller_without_a_trace(serve: Serve) -> None:
    with serve("def __init__(self, path): ...\ndef __call__(self, data): return data['nothing']") as url:
        answer = httpx.post(url, json={"inputs": "hola"})
        assert answer.status_code == 400
        assert "KeyError" in answer.json()["error"]
        assert "nothing" in answer.json()["error"]
        assert "/" not in answer.json()["error"].replace("'", "")
        assert "Traceback" not in answer.text


def test_its_death_is_a_503_and_then_it_is_back(serve: Serve) -> None:
    code = """
    def __init__(self, path): ...
    def __call__(self, data):
        if data["inputs"] == "die":
            os._exit(3)
        return os.getpid()
    """
    with serve(code) as url:
        before = httpx.post(url, json={"inputs": "hola"}).json()
        died = httpx.post(url, json={"inputs": "die"})
        assert died.status_code == 503
        assert int(died.headers["retry-after"]) >= 1
        after = httpx.post(url, json={"inputs": "hola"}, timeout=30)
        assert after.status_code == 200
        assert after.json() != before


def test_generators_are_streamed(serve: Serve) -> None:
    code = """
    def __init__(self, path): ...
    async def __call__(self, data):
        for word in data["inputs"].split():
            yield {"token": word}
        raise ValueError("no more words")
    """
    with serve(code) as url, httpx.stream("POST", url, json={"inputs": "uno dos"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[:2] == [{"token": "uno"}, {"token": "dos"}]
    assert "no more words" in events[2]["error"]


def test_a_stream_ends_when_its_client_leaves(serve: Serve, tmp_path: Path) -> None:
    code = f"""
    def __init__(self, path): ...
    async def __call__(self, data):
        try:
            while True:
                yield "x" * 1000
                await asyncio.sleep(0)
        finally:
            open({str(tmp_path / "closed")!r}, "w").close()
    """
    with serve(code) as url:
        with httpx.stream("POST", url, json={"inputs": "go"}) as answer:
            next(answer.iter_bytes())
        assert happens((tmp_path / "closed").exists)
        assert happens(lambda: httpx.get(f"{url}/health").json()["running"] == 0)


def test_a_call_is_cancelled_when_its_client_leaves(serve: Serve, tmp_path: Path) -> None:
    code = f"""
    def __init__(self, path): ...
    async def __call__(self, data):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            open({str(tmp_path / "cancelled")!r}, "w").close()
            raise
    """
    with serve(code) as url:
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
            body = b'{"inputs": "go"}'
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert happens(lambda: httpx.get(f"{url}/health").json()["running"] == 1)
        assert happens((tmp_path / "cancelled").exists)


def happens(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true in a while: what other processes do cannot be awaited."""
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def sizes() -> str:
    return """
    def __init__(self, path): ...
    def __call__(self, data):
        image = data["inputs"]
        size = [len(image)] if isinstance(image, bytes) else list(image.size)
        return {"kind": type(image).__name__, "size": size}
    """


def test_files_arrive_as_images_or_bytes(serve: Serve, sizes: str) -> None:
    png = tiny_media.encoded(tiny_media.picture(48, 40))
    with serve(sizes) as url:
        for headers in ({"content-type": "image/png"}, {}):
            assert httpx.post(url, content=png, headers=headers).json()["size"] == [48, 40]
        sound = tiny_media.recorded(tiny_media.sound(0.1))
        assert httpx.post(url, content=sound).json() == {"kind": "bytes", "size": [len(sound)]}
        broken = httpx.post(url, content=png[:100], headers={"content-type": "image/png"})
        assert broken.status_code == 400


def test_a_deadline_that_passes(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "handler.py").write_text(
        "import asyncio\n\n\nclass EndpointHandler:\n    def __init__(self, path): ...\n"
        "    async def __call__(self, data):\n        await asyncio.sleep(600)\n"
    )
    with served(folder, home=home, deadline=0.2) as url:
        answer = httpx.post(url, json={"inputs": "hola"})
    assert answer.status_code == 504


@pytest.mark.parametrize("kind", ["", "async "], ids=["in its thread", "on the event loop"])
def test_a_handler_that_never_comes_back_is_started_again(tmp_path: Path, home: Path, kind: str) -> None:
    folder = tmp_path / "stuck"
    folder.mkdir()
    (folder / "handler.py").write_text(
        "import time\n\n\nclass EndpointHandler:\n    def __init__(self, path): ...\n"
        f"    {kind}def __call__(self, data):\n"
        "        while data['inputs'] == 'forever':\n            time.sleep(0.01)\n"
        "        return data\n"
    )
    with served(folder, home=home, deadline=1) as url:
        assert httpx.post(url, json={"inputs": "hola"}).status_code == 200
        assert httpx.post(url, json={"inputs": "forever"}).status_code == 504
        until = time.monotonic() + 30
        while (answer := httpx.post(url, json={"inputs": "hola"})).status_code != 200:
            assert answer.status_code in (503, 504)
            assert time.monotonic() < until
