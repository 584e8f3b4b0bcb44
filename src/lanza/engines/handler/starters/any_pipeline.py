"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import pipeline

TASK = "table-question-answering"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.pipeline = pipeline(TASK, model=path)
        self.pipeline.model.eval()

    def __call__(self, data: dict[str, Any]) -> Any:
        """{"inputs": ..., "parameters": {...}} -> what the pipeline answers."""
        with torch.inference_mode():
            return self.pipeline(data["inputs"], **(data.get("parameters") or {}))
