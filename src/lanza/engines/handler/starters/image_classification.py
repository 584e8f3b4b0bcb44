"""ABOUT"""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.processor = AutoImageProcessor.from_pretrained(path)
        self.model = AutoModelForImageClassification.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """An image sent as such, or {"inputs": base64, "parameters": {"top_k": 5}} -> labels by score."""
        pixels = self.processor(images=self.read(data["inputs"]), return_tensors="pt").to(DEVICE)
        with torch.inference_mode():
            scores = self.model(**pixels).logits[0].float().softmax(dim=-1).tolist()
        names = self.model.config.id2label
        labels = [{"label": names[i], "score": score} for i, score in enumerate(scores)]
        top_k = (data.get("parameters") or {}).get("top_k", 5)
        return sorted(labels, key=lambda label: -label["score"])[:top_k]

    def read(self, inputs: Any) -> Image.Image:
        if isinstance(inputs, str):
            inputs = base64.b64decode(inputs)
        if isinstance(inputs, bytes):
            inputs = Image.open(BytesIO(inputs))
        image: Image.Image = inputs.convert("RGB")
        return image
