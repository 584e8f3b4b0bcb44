"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

LIMIT = 512  # tokens: longer texts are cut
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForMaskedLM.from_pretrained(path).eval().to(DEVICE)
        cut = {"truncation": True, "max_length": LIMIT}
        self.pipeline = pipeline(
            "fill-mask", model=self.model, tokenizer=self.tokenizer, tokenizer_kwargs=cut
        )

    def __call__(self, data: dict[str, Any]) -> Any:
        """{"inputs": text with a mask token, "parameters": {"top_k": 5}} -> what could stand there."""
        with torch.inference_mode():
            return self.pipeline(data["inputs"], **(data.get("parameters") or {}))
