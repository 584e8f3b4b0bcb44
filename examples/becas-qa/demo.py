"""The whole journey of a model, with the clients that people have: push it, deploy it, ask it, see its cost.

    lanza up → a token → upload_folder → create_inference_endpoint → InferenceClient → zero, and awake again

The server is `lanza up` in a process of its own, over a data folder of its own. From a terminal it is left
running at the end, to be played with; elsewhere it is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(__file__).resolve().parent
STARTED = "Lanza is at "
OWNER = "ana"
NAME = "becas-qa"


def main() -> int:
    arguments = _arguments()
    questions = _read(arguments.questions)
    data = Path(tempfile.mkdtemp(prefix="lanza-demo-"))
    server = Server.start(data, arguments.port)
    stays = False
    try:
        token = _first_token(server)
        _journey(server, token, arguments.model, questions)
        stays = arguments.keep or (sys.stdout.isatty() and not arguments.stop)
    finally:
        if not stays:
            server.stop()
    _farewell(server, token, stays=stays)
    return 0


def _journey(server: Server, token: str, model: Path, questions: list[dict[str, str]]) -> None:
    _speak_to(server, token)
    from huggingface_hub import HfApi, constants

    # Hugging Face's client has this address built in; it is the one line that names another.
    constants.INFERENCE_ENDPOINTS_ENDPOINT = f"{server.url}/v2"
    api = HfApi()

    _say(f"2. Push {_shown(model)} with huggingface_hub")
    began = time.perf_counter()
    repo = api.create_repo(f"{OWNER}/{NAME}", exist_ok=True).repo_id
    commit = api.upload_folder(repo_id=repo, folder_path=model, commit_message="The model and its card")
    _line(f"{server.url}/{repo} is at {commit.oid[:12]}", began)

    _say("3. Deploy it with create_inference_endpoint")
    began = time.perf_counter()
    endpoint = api.create_inference_endpoint(
        NAME,
        repository=repo,
        framework="pytorch",
        task="question-answering",
        vendor="lanza",
        region="local",
        accelerator="cpu",
        instance_type="cpu",
        instance_size="x1",
        min_replica=0,
        max_replica=1,
        scale_to_zero_timeout=15,
        type="authenticated",
    )
    endpoint.wait(timeout=300, refresh_every=1)
    _line(f"{endpoint.url} is {endpoint.status}", began)

    _say("4. Ask it with InferenceClient")
    for item in questions:
        _ask(endpoint, item)

    _say("5. Scale it to zero, and wake it with a question")
    endpoint.scale_to_zero()
    _line(f"it is {endpoint.fetch().status}: nothing runs, nothing costs")
    seconds = _ask(endpoint, questions[0])
    _line(f"awake again: {endpoint.fetch().status}, {seconds:.2f} s from zero to the answer")

    _say("6. What it has cost so far")
    _run(server, token, "costs", f"{OWNER}/{NAME}")


def _ask(endpoint: Any, item: dict[str, str]) -> float:
    began = time.perf_counter()
    found = endpoint.client.question_answering(question=item["question"], context=item["context"])
    seconds = time.perf_counter() - began
    context = textwrap.shorten(item["context"], 88, placeholder=" …")
    print(f"   {context}\n   ? {item['question']}")
    print(f"   → {found.answer}   (score {found.score:.2g}, {1000 * seconds:.1f} ms)\n", flush=True)
    return seconds


@dataclass(frozen=True)
class Server:
    """`lanza up`, in a process that outlives this one if it may. It logs into its data folder."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, data: Path, port: int) -> Server:
        _say("1. Start the server: lanza up")
        began = time.perf_counter()
        log = data / "server.log"
        command = [sys.executable, "-m", "lanza", "up", "--port", str(port), "--data", str(data / "server")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--no-upstream"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while process.poll() is None:
            text = log.read_text(encoding="utf-8")
            if STARTED in text and "\n" in text.partition(STARTED)[2]:
                url = text.partition(STARTED)[2].partition("\n")[0].strip()
                _line(f"{url}, its data in {data}", began)
                return cls(url, data, process)
            time.sleep(0.02)
        raise SystemExit(f"lanza up ended before it was ready:\n{log.read_text(encoding='utf-8')}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _first_token(server: Server) -> str:
    """A user, and a token of theirs, made with the administrator's."""
    admin = (server.data / "server" / "admin.token").read_text(encoding="ascii").strip()
    _run(server, admin, "users", "add", OWNER, "--no-password", quiet=True)
    made = _run(server, admin, "tokens", "create", "demo", "--role", "write", "--user", OWNER, quiet=True)
    _line(f"a user {OWNER}, with a token that may write and deploy")
    return made.strip()


def _run(server: Server, token: str, *words: str, quiet: bool = False) -> str:
    """A `lanza` command, as that token's owner."""
    environment = {**os.environ, "LANZA_URL": server.url, "LANZA_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-m", "lanza", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"lanza {' '.join(words)} failed: {done.stderr.strip()}")
    if not quiet:
        print(textwrap.indent(done.stdout, "   "), flush=True)
    return done.stdout


def _speak_to(server: Server, token: str) -> None:
    """What huggingface_hub reads once, when it is imported."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))
    os.environ.pop("HF_HUB_OFFLINE", None)
    os.environ |= {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": token,
        "HF_HOME": str(server.data / "client"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def _farewell(server: Server, token: str, *, stays: bool) -> None:
    if not stays:
        print(f"\nThe server is stopped. Its data is still in {server.data}: remove it when you like.")
        return
    print(f"\nThe server goes on at {server.url} (open it in a browser). To play with it:\n")
    print(f"  export LANZA_URL={server.url} LANZA_TOKEN={token}")
    print(f"  {_command()} ps")
    print(f"  {_command()} shell --intercept\n")
    print("To stop it, and to remove what it keeps:\n")
    print(f"  kill {server.process.pid}; rm -r {server.data}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=FOLDER, help="another folder of a QA model")
    parser.add_argument(
        "--questions", type=Path, default=FOLDER / "questions.json", help="[{question, context}, ...] as JSON"
    )
    parser.add_argument("--port", type=int, default=0, help="where the server listens; 0: any free port")
    after = parser.add_mutually_exclusive_group()
    after.add_argument("--keep", action="store_true", help="leave the server running at the end")
    after.add_argument("--stop", action="store_true", help="stop it, also in a terminal")
    return parser.parse_args()


def _read(path: Path) -> list[dict[str, str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [{name: item[name] for name in ("question", "context")} for item in found] or _refuse(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _refuse(path, error)


def _refuse(path: Path, error: Exception | None = None) -> NoReturn:
    raise SystemExit(f"{path} is no list of questions, each with its context: {error or 'it is empty'}")


def _say(what: str) -> None:
    print(f"\n{what}", flush=True)


def _line(what: str, began: float | None = None) -> None:
    took = "" if began is None else f"   ({time.perf_counter() - began:.2f} s)"
    print(f"   {what}{took}", flush=True)


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
