"""The peer BentoML, tuned: adaptive batches, worker processes, no access log and no metrics.

Settings come as JSON in BENCH_SETTINGS, its folder in BENCH_FOLDER.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import bentoml
import numpy as np

from contestants.encoder import OnnxEncoder, make_session

SETTINGS = json.loads(os.environ["BENCH_SETTINGS"])


@bentoml.service(
    name="encoder",
    workers=SETTINGS["workers"],
    threads=SETTINGS["service_threads"],
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    traffic={"timeout": 60},
)
class Encoder:
    def __init__(self) -> None:
        folder = Path(os.environ["BENCH_FOLDER"])
        self.encoder = OnnxEncoder(folder, make_session(folder, SETTINGS["threads"]))

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict",
        batchable=SETTINGS["batchable"],
        max_batch_size=SETTINGS["max_batch_size"],
        max_latency_ms=SETTINGS["max_latency_ms"],
    )
    def predict(self, inputs: list[str]) -> np.ndarray:
        return self.encoder.embed(inputs)
