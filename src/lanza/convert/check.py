"""Is the export the same function as the original? Asked on several lengths and batches, never assumed.

And is a text's output its own? What serves pads texts to the length of their neighbours. Some models see
the padding in spite of their mask (convolutions, hashes, Fourier transforms), so a text by itself is compared
with the same text padded beside a longer one: by the original, before it is exported, and by the export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch

from lanza.convert.export import Graph, example
from lanza.convert.report import Check, one_line
from lanza.engines.graph import choose_outputs, has_tokens, read_inputs
from lanza.errors import ConversionFailed, ModelError

Run = Callable[[Mapping[str, Any]], list[Any]]
Told = Callable[[Check], None]

TOLERANCE: Final = 1e-3
"""The largest difference that is let through, relative to the largest output where that is above 1."""

SHAPES: Final = ((1, 2), (1, 7), (2, 16), (5, 33), (2, 128), (1, 384), (3, 512))
"""(texts, tokens): one text and several, shorter and longer than the example of the export."""

NEIGHBOURS: Final = ((3, 16), (7, 40), (20, 128))
"""(tokens, tokens): a text, and the longer one beside which it is padded."""


def shapes(limit: int | None) -> list[tuple[int, int]]:
    """The shapes to compare, all within the model's positions, its longest text among them."""
    longest = min(limit or 512, 1024)
    fitting = [(batch, tokens) for batch, tokens in SHAPES if tokens <= longest]
    return fitting if (3, longest) in fitting else [*fitting, (2, longest)]


def neighbours(limit: int | None) -> list[tuple[int, int]]:
    """The pairs of lengths to compare; none for a model that takes one token."""
    longest = limit or 512
    fitting = [(short, long) for short, long in NEIGHBOURS if long <= longest]
    return fitting or [(1, longest)] * (longest > 1)


def require_undisturbed(graph: Graph, *, limit: int | None) -> None:
    """ConversionFailed where padding changes what the original answers, so that batches would be wrong."""
    original = _original(graph)
    for seed, (short, long) in enumerate(neighbours(limit)):
        worst = _beside(graph, original, original, short, long, seed)
        if not worst <= TOLERANCE:
            raise ConversionFailed(
                f"padding changes what the model answers (by {worst:.2g} for {short} tokens beside {long}), "
                "so its texts run one by one"
            )


def compare(graph: Graph, path: Path, *, limit: int | None, told: Told) -> list[Check]:
    """All checks of the export at `path`. ConversionFailed at the first one that differs too much."""
    original, export = _original(graph), _export(graph, path)
    checks: list[Check] = []

    def note(check: Check, what: str) -> None:
        checks.append(check)
        told(check)
        if not check.difference <= TOLERANCE:
            raise ConversionFailed(
                f"its export differs by {check.difference:.2g} from the original at {what}"
            )

    for seed, (batch, tokens) in enumerate(shapes(limit)):
        worst = _together(graph, original, export, batch, tokens, seed + 1)
        note(Check(batch=batch, tokens=tokens, difference=worst), f"{batch} × {tokens} tokens")
    for seed, (short, long) in enumerate(neighbours(limit)):
        worst = max(_beside(graph, original, run, short, long, seed) for run in (export, _one_by_one(export)))
        note(
            Check(batch=2, tokens=long, alone=short, difference=worst),
            f"{short} tokens padded beside {long}",
        )
    return checks


def _original(graph: Graph) -> Run:
    def run(feeds: Mapping[str, Any]) -> list[Any]:
        with torch.inference_mode():
            try:
                outputs = graph(*(torch.from_numpy(feeds[name]) for name in graph.input_names))
            except Exception as error:
                raise ConversionFailed(f"the model fails at random tokens: {one_line(error, 200)}") from error
        return [tensor.float().numpy() for tensor in outputs]

    return run


def _export(graph: Graph, path: Path) -> Run:
    """What runs the graph at `path`. ConversionFailed when it cannot be loaded or is one for another task."""
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConversionFailed(f"its export cannot be loaded: {one_line(error, 200)}") from error
    try:
        types = read_inputs(session.get_inputs())
        outputs = choose_outputs(session.get_outputs(), graph.task)
    except ModelError as error:
        raise ConversionFailed(one_line(error)) from error
    if lost := set(graph.input_names) - set(types):
        raise ConversionFailed(f"its export lost the input {', '.join(sorted(lost))}")

    def run(feeds: Mapping[str, Any]) -> list[Any]:
        try:
            return list(session.run(list(outputs), {name: feeds[name].astype(types[name]) for name in types}))
        except Exception as error:
            shape = feeds["input_ids"].shape
            raise ConversionFailed(f"its export fails at {shape}: {one_line(error, 200)}") from error

    return run


def _one_by_one(run: Run) -> Run:
    """The same, but only for the last text and without its padding."""

    def alone(feeds: Mapping[str, Any]) -> list[Any]:
        length = int(feeds["attention_mask"][-1].sum())
        return run({name: array[-1:, :length] for name, array in feeds.items()})

    return alone


def _feeds(graph: Graph, **size: int) -> dict[str, Any]:
    """Inputs by name, with those that only an export from elsewhere may have."""
    feeds = {name: t.numpy() for name, t in zip(graph.input_names, example(graph, **size), strict=True)}
    ids = feeds["input_ids"]
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    return {"token_type_ids": np.zeros_like(ids), "position_ids": positions, **feeds}


def _together(graph: Graph, original: Run, export: Run, batch: int, tokens: int, seed: int) -> float:
    """The largest difference of any output at any token that is no padding."""
    feeds = _feeds(graph, batch=batch, tokens=tokens, seed=seed)
    mask = feeds["attention_mask"].astype(bool)
    pairs = zip(export(feeds), original(feeds), strict=True)
    return max(_worst(graph, a, b, mask) for a, b in pairs)


def _beside(graph: Graph, original: Run, run: Run, short: int, long: int, seed: int) -> float:
    """The largest difference between a text by itself and the last row of what `run` makes of a batch."""
    feeds = _feeds(graph, batch=2, tokens=long, short=short, seed=seed)
    expected = _one_by_one(original)(feeds)
    actual = [array[-1:] for array in run(feeds)]
    cut = [array[:, :short] if has_tokens(graph.task, array.ndim) else array for array in actual]
    mask = np.ones((1, short), dtype=bool)
    return max(_worst(graph, a, b, mask) for a, b in zip(cut, expected, strict=True))


def _worst(graph: Graph, actual: Any, expected: Any, mask: Any) -> float:
    """The largest difference where `mask` holds; endless for another shape or what is no number."""
    if actual.shape != expected.shape:
        return float("inf")
    if has_tokens(graph.task, actual.ndim):
        actual, expected = actual[mask], expected[mask]
    scale = max(1.0, float(np.abs(expected).max()))
    worst = float(np.abs(actual - expected).max()) / scale
    return worst if np.isfinite(worst) else float("inf")
