"""Long runs against real processes: many clients, stops under load, memory over thousands of requests.

Short by default; `make soak` sets LANZA_SOAK=1 and gets the full counts. Every answer is compared with the
one that the same text got alone, so a mix-up between requests of one batch cannot hide.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

import tiny
from serving import Command, serve_command

FULL = os.environ.get("LANZA_SOAK") == "1"
REQUESTS = 20_000 if FULL else 3_000
MEMORY_REQUESTS = 20_000 if FULL else 5_000
STOPS = 20 if FULL else 3

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800 if FULL else 180)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("models") / "classes", labels=("malo", "regular", "bueno"))


async def ask(session: aiohttp.ClientSession, url: str, text: str) -> tuple[int, Any]:
    async with session.post(url, json={"inputs": text, "parameters": {"truncation": True}}) as answer:
        return answer.status, await answer.json()


def close(answer: Any, expected: Any) -> bool:
    """Scores of a text do not depend on its neighbours in the batch, but for the last digits."""
    (mine,), (theirs,) = answer, expected
    return all(
        a["label"] == b["label"] and abs(a["score"] - b["score"]) < 1e-4
        for a, b in zip(mine, theirs, strict=True)
    )


async def flood(url: str, texts: list[str], expected: list[Any], *, clients: int, requests: int) -> list[str]:
    """`requests` requests by `clients` at once; gives what was wrong."""
    wrong: list[str] = []
    numbers = iter(range(requests))
    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def client() -> None:
            for number in numbers:
                which = number % len(texts)
                status, answer = await ask(session, url, texts[which])
                if status != 200 or not close(answer, expected[which]):
                    wrong.append(f"{number}: {status} {answer}")

        await asyncio.gather(*(client() for _ in range(clients)))
    return wrong


async def alone(url: str, texts: list[str]) -> list[Any]:
    async with aiohttp.ClientSession() as session:
        return [(await ask(session, url, text))[1] for text in texts]


def test_64_clients_at_once_each_get_their_own_answer(classifier: Path, home: Path) -> None:
    random.seed(5)
    texts = [tiny.text(random.randint(1, 150), seed=i) for i in range(97)]
    with serve_command(classifier, home=home) as command:
        expected = asyncio.run(alone(command.url, texts))
        assert len({str(answer) for answer in expected}) > 80
        wrong = asyncio.run(flood(command.url, texts, expected, clients=64, requests=REQUESTS))
        assert wrong == []
        assert command.stop() == 0


def test_memory_stays_flat_over_mixed_lengths(classifier: Path, home: Path) -> None:
    random.seed(6)
    texts = [tiny.text(random.randint(1, 240), seed=i) for i in range(211)]
    with serve_command(classifier, home=home) as command:
        expected = asyncio.run(alone(command.url, texts))
        asyncio.run(flood(command.url, texts, expected, clients=16, requests=MEMORY_REQUESTS // 5))
        process = psutil.Process(command.process.pid)
        before = process.memory_info().rss
        asyncio.run(flood(command.url, texts, expected, clients=16, requests=MEMORY_REQUESTS))
        after = process.memory_info().rss
    grown = (after - before) / 2**20
    print(f"RSS {before / 2**20:.1f} MiB, after {MEMORY_REQUESTS} more requests {grown:+.1f} MiB")
    assert grown < 16


async def flood_until_stopped(command: Command, texts: list[str]) -> tuple[int, list[str]]:
    """Ask from 16 clients, send SIGTERM in the middle; gives answers counted and what was wrong."""
    answered = 0
    wrong: list[str] = []
    stopping = asyncio.Event()
    async with aiohttp.ClientSession() as session:

        async def client(number: int) -> None:
            nonlocal answered
            while True:
                try:
                    status, answer = await ask(session, command.url, texts[number])
                except aiohttp.ClientConnectionError:
                    # A connection is refused or closed once it stops; before, that is a lost request.
                    if not stopping.is_set():
                        wrong.append("connection lost before the stop")
                    return
                answered += 1
                if status != 200 and not (status == 503 and stopping.is_set()):
                    wrong.append(f"{status} {answer}")

        async def stop() -> None:
            while answered < 50:
                await asyncio.sleep(0.005)
            stopping.set()
            command.process.send_signal(signal.SIGTERM)

        await asyncio.gather(stop(), *(client(number) for number in range(16)))
    return answered, wrong


def test_stops_under_load_end_in_time_and_lose_nothing_before(classifier: Path, home: Path) -> None:
    texts = [tiny.text(10 + i, seed=i) for i in range(16)]
    for _ in range(STOPS):
        with serve_command(classifier, home=home) as command:
            answered, wrong = asyncio.run(flood_until_stopped(command, texts))
            assert wrong == []
            assert answered >= 50
            assert command.process.wait(40) == 0


def test_a_kill_leaves_nothing_behind(classifier: Path, home: Path) -> None:
    """After kill -9 the next start serves at once: no lock, no half-made conversion, no orphan."""
    for _ in range(STOPS):
        with serve_command(classifier, home=home) as command:
            children = psutil.Process(command.process.pid).children(recursive=True)
            command.process.kill()
            command.process.wait(20)
            assert not [child for child in children if child.is_running()]
    leftovers = [path.name for path in (home / "converted").iterdir() if "." in path.name]
    assert leftovers in ([], ["hashes.json"])
