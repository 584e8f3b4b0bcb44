"""Serve this model as users do, ask it the questions of questions.json, and say how long each step took.

The server is `lanza serve` in a process of its own; the client is huggingface_hub's InferenceClient as it
comes. Questions, contexts and the model itself can be others: see --help. Nothing is known beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(__file__).resolve().parent
SERVED_AT = " is served at "
DEFAULT_URL = "http://127.0.0.1:8421"


def main() -> int:
    arguments = _arguments()
    questions = _read(arguments.questions)
    _let_clients_reach_us()
    from huggingface_hub import InferenceClient

    print(f"\nStarting: lanza serve {_shown(arguments.model)}", flush=True)
    started = time.perf_counter()
    with _server(arguments.model) as url:
        ready = time.perf_counter()
        print(f"Ready at {url}\n", flush=True)
        client = InferenceClient(model=url)
        seconds = []
        for item in questions:
            asked = time.perf_counter()
            found: Any = client.question_answering(question=item["question"], context=item["context"])
            seconds.append(time.perf_counter() - asked)
            print(textwrap.fill(item["context"], 100, initial_indent="  ", subsequent_indent="  "))
            print(f"  ? {item['question']}")
            print(
                f"  → {found.answer}   (score {found.score:.2g}, {1000 * seconds[-1]:.1f} ms)\n", flush=True
            )
        print(f"From the start of the server until it was ready: {ready - started:.2f} s")
        print(f"From its start to the first answer:              {ready - started + seconds[0]:.2f} s")
        print(f"Each later answer:                               {_later(seconds)}")
    print("\nThe server has stopped. To ask it yourself, in one terminal and another:\n")
    print(f"  {_command()} serve {_shown(arguments.model)}")
    print(f"  {_curl(questions[0])}\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=FOLDER, help="another model folder")
    parser.add_argument(
        "--questions", type=Path, default=FOLDER / "questions.json", help="[{question, context}, ...] as JSON"
    )
    return parser.parse_args()


def _read(path: Path) -> list[dict[str, str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [{name: item[name] for name in ("question", "context")} for item in found] or _refuse(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _refuse(path, error)


def _refuse(path: Path, error: Exception | None = None) -> NoReturn:
    raise SystemExit(f"{path} is no list of questions, each with its context: {error or 'it is empty'}")


@contextmanager
def _server(model: Path) -> Iterator[str]:
    """`lanza serve MODEL` on a free port: its URL once the model is loaded; stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lanza", "serve", str(model), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches it through us, once
    )
    try:
        yield _wait_until_ready(process, model)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[str], model: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if SERVED_AT in line:
            # What it prints from now on must not fill the pipe and stop it.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return line.strip().rpartition(SERVED_AT)[2]
    code = process.wait()
    raise SystemExit(f"\nlanza serve ended with {code} before it was ready.{_hint(model)}")


def _hint(model: Path) -> str:
    if not (model / "config.json").is_file() or any(model.rglob("*.onnx")):
        return ""
    return (
        f"\n{_shown(model)} holds no ONNX model, and that is all that the base install serves. Make one with:"
        f"\n\n  make setup\n  .venv/bin/lanza convert {_shown(model)}\n"
    )


def _let_clients_reach_us() -> None:
    """The server is on this machine: no proxy finds it, and a client in offline mode would not even look."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))
    os.environ.pop("HF_HUB_OFFLINE", None)


def _later(seconds: list[float]) -> str:
    return ", ".join(f"{1000 * value:.1f} ms" for value in seconds[1:]) or "none was asked for"


def _curl(item: dict[str, str]) -> str:
    body = {"inputs": {"question": item["question"], "context": item["context"]}}
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl {DEFAULT_URL} -H 'Content-Type: application/json' -d {data}"


def _command() -> str:
    return _shown(Path(sys.executable).with_name("lanza"))


def _shown(path: Path) -> str:
    """The path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
