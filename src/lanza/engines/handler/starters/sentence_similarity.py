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
        """{"inputs": {"source_sentence", "sentences"}} -> how like the source each sentence is, -1 to 1.

        {"inputs": text or list of texts} -> one vector for each.
        """
        inputs = data["inputs"]
        if not isinstance(inputs, dict):
            return torch.stack(
                [self.vector(text) for text in (inputs if isinstance(inputs, list) else [inputs])]
            )
        source = self.vector(inputs["source_sentence"])
        return [float(source @ self.vector(sentence)) for sentence in inputs["sentences"]]

    def vector(self, text: str) -> Any:
        """The mean of the tokens' vectors, of length 1. Use what your model was trained with, if not this."""
        tokens = self.tokenizer(text, truncation=True, max_length=LIMIT, return_tensors="pt").to(DEVICE)
        with torch.inference_mode():
            mean = self.model(**tokens).last_hidden_state[0].float().mean(dim=0)
        return torch.nn.functional.normalize(mean, dim=0)
