"""Chat, completions and text generation through the unmodified `openai` and `InferenceClient`."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from huggingface_hub import InferenceClient
from huggingface_hub.errors import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from serving import served

PROMPT = "La beca se solicita"
CHAT: list[Any] = [{"role": "system", "content": "Sé breve."}, {"role": "user", "content": "¿Cuándo abre?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.causal(tmp_path_factory.mktemp("llama"), max_position_embeddings=4096)


@pytest.fixture(scope="module")
def url(folder: Path, home: Path) -> Iterator[str]:
    with served(folder, home=home, task="text-generation", engine="transformers") as address:
        yield address


@pytest.fixture
def chat(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def by_hand(folder: Path, prompt: str | list[Any], most: int) -> str:
    """What transformers' own loop writes after a prompt, or after a chat."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    if isinstance(prompt, list):
        prompt = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False)
    text: str = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text


def test_the_model_is_listed(chat: openai.OpenAI, folder: Path) -> None:
    assert [model.id for model in chat.models.list()] == [folder.name]


def test_a_chat_is_what_transformers_writes(chat: openai.OpenAI, folder: Path) -> None:
    answer = chat.chat.completions.create(model="any", messages=CHAT, max_tokens=12, temperature=0)
    assert answer.choices[0].message.content == by_hand(folder, CHAT, 12)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12


def test_a_streamed_chat_is_the_same_in_parts(chat: openai.OpenAI, folder: Path) -> None:
    parts = list(
        chat.chat.completions.create(
            model="any",
            messages=CHAT,
            max_completion_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == by_hand(folder, CHAT, 12)
    assert len(parts) > 6
    assert parts[-1].usage is not None
    assert parts[-1].usage.completion_tokens == 12


def test_seeds_stops_and_logprobs(chat: openai.OpenAI) -> None:
    def write(**more: Any) -> Any:
        return chat.chat.completions.create(model="any", messages=CHAT, max_tokens=10, **more).choices[0]

    once = write(seed=5, temperature=1.2, logprobs=True, top_logprobs=3)
    assert once.message.content == write(seed=5, temperature=1.2).message.content
    assert [len(entry.top_logprobs) for entry in once.logprobs.content] == [3] * 10
    text = write(temperature=0).message.content
    stopped = write(temperature=0, stop=[text[5:8]])
    assert (stopped.finish_reason, stopped.message.content) == ("stop", text[: text.index(text[5:8])])


def test_completions(chat: openai.OpenAI, folder: Path) -> None:
    answer = chat.completions.create(model="any", prompt=PROMPT, max_tokens=8, temperature=0, echo=True)
    assert answer.choices[0].text == PROMPT + by_hand(folder, PROMPT, 8)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2}, "`n`"),
        ({"max_tokens": 99_999}, "positions for 4096"),
        ({"response_format": {"type": "json_object"}}, "`response_format`"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text only"),
    ],
)
def test_refusals_reach_the_caller(chat: openai.OpenAI, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(**{"model": "any", "messages": CHAT, **fields})
    assert said in caught.value.message
    assert caught.value.type == "invalid_request_error"


def test_text_generation_by_the_hub_client(url: str, folder: Path) -> None:
    client = InferenceClient(url)
    expected = by_hand(folder, PROMPT, 8)
    assert client.text_generation(PROMPT, max_new_tokens=8) == expected
    assert client.text_generation(PROMPT, max_new_tokens=8, return_full_text=True) == PROMPT + expected
    assert "".join(client.text_generation(PROMPT, max_new_tokens=8, stream=True)) == expected
    whole = client.text_generation(PROMPT, max_new_tokens=8, details=True, top_n_tokens=2)
    assert whole.details is not None
    assert (whole.generated_text, whole.details.generated_tokens) == (expected, 8)
    last = list(client.text_generation(PROMPT, max_new_tokens=8, details=True, stream=True))[-1]
    assert last.details is not None
    assert (last.generated_text, last.details.finish_reason) == (expected, "length")
    with pytest.raises(ValidationError, match="positions for 4096"):
        client.text_generation(PROMPT, max_new_tokens=99_999)


def test_a_chat_by_the_hub_client(url: str, folder: Path) -> None:
    client = InferenceClient(url)
    answer = client.chat_completion(CHAT, max_tokens=6, temperature=0)
    assert answer.choices[0].message.content == by_hand(folder, CHAT, 6)
    parts = client.chat_completion(CHAT, max_tokens=6, temperature=0, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == by_hand(folder, CHAT, 6)


def running(url: str) -> int:
    with urllib.request.urlopen(f"{url}/health") as answer:
        return int(json.load(answer)["running"])


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_work(url: str, stream: bool) -> None:
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"messages": CHAT, "max_tokens": 3900, "temperature": 0, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        wait_for(lambda: running(url) == 1)
    wait_for(lambda: running(url) == 0)


def wait_for(holds: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
