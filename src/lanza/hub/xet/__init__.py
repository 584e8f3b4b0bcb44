"""Uploads by Xet, the way that today's clients take: what comes in chunks becomes plain blobs."""

from __future__ import annotations
