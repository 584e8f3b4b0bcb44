"""Contestants as processes, each in a session of its own, asked until it answers right, always stopped."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from contestants import Contestant, Settings, Stand, for_stand
from processes import ServerFailed, cpu_seconds, free_port, last_words, listens, stop
from subject import LEAST_COSINE, Subject, cosine, original

POLL: Final = 0.005
"""Seconds between two looks at a server that is starting: what a cold start may be wrong by."""

PATIENCE: Final = 120.0
TOGETHER: Final = 32


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that has given a right answer. `cold_start` is seconds from its start to that answer."""

    contestant: Contestant
    pid: int
    port: int
    log: Path
    cold_start: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.contestant.path}"

    def cpu_seconds(self) -> float:
        """What it and its workers have computed so far."""
        return cpu_seconds(self.pid)


@contextmanager
def serving(
    contestant: Contestant, subject: Subject, settings: Settings, work: Path, *, tokens: int
) -> Iterator[Running]:
    """Start `contestant`, wait for its first right answer, stop it at the end whatever happens."""
    folder = subject.folder if contestant.wants == "graph" else original()
    stand = Stand(folder=folder, port=free_port(), settings=settings)
    log = work / f"{contestant.name}.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            contestant.command(stand),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=for_stand(stand, work),
            start_new_session=True,
        )
        try:
            _first_answer(process, contestant, stand.port, subject, tokens, log)
            seconds = time.perf_counter() - started
            yield Running(
                contestant=contestant, pid=process.pid, port=stand.port, log=log, cold_start=seconds
            )
        finally:
            stop(process)


def _first_answer(
    process: subprocess.Popen[bytes],
    contestant: Contestant,
    port: int,
    subject: Subject,
    tokens: int,
    log: Path,
) -> None:
    body = contestant.body(subject.texts[tokens][0])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerFailed(f"{contestant.title} ended with {process.returncode}: {last_words(log)}")
        if listens(port):
            status, answer = ask(port, contestant.path, body)
            if status == 200:
                check(contestant, answer, subject, tokens, 0)
                return
            if 400 <= status < 500 and status not in (404, 429):
                raise ServerFailed(f"{contestant.title} answered {status}: {answer[:300]!r}")
        time.sleep(POLL)
    raise ServerFailed(f"{contestant.title} gave no answer in {PATIENCE:g} s: {last_words(log)}")


def ask(port: int, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body; status 0 when the connection broke, as it does while servers start."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def check(contestant: Contestant, answer: bytes, subject: Subject, tokens: int, number: int) -> None:
    """ServerFailed unless `answer` is the vector of text `number`."""
    graph = contestant.wants == "graph"
    expected = (subject.vectors if graph else subject.exact)[tokens][number]
    least = subject.least_cosine if graph else LEAST_COSINE["fp32"]
    try:
        vector = np.ravel(np.array(json.loads(answer), dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise ServerFailed(f"{contestant.title} answered no vector: {answer[:300]!r}") from error
    if vector.shape != expected.shape:
        raise ServerFailed(f"{contestant.title} answered {vector.shape}, not {expected.shape}")
    if (near := cosine(vector, expected)) < least:
        raise ServerFailed(f"{contestant.title} answered wrongly: its vector's cosine is {near:.5f}")


def check_all(running: Running, subject: Subject, tokens: int, *, together: int = TOGETHER) -> None:
    """Ask every text, many at once: batching must not mix answers up, nor make an error of one of them."""
    contestant = running.contestant

    def one(number: int) -> None:
        body = contestant.body(subject.texts[tokens][number])
        status, answer = ask(running.port, contestant.path, body)
        if status != 200:
            raise ServerFailed(f"{contestant.title} answered {status}: {answer[:300]!r}")
        check(contestant, answer, subject, tokens, number)

    with ThreadPoolExecutor(together) as pool:
        list(pool.map(one, range(len(subject.texts[tokens]))))
