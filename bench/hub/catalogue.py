"""Records of many repositories, as a Hub might have them after years: drawn from a seed, written in bulk.

What is common and what is rare is as uneven as on a public Hub: few owners have much, most tags are on few
repositories and some on half of them. Everything is in the database and nothing in git, so that records name
no commit: lists ask no more, and the server finds nothing to repair when it starts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import insert, text

from lanza.auth.records import Account
from lanza.database import Database
from lanza.hub import postings
from lanza.hub.records import Repo, RepoTag

SEED: Final = 20
NOW: Final = datetime(2026, 11, 1, tzinfo=UTC)
BATCH: Final = 5000

ARCHITECTURES: Final = (
    "bert", "roberta", "llama", "qwen2", "mistral", "gpt2", "t5", "vit", "whisper", "gemma", "phi", "deberta",
    "longformer", "wav2vec2", "clip", "bart", "mpnet", "electra", "falcon", "swin",
)  # fmt: skip
SIZES: Final = ("base", "small", "large", "tiny", "7b", "8b", "1b", "0.5b", "13b", "70b", "3b", "mini")
PARAMETERS: Final = (110e6, 44e6, 335e6, 14e6, 7.2e9, 8e9, 1.1e9, 0.49e9, 13e9, 70e9, 3.2e9, 33e6)
ENDINGS: Final = (
    "finetuned", "instruct", "lora", "chat", "uncased", "v2", "test", "squad", "sst2", "ner", "gguf", "dpo",
    "becas", "legal", "clinical", "emotion", "summary", "multilingual", "distilled", "awq",
)  # fmt: skip
TASKS: Final = (
    "text-generation", "text-classification", "question-answering", "image-classification", "fill-mask",
    "automatic-speech-recognition", "token-classification", "feature-extraction", "summarization",
    "translation", "text-to-image", "sentence-similarity", "object-detection", "image-segmentation",
)  # fmt: skip
LANGUAGES: Final = (
    "en", "es", "zh", "fr", "de", "multilingual", "pt", "it", "ja", "ru", "ar", "ko", "nl", "pl", "tr", "sv",
    "hi", "vi", "id", "ca", "fa", "uk", "cs", "eu", "gl", "fi", "da", "he", "ro", "hu",
)  # fmt: skip
LIBRARIES: Final = {"transformers": 0.7, "safetensors": 0.6}
LICENSES: Final = ("apache-2.0", "mit", "cc-by-4.0", "other", "openrail", "llama3", "cc-by-nc-4.0", "gpl-3.0")

OLD: Final = "tensorflow-1"
"""A tag of what was last changed long ago: in the order of change, all of it comes last."""


class Uneven:
    """Draws from values of which the n-th is about n times as rare as the first."""

    def __init__(self, chance: random.Random, values: Any) -> None:
        self._chance = chance
        self._values = values
        self._weights = list(accumulate(1 / rank for rank in range(1, len(values) + 1)))

    def draw(self) -> Any:
        return self._chance.choices(self._values, cum_weights=self._weights)[0]


def fill(database: Database, count: int) -> None:
    """Write `count` repositories into a database whose schema is there."""
    chance = random.Random(SEED)
    owners = [f"owner{number}" for number in range(1, max(count // 50, 5))]
    with database.writing() as session:
        made = {"kind": "user", "full_name": "", "admin": False, "created_at": NOW}
        accounts = [{**made, "key": name, "name": name} for name in owners]
        adding = insert(Account).returning(Account.id, sort_by_parameter_order=True)
        numbers = dict(zip(owners, session.scalars(adding, accounts), strict=True))
        repos: list[dict[str, Any]] = []
        tags: list[dict[str, Any]] = []
        for repo, its_tags in _repositories(chance, owners, count):
            repos.append({**repo, "owner_id": numbers[repo["namespace"]]})
            tags += ({"repo_id": repo["id"], "tag": tag} for tag in its_tags)
            if len(repos) == BATCH or repo["id"] == count:
                session.execute(insert(Repo), repos)
                session.execute(insert(RepoTag), tags)
                repos, tags = [], []
        if database.engine.dialect.name == "postgresql":  # numbers were given here, not by the sequence
            session.execute(text("SELECT setval('repos_id_seq', :last)"), {"last": count})
        postings.rebuild(session)


def _repositories(
    chance: random.Random, owners: list[str], count: int
) -> Iterator[tuple[dict[str, Any], set[str]]]:
    drawn = {
        name: Uneven(chance, values)
        for name, values in {
            "owner": owners,
            "architecture": ARCHITECTURES,
            "ending": ENDINGS,
            "task": TASKS,
            "language": LANGUAGES,
            "license": LICENSES,
            "dataset": [f"dataset:corpus{number}" for number in range(max(count // 10, 10))],
        }.items()
    }
    for number in range(1, count + 1):
        yield _repository(chance, number, count, {name: it.draw() for name, it in drawn.items()})


def _repository(
    chance: random.Random, number: int, count: int, drawn: dict[str, Any]
) -> tuple[dict[str, Any], set[str]]:
    kind = "model" if chance.random() < 0.85 else "dataset"
    size = chance.randrange(len(SIZES))
    name = f"{drawn['architecture']}-{SIZES[size]}-{drawn['ending']}-{number:x}"
    created = NOW - timedelta(seconds=chance.random() * 1000 * 86400)
    updated = created + (NOW - created) * chance.random() ** 3
    tags = {drawn["language"], drawn["dataset"], f"license:{drawn['license']}", "region:us"}
    values: dict[str, Any] = {"parameters": None, "pipeline_tag": None, "library": None}
    if kind == "model":
        tags |= {drawn["architecture"], drawn["task"]}
        tags |= {tag for tag, share in LIBRARIES.items() if chance.random() < share}
        values |= {"pipeline_tag": drawn["task"], "library": "transformers"}
        if chance.random() < 0.7:
            values["parameters"] = int(PARAMETERS[size] * chance.uniform(0.98, 1.02))
    if (NOW - updated).days > 500:
        tags.add(OLD)
    prose = "x" * chance.randrange(1500)
    card = {"license": drawn["license"], "language": [drawn["language"]], "prose": prose}
    repo = {
        "id": number, "kind": kind, "key": f"{drawn['owner']}/{name}", "namespace": drawn["owner"],
        "name": name, "visibility": "private" if chance.random() < 0.1 else "public",
        "gated": "auto" if chance.random() < 0.03 else "", "settings": {},
        "created_at": created, "updated_at": updated, "head": None,
        "downloads": int(chance.paretovariate(0.7)), "likes": int(chance.paretovariate(1)) - 1,
        "stored_bytes": chance.randrange(10**9), "card": card, "facts": {"config": {"model_type": "x" * 300}},
        "findings": [], **values,
    }  # fmt: skip
    return repo, tags
