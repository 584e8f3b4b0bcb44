"""Export of a text encoder to ONNX by torch. Says nothing of whether the export is right: see `check`.

Traps that shape this module: an exporter drops an input that its example does not make matter (an all-ones
mask, one tensor given for two inputs), and the older exporter leaves a module in training mode that was not
wholly in eval mode. So the example has two texts of different length, and the wrapper is in eval mode too.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from lanza.convert.report import one_line
from lanza.engines.graph import has_tokens, ranks
from lanza.errors import ConversionFailed
from lanza.tasks import Task, find_task

EXTERNAL_BYTES: Final = 1_500_000_000
"""Weights above this go to a file beside the graph: a protobuf ends at 2 GiB."""


class Graph(torch.nn.Module):  # type: ignore[misc]
    """The model with positional inputs and a tuple of outputs: what an ONNX graph has."""

    def __init__(self, model: Any, inputs: Sequence[str], task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.input_names = tuple(inputs)
        self.output_names = task.outputs
        self.eval()

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.model(**dict(zip(self.input_names, tensors, strict=True)), return_dict=True)
        return tuple(getattr(output, name) for name in self.output_names)


def make_graph(model: Any, task: str, *, token_types: bool = True) -> Graph:
    """The graph of `model` for `task`: token types are an input only where there are several."""
    known = inspect.signature(model.forward).parameters
    inputs = ["input_ids", "attention_mask"]
    if token_types and "token_type_ids" in known and getattr(model.config, "type_vocab_size", 0) > 1:
        inputs.append("token_type_ids")
    model.set_attn_implementation("eager")
    return Graph(model, inputs, find_task(task))


def example(
    graph: Graph, *, batch: int, tokens: int, short: int | None = None, seed: int = 0
) -> tuple[torch.Tensor, ...]:
    """Inputs of shape [batch, tokens]: random ids, every other text padded after `short` tokens, or half."""
    generator = torch.Generator().manual_seed(seed)
    config = graph.model.config
    text = config.get_text_config()
    ids = torch.randint(0, text.vocab_size, (batch, tokens), generator=generator)
    mask = torch.ones_like(ids)
    mask[1::2, short or max(1, tokens // 2) :] = 0
    ids = torch.where(mask.bool(), ids, torch.full_like(ids, getattr(config, "pad_token_id", None) or 0))
    kinds = max(1, getattr(config, "type_vocab_size", 1) or 1)
    types = torch.randint(0, kinds, ids.shape, generator=generator) * mask
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return tuple(values[name] for name in graph.input_names)


def _dynamo(graph: Graph, target: Path) -> None:
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        graph,
        example(graph, batch=3, tokens=12),
        str(target),
        dynamo=True,
        input_names=list(graph.input_names),
        output_names=list(graph.output_names),
        dynamic_shapes=(tuple(dynamic for _ in graph.input_names),),
        external_data=_is_large(graph),
        verbose=False,
    )


def _torchscript(graph: Graph, target: Path) -> None:
    axes = {0: "batch", 1: "tokens"}
    answers = axes if has_tokens(graph.task, ranks(graph.task)[0]) else {0: "batch"}
    torch.onnx.export(
        graph,
        example(graph, batch=3, tokens=12),
        str(target),
        dynamo=False,
        input_names=list(graph.input_names),
        output_names=list(graph.output_names),
        dynamic_axes=dict.fromkeys(graph.input_names, axes) | dict.fromkeys(graph.output_names, answers),
        opset_version=17,
    )


def _is_large(graph: Graph) -> bool:
    size: int = sum(p.numel() * p.element_size() for p in graph.parameters())
    return size > EXTERNAL_BYTES


EXPORTERS: Final[Mapping[str, Callable[[Graph, Path], None]]] = {
    "dynamo": _dynamo,
    "torchscript": _torchscript,
}
"""In the order in which they are tried: the one that torch maintains first."""


def export(graph: Graph, target: Path, exporter: str) -> None:
    """Write `graph` to `target`. ConversionFailed when the exporter gives up, OSError for a full disk."""
    for name in ("torch.onnx", "torch.export", "onnxscript", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            EXPORTERS[exporter](graph, target)
        except (OSError, MemoryError):
            raise  # this machine's trouble of today: no refusal of this model
        except Exception as error:
            raise ConversionFailed(
                f"the {exporter} exporter gave up: {type(error).__name__}: {one_line(error, 120)}"
            ) from error
