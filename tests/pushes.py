"""Pushes as the protocols say, step by step, without a client that tries again by itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BATCH = ".git/info/lfs/objects/batch"


@dataclass(frozen=True, kw_only=True)
class Push:
    """One commit: files by their paths, those that are uploaded as large ones apart."""

    title: str
    small: Mapping[str, bytes] = field(default_factory=dict)
    large: Mapping[str, bytes] = field(default_factory=dict)
    deleted: Sequence[str] = ()
    folders_deleted: Sequence[str] = ()
    parent: str | None = None

    @property
    def batch(self) -> dict[str, Any]:
        """What LFS is asked before anything is uploaded."""
        objects = [{"oid": sha256(content), "size": len(content)} for content in self.large.values()]
        return {"operation": "upload", "objects": objects, "hash_algo": "sha256"}

    @property
    def body(self) -> bytes:
        """The commit, in lines of JSON. What is deleted goes first."""
        header: dict[str, Any] = {"summary": self.title, "description": ""}
        if self.parent is not None:
            header["parentCommit"] = self.parent
        lines: list[Any] = [{"key": "header", "value": header}]
        lines += [{"key": "deletedFolder", "value": {"path": path}} for path in self.folders_deleted]
        lines += [{"key": "deletedFile", "value": {"path": path}} for path in self.deleted]
        lines += [{"key": "file", "value": _small(path, it)} for path, it in self.small.items()]
        lines += [{"key": "lfsFile", "value": _large(path, it)} for path, it in self.large.items()]
        return "\n".join(map(json.dumps, lines)).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def upload_urls(batch: Any) -> dict[str, str]:
    """Where a batch's answer says that contents are to be sent, by their SHA-256."""
    wanted = (it for it in batch["objects"] if "actions" in it)
    return {it["oid"]: it["actions"]["upload"]["href"] for it in wanted}


def _small(path: str, content: bytes) -> dict[str, str]:
    return {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def _large(path: str, content: bytes) -> dict[str, Any]:
    return {"path": path, "algo": "sha256", "oid": sha256(content), "size": len(content)}
