"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

LIMIT = 512  # tokens: longer texts are cut
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.tokenizer.model_max_length = LIMIT
        self.model = AutoModelForSequenceClassification.from_pretrained(path).eval().to(DEVICE)
        self.pipeline = pipeline("zero-shot-classification", model=self.model, tokenizer=self.tokenizer)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """{"inputs": text, "parameters": {"candidate_labels": [...]}} -> these labels by score."""
        with torch.inference_mode():
            found = self.pipeline(data["inputs"], **data["parameters"])
        return [
            {"label": label, "score": score}
            for label, score in zip(found["labels"], found["scores"], strict=True)
        ]
