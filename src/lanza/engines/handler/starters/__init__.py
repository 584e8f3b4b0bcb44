"""Handlers to start from, one for each kind of task, as `lanza init handler` writes them.

They are never imported here: `lanza.engines.handler.starter` copies their text, with the facts of a model in
place of the constants at the top. Each works by itself, with what `lanza[transformers]` installs.
"""

from __future__ import annotations
