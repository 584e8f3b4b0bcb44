"""What an engine is: a loaded model behind one of three small interfaces.

- `BatchEngine`: requests become pieces, pieces of several requests run together, each piece has one output.
  Encoders, vision, audio, sequence to sequence.
- `GenerationEngine`: a prompt in, tokens out one by one. The engine owns its schedule, so that one which
  batches continuously fits behind the same call as one that does not.
- `HandlerEngine`: the user's own code; what goes in and out is its business.

Engines know nothing of HTTP, queues or each other. They are loaded through `lanza.engines.load`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from lanza.models.facts import ModelFacts
from lanza.tasks.base import Task
from lanza.tasks.work import Work


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What an engine is loaded with.

    `threads` is how many cores it may use, None for all of them; `graph` an ONNX model that lies elsewhere
    than in the folder, and goes before one that lies there.
    """

    facts: ModelFacts
    task: Task | None
    why: str
    threads: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    home: Path | None = None
    graph: Path | None = None


@dataclass(frozen=True, kw_only=True)
class About:
    """What `/info` and the `X-Lanza-Engine` header say of an engine."""

    engine: str
    why: str
    task: str | None
    device: str = "cpu"
    dtype: str = "float32"
    limit: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """What all engines share."""

    @property
    def about(self) -> About: ...

    def close(self) -> None:
        """Free everything; called once, when no call is running."""
        ...


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """Runs pieces in batches. `forward` may be called from up to `streams` threads at once."""

    @property
    def streams(self) -> int: ...

    @property
    def batch_tokens(self) -> int:
        """The most tokens (padding included) that a batch should have to run at full speed."""
        ...

    def prepare(self, body: Any) -> Work:
        """Turn a decoded body into pieces. Raises BadRequest. Called from any thread."""
        ...

    def forward(self, pieces: Sequence[Any], *, alone: bool) -> Sequence[Any]:
        """Run one batch: one output per piece. `alone`: nothing else runs, so use every core."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose the next token. `temperature` 0 takes the likeliest."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One prompt to continue: its token ids, special ones included."""

    prompt: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One generated token.

    `text` is what it adds to the answer (may be empty while a character is incomplete, or while what was
    generated may become a stop string). `finish` is set on the last one, whose `text` has what was held back.
    """

    id: int
    text: str
    logprob: float
    special: bool = False
    top: tuple[tuple[int, str, float], ...] = ()
    finish: Literal["stop", "length", "stop_sequence"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class GenerationEngine(Engine, Protocol):
    """Continues prompts. `stream` may be called many times at once; closing the iterator stops the work."""

    @property
    def positions(self) -> int | None:
        """The most tokens of prompt and answer together."""
        ...

    def encode(self, text: str) -> tuple[int, ...]: ...

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[int, ...]:
        """Apply the model's chat template. BadRequest when it has none or refuses the messages."""
        ...

    def stream(self, generation: Generation) -> AsyncIterator[Token]: ...


@dataclass(frozen=True, kw_only=True)
class HandlerRequest:
    """What a handler is called with: decoded JSON, or raw bytes and their type.

    `patience` is how many seconds it may go on after its caller has left, before its process is ended.
    """

    data: Any
    content_type: str
    accept: str = ""
    patience: float = 60.0


class Chunks(Protocol):
    """Complete server-sent events, one by one; `aclose` stops the making of more."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def aclose(self) -> Awaitable[object]: ...


@dataclass(frozen=True, kw_only=True)
class HandlerAnswer:
    """A whole answer (`body`, of `content_type`), or `chunks` to be sent as server-sent events."""

    body: bytes = b""
    content_type: str = "application/json"
    chunks: Chunks | None = None


@runtime_checkable
class HandlerEngine(Engine, Protocol):
    """Runs the user's handler in a process of its own."""

    async def start(self) -> None:
        """Start the process and wait until the handler is loaded. ModelError with its last words if not."""
        ...

    async def call(self, request: HandlerRequest) -> HandlerAnswer:
        """HandlerError when it raises, EngineRestarting when its process died under it."""
        ...
