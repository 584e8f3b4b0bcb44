"""ABOUT"""

from __future__ import annotations

from typing import Any


class EndpointHandler:
    def __init__(self, path: str) -> None:
        """Called once, with the folder of the model: load it here."""
        self.path = path

    def __call__(self, data: dict[str, Any]) -> Any:
        """Called for each request with its JSON: {"inputs": ..., "parameters": {...}}."""
        raise NotImplementedError("handler.py does not say yet how to answer: write EndpointHandler.__call__")
