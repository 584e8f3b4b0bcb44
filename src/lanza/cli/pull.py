"""`lanza pull REPO [DIR]`: the files of a repository into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanza.cli.client import KindOption, RepoKind, hub_client
from lanza.cli.context import JsonOption, ServerOption


def pull(
    repo: Annotated[str, typer.Argument(help="namespace/name.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where to put it; else ./name.")
    ] = None,
    kind: KindOption = RepoKind.MODEL,
    revision: Annotated[str, typer.Option(help="A branch, tag or commit.")] = "main",
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull a repository into a folder. What is there already is not fetched again."""
    target = folder or Path(repo.rpartition("/")[2])
    with hub_client(server, quiet=as_json) as hub:
        info = hub.repo_info(repo, repo_type=kind.value, revision=revision)
        # By the commit, so that files of two commits are never mixed.
        hub.snapshot_download(info.id, repo_type=kind.value, revision=info.sha, local_dir=target)
    if as_json:
        import json

        typer.echo(
            json.dumps({"repo": info.id, "kind": kind.value, "folder": str(target), "commit": info.sha})
        )
    else:
        typer.echo(f"{target} is {info.id} at {info.sha[:12]} ({revision}).")
