"""The files of a revision that say what a repository is, read once: card, configurations, headers of weights.

Every file here was written by somebody else. One that is missing, too long or broken counts as empty; of
weights only the headers are read. What follows from all that is decided in `facts.py`.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lanza.hub.blobs import BlobStore
from lanza.hub.cards import CARD, Card, read_card
from lanza.hub.documents import json_object
from lanza.hub.git import GitRepo
from lanza.hub.objects import Commit, Entry
from lanza.models.weights import is_possible

MOST_CARD: Final = 2 * 2**20
MOST_DOCUMENT: Final = 8 * 2**20
MOST_INDEX: Final = 32 * 2**20
MOST_HEADERS: Final = 64 * 2**20
"""Bytes of safetensors headers that are read of one revision."""

MOST_SHARDS: Final = 1024
WEIGHTS: Final = "model.safetensors"
WEIGHTS_INDEX: Final = "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`names` are the files at the root; a folder there ends with a slash. `parameters` counts by dtype."""

    names: frozenset[str] = frozenset()
    card: Card = field(default_factory=Card)
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)


def gather(git: GitRepo, blobs: BlobStore, commit: Commit) -> Evidence:
    """What the files at the root of a revision say. Raises for nothing that is in them."""
    return _Reader(git, blobs, commit).evidence()


class _Reader:
    """Reads files at the root of one revision, wherever they are kept."""

    def __init__(self, git: GitRepo, blobs: BlobStore, commit: Commit) -> None:
        self._git = git
        self._blobs = blobs
        self._entries = {entry.path: entry for entry in git.entries(commit, recursive=False)}
        self._header_bytes = MOST_HEADERS

    def evidence(self) -> Evidence:
        entries = self._entries.values()
        return Evidence(
            names=frozenset(it.path if it.kind == "file" else f"{it.path}/" for it in entries),
            card=read_card(self._content(CARD, MOST_CARD) or b""),
            config=self._document("config.json"),
            tokenizer=self._document("tokenizer_config.json"),
            adapter=self._document("adapter_config.json"),
            pipeline=self._document("model_index.json"),
            parameters=self._parameters(),
        )

    def _document(self, name: str, most: int = MOST_DOCUMENT) -> Mapping[str, Any]:
        return json_object(self._content(name, most))

    def _content(self, name: str, most: int) -> bytes | None:
        """All of a file; None when there is none, or it is longer than `most`."""
        entry = self._entries.get(name)
        size = _size(entry)
        return self._part(entry, 0, size) if entry and size is not None and size <= most else None

    def _part(self, entry: Entry, start: int, end: int) -> bytes | None:
        if entry.lfs is None:
            return self._git.read(entry.oid)[start:end]
        if not self._blobs.has(entry.lfs.sha256):
            return None
        return b"".join(self._blobs.read(entry.lfs.sha256, start, end))

    def _parameters(self) -> dict[str, int]:
        """Parameters by dtype; empty when there are no safetensors weights, or not all can be read."""
        names = self._shards()
        counts: Counter[str] = Counter()
        for name in names:
            counted = self._count(name)
            if counted is None:
                return {}
            counts.update(counted)
        return dict(counts.most_common()) if counts.total() < 2**63 else {}

    def _shards(self) -> list[str]:
        if WEIGHTS in self._entries:
            return [WEIGHTS]
        weight_map = self._document(WEIGHTS_INDEX, MOST_INDEX).get("weight_map")
        if not isinstance(weight_map, dict):
            return []
        names = sorted({name for name in weight_map.values() if isinstance(name, str)})
        return names if len(names) <= MOST_SHARDS else []

    def _count(self, name: str) -> Mapping[str, int] | None:
        entry = self._entries.get(name)
        size = _size(entry)
        if entry is None or size is None or size < 8:
            return None
        start = self._part(entry, 0, 8)
        length = struct.unpack("<Q", start)[0] if start else size
        self._header_bytes -= min(length, size)
        if length > size - 8 or self._header_bytes < 0:
            return None
        header = json_object(self._part(entry, 8, 8 + length))
        return count_parameters(header) if header else None


def count_parameters(header: Mapping[str, Any]) -> dict[str, int]:
    """How many parameters a safetensors header names, by dtype. What is no tensor counts nothing."""
    counts: Counter[str] = Counter()
    for name, tensor in header.items():
        match tensor:
            case {"dtype": str(dtype), "shape": list(shape)} if name != "__metadata__" and is_possible(shape):
                counts[dtype[:16]] += math.prod(shape)
    return {dtype: count for dtype, count in counts.items() if 0 < count < 2**63}


def _size(entry: Entry | None) -> int | None:
    """How many bytes a file has; None for no file."""
    return entry.size if entry is not None and entry.kind == "file" else None
