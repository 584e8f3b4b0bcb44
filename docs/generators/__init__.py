"""What writes each generated page of docs/reference: one module a page, each with `lines()`."""

from __future__ import annotations
