"""What a folder that cannot be served may be instead, and what to do with it.

Each rule knows one kind of folder that people give by mistake, by the names in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lanza.models.facts import FolderKind, ModelFacts
from lanza.models.findings import Finding, error

_CHECKPOINT: Final = re.compile(r"(checkpoint-(\d+))/")
_OLD_WEIGHTS: Final = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "saved_model.pb")
_OTHER_APPS: Final = (
    ("cog.yaml", "a Cog predictor"),
    ("model_index.json", "a diffusers pipeline"),
    ("app.py", "an app, perhaps a Space"),
)


def suggest(facts: ModelFacts) -> Iterator[Finding]:
    """Findings that explain why there is nothing to serve; none where there is."""
    if facts.weights or facts.has_handler:
        return
    if not facts.files:
        yield error("empty_folder", "The folder is empty.", "Give the folder that save_pretrained wrote.")
    yield from _suggest_checkpoint(facts)
    yield from _suggest_other_format(facts)
    if facts.kind is FolderKind.UNKNOWN:
        yield from _suggest_other_app(facts)


def _suggest_checkpoint(facts: ModelFacts) -> Iterator[Finding]:
    found = {match[1]: int(match[2]) for file in facts.files if (match := _CHECKPOINT.match(file.path))}
    if found:
        last = max(found, key=lambda name: found[name])
        yield error(
            "checkpoints_only",
            f"The folder holds training checkpoints ({len(found)}), and no model of its own.",
            f"Point at the best of them, such as {last}, or save the model with trainer.save_model().",
            path=last,
        )


def _suggest_other_format(facts: ModelFacts) -> Iterator[Finding]:
    if old := next((name for name in _OLD_WEIGHTS if facts.has(name)), None):
        yield error(
            "other_framework",
            f"The only weights are TensorFlow's or Flax's ({old}), which transformers 5 does not load.",
            "Convert them to safetensors with transformers 4: from_pretrained(FOLDER, from_tf=True) or "
            "from_flax=True, then save_pretrained.",
            path=old,
        )
    if gguf := next((file.path for file in facts.files if file.path.endswith(".gguf")), None):
        yield error(
            "gguf",
            f"{gguf} is a GGUF model, which no engine here serves yet.",
            "Give the safetensors model that it was made from.",
            path=gguf,
        )
    others = [
        file.path for file in facts.files if file.path.endswith(".safetensors") and "/" not in file.path
    ]
    if others:
        yield error(
            "unnamed_weights",
            f"{others[0]} is not a name under which weights are looked for.",
            "Save with save_pretrained, which writes model.safetensors and its config.json.",
            path=others[0],
        )


def _suggest_other_app(facts: ModelFacts) -> Iterator[Finding]:
    for name, what in _OTHER_APPS:
        if facts.has(name):
            yield error(
                "other_app",
                f"With its {name}, the folder looks like {what}, which is not served as a model.",
                "Give a model folder, or wrap it in a handler.py: `lanza init handler`.",
                path=name,
            )
            return
