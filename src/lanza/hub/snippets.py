"""What to type to use a repository: a few lines for each client, with this server's address in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lanza.hub.names import Kind, RepoName

_PIPELINE_LIBRARIES: Final = (None, "transformers")
_CLASSES: Final = {
    "question-answering": "AutoModelForQuestionAnswering",
    "summarization": "AutoModelForSeq2SeqLM",
    "translation": "AutoModelForSeq2SeqLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
}
"""Tasks for which transformers 5 has no pipeline any more: what loads their models."""
_TASK: Final = re.compile(r"[a-z0-9-]+")  # a card may say anything, and people paste what they see


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """`title` names the client."""

    title: str
    text: str


def snippets(name: RepoName, origin: str, *, task: str | None, library: str | None) -> list[Snippet]:
    """How to use the repository, the likeliest way first. `origin` is the server's address."""
    option = "" if name.kind is Kind.MODEL else f" --repo-type {name.kind}"
    download = Snippet(
        title="hf",
        text=f"export HF_ENDPOINT={origin}\nhf download {name.id}{option}",
    )
    clone = Snippet(title="git", text=f"git clone {origin}/{name.path}")
    return [*_python(name, origin, task, library), download, clone]


def _python(name: RepoName, origin: str, task: str | None, library: str | None) -> list[Snippet]:
    setting = f'import os\n\nos.environ["HF_ENDPOINT"] = "{origin}"\n\n'
    if name.kind is Kind.DATASET:
        use = f'from datasets import load_dataset\n\ndata = load_dataset("{name.id}")'
        return [Snippet(title="datasets", text=setting + use)]
    if name.kind is Kind.SPACE:
        return []
    if library == "sentence-transformers":
        use = f'from sentence_transformers import SentenceTransformer as Model\n\nmodel = Model("{name.id}")'
        return [Snippet(title="sentence-transformers", text=setting + use)]
    if library in _PIPELINE_LIBRARIES and task is not None and _TASK.fullmatch(task):
        use = _transformers(name, task)
        return [Snippet(title="transformers", text=setting + use)]
    use = f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{name.id}")'
    return [Snippet(title="huggingface_hub", text=setting + use)]


def _transformers(name: RepoName, task: str) -> str:
    if loader := _CLASSES.get(task):
        return (
            f"from transformers import AutoTokenizer, {loader}\n\n"
            f'model = {loader}.from_pretrained("{name.id}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{name.id}")'
        )
    return f'from transformers import pipeline\n\nask = pipeline("{task}", model="{name.id}")'
