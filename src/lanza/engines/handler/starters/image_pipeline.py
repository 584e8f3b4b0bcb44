"""ABOUT"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from transformers import pipeline

TASK = "object-detection"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.pipeline = pipeline(TASK, model=path)
        self.pipeline.model.eval()

    def __call__(self, data: dict[str, Any]) -> Any:
        """An image sent as such, or {"inputs": base64, "parameters": {...}} -> what was found in it."""
        with torch.inference_mode():
            return self.pipeline(self.read(data["inputs"]), **(data.get("parameters") or {}))

    def read(self, inputs: Any) -> Image.Image:
        if isinstance(inputs, str):
            inputs = base64.b64decode(inputs)
        if isinstance(inputs, bytes):
            inputs = Image.open(BytesIO(inputs))
        image: Image.Image = inputs.convert("RGB")
        return image
