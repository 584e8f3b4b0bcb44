"""`lanza serve` as users run it: a process that starts, answers, drains and fails with words."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from huggingface_hub import InferenceClient

import tiny
from serving import environment, serve_command

TEXT = "Clara estudia en Sevilla."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("models") / "classes")


def refused(home: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and all output of `lanza ARGUMENTS`, which is to end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "lanza", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_first_start_converts_and_the_second_does_not(classifier: Path, home: Path) -> None:
    with serve_command(classifier, home=home) as first:
        assert any("exporting" in line for line in first.lines)
        answers = InferenceClient(model=first.url).text_classification(TEXT)
        info = httpx.get(f"{first.url}/info").json()
        assert info["engine"] == "onnx"
        assert "compared with the original" in info["why"]
        assert first.stop() == 0
    with serve_command(classifier, home=home) as second:
        assert not any("exporting" in line for line in second.lines)
        assert InferenceClient(model=second.url).text_classification(TEXT) == answers


def test_longformer_goes_to_transformers_and_says_why(tmp_path: Path, home: Path) -> None:
    """A context of 2,000 tokens in one window: no export of this architecture is to be trusted."""
    folder = tiny.longformer_qa(tmp_path / "becas", positions=2560)
    context = tiny.text(1400)
    with serve_command(folder, home=home) as command:
        info = httpx.get(f"{command.url}/info").json()
        assert info["engine"] == "transformers"
        assert "longformer" in info["why"].lower()
        answer = InferenceClient(model=command.url, timeout=100).question_answering(
            question="¿Cuándo puedo presentar la solicitud?", context=context
        )
    assert answer.answer == context[answer.start : answer.end] != ""


def test_a_stop_lets_running_requests_end(classifier: Path, home: Path) -> None:
    """SIGTERM while requests are in the queue: each of those that were taken is answered."""
    texts = [tiny.text(60, seed=i) for i in range(300)]
    with serve_command(classifier, "--engine", "transformers", home=home) as command:
        arrived = threading.Barrier(5)

        def ask(number: int) -> int:
            arrived.wait(30)
            return httpx.post(command.url, json={"inputs": texts}, timeout=60).status_code

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, number) for number in range(4)]
            arrived.wait(30)
            until_busy(command.url)
            command.process.send_signal(signal.SIGTERM)
            assert [future.result() for future in asked] == [200] * 4
        assert command.process.wait(30) == 0


def until_busy(url: str) -> None:
    """Return when the server has all four requests in hand."""
    for _ in range(2000):
        health = httpx.get(f"{url}/health").json()
        if health["waiting"] + health["running"] > 0:
            return
    raise AssertionError("the requests never arrived")


def test_a_client_that_goes_away_frees_its_place(classifier: Path, home: Path) -> None:
    body = json.dumps({"inputs": [tiny.text(60, seed=i) for i in range(400)]}).encode()
    with serve_command(classifier, "--engine", "transformers", home=home) as command:
        address = httpx.URL(command.url)
        for _ in range(5):
            with socket.create_connection((address.host, address.port or 0), timeout=20) as connection:
                head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)
                until_busy(command.url)
        for _ in range(5000):
            if httpx.get(f"{command.url}/health").json()["waiting"] == 0:
                break
        else:
            raise AssertionError("the queue still holds what nobody waits for")
        counted = httpx.get(f"{command.url}/metrics").text
        assert 'lanza_requests_total{status="499"}' in counted


def test_a_port_that_is_taken(classifier: Path, home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, said = refused(
            home, "serve", str(classifier), "--engine", "transformers", "--port", str(other.getsockname()[1])
        )
    assert code == 2
    assert "--port" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "/nowhere/at/all"], "check the path"),
        (["serve", "CLASSIFIER", "--task", "juggling"], "there is no task"),
        (["serve", "CLASSIFIER", "--engine", "steam"], "There is no engine"),
        (["serve", "CLASSIFIER", "--task", "text-generation"], "cannot do text-generation"),
        (["serve", "CLASSIFIER", "--task", "zero-shot-classification"], "entailment"),
        (["serve", "EMPTY"], "lanza doctor"),
        (["serve", "CLASSIFIER", "--env", "oops"], "NAME=VALUE"),
        (["convert", "EMPTY"], "--task"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    arguments: list[str], words: str, classifier: Path, home: Path, tmp_path: Path
) -> None:
    places = {"CLASSIFIER": str(classifier), "EMPTY": str(tmp_path)}
    code, said = refused(home, *(places.get(word, word) for word in arguments))
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said


def test_page_and_schema_are_those_of_the_task(classifier: Path, home: Path) -> None:
    with serve_command(classifier, "--engine", "transformers", home=home) as command:
        page = httpx.get(command.url, headers={"accept": "text/html"})
        schema = httpx.get(f"{command.url}/openapi.json").json()
        metrics = httpx.get(f"{command.url}/metrics").text
    assert page.headers["content-type"].startswith("text/html")
    assert "function_to_apply" in page.text
    assert "https://" not in page.text
    body = schema["components"]["schemas"]["TextClassificationParameters"]
    assert set(body["properties"]) == {"function_to_apply", "top_k", "truncation", "truncate"}
    assert "lanza_load_seconds" in metrics
