"""What is wrong with the files of a repository: pickles that run code, damaged weights, secrets in text."""

from __future__ import annotations

from typing import Any

from lanza.hub.git import Commit
from lanza.hub.hub import Hub

Finding = dict[str, Any]


def inspect(hub: Hub, repo_id: int, commit: Commit) -> list[Finding]:
    """Findings for the files of a commit, as the record of the repository keeps them. Clean files have none."""
    raise NotImplementedError
