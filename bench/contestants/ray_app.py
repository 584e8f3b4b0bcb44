"""The peer Ray Serve, tuned: replicas, dynamic batches, and its three ways from a socket to a replica.

    python ray_app.py encoder|handler

`ingress` is one of: `proxy`, which is Serve's default; `fast`, the same with what its documentation calls
throughput optimized; `haproxy`, HAProxy in front of the replicas, optimized too. No access log, no dashboard,
no reports of usage. Settings come as JSON in BENCH_SETTINGS, a folder for what Ray writes in BENCH_RAY, the
port in BENCH_PORT, the model's folder in BENCH_FOLDER.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from processes import free_port

SETTINGS: Final[dict[str, Any]] = json.loads(os.environ["BENCH_SETTINGS"])
CORES: Final = len(os.sched_getaffinity(0))
MIB: Final = 2**20
MANY: Final = 512
"""Requests that a replica may have at a time: more than there are clients, so that none waits elsewhere."""


def environment(folder: Path) -> dict[str, str]:
    """What Ray reads when it is imported, here and in all processes that it starts."""
    common = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(SETTINGS.get("haproxy_threads", 1)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }
    ways = {
        "proxy": {},
        "fast": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"},
        "haproxy": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"},
    }
    return common | ways[SETTINGS["ingress"]]


def encoder() -> Any:
    import orjson
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import Response

    class Encoder:
        def __init__(self) -> None:
            from contestants.encoder import OnnxEncoder, make_session

            folder = Path(os.environ["BENCH_FOLDER"])
            self.encoder = OnnxEncoder(folder, make_session(folder, SETTINGS["threads"]))

        def vectors(self, texts: list[str]) -> list[bytes]:
            return [orjson.dumps(it, option=orjson.OPT_SERIALIZE_NUMPY) for it in self.encoder.embed(texts)]

        @serve.batch(
            max_batch_size=SETTINGS["max_batch_size"], batch_wait_timeout_s=SETTINGS["batch_wait_timeout_s"]
        )
        async def answers(self, texts: list[str]) -> list[bytes]:
            if SETTINGS["own_thread"]:
                return await asyncio.to_thread(self.vectors, texts)
            return self.vectors(texts)

        async def __call__(self, request: Request) -> Response:
            text = orjson.loads(await request.body())["inputs"]
            return Response(await self.answers(text), media_type="application/json")

    return Encoder


def handler() -> Any:
    import orjson
    from starlette.requests import Request
    from starlette.responses import Response

    class Handler:
        async def __call__(self, request: Request) -> Response:
            text = orjson.loads(await request.body())["inputs"]
            return Response(orjson.dumps({"length": len(text)}), media_type="application/json")

    return Handler


def main() -> None:
    folder = Path(os.environ["BENCH_RAY"])
    os.environ |= environment(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    ray.init(
        num_cpus=CORES,
        object_store_memory=80 * MIB,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(folder),
    )
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=int(os.environ["BENCH_PORT"])), logging_config=quiet
    )
    made = {"encoder": encoder, "handler": handler}[sys.argv[1]]()
    deployment = serve.deployment(
        made,
        num_replicas=SETTINGS["replicas"],
        max_ongoing_requests=MANY,
        ray_actor_options={"num_cpus": CORES / SETTINGS["replicas"] / 2},
        logging_config=quiet,
    )
    serve.run(deployment.bind(), name="bench", route_prefix="/predict", logging_config=quiet)
    signal.pause()


if __name__ == "__main__":
    main()
