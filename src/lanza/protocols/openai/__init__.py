"""The wire of OpenAI's API: chat, completions and the list of models.

Clients send many fields that change nothing here; those are ignored. A field that would change the answer
and is not served is refused by its name. Nothing here knows an engine.
"""

from __future__ import annotations

from lanza.protocols.openai.answers import (
    Heading,
    encode_chat,
    encode_chat_chunk,
    encode_completion,
    encode_completion_chunk,
    encode_error,
    encode_models,
    encode_usage,
)
from lanza.protocols.openai.requests import (
    ChatRequest,
    CompletionRequest,
    decode_chat,
    decode_completion,
    messages_of,
    prompt_of,
    settings,
)

__all__ = [
    "ChatRequest",
    "CompletionRequest",
    "Heading",
    "decode_chat",
    "decode_completion",
    "encode_chat",
    "encode_chat_chunk",
    "encode_completion",
    "encode_completion_chunk",
    "encode_error",
    "encode_models",
    "encode_usage",
    "messages_of",
    "prompt_of",
    "settings",
]
