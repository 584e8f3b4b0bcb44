"""A PEFT adapter on its base: what it brings of its own, and putting it on.

The model held here: an adapter's file has small matrices that change the base's, and sometimes whole layers
(the head of a classifier) that replace the base's. Merged, the model is as fast as its base; a kind of
adapter that cannot be merged (prompts, for one) stays beside it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from lanza.engines.transformers.refusals import loading
from lanza.errors import MissingExtra, ModelError
from lanza.models.facts import ModelFacts
from lanza.models.pickles import require_clean
from lanza.models.weights import read_header

_PREFIX = "base_model.model."
_HEADS = ("classifier", "score", "classification_head.out_proj", "out_proj")


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """`brings` names the base's weights that the adapter replaces whole.

    `classes` is how many the head it brings tells apart, None when it brings none.
    """

    facts: ModelFacts
    brings: frozenset[str]
    classes: int | None


def read_adapter(facts: ModelFacts) -> Adapter:
    """What the adapter in this folder brings. ModelError when its file is damaged."""
    shapes = _shapes(facts)
    own = {name.removeprefix(_PREFIX): shape for name, shape in shapes.items()}
    return Adapter(facts=facts, brings=frozenset(own), classes=_classes(own))


def apply(adapter: Adapter, model: Any) -> Any:
    """`model` changed by the adapter, merged where possible."""
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise MissingExtra("Serving an adapter needs peft: pip install 'lanza[transformers]'.") from error
    facts = adapter.facts
    with loading(f"The adapter in {facts.path.name}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls what transformers means to rename
        adapted = PeftModel.from_pretrained(
            model, str(facts.path), torch_device="cpu", local_files_only=True, autocast_adapter_dtype=False
        )
        wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if absent := sorted(wanted - set(_shapes(facts))):
        raise ModelError(
            f"The adapter's file lacks {', '.join(absent[:3])}: save it again with save_pretrained(), "
            "or make adapter_config.json say what it was trained as."
        )
    if not hasattr(adapted.base_model, "merge_and_unload"):
        return adapted
    try:
        return adapted.merge_and_unload()
    except (NotImplementedError, ValueError):
        return adapted  # a kind that cannot be merged works beside its base, a little slower


def _shapes(facts: ModelFacts) -> dict[str, tuple[int, ...]]:
    if facts.weights_format == "pickle":
        require_clean(facts.path, facts.weights)
        with loading(f"The adapter in {facts.path.name}"):
            tensors = torch.load(facts.path / facts.weights[0], weights_only=True, map_location="meta")
            return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for name in facts.weights:
        header = read_header(facts.path / name)
        if header.problems:
            raise ModelError(f"{name} is damaged ({header.problems[0]}): copy it again.")
        shapes |= {tensor.name: tensor.shape for tensor in header.tensors}
    return shapes


def _classes(own: dict[str, tuple[int, ...]]) -> int | None:
    for head in _HEADS:
        shape = own.get(f"{head}.weight")
        if shape is not None and len(shape) == 2:
            return shape[0]
    return None
