"""Generating in three protocols: chat, completions, and text-generation-inference's, whole or streamed.

The model held here: a request is decoded, its prompt encoded, and the first token awaited; until then every
error is raised, so that it has an HTTP status. From the first token on a stream is an answer, and an error
becomes its last event. Closing a stream, or cancelling the wait for an answer, stops the engine's work;
`GenerationService` does so when the client goes away.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from lanza.engines.base import Generation, GenerationEngine, Sampling, Token
from lanza.errors import LanzaError
from lanza.protocols import huggingface, openai, sse, textgeneration
from lanza.replica.batcher import too_late
from lanza.replica.http import Exchange, Route, Routes
from lanza.replica.metrics import Metrics
from lanza.replica.spec import ReplicaSpec
from lanza.tasks.text_generation import TASK, TextGenerationBody, TextGenerationParameters, check

Tokens = AsyncGenerator[Token, None]
Events = AsyncGenerator[bytes, None]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer as JSON (`body`), or complete server-sent events one by one (`events`)."""

    body: bytes | None = None
    events: Events | None = None


async def generate(engine: GenerationEngine, generation: Generation) -> list[Token]:
    """All tokens of one answer."""
    async with aclosing(_stream(engine, generation)) as tokens:
        return [token async for token in tokens]


async def chat(engine: GenerationEngine, body: bytes, *, model_name: str) -> Reply:
    """`POST /v1/chat/completions`."""
    request = openai.decode_chat(body)
    messages = openai.messages_of(request)
    prompt = await asyncio.to_thread(engine.encode_chat, messages)
    generation = Generation(
        prompt=prompt, sampling=Sampling(**openai.settings(request, room=_room(engine, prompt)))
    )
    heading = _heading("chatcmpl", model_name)
    if not request.stream:
        tokens = await generate(engine, generation)
        return Reply(body=openai.encode_chat(heading, tokens, request, prompt_tokens=len(prompt)))

    def encode(index: int, token: Token, text: str) -> bytes:
        return openai.encode_chat_chunk(heading, token, request, first=index == 1)

    def usage(count: int) -> bytes:
        return openai.encode_usage(heading, "chat.completion.chunk", prompt_tokens=len(prompt), tokens=count)

    return await _openai_stream(engine, generation, encode, usage if request.wants_usage else None)


async def completions(engine: GenerationEngine, body: bytes, *, model_name: str) -> Reply:
    """`POST /v1/completions`."""
    request = openai.decode_completion(body)
    given = openai.prompt_of(request)
    prompt = await asyncio.to_thread(engine.encode, given) if isinstance(given, str) else given
    before = given if request.echo and isinstance(given, str) else ""
    generation = Generation(
        prompt=prompt, sampling=Sampling(**openai.settings(request, room=_room(engine, prompt)))
    )
    heading = _heading("cmpl", model_name)
    if not request.stream:
        tokens = await generate(engine, generation)
        answer = openai.encode_completion(heading, tokens, request, before=before, prompt_tokens=len(prompt))
        return Reply(body=answer)

    def encode(index: int, token: Token, text: str) -> bytes:
        return openai.encode_completion_chunk(heading, token, request, before=before if index == 1 else "")

    def usage(count: int) -> bytes:
        return openai.encode_usage(heading, "text_completion", prompt_tokens=len(prompt), tokens=count)

    return await _openai_stream(engine, generation, encode, usage if request.wants_usage else None)


async def text_generation(engine: GenerationEngine, body: TextGenerationBody) -> Reply:
    """`POST /` of a text-generation model."""
    parameters = body.parameters or TextGenerationParameters()
    check(parameters)
    prompt = await asyncio.to_thread(engine.encode, body.inputs)
    if parameters.truncate is not None:
        prompt = prompt[-parameters.truncate :]
    before = body.inputs if parameters.return_full_text else ""
    generation = Generation(
        prompt=prompt, sampling=Sampling(**textgeneration.settings(parameters, room=_room(engine, prompt)))
    )
    if not body.stream:
        tokens = await generate(engine, generation)
        return Reply(body=textgeneration.encode_answer(tokens, parameters, before=before))

    def encode(index: int, token: Token, text: str) -> bytes:
        return textgeneration.encode_token(
            index, token, parameters, text=before + text, prompt_tokens=len(prompt)
        )

    events = await _started(engine, generation, encode, textgeneration.encode_error)
    return Reply(events=events)


