"""Lanza: from a fine-tuned model folder to an API that you own."""

from __future__ import annotations

__version__ = "0.1.0"
