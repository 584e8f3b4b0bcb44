"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

LIMIT = 512  # tokens: longer texts are read in windows
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.tokenizer.model_max_length = LIMIT
        self.model = AutoModelForTokenClassification.from_pretrained(path).eval().to(DEVICE)
        self.pipeline = pipeline(
            "token-classification", model=self.model, tokenizer=self.tokenizer, stride=LIMIT // 4
        )

    def __call__(self, data: dict[str, Any]) -> Any:
        """{"inputs": text or list of texts} -> the entities of each, with their characters."""
        parameters = {"aggregation_strategy": "simple", **(data.get("parameters") or {})}
        with torch.inference_mode():
            return self.pipeline(data["inputs"], **parameters)
