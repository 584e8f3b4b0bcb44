"""Causal language models through torch: whatever AutoModelForCausalLM can make, as a `GenerationEngine`.

The model held here: prompts are continued one token at a time, in turns on one thread, and each token is
handed to the event loop that waits for it. An answer that nobody waits for any more ends at its next token.
It does not batch: that is for an engine behind the same interface.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from lanza.engines.base import About, EngineOptions, Generation, Token
from lanza.engines.transformers.decoding import Decoding, Language
from lanza.engines.transformers.loading import about, device, load_model, load_tokenizer
from lanza.engines.transformers.turns import Turns
from lanza.errors import BadRequest, EngineFailed, LanzaError, ModelError, Unavailable
from lanza.tasks.text import check_characters

log = logging.getLogger("lanza.engines")

RUNNING: Final = 8
"""Answers that take turns. Each keeps a cache of its own in memory."""
WAITING: Final = 64


class CausalLM:
    """A `GenerationEngine`."""

    def __init__(self, options: EngineOptions) -> None:
        if options.facts.is_encoder_decoder:
            raise ModelError(
                f"{options.facts.architecture} reads a text and writes another, it does not continue texts: "
                "serve it with --task summarization or --task translation."
            )
        model = load_model(options, "AutoModelForCausalLM")
        tokenizer = load_tokenizer(options)
        self._language = Language(
            model=model, tokenizer=tokenizer, ends=_ends(model, tokenizer), device=device()
        )
        self._positions = options.facts.max_positions
        self._about = about(options, model, limit=self._positions, chat=bool(tokenizer.chat_template))
        self._turns = Turns(running=RUNNING, waiting=WAITING)

    @property
    def about(self) -> About:
        return self._about

    @property
    def positions(self) -> int | None:
        return self._positions

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._language.tokenizer(check_characters(text))["input_ids"])

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[int, ...]:
        from jinja2 import TemplateError

        if not self._language.tokenizer.chat_template:
            raise BadRequest(
                "this model has no chat template: send a prompt to /v1/completions instead, "
                "or add chat_template.jinja to the model's folder."
            )
        for message in messages:
            check_characters(str(message.get("content") or ""), what="messages")
        try:
            encoded = self._language.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=[dict(tool) for tool in tools] if tools else None,
                add_generation_prompt=True,
                sanitize_control_tokens=True,  # a user's text cannot end its turn and begin another one's
                return_dict=True,
            )
        except (TemplateError, ValueError, TypeError, LookupError) as error:
            raise BadRequest(f"the model's chat template refuses these messages: {error}") from error
        return tuple(encoded["input_ids"])

    async def stream(self, generation: Generation) -> AsyncIterator[Token]:
        self._check(generation)
        answer = _Answer(self._language, generation)
        self._turns.submit(answer)
        try:
            while True:
                token = await answer.next()
                yield token
                if token.finish is not None:
                    return
        finally:
            answer.cancelled = True

    def close(self) -> None:
        self._turns.close()
        del self._language

    def _check(self, generation: Generation) -> None:
        prompt, most = len(generation.prompt), generation.sampling.max_new_tokens
        if not prompt:
            raise BadRequest("the prompt is empty: send some text.")
        if most < 1:
            raise BadRequest(f"{most} new tokens were asked for: ask for at least 1.")
        if self._positions is not None and prompt + most > self._positions:
            raise BadRequest(
                f"the prompt has {prompt} tokens and {most} new ones are asked for, and this model has "
                f"positions for {self._positions}: shorten the prompt or ask for fewer."
            )


class _Answer:
    """One generation on its way from the thread that computes it to the event loop that waits for it."""

    def __init__(self, language: Language, generation: Generation) -> None:
        self._decoding = Decoding(language, generation)
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Token | LanzaError] = asyncio.Queue()
        self.cancelled = False

    async def next(self) -> Token:
        arrived = await self._arrived.get()
        if isinstance(arrived, LanzaError):
            raise arrived
        return arrived

    def step(self) -> bool:
        if self.cancelled:
            return True
        try:
            token = self._decoding.step()
        except Exception as error:  # the thread's supervisor: one failure must not end the others
            log.error("a generation failed", exc_info=error)
            self._send(EngineFailed("the model failed while it wrote this answer; the log has the details."))
            return True
        if token is None:
            return False
        self._send(token)
        return token.finish is not None

    def give_up(self) -> None:
        self._send(Unavailable("the model is being stopped: try again in a moment."))

    def _send(self, item: Token | LanzaError) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, item)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer: what the model's generation settings name, and the tokenizer's own."""
    stated = getattr(model.generation_config, "eos_token_id", None)
    ids = stated if isinstance(stated, list) else [stated]
    return frozenset(int(i) for i in (*ids, tokenizer.eos_token_id) if i is not None)
