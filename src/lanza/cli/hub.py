"""`lanza hub`: look after what a server keeps, mostly in its data folder on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanza.cli.bar import bar
from lanza.cli.client import KindOption, RepoKind
from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.duration import duration
from lanza.cli.extras import needs
from lanza.cli.folder import (
    DatabaseOption,
    DataOption,
    StorageOption,
    amount,
    data_folder,
    opened,
    told,
)

if TYPE_CHECKING:
    pass

hub = typer.Typer(no_args_is_help=True)


@hub.callback()
def _verbs() -> None:
    """What the server keeps: verify it, collect what nobody needs, import models."""


@hub.command()
def verify(
    data: DataOption = None,
    database: DatabaseOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every large file, and compare it with its hash; look for every one that a commit names.

    The server may run meanwhile. Exit code 1 when something is damaged or missing, and it is named.
    """
    with needs("server"):
        from lanza.hub import collect as collecting

    with told(), opened(data_folder(data), database, storage) as found:
        sizes = [size for _, size in found.blobs.all()]
        with bar("Reading", total=sum(sizes), quiet=as_json) as looked_at:
            problems = collecting.verify(found, looked_at=looked_at)
    summary = f"{len(sizes)} large files, {amount(sum(sizes))}: "
    if as_json:
        rows = [asdict(problem) for problem in problems]
        typer.echo(json.dumps({"blobs": len(sizes), "bytes": sum(sizes), "problems": rows}, indent=2))
    elif problems:
        for one in problems:
            typer.echo(f"{one.kind}: {' of '.join(filter(None, (one.sha256, one.repo)))}: {one.message}.")
        typer.echo(f"{summary}{len(problems)} problems.")
    else:
        typer.echo(f"{summary}all is well.")
    raise typer.Exit(1 if problems else 0)


@hub.command()
def collect(
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Keep what came or was needed since: 12h, 30d, 8w.")
    ] = "1d",
    data: DataOption = None,
    database: DatabaseOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what nobody needs: large files that no commit names, commits that no branch or tag leads to.

    Uploads that were given up go too, and files of repositories that are no more.

    The server may run meanwhile: what an upload of the last day needs stays. Less than 1d only works while
    no server runs. It takes two runs, that time apart, until a file is gone: the first one makes sure that
    no new commit can name it.
    """
    from datetime import timedelta

    from lanza.errors import UsageError

    grace = duration(older_than, "--older-than")
    with needs("server"):
        from lanza.hub import collect as collecting
        from lanza.server.folder import DataFolder

    path = data_folder(data)
    with ExitStack() as stack:
        stack.enter_context(told())
        found = stack.enter_context(opened(path, database, storage))
        if grace < timedelta(days=1):
            try:
                stack.enter_context(DataFolder(path=path).held())
            except UsageError as error:
                raise UsageError(
                    f"--older-than {older_than} may hit uploads that are running: {error}"
                ) from error
        stack.enter_context(DataFolder(path=path).collecting())
        stack.enter_context(_spinner("Looking at all commits", quiet=as_json))
        done = collecting.collect(found, older_than=grace)
        usage = collecting.usage(found)
    if as_json:
        sizes = {f"{name}_bytes": size for name, size in asdict(usage).items()}
        typer.echo(json.dumps({**asdict(done), **sizes}, indent=2))
        return
    typer.echo(f"{done.blobs} large files removed, {amount(done.bytes)}, and {done.uploads} of uploads.")
    typer.echo(f"Git takes {amount(done.git_bytes)} less; {done.folders} folders of no repository removed.")
    if done.released:
        typer.echo(f"{done.released} more are out of use, and can go {older_than} from now.")
    typer.echo(
        f"Repositories hold {amount(usage.logical)} of large files, which take {amount(usage.stored)} here."
    )


@hub.command()
def pull(
    repo: Annotated[str, typer.Argument(help="namespace/name on the upstream hub.")],
    to: Annotated[str | None, typer.Option(metavar="REPO", help="Its name here; else the same.")] = None,
    kind: KindOption = RepoKind.MODEL,
    revision: Annotated[str, typer.Option(help="A branch, tag or commit there.")] = "main",
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the server import a repository from its upstream hub for good, at one commit, as one commit.

    For whoever may write where it goes. An administrator may name a namespace that is unknown here: it is
    made. No token is sent upstream.
    """
    from lanza.cli.imports import brought

    wanted = {"repo": repo, "to": to, "kind": kind.value, "revision": revision}
    done = brought(context(server), wanted, quiet=as_json)
    if as_json:
        typer.echo(json.dumps({name: done[name] for name in ("repo", "kind", "commit")}))
    else:
        typer.echo(f"{done['repo']} is here, at {done['commit'][:12]}.")


@contextmanager
def _spinner(what: str, *, quiet: bool) -> Iterator[Any]:
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
