"""The peer BentoML with a handler that does next to nothing: what the server itself costs.

Settings come as JSON in BENCH_SETTINGS.
"""

from __future__ import annotations

import json
import os

import bentoml

SETTINGS = json.loads(os.environ["BENCH_SETTINGS"])


@bentoml.service(
    name="handler",
    workers=SETTINGS["workers"],
    threads=SETTINGS["service_threads"],
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    traffic={"timeout": 60},
)
class Handler:
    # On the event loop: BentoML would run a plain function on a thread of a pool, which costs more than this.
    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    async def predict(self, inputs: str) -> dict[str, int]:
        return {"length": len(inputs)}
