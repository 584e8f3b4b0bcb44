"""Replies in three protocols, over an engine that writes what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from lanza.engines.base import About, Generation, Token
from lanza.errors import BadRequest, EngineFailed, LanzaError
from lanza.protocols.huggingface import decode
from lanza.replica.generation import Reply, chat, completions, text_generation
from lanza.tasks.text_generation import TASK


class Parrot:
    """Writes `words`, then raises `error` where there is one. Remembers what it was asked."""

    about = About(engine="parrot", why="test", task="text-generation")
    positions: int | None = 50

    def __init__(self, *words: str, error: LanzaError | None = None, fail_first: bool = False) -> None:
        self.words, self.error, self.fail_first = words, error, fail_first
        self.asked: list[Generation] = []
        self.closed = 0

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(text.encode())

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[int, ...]:
        return tuple(range(len(messages)))

    async def stream(self, generation: Generation) -> AsyncIterator[Token]:
        self.asked.append(generation)
        try:
            if self.fail_first and self.error:
                raise self.error
            for number, word in enumerate(self.words):
                last = number == len(self.words) - 1 and self.error is None
                yield Token(id=number, text=word, logprob=-1.0, finish="stop" if last else None)
            if self.error:
                raise self.error
        finally:
            self.closed += 1

    def close(self) -> None: ...


CHAT = {"messages": [{"role": "user", "content": "hola"}]}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def typed(**fields: Any) -> Any:
    return decode(TASK, body(**fields), "application/json")


def events(reply: Any) -> list[Any]:
    """The data of all events; what is not JSON as text."""

    async def collect() -> list[bytes]:
        ready: Reply = await reply
        assert ready.events is not None
        return [event async for event in ready.events]

    texts = [event.decode() for event in asyncio.run(collect())]
    assert all(text.startswith("data: ") and text.endswith("\n\n") for text in texts)
    data = [text[len("data: ") : -2] for text in texts]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def answer(reply: Any) -> Any:
    async def wait() -> Reply:
        ready: Reply = await reply
        return ready

    return json.loads(asyncio.run(wait()).body or b"")


def test_a_chat_whole() -> None:
    engine = Parrot("Hola", ", ", "Ana")
    found = answer(chat(engine, body(**CHAT, max_tokens=9, temperature=0), model_name="becas"))
    assert found["choices"][0]["message"]["content"] == "Hola, Ana"
    assert found["model"] == "becas"
    assert engine.asked[0].sampling.max_new_tokens == 9
    assert engine.closed == 1


def test_a_chat_streamed_with_its_usage() -> None:
    request = body(**CHAT, stream=True, stream_options={"include_usage": True})
    found = events(chat(Parrot("Ho", "la"), request, model_name="becas"))
    assert found[-1] == "[DONE]"
    assert (found[-2]["choices"], found[-2]["usage"]["completion_tokens"]) == ([], 2)
    assert "".join(part["choices"][0]["delta"]["content"] for part in found[:-2]) == "Hola"
    assert len({part["id"] for part in found[:-1]}) == 1


def test_a_completion_streamed_with_its_prompt() -> None:
    request = body(prompt="La ", echo=True, stream=True)
    found = events(completions(Parrot("be", "ca"), request, model_name="m"))
    assert "".join(part["choices"][0]["text"] for part in found[:-1]) == "La beca"
    assert found[-1] == "[DONE]"


def test_text_generation_whole_and_with_details() -> None:
    assert answer(text_generation(Parrot("a", "b"), typed(inputs="x"))) == [{"generated_text": "ab"}]
    found = answer(
        text_generation(
            Parrot("a", "b"), typed(inputs="x", parameters={"details": True, "return_full_text": True})
        )
    )
    assert found["generated_text"] == "xab"
    assert found["details"]["finish_reason"] == "eos_token"
    assert [token["text"] for token in found["details"]["tokens"]] == ["a", "b"]


def test_text_generation_streamed() -> None:
    found = events(text_generation(Parrot("a", "b"), typed(inputs="x", stream=True)))
    assert [event["token"]["text"] for event in found] == ["a", "b"]
    assert [event["index"] for event in found] == [1, 2]
    assert [event["generated_text"] for event in found] == [None, "ab"]
    assert found[-1]["details"]["input_length"] == 1


def test_sampling_begins_when_it_is_asked_for() -> None:
    engine = Parrot("a")
    for parameters in ({}, {"temperature": 0.5}, {"do_sample": False, "top_p": 0.5}, {"do_sample": True}):
        answer(text_generation(engine, typed(inputs="x", parameters=parameters)))
    assert [asked.sampling.temperature for asked in engine.asked] == [0.0, 0.5, 0.0, 1.0]


def test_truncate_keeps_the_end_of_the_prompt() -> None:
    engine = Parrot("a")
    answer(text_generation(engine, typed(inputs="abc", parameters={"truncate": 2})))
    assert engine.asked[0].prompt == tuple(b"bc")


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"grammar": {"type": "json", "value": {}}}, "grammar"),
        ({"best_of": 2}, "best_of"),
        ({"watermark": True}, "watermark"),
        ({"adapter_id": "a"}, "adapter_id"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_n_tokens": 99}, "top_n_tokens"),
        ({"stop": [""]}, "stop"),
        ({"invented": 1}, "invented"),
    ],
)
def test_parameters_that_are_wrong_or_not_served_are_named(parameters: Any, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        answer(text_generation(Parrot("a"), typed(inputs="x", parameters=parameters)))


def test_an_error_before_the_first_token_is_raised() -> None:
    engine = Parrot("a", error=BadRequest("too long"), fail_first=True)
    with pytest.raises(BadRequest, match="too long"):
        events(chat(engine, body(**CHAT, stream=True), model_name="m"))


def test_an_error_after_it_is_an_event() -> None:
    engine = Parrot("a", "b", error=EngineFailed("broken"))
    found = events(chat(engine, body(**CHAT, stream=True), model_name="m"))
    assert found[-1]["error"]["message"] == "broken"
    found = events(text_generation(engine, typed(inputs="x", stream=True)))
    assert (found[-1]["error"], found[-1]["error_type"]) == ("broken", "generation")


def test_leaving_a_stream_closes_it() -> None:
    engine = Parrot("a", "b", "c")

    async def leave() -> None:
        reply = await chat(engine, body(**CHAT, stream=True), model_name="m")
        assert reply.events is not None
        await anext(reply.events)
        await reply.events.aclose()

    asyncio.run(leave())
    assert engine.closed == 1
