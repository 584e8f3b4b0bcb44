"""`lanza ls` and `lanza rm`: repositories, and the files in one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lanza.cli.client import KindOption, RepoKind, hub_client
from lanza.cli.context import JsonOption, ServerOption
from lanza.cli.sure import be_sure


def ls(
    repo: Annotated[str | None, typer.Argument(help="List the files of this one; else repositories.")] = None,
    kind: KindOption = RepoKind.MODEL,
    search: Annotated[str | None, typer.Option(help="Only names that contain this.")] = None,
    author: Annotated[str | None, typer.Option(help="Only this namespace.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many repositories at most.")] = 100,
    revision: Annotated[str, typer.Option(help="With REPO: a branch, tag or commit.")] = "main",
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List repositories that you may see, or the files of one."""
    with hub_client(server, quiet=True) as hub:
        if repo is not None:
            tree = hub.list_repo_tree(repo, repo_type=kind.value, revision=revision, recursive=True)
            rows = [_file(entry) for entry in tree if hasattr(entry, "size")]
        else:
            listing = {
                RepoKind.MODEL: hub.list_models,
                RepoKind.DATASET: hub.list_datasets,
                RepoKind.SPACE: hub.list_spaces,
            }[kind]
            found = listing(search=search, author=author, limit=limit, full=True)
            rows = [_repository(one) for one in found]
    _show(rows, as_json=as_json)


def rm(
    repo: Annotated[str, typer.Argument(help="namespace/name.")],
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Files or folders/ of it; else all of it.")
    ] = None,
    kind: KindOption = RepoKind.MODEL,
    endpoint: Annotated[
        bool, typer.Option("--endpoint", help="Remove the endpoint of that name; its model stays.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a repository for good, files from its main branch (history keeps those), or an endpoint."""
    if endpoint:
        _remove_endpoint(repo, paths, server, yes=yes, as_json=as_json)
        return
    if not paths:
        be_sure(f"Remove the {kind.value} {repo} with its whole history?", yes=yes)
    with hub_client(server, quiet=True) as hub:
        if not paths:
            hub.delete_repo(repo, repo_type=kind.value)
            _show_removed({"repo": repo, "removed": True}, f"{repo} is removed.", as_json=as_json)
            return
        patterns = [f"{path}*" if path.endswith("/") else path for path in paths]
        commit = hub.delete_files(repo, patterns, repo_type=kind.value, commit_message="Remove files")
    _show_removed(
        {"repo": repo, "commit": commit.oid},
        f"{repo} is at {commit.oid[:12]}, without them.",
        as_json=as_json,
    )


def _remove_endpoint(
    name: str, paths: list[str] | None, server: str | None, *, yes: bool, as_json: bool
) -> None:
    from lanza.cli.endpoints.address import endpoint_of
    from lanza.errors import UsageError

    if paths:
        raise UsageError("an endpoint has no files: leave the paths out, or --endpoint.")
    one = endpoint_of(name, server)
    one.get()
    be_sure(f"Remove the endpoint {one}? Its model and what it has cost stay.", yes=yes)
    one.ask("DELETE")
    _show_removed({"endpoint": str(one), "removed": True}, f"The endpoint {one} is removed.", as_json=as_json)


def _file(entry: Any) -> dict[str, Any]:
    return {"path": entry.path, "bytes": entry.size, "large": entry.lfs is not None}


def _repository(one: Any) -> dict[str, Any]:
    changed = one.last_modified.isoformat(timespec="seconds") if one.last_modified else ""
    return {"repo": one.id, "private": bool(one.private), "changed": changed, "downloads": one.downloads or 0}


def _show_removed(as_dict: dict[str, Any], line: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(as_dict) if as_json else line)


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    from lanza.cli.table import show

    show(rows, as_json=as_json)
