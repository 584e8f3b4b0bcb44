"""From zero to an answer: an endpoint, whose model the server has converted, is asked while it sleeps."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from huggingface_hub.utils import get_session

from gateway.ways import WAYS, Running
from gateway.works import Work, body, weights
from processes import ServerFailed
from progress import say
from servers import ask

PATIENCE: Final = 60.0
REST: Final = 2.0
"""Seconds after the replica has gone, so that its end is not in what is measured."""


def wake(times: int) -> list[float]:
    """Seconds from a request's coming, while the endpoint is at zero, to its answer."""
    work = weights()
    with (
        tempfile.TemporaryDirectory(prefix="lanza-bench-") as name,
        WAYS["gateway"].open(work, Path(name), {}) as running,
    ):
        found = [_woken(running, work) for _ in range(times)]
    say(f"woken from zero within {', '.join(f'{seconds:.2f}' for seconds in found)} s")
    return found


def _woken(running: Running, work: Work) -> float:
    owner, endpoint = running.path.strip("/").split("/")[1:]
    url = f"http://127.0.0.1:{running.port}/v2/endpoint/{owner}/{endpoint}"
    _call("POST", f"{url}/scale-to-zero", running)
    deadline = time.monotonic() + PATIENCE
    while _call("GET", url, running)["status"]["state"] != "scaledToZero":
        if time.monotonic() > deadline:
            raise ServerFailed("it did not go to zero")
        time.sleep(0.1)
    time.sleep(REST)
    begun = time.perf_counter()
    status, answer = ask(running.port, running.path, body(work.inputs[0]), running.headers)
    seconds = time.perf_counter() - begun
    if status != 200:
        raise ServerFailed(f"it was not woken: {status} {answer[:300]!r}")
    return seconds


def _call(method: str, url: str, running: Running) -> Any:
    answer = get_session().request(method, url, headers=dict(running.headers))
    if answer.is_error:
        raise ServerFailed(f"{method} {url}: {answer.status_code} {answer.text}")
    return answer.json()