async def _openai_stream(
    engine: GenerationEngine,
    generation: Generation,
    encode: Callable[[int, Token, str], bytes],
    usage: Callable[[int], bytes] | None,
) -> Reply:
    events = await _started(engine, generation, encode, openai.encode_error, usage=usage, last=sse.DONE)
    return Reply(events=events)


async def _started(
    engine: GenerationEngine,
    generation: Generation,
    encode: Callable[[int, Token, str], bytes],
    encode_error: Callable[[LanzaError], bytes],
    *,
    usage: Callable[[int], bytes] | None = None,
    last: bytes = b"",
) -> Events:
    """The events of an answer whose first token is there. `encode` is told a token's number and all text."""
    tokens = _stream(engine, generation)
    first = await anext(tokens)

    async def events() -> Events:
        text, count = first.text, 1
        async with aclosing(tokens):
            yield sse.encode_event(encode(1, first, text))
            try:
                async for token in tokens:
                    text, count = text + token.text, count + 1
                    yield sse.encode_event(encode(count, token, text))
            except LanzaError as error:
                yield sse.encode_event(encode_error(error))
                return
            if usage is not None:
                yield sse.encode_event(usage(count))
            if last:
                yield last

    return events()


def _stream(engine: GenerationEngine, generation: Generation) -> Tokens:
    return cast(Tokens, engine.stream(generation))


def _room(engine: GenerationEngine, prompt: tuple[int, ...]) -> int | None:
    return None if engine.positions is None else engine.positions - len(prompt)


def _heading(prefix: str, model_name: str) -> openai.Heading:
    return openai.Heading(id=f"{prefix}-{secrets.token_hex(12)}", created=int(time.time()), model=model_name)


class GenerationService:
    """Routes of a model that generates: its own at `/` and `/predict`, and OpenAI's below `/v1`."""

    def __init__(self, engine: GenerationEngine, spec: ReplicaSpec, metrics: Metrics) -> None:
        self._engine = engine
        self._limits = spec.limits
        self._name = spec.name
        self._since = int(time.time())
        self._answers: set[asyncio.Task[None]] = set()
        predict = {"POST": Route(self.predict, textgeneration.encode_error)}
        self.routes: Routes = {
            "/": predict,
            "/predict": predict,
            "/v1/chat/completions": {"POST": Route(self.chat, openai.encode_error)},
            "/v1/completions": {"POST": Route(self.completions, openai.encode_error)},
            "/v1/models": {"GET": Route(self.models, openai.encode_error)},
        }

    @property
    def waiting(self) -> int:
        return 0  # the engine has its own line

    @property
    def running(self) -> int:
        return len(self._answers)

    async def predict(self, exchange: Exchange) -> None:
        body = await exchange.body(self._limits.body_bytes)
        decoded: Any = huggingface.decode(TASK, body, exchange.header(b"content-type"))
        await self._answer(exchange, text_generation(self._engine, decoded))

    async def chat(self, exchange: Exchange) -> None:
        body = await exchange.body(self._limits.body_bytes)
        await self._answer(exchange, chat(self._engine, body, model_name=self._name))

    async def completions(self, exchange: Exchange) -> None:
        body = await exchange.body(self._limits.body_bytes)
        await self._answer(exchange, completions(self._engine, body, model_name=self._name))

    async def models(self, exchange: Exchange) -> None:
        await exchange.answer(openai.encode_models([self._name], created=self._since))

    async def close(self) -> None:
        """Let what is being written be written, for as long as a drain may take."""
        if self._answers:
            await asyncio.wait(self._answers, timeout=self._limits.drain)

    async def _answer(self, exchange: Exchange, reply: Coroutine[Any, Any, Reply]) -> None:
        """Send the reply, unless its client goes away first: then stop writing it."""
        answer = asyncio.create_task(self._send(exchange, reply))
        self._answers.add(answer)
        try:
            await exchange.while_connected(answer)
        finally:
            self._answers.discard(answer)

    async def _send(self, exchange: Exchange, reply: Coroutine[Any, Any, Reply]) -> None:
        try:
            async with asyncio.timeout(self._limits.deadline):
                ready = await reply
        except TimeoutError:
            raise too_late(self._limits.deadline) from None
        if ready.events is None:
            await exchange.answer(ready.body or b"")
            return
        await exchange.stream(ready.events)
