"""Which token comes next: penalties, then temperature and cuts, then the draw.

Log-probabilities are the model's own, before any of that, so they mean the same whatever the settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from lanza.engines.base import Sampling


class Sampler:
    """Chooses the tokens of one generation. With a seed the same prompt gets the same answer."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._sampling = sampling
        self._cuts = _cuts(sampling)
        self._repetition = _repetition(sampling)
        self._counts: Counter[int] = Counter()
        self._random = torch.Generator(device)
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def choose(self, logits: Any, ids: Sequence[int]) -> tuple[int, float, list[tuple[int, float]]]:
        """The next token, its log-probability, and the likeliest ones with theirs.

        `logits` [vocabulary] of the next token; `ids` are those before it. When the likeliest are asked for
        and the token is not among them, it stands after them.
        """
        logits = logits.float()
        logprobs = torch.log_softmax(logits, dim=-1)
        token = self._draw(self._penalised(logits, ids))
        self._counts[token] += 1
        logprob = float(logprobs[token])
        return token, logprob, self._top(logprobs, token, logprob)

    def _penalised(self, logits: Any, ids: Sequence[int]) -> Any:
        scores = logits.unsqueeze(0)
        if self._repetition is not None:
            scores = self._repetition(torch.tensor([ids], device=scores.device), scores)
        frequency = self._sampling.frequency_penalty or 0.0
        presence = self._sampling.presence_penalty or 0.0
        if self._counts and (frequency or presence):
            scores = scores.clone()
            seen = torch.tensor(list(self._counts), device=scores.device)
            counts = torch.tensor(list(self._counts.values()), device=scores.device, dtype=scores.dtype)
            scores[0, seen] -= presence + frequency * counts
        return scores

    def _draw(self, scores: Any) -> int:
        if not self._sampling.temperature:
            return int(scores.argmax())
        for cut in self._cuts:
            scores = cut(None, scores)  # none of them looks at the ids
        return int(torch.multinomial(scores.softmax(-1)[0], 1, generator=self._random))

    def _top(self, logprobs: Any, token: int, logprob: float) -> list[tuple[int, float]]:
        if not self._sampling.top_logprobs:
            return []
        best = logprobs.topk(min(self._sampling.top_logprobs, len(logprobs)))
        top = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return top if any(i == token for i, _ in top) else [*top, (token, logprob)]


def _cuts(sampling: Sampling) -> list[Any]:
    """What makes the distribution narrower, in the usual order; nothing when the likeliest is taken."""
    from transformers import (
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
        TypicalLogitsWarper,
    )

    cuts: list[Any] = []
    if sampling.temperature and sampling.temperature != 1.0:
        cuts.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        cuts.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1.0:
        cuts.append(TopPLogitsWarper(sampling.top_p))
    if sampling.typical_p is not None and sampling.typical_p < 1.0:
        cuts.append(TypicalLogitsWarper(sampling.typical_p))
    return cuts


def _repetition(sampling: Sampling) -> Any:
    from transformers import RepetitionPenaltyLogitsProcessor

    penalty = sampling.repetition_penalty
    return None if penalty is None or penalty == 1.0 else RepetitionPenaltyLogitsProcessor(float(penalty))
