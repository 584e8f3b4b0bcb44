"""The bare onnxruntime loop, with no HTTP: the most that this machine could give with this graph.

`Arrangement` says how the cores are shared: "wide" is one session that uses all of them for each batch;
"shared" is one session of one thread that as many callers use at once; "apart" is a session for each of them.
Texts come already cut into token ids: the loop does nothing but the forward pass, which is the strictest
measure for a server. With `whole`, the tokenizer and the pooling are in the loop too.

Run as a process of its own: JSON {folder, texts, runs} on stdin, a JSON line of figures for each run.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from contestants.encoder import OnnxEncoder, make_session

Arrangement = Literal["wide", "shared", "apart"]
ARRANGEMENTS: Final[Sequence[Arrangement]] = ("wide", "shared", "apart")
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
WARM_UP: Final = 5

Step = Callable[[int], object]


def steps(
    folder: Path, texts: Sequence[str], arrangement: Arrangement, batch: int, whole: bool
) -> list[Step]:
    """One function for each stream; each call of it runs one batch, the n-th in turn."""
    cores = len(os.sched_getaffinity(0))
    if arrangement == "wide":
        sessions = [make_session(folder, cores)]
    elif arrangement == "shared":
        sessions = [make_session(folder, 1)] * cores
    else:
        sessions = [make_session(folder, 1) for _ in range(cores)]
    batches = [
        [texts[(start + i) % len(texts)] for i in range(batch)] for start in range(0, len(texts), batch)
    ]
    return [_step(folder, session, batches, whole) for session in sessions]


def _step(folder: Path, session: Any, batches: list[list[str]], whole: bool) -> Step:
    encoder = OnnxEncoder(folder, session)
    if whole:
        return lambda turn: encoder.embed(batches[turn % len(batches)])
    ready = [encoder.feeds(batch) for batch in batches]
    return lambda turn: session.run(["last_hidden_state"], ready[turn % len(ready)])


def measure(streams: Sequence[Step], batch: int, seconds: float) -> Mapping[str, float]:
    """Run all streams at once for `seconds`: texts per second of all, latency of a batch in ms."""
    gate = threading.Barrier(len(streams))
    rates: list[float] = []
    latencies: list[float] = []

    def stream(step: Step) -> None:
        for turn in range(WARM_UP):
            step(turn)
        gate.wait()
        begun = last = time.perf_counter()
        mine: list[float] = []
        while last - begun < seconds:
            step(len(mine))
            now = time.perf_counter()
            mine.append(now - last)
            last = now
        rates.append(len(mine) * batch / (last - begun))
        latencies.extend(mine)

    threads = [threading.Thread(target=stream, args=(step,)) for step in streams]
    computed = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    computed = (time.process_time() - computed) / (len(latencies) + WARM_UP * len(streams)) / batch
    p50, p99 = np.percentile(latencies, [50, 99])
    return {"per_second": sum(rates), "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "cpu_ms": computed * 1e3}


def main() -> None:
    order = json.load(sys.stdin)
    for run in order["runs"]:
        streams = steps(Path(order["folder"]), order["texts"], run["arrangement"], run["batch"], run["whole"])
        print(json.dumps(measure(streams[: run["streams"]], run["batch"], run["seconds"])), flush=True)


if __name__ == "__main__":
    main()
