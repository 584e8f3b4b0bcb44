"""`lanza push DIR REPO`: a folder into a repository, made when it is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanza.cli.client import KindOption, RepoKind, hub_client
from lanza.cli.context import JsonOption, ServerOption


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, or a single file.")],
    repo: Annotated[str, typer.Argument(help="namespace/name, or a name in your own namespace.")],
    kind: KindOption = RepoKind.MODEL,
    message: Annotated[str | None, typer.Option("--message", "-m", help="What the commit is about.")] = None,
    branch: Annotated[str, typer.Option(help="The branch to push to.")] = "main",
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push a folder to the Hub. What is there already is not sent again."""
    pushed = push_folder(
        folder,
        repo,
        kind=kind,
        message=message,
        branch=branch,
        private=private,
        server=server,
        quiet=as_json,
    )
    if as_json:
        import json

        typer.echo(json.dumps({"kind": kind.value, **pushed}))
    else:
        typer.echo(f"{pushed['url']} is at {pushed['commit'][:12]} ({branch}).")


def push_folder(
    folder: Path,
    repo: str,
    *,
    kind: RepoKind = RepoKind.MODEL,
    message: str | None = None,
    branch: str = "main",
    private: bool = False,
    server: str | None = None,
    quiet: bool = False,
) -> dict[str, str]:
    """The repository, its URL and the commit. UsageError when there is no such folder or file."""
    from lanza.errors import UsageError

    if not folder.exists():
        raise UsageError(f"there is no {folder}: check the path.")
    with hub_client(server, quiet=quiet) as hub:
        made = hub.create_repo(repo, repo_type=kind.value, private=private or None, exist_ok=True)
        where = {"repo_id": made.repo_id, "repo_type": kind.value, "revision": branch}
        title = message or f"Push {folder.resolve().name}"
        if folder.is_dir():
            commit = hub.upload_folder(folder_path=folder, commit_message=title, **where)
        else:
            commit = hub.upload_file(
                path_or_fileobj=folder, path_in_repo=folder.name, commit_message=title, **where
            )
    return {"repo": made.repo_id, "url": str(made), "commit": commit.oid}
