"""The peer LitServe, tuned: dynamic batches, worker processes, and its answers encoded once by orjson.

Left to itself it would have FastAPI walk through every float of every answer: returning a `Response` spares
it that. Settings come as JSON in BENCH_SETTINGS, its folder in BENCH_FOLDER.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import litserve  # type: ignore[import-untyped]
import orjson
from fastapi import Response

from contestants.encoder import OnnxEncoder, make_session


class EncoderAPI(litserve.LitAPI):  # type: ignore[misc]
    """Called with one text when its batch size is 1, else with a list of them."""

    def setup(self, device: str) -> None:
        settings = json.loads(os.environ["BENCH_SETTINGS"])
        folder = Path(os.environ["BENCH_FOLDER"])
        self.encoder = OnnxEncoder(folder, make_session(folder, settings["threads"]))

    # LitServe looks at the annotation itself, and understands none that is written as a string.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        text: str = request["inputs"]
        return text

    def predict(self, inputs: Any) -> Any:
        return self.encoder.embed([inputs])[0] if isinstance(inputs, str) else self.encoder.embed(inputs)

    def encode_response(self, output: Any) -> Response:
        body = orjson.dumps(output, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content=body, media_type="application/json")


def main() -> None:
    settings = json.loads(os.environ["BENCH_SETTINGS"])
    api = EncoderAPI(max_batch_size=settings["max_batch_size"], batch_timeout=settings["batch_timeout"])
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=settings["workers_per_device"],
        fast_queue=settings["fast_queue"],
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        num_api_servers=settings["num_api_servers"],
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
