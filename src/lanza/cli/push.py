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
    from lanza.errors import UsageError

    if not folder.exists():
        raise UsageError(f"there is no {folder}: check the path.")
    with hub_client(server, quiet=as_json) as hub:
        made = hub.create_repo(repo, repo_type=kind.value, private=private or None, exist_ok=True)
        where = {"repo_id": made.repo_id, "repo_type": kind.value, "revision": branch}
        title = message or f"Push {folder.resolve().name}"
        if folder.is_dir():
            commit = hub.upload_folder(folder_path=folder, commit_message=title, **where)
        else:
            commit = hub.upload_file(
                path_or_fileobj=folder, path_in_repo=folder.name, commit_message=title, **where
            )
    if as_json:
        import json

        typer.echo(
            json.dumps({"repo": made.repo_id, "kind": kind.value, "url": made.url, "commit": commit.oid})
        )
    else:
        typer.echo(f"{made} is at {commit.oid[:12]} ({branch}).")
