"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

LIMIT = 512  # tokens: longer texts are cut
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForSequenceClassification.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> list[list[dict[str, Any]]]:
        """{"inputs": text or list of texts, "parameters": {"top_k": 3}} -> for each, labels by score."""
        inputs = data["inputs"]
        top_k = (data.get("parameters") or {}).get("top_k")
        return [self.classify(text)[:top_k] for text in (inputs if isinstance(inputs, list) else [inputs])]

    def classify(self, text: str) -> list[dict[str, Any]]:
        tokens = self.tokenizer(text, truncation=True, max_length=LIMIT, return_tensors="pt").to(DEVICE)
        with torch.inference_mode():
            logits = self.model(**tokens).logits[0].float()
        independent = self.model.config.problem_type == "multi_label_classification" or len(logits) == 1
        scores = torch.sigmoid(logits) if independent else torch.softmax(logits, dim=-1)
        names = self.model.config.id2label
        labels = [{"label": names[i], "score": score} for i, score in enumerate(scores.tolist())]
        return sorted(labels, key=lambda label: -label["score"])
