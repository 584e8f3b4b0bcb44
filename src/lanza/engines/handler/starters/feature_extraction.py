"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer

LIMIT = 512  # tokens: longer texts are cut
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModel.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> Any:
        """{"inputs": text or list of texts} -> for each, a vector for each of its tokens."""
        inputs = data["inputs"]
        return [self.vectors(text) for text in (inputs if isinstance(inputs, list) else [inputs])]

    def vectors(self, text: str) -> Any:
        tokens = self.tokenizer(text, truncation=True, max_length=LIMIT, return_tensors="pt").to(DEVICE)
        with torch.inference_mode():
            return self.model(**tokens).last_hidden_state[0].float()
