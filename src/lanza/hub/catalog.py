"""What lists and searches know of a repository, read anew from its main branch after every change."""

from __future__ import annotations

from lanza.hub.hub import Hub


def refresh(hub: Hub, repo_id: int) -> None:
    """Bring the record of a repository to what its main branch holds. Never raises for what is in there."""
    raise NotImplementedError
