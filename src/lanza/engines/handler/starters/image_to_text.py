"""ABOUT"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.processor = AutoProcessor.from_pretrained(path)
        self.model = AutoModelForImageTextToText.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, str]]:
        """An image sent as such, or {"inputs": base64, "parameters": {...}} -> what is to be seen."""
        parameters = {"max_new_tokens": 50, **(data.get("parameters") or {})}
        pixels = self.processor(images=self.read(data["inputs"]), return_tensors="pt").to(DEVICE)
        with torch.inference_mode():
            made = self.model.generate(**pixels, **parameters)
        return [{"generated_text": self.processor.batch_decode(made, skip_special_tokens=True)[0]}]

    def read(self, inputs: Any) -> Image.Image:
        if isinstance(inputs, str):
            inputs = base64.b64decode(inputs)
        if isinstance(inputs, bytes):
            inputs = Image.open(BytesIO(inputs))
        image: Image.Image = inputs.convert("RGB")
        return image
