"""Is the export the same function as the original? Asked on several lengths and batches, never assumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch

from lanza.convert.export import Graph, example
from lanza.convert.report import Check
from lanza.errors import ConversionFailed

TOLERANCE: Final = 1e-3
"""The largest difference that is let through, relative to the largest output where that is above 1."""

SHAPES: Final = ((1, 2), (1, 7), (2, 16), (5, 33), (2, 128), (1, 384), (3, 512))
"""(texts, tokens): one text and several, shorter and longer than the example of the export."""


def shapes(limit: int | None) -> list[tuple[int, int]]:
    """The shapes to compare, all within the model's positions, its longest text among them."""
    longest = min(limit or 512, 1024)
    fitting = [(batch, tokens) for batch, tokens in SHAPES if tokens <= longest]
    return fitting if (3, longest) in fitting else [*fitting, (2, longest)]


def compare(graph: Graph, path: Path, *, limit: int | None, told: Callable[[Check], None]) -> list[Check]:
    """All checks of the export at `path`. ConversionFailed at the first one that differs too much."""
    session = _open(path, graph)
    checks = []
    for seed, (batch, tokens) in enumerate(shapes(limit)):
        inputs = example(graph, batch=batch, tokens=tokens, seed=seed + 1)
        worst = _difference(graph, session, inputs)
        checks.append(Check(batch=batch, tokens=tokens, difference=worst))
        told(checks[-1])
        if not worst <= TOLERANCE:
            raise ConversionFailed(
                f"its export differs by {worst:.2g} from the original at {batch} × {tokens} tokens"
            )
    return checks


def _open(path: Path, graph: Graph) -> Any:
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConversionFailed(f"its export cannot be loaded: {error}") from error
    found = {entry.name for entry in session.get_inputs()}
    if lost := set(graph.input_names) - found:
        raise ConversionFailed(f"its export lost the input {', '.join(sorted(lost))}")
    return session


def _difference(graph: Graph, session: Any, inputs: tuple[torch.Tensor, ...]) -> float:
    """The largest difference of any output at any token that is no padding; NaN counts as endless."""
    with torch.inference_mode():
        expected = [tensor.float().numpy() for tensor in graph(*inputs)]
    feeds = {name: tensor.numpy() for name, tensor in zip(graph.input_names, inputs, strict=True)}
    try:
        actual = session.run(list(graph.output_names), feeds)
    except Exception as error:
        raise ConversionFailed(f"its export fails at {tuple(inputs[0].shape)}: {error}") from error
    mask = feeds["attention_mask"].astype(bool)
    return max((_worst(a, b, mask) for a, b in zip(actual, expected, strict=True)), default=np.inf)


def _worst(actual: Any, expected: Any, mask: Any) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    if actual.ndim > 1 and actual.shape[:2] == mask.shape:
        actual, expected = actual[mask], expected[mask]
    scale = max(1.0, float(np.abs(expected).max()))
    worst = float(np.abs(actual - expected).max()) / scale
    return worst if np.isfinite(worst) else float("inf")
