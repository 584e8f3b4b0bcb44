"""Writes a handler to start from, for the model that a folder holds.

The model held here: `starters/` has one handler for each kind of task, complete and working; what differs
from model to model (its limit of tokens, the task's name, the base that an adapter is put on) replaces a line
of it. The result is the user's to change, and knows nothing of Lanza.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lanza.errors import UsageError
from lanza.models.facts import ModelFacts, read_facts
from lanza.models.weights import read_header

HANDLER: Final = "handler.py"
_STARTERS: Final = Path(__file__).parent / "starters"
_BY_TASK: Final[Mapping[str | None, str]] = {
    "audio-classification": "audio_pipeline",
    "automatic-speech-recognition": "audio_pipeline",
    "document-question-answering": "any_pipeline",
    "feature-extraction": "feature_extraction",
    "fill-mask": "fill_mask",
    "image-classification": "image_classification",
    "image-segmentation": "image_pipeline",
    "image-to-text": "image_to_text",
    "object-detection": "image_pipeline",
    "question-answering": "question_answering",
    "sentence-similarity": "sentence_similarity",
    "summarization": "sequence_to_sequence",
    "table-question-answering": "any_pipeline",
    "text-classification": "text_classification",
    "text-generation": "text_generation",
    "token-classification": "token_classification",
    "translation": "sequence_to_sequence",
    "zero-shot-classification": "zero_shot_classification",
}
_KEYS: Final = {"summarization": "summary_text", "translation": "translation_text"}
_HEADS: Final = (".classifier.weight", ".score.weight", "classifier.out_proj.weight")
_LOAD: Final = re.compile(r"^( +)self\.model = (\w+)\.from_pretrained\(path\)(.*)$", re.MULTILINE)
_UNBOUNDED: Final = 100_000
"""A limit for models without a position table: some tokenizers take no number beyond 2**31."""


def init_handler(folder: Path, *, force: bool = False) -> Path:
    """Write `folder/handler.py` and give its path back. UsageError when there is one, unless `force`."""
    facts = read_facts(folder)
    target = folder / HANDLER
    if target.exists() and not force:
        raise UsageError(f"{target} exists already: give --force to write over it.")
    try:
        target.write_text(write_handler(facts), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror}): check its permissions.") from error
    return target


def write_handler(facts: ModelFacts) -> str:
    """The text of a handler for this model."""
    text = (_STARTERS / f"{starter_for(facts)}.py").read_text(encoding="utf-8")
    lines = {"LIMIT": facts.max_positions or facts.tokenizer_max_length or _UNBOUNDED, "TASK": facts.task}
    lines["KEY"] = _KEYS.get(facts.task or "", "generated_text")
    for name, value in lines.items():
        text = _set(text, name, value)
    text = text.replace('"""ABOUT"""', _docstring(facts), 1)
    return _on_base(text, facts) if facts.is_adapter else text


def starter_for(facts: ModelFacts) -> str:
    """The starter to use, by task; the model's own code where nothing is known of its task."""
    if facts.task == "text-generation" and facts.is_encoder_decoder:
        return "sequence_to_sequence"
    return _BY_TASK.get(facts.task, "unknown")


def _set(text: str, name: str, value: object) -> str:
    """The text with the constant `name` of its top set to `value`; unchanged where it has none."""
    line = f"{name} = {_quoted(value)}"
    return re.sub(rf"^{name} = [^ \n]+", lambda _: line, text, flags=re.MULTILINE)


def _docstring(facts: ModelFacts) -> str:
    named = facts.architecture if (facts.architecture or "").isidentifier() else "a model"
    kind = f"{facts.task} with {named}" if facts.task else "a model of your own"
    return (
        f'"""Serves this folder: {kind}.\n\n'
        "Lanza makes one EndpointHandler with the folder's path and calls it with the JSON of each request.\n"
        "Change what you like, and try it with `lanza serve`; packages that it needs beyond these go into\n"
        'requirements.txt.\n"""'
    )


def _on_base(text: str, facts: ModelFacts) -> str:
    """Load the base and put the adapter of the folder on it, where the starter loads the folder itself."""
    base, source, why = _base(facts)
    head = _classes(facts)
    arguments = f"{source}, num_labels={head}, ignore_mismatched_sizes=True" if head else source
    text = _LOAD.sub(
        rf"\1base = \2.from_pretrained(\n\1    {arguments}\n\1)"
        "\n"
        r"\1self.model = PeftModel.from_pretrained(base, path).merge_and_unload()\3",
        text,
    )
    if not facts.has_tokenizer:
        text = text.replace("Tokenizer.from_pretrained(path)", f"Tokenizer.from_pretrained({source})")
    if not facts.has_processor:
        text = text.replace("Processor.from_pretrained(path)", f"Processor.from_pretrained({source})")
    if "os.path" in source:
        text = text.replace("annotations\n\n", "annotations\n\nimport os\n", 1)
    text = text.replace("import torch\n", "import torch\nfrom peft import PeftModel\n", 1)
    return text.replace("\nDEVICE = ", f"\nBASE = {_quoted(base)}  # {why}\nDEVICE = ", 1)


def _base(facts: ModelFacts) -> tuple[str, str, str]:
    """What the base is called, how the handler finds it, and a remark."""
    if facts.base_path is None or facts.base_path.parent.name == "snapshots":
        # by its name: the path of a snapshot in the Hub's cache is this machine's only
        return facts.base_model or "", "BASE, local_files_only=True", "looked for in the Hub's cache"
    relative = os.path.relpath(facts.base_path, facts.path.resolve())
    return relative, "os.path.join(path, BASE)", "from this folder"


def _classes(facts: ModelFacts) -> int | None:
    """How many classes a classifier's adapter tells apart: its base may have another number."""
    if facts.task not in ("text-classification", "token-classification", "zero-shot-classification"):
        return None
    files = [facts.path / name for name in facts.weights if name.endswith(".safetensors")]
    tensors = [tensor for file in files for tensor in read_header(file).tensors]
    heads = [tensor.shape[0] for tensor in tensors if tensor.name.endswith(_HEADS) and len(tensor.shape) == 2]
    return heads[0] if heads else None


def _quoted(value: object) -> str:
    # a literal of JSON is one of Python, whatever a name found in the folder holds
    return json.dumps(value)
