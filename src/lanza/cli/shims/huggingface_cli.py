"""`huggingface-cli` as tutorials show it, over today's `huggingface_hub`.

`login`, `whoami` and `repo create` keep their prompts and lines; all other verbs are handed to `hf`. Each
prints, on standard error, the command that took its place.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from logging import INFO
from typing import Any, Final

from lanza.cli.extras import needs
from lanza.errors import LanzaError, UsageError

RENAMED: Final = {
    ("auth",): ("auth",),
    ("download",): ("download",),
    ("env",): ("env",),
    ("logout",): ("auth", "logout"),
    ("repo-files", "delete"): ("repos", "delete-files"),
    ("repo", "delete"): ("repos", "delete"),
    ("scan-cache",): ("cache", "ls"),
    ("tag",): ("repos", "tag"),
    ("upload",): ("upload",),
    ("upload-large-folder",): ("upload",),
    ("version",): ("version",),
}
"""Verbs that only have another name."""

GONE: Final = {"--resume-download": 0, "--local-dir-use-symlinks": 1, "--disable-progress-bars": 0}
"""Options that are no more, and need not be, with how many values they took."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        match words:
            case ["login", *rest]:
                return _login(rest)
            case ["whoami", *_]:
                return _whoami()
            case ["repo", "create", *rest]:
                return _repo_create(rest)
        return _hand_on(words)
    except LanzaError as error:
        print(f"huggingface-cli: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, EOFError):
        print(file=sys.stderr)
        return 130


def translate(words: Sequence[str]) -> list[str]:
    """The words for `hf`. UsageError for what has no place there."""
    for old, new in RENAMED.items():
        if tuple(words[: len(old)]) == old:
            return [*new, *_without_gone(words[len(old) :])]
    if not words or words[0] in ("-h", "--help"):
        return ["--help"]
    raise UsageError(f"`{' '.join(words[:2])}` is no more: `hf --help` lists what there is.")


def _without_gone(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = 0
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip -= 1
        elif name in GONE:
            skip = 0 if equals else GONE[name]
        else:
            kept.append(word)
    return kept


def _hand_on(words: Sequence[str]) -> int:
    became = translate(words)
    _tell(*became)
    with needs("client"):
        import huggingface_hub  # noqa: F401 -- only to say how it is installed
    return subprocess.run([sys.executable, "-m", "huggingface_hub.cli.hf", *became], check=False).returncode


def _tell(*words: str) -> None:
    print(f"huggingface-cli is now: {shlex.join(['hf', *words])}", file=sys.stderr, flush=True)


def _login(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("huggingface-cli login")
    parser.add_argument("--token", help="the token; else it is asked for")
    parser.add_argument("--add-to-git-credential", action="store_true", help="for git over http too")
    options = parser.parse_args(arguments)
    _tell("auth", "login")
    with needs("client"):
        from huggingface_hub import login
        from huggingface_hub.utils import logging
    token, for_git = options.token, options.add_to_git_credential
    if token is None:
        if sys.platform == "win32":
            print("Token can be pasted using 'Right-Click'.")
        token = _secret("Enter your token (input will not be visible): ")
        for_git = _yes("Add token as git credential? (Y/n) ")
    logging.set_verbosity(INFO)  # its lines: valid or not, and where the token is kept
    return _said(lambda: login(token=token, add_to_git_credential=for_git))


def _whoami() -> int:
    _tell("auth", "whoami")
    with needs("client"):
        from huggingface_hub import get_token, whoami
    if get_token() is None:
        print("Not logged in")
        return 1

    def show() -> None:
        found = whoami()
        print(found["name"])
        if found["orgs"]:
            print("orgs: ", ",".join(org["name"] for org in found["orgs"]))

    return _said(show)


def _repo_create(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("huggingface-cli repo create")
    parser.add_argument("name", help="the repository's name, or namespace/name")
    parser.add_argument("--type", "--repo-type", dest="kind", choices=["model", "dataset", "space"])
    parser.add_argument("--organization", help="the namespace; else your own")
    parser.add_argument("--space_sdk", "--space-sdk", dest="sdk", help="for a space: gradio, docker, ...")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--exist-ok", action="store_true", help="do not mind if it exists")
    options = parser.parse_args(arguments)
    _tell("repos", "create", options.name)
    with needs("client"):
        from huggingface_hub import HfApi
    _show_git()
    return _said(lambda: _create(HfApi(), options))


def _create(api: Any, options: argparse.Namespace) -> None:
    namespace, _, name = options.name.rpartition("/")
    repo_id = f"{namespace or options.organization or api.whoami()['name']}/{name}"
    print(f"\nYou are about to create {_prefix(options.kind)}{repo_id}")
    if not options.yes and not _yes("Proceed? [Y/n] "):
        print("Abort")
        raise SystemExit(1)
    url = api.create_repo(
        repo_id,
        repo_type=options.kind,
        space_sdk=options.sdk,
        private=options.private or None,
        exist_ok=options.exist_ok,
    )
    print("\nYour repo now lives at:")
    print(f"  {url}")
    print("\nYou can clone it locally with the command below, and commit/push as usual.")
    print(f"\n  git clone {url}\n")


def _prefix(kind: str | None) -> str:
    return f"{kind}s/" if kind in ("dataset", "space") else ""


def _show_git() -> None:
    for command in (["git", "--version"], ["git-lfs", "--version"]):
        program = shutil.which(command[0])
        if program is None:
            print(f"{command[0]} is not installed: only git needs it, not the commands here.")
            continue
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
        print(done.stdout.strip())


def _said(do: Callable[[], None]) -> int:
    """Run `do`; what the server refuses is one line, and exit code 1."""
    with needs("client"):
        from huggingface_hub.errors import HfHubHTTPError
    try:
        do()
    except (HfHubHTTPError, ValueError, OSError) as error:
        said = getattr(error, "server_message", None) or str(error)
        print(said, file=sys.stderr)
        return 1
    return 0


def _secret(prompt: str) -> str:
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(prompt).strip()
    return _line(prompt).strip()


def _yes(prompt: str) -> bool:
    return _line(prompt).strip().lower() in ("", "y", "yes")


def _line(prompt: str) -> str:
    """What is typed, or the next line of what is piped in."""
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not sys.stdin.isatty():
        print()
    if not line:
        raise EOFError
    return line


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_UPDATE_CHECK", "1")
    sys.exit(main())
