"""ABOUT"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

LIMIT = 512  # tokens of question and context together: longer contexts are read in windows
STRIDE = LIMIT // 4  # tokens that two windows share
LONGEST = 15  # tokens of an answer
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EndpointHandler:
    def __init__(self, path: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForQuestionAnswering.from_pretrained(path).eval().to(DEVICE)

    def __call__(self, data: dict[str, Any]) -> Any:
        """{"inputs": {"question", "context"} or a list of them} -> {"answer", "score", "start", "end"}."""
        inputs = data["inputs"]
        if isinstance(inputs, list):
            return [self.answer(**item) for item in inputs]
        return self.answer(**inputs)

    def answer(self, question: str, context: str) -> dict[str, Any]:
        windows = self.tokenizer(
            question,
            context,
            truncation="only_second",
            max_length=LIMIT,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        found = [self.best_span(windows, index) for index in range(len(windows["input_ids"]))]
        # scores are shares of all windows together, so one without the answer cannot look sure of itself
        starts, ends = (torch.cat([window[side] for window in found]) for side in ("starts", "ends"))
        total = torch.logsumexp(starts, 0) + torch.logsumexp(ends, 0)
        best = max(found, key=lambda window: float(window["score"]))
        start, end = best["span"]
        score = float(torch.exp(best["score"] - total))
        return {"answer": context[start:end], "score": score, "start": start, "end": end}

    def best_span(self, windows: Any, index: int) -> dict[str, Any]:
        names = [name for name in self.tokenizer.model_input_names if name in windows]
        tokens = {name: torch.tensor([windows[name][index]], device=DEVICE) for name in names}
        with torch.inference_mode():
            output = self.model(**tokens)
        inside = torch.tensor([which == 1 for which in windows.sequence_ids(index)])
        starts = output.start_logits[0].float().cpu()[inside]
        ends = output.end_logits[0].float().cpu()[inside]
        if not len(starts):
            raise ValueError("the context is empty, or the question leaves no room for it")
        sums = (starts[:, None] + ends[None, :]).triu()
        allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(LONGEST - 1)
        sums = sums.masked_fill(~allowed, -torch.inf)
        first, last = divmod(int(sums.argmax()), len(starts))
        offsets = [
            offset for offset, keep in zip(windows["offset_mapping"][index], inside, strict=True) if keep
        ]
        span = (offsets[first][0], offsets[last][1])
        return {"starts": starts, "ends": ends, "score": sums[first, last], "span": span}
