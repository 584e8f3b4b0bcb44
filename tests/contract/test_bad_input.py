"""What goes wrong at the door: each bad body gets its status and a message, and the server lives on."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import tiny
from serving import served

GOOD = b'{"inputs": "Clara estudia en Sevilla."}'
BODY_LIMIT = 200_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[str]:
    folder = tiny.bert(tmp_path_factory.mktemp("models") / "classes")
    with served(folder, home=home, engine="onnx", body_bytes=BODY_LIMIT) as url:
        yield url


@pytest.fixture(scope="module")
def zero_shot(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[str]:
    labels = ("contradiction", "neutral", "entailment")
    folder = tiny.bert(tmp_path_factory.mktemp("models") / "nli", labels=labels)
    with served(folder, home=home, task="zero-shot-classification", engine="transformers") as url:
        yield url


@pytest.fixture(autouse=True)
def still_alive(url: str) -> Iterator[None]:
    """After every bad request a good one is answered."""
    yield
    answer = httpx.post(url, content=GOOD)
    assert answer.status_code == 200, answer.text
    assert httpx.get(f"{url}/health").json()["waiting"] == 0


BAD = {
    "not JSON": (b"hola", 400, "not valid JSON"),
    "NaN": (b'{"inputs": NaN}', 400, "not valid JSON"),
    "trailing bytes": (GOOD + b"x", 400, "trailing"),
    "cut off": (GOOD[:-3], 400, "not valid JSON"),
    "nothing": (b"", 400, "empty"),
    "invalid UTF-8": (b'{"inputs": "\xff\xfe"}', 400, "not valid JSON"),
    "half a surrogate": (rb'{"inputs": "\ud800"}', 400, "not valid JSON"),
    "a list": (b'["a"]', 400, "Expected `object`"),
    "no inputs": (b'{"parameters": {}}', 400, "`inputs`"),
    "inputs is a number": (b'{"inputs": 5}', 400, "`inputs`"),
    "inputs is null": (b'{"inputs": null}', 400, "`inputs`"),
    "empty string": (b'{"inputs": ""}', 400, "`inputs` is empty"),
    "blank string": (b'{"inputs": " \\n"}', 400, "`inputs` is empty"),
    "empty list": (b'{"inputs": []}', 400, "empty list"),
    "empty string in a list": (b'{"inputs": ["a", ""]}', 400, "`inputs` is empty"),
    "unknown field": (b'{"inputs": "a", "input": "b"}', 400, "`input`"),
    "unknown parameter": (b'{"inputs": "a", "parameters": {"topk": 1}}', 400, "`topk`; there are"),
    "parameter of the wrong type": (b'{"inputs": "a", "parameters": {"top_k": "1"}}', 400, "top_k"),
    "parameter out of range": (b'{"inputs": "a", "parameters": {"top_k": 0}}', 400, "top_k"),
    "unknown choice": (
        b'{"inputs": "a", "parameters": {"function_to_apply": "tanh"}}',
        400,
        "function_to_apply",
    ),
    "nested 100,000 deep": (b'{"options": ' + b'{"a":' * 20_000, 400, "nested too deep"),
    "a list 100,000 deep": (b"[" * 100_000, 400, "Expected `object`"),
    "too long for the model": (
        json.dumps({"inputs": tiny.text(3000)}).encode(),
        400,
        "at most 256",
    ),
    "2,000 inputs at once": (json.dumps({"inputs": ["a"] * 2000}).encode(), 400, "at most 1024"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_body_is_told_what_to_change(url: str, case: str) -> None:
    body, status, said = BAD[case]
    answer = httpx.post(url, content=body)
    error = answer.json()
    assert answer.status_code == status, error
    assert said in error["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


def test_ten_thousand_labels_are_too_many(zero_shot: str) -> None:
    body = {"inputs": "hola", "parameters": {"candidate_labels": [f"n{i}" for i in range(10_000)]}}
    answer = httpx.post(zero_shot, json=body)
    assert answer.status_code == 400
    assert "10000" in answer.json()["error"]
    assert "1024" in answer.json()["error"]


def test_zero_shot_wants_labels(zero_shot: str) -> None:
    for parameters in ({}, {"candidate_labels": []}, {"candidate_labels": ["a", " "]}):
        answer = httpx.post(zero_shot, json={"inputs": "hola", "parameters": parameters})
        assert answer.status_code == 400
        assert "candidate_labels" in answer.json()["error"]


def test_a_file_where_json_is_wanted(url: str) -> None:
    answer = httpx.post(url, content=b"\x89PNG\r\n", headers={"content-type": "image/png"})
    assert answer.status_code == 415
    assert "JSON" in answer.json()["error"]


def test_a_compressed_body_is_not_read(url: str) -> None:
    answer = httpx.post(url, content=GOOD, headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_a_body_over_the_limit_is_refused_by_its_declared_length(url: str) -> None:
    """The server answers although not one byte of the body is ever sent."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_over_the_limit_is_refused_while_it_comes(url: str) -> None:
    """Without a declared length, reading stops soon after the limit."""

    def endless() -> Iterator[bytes]:
        for _ in range(3 * BODY_LIMIT // 1000):
            yield b"x" * 1000

    answer = httpx.post(url, content=endless())
    assert answer.status_code == 413
    assert "--max-body" in answer.json()["error"]


def test_a_large_body_that_was_refused_still_sees_its_answer(url: str) -> None:
    answer = httpx.post(url, content=b"x" * (40 * BODY_LIMIT))
    assert answer.status_code == 413


def test_addresses_that_are_not_there(url: str) -> None:
    missing = httpx.post(f"{url}/nothing/here", content=GOOD)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = httpx.put(f"{url}/predict", content=GOOD)
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


def test_half_a_request_and_garbage_do_no_harm(url: str) -> None:
    address = urlsplit(url)
    for sent in (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        b"\x00\x01garbage\r\n\r\n",
    ):
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            connection.sendall(sent)


def test_the_request_id_of_the_caller_is_kept(url: str) -> None:
    answer = httpx.post(url, content=GOOD, headers={"x-request-id": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"
    forged = httpx.post(url, content=GOOD, headers={"x-request-id": "a b" + "c" * 200})
    assert forged.headers["x-request-id"] != "a b" + "c" * 200


def test_a_page_of_another_site_may_not_call(url: str) -> None:
    """A browser says where a request comes from; what is no browser says nothing."""
    host = url.removeprefix("http://")
    refused = (
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "http://evil.example", "host": "evil.example", "sec-fetch-site": "same-origin"},
    )
    for headers in refused:
        answer = httpx.post(url, content=GOOD, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    link = httpx.get(f"{url}/docs", headers={"sec-fetch-site": "cross-site", "accept": "text/html"})
    assert link.status_code == 200
    for headers in ({"origin": url}, {"sec-fetch-site": "same-origin", "origin": url}, {"host": "any.name"}):
        assert httpx.post(url, content=GOOD, headers=headers).status_code == 200, (headers, host)


def test_a_long_text_holds_nobody_up(tmp_path: Path, home: Path) -> None:
    """While one thread cuts a text of half a million characters into tokens, others are answered.

    One answer may come before it begins and one as it ends: a third was given meanwhile.
    """
    folder = tiny.bert(tmp_path / "classes")
    body = json.dumps({"inputs": "la beca, " * 55_000}).encode()
    with served(folder, home=home, engine="transformers") as address:
        statuses: list[int] = []
        long = threading.Thread(target=lambda: statuses.append(httpx.post(address, content=body).status_code))
        long.start()
        quick = 0
        while long.is_alive():
            quick += httpx.get(f"{address}/health").status_code == 200
        long.join()
    assert statuses == [400]
    assert quick >= 3


def test_what_a_refused_sender_never_sends_is_not_waited_for(url: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n"
        connection.sendall(head.encode())
        received = b""
        while chunk := connection.recv(65536):  # until the server closes, which it does by itself
            received += chunk
    assert received.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_never_ends_meets_the_deadline(tmp_path: Path, home: Path) -> None:
    folder = tiny.bert(tmp_path / "classes")
    with served(folder, home=home, engine="transformers", deadline=0.3) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            assert connection.recv(65536).startswith(b"HTTP/1.1 504 ")


def test_head_and_pipelined_requests(url: str) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    connection.request("HEAD", "/health")
    assert connection.getresponse().read() == b""
    connection.request("POST", "/", body=GOOD)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_deadline_that_passes_is_a_504(tmp_path: Path, home: Path) -> None:
    folder = tiny.bert(tmp_path / "classes")
    with served(folder, home=home, engine="transformers", deadline=0.0001) as url:
        answer = httpx.post(url, content=GOOD)
    assert answer.status_code == 504
    assert "--deadline" in answer.json()["error"]


def test_a_full_queue_is_a_429_that_says_when_to_come_back(tmp_path: Path, home: Path) -> None:
    folder = tiny.bert(tmp_path / "classes")
    texts = [tiny.text(60, seed=i) for i in range(200)]
    statuses: list[Any] = []
    with served(folder, home=home, engine="transformers", waiting=200) as url:

        def ask() -> None:
            answer = httpx.post(url, json={"inputs": texts}, timeout=60)
            statuses.append((answer.status_code, answer.headers.get("retry-after")))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [after for status, after in statuses if status == 429]
        assert {status for status, _ in statuses} == {200, 429}
        assert all(after is not None and int(after) >= 1 for after in refused)
        assert httpx.post(url, content=GOOD).status_code == 200
