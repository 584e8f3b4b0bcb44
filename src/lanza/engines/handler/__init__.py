"""The handler engine: the user's `handler.py` in a process of its own, under an environment of its own."""

from __future__ import annotations

from lanza.engines.handler.process import HandlerProcess

__all__ = ["HandlerProcess"]
