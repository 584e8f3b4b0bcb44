"""The measurement itself: rounds in which everyone has a turn, one after another, over the same files.

Turns of one round are near in time, so their ratios hold even where the machine, or its disk, changes its
speed from round to round. Each push goes to a Hub that has nothing, from a client that remembers nothing.
What was pushed and pulled is compared with what it should be, outside of the time that is measured.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub import data
from hub.clients import Client, Turn, TurnFailed, copy, fetch
from hub.counting import counting
from hub.data import Made
from hub.ours import USER, hub
from hub.peer import commit_of, file_url, repo_of
from progress import say

Figures = dict[str, dict[str, float]]


def round_of(number: int, made: Made, work: Path, peer: str) -> Figures:
    """One turn of everyone: seconds by what was done. In every other round nginx is asked first."""
    figures = {"copy": copy(made.folder, work / "copy")}
    with _pushing(made, work, xet=False) as (_, push):
        figures["push_lfs"] = push
    with _pushing(made, work, xet=True) as (client, push):
        figures["push_xet"] = push
        figures |= _pulled(made, work, client, Client(url=peer, home=client.home), first=number % 2)
    for name, measured in figures.items():
        words = "  ".join(f"{key} {value:6.2f}" for key, value in measured.items())
        say(f"  {made.case.name}  {name:<11} {words}")
    return figures


@contextmanager
def _pushing(made: Made, work: Path, *, xet: bool) -> Iterator[tuple[Client, dict[str, float]]]:
    """Push to a new Hub, which is there for as long as the context: the client, and how it went."""
    home = _empty(work / "home")
    with hub(work / "hub") as running:
        client = Client(url=running.url, home=home, token=running.token, xet=xet)
        before = running.cpu_seconds()
        turn = client.push(repo_of(made), made.folder)
        server_cpu = round(running.cpu_seconds() - before, 4)
        running.check(repo_of(made), made.digests)
        yield client, {**turn.record(), "server_cpu": server_cpu}


def _pulled(made: Made, work: Path, ours: Client, theirs: Client, *, first: int) -> Figures:
    sides = {"lanza": ours, "nginx": theirs}
    order = sorted(sides, reverse=bool(first))
    figures = {f"pull_{side}": _pull(made, work, sides[side]) for side in order}
    if made.case.files == 1:
        name = next(iter(made.digests))
        urls = {
            "lanza": f"{ours.url}/{repo_of(made)}/resolve/main/{name}",
            "nginx": file_url(theirs.url, made, name),
        }
        figures |= {f"curl_{side}": fetch(urls[side], sides[side].token).record() for side in order}
    return figures


def _pull(made: Made, work: Path, client: Client) -> dict[str, float]:
    target = work / "pulled"
    turn: Turn = client.pull(repo_of(made), target)
    names = list(made.digests)
    _, wrong, missing = filecmp.cmpfiles(made.folder, target, names, shallow=False)
    if wrong or missing:
        raise TurnFailed(f"{len(wrong) + len(missing)} files from {client.url} ({commit_of(made)}) are wrong")
    shutil.rmtree(target)
    return turn.record()


def second_pushes(made: Made, work: Path) -> list[dict[str, Any]]:
    """What the client sends when a file that it has pushed has changed a little: each edit upon the last."""
    path = _empty(work / "edited") / "weights.bin"
    shutil.copyfile(made.folder / next(iter(made.digests)), path)
    home, repo = _empty(work / "home"), f"{USER}/edited"
    records = []
    with hub(work / "hub") as running, counting(running.url) as counter:
        client = Client(url=counter.url, home=home, token=running.token)
        client.push(repo, path)
        say(f"  first push: {counter.take():,} bytes sent of {path.stat().st_size:,}")
        for name in data.EDITS:
            data.edit(name, path)
            client.push(repo, path)
            record: Mapping[str, Any] = {"edit": name, "sent": counter.take(), "size": path.stat().st_size}
            say(f"  {name}: {record['sent']:,} bytes sent of {record['size']:,}")
            records.append(dict(record))
    shutil.rmtree(path.parent)
    return records


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
