"""From the record of a run to tables: pure, so that a page can be made again from hub_results.json alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from goals import HEAD, Goal, Spread, Verdict, missed
from page import Marks, busy_words, machine_words, table, versions

MARKS: Final = Marks(script="bench/hub/run.py")

Record = Mapping[str, Any]

PUSH: Final = Goal(what="push by Xet, of `cp` + `sha256sum`'s speed", bound=0.5, most=False, form=".2f")
PUSH_LFS: Final = Goal(what="push by LFS, of `cp` + `sha256sum`'s speed", bound=0.5, most=False, form=".2f")
PULL: Final = Goal(what="`hf download`, of its speed from nginx", bound=0.8, most=False, form=".2f")
CURL: Final = Goal(what="`curl`, of its speed from nginx", bound=0.4, most=False, form=".2f")
AGAIN: Final = Goal(what="bytes sent by a second push, of the file's", bound=0.05, most=True, form=".4f")
PAGE: Final = Goal(
    what="first page with 100,000 repositories, times that with 100", bound=3.0, most=True, form=".2f"
)
LISTS: Final = Goal(what="first page, times what it takes with fewer", bound=3.0, most=True, form=".2f")

RATIOS: Final = (
    (PUSH, "copy", "push_xet"),
    (PUSH_LFS, "copy", "push_lfs"),
    (PULL, "pull_nginx", "pull_lanza"),
    (CURL, "curl_nginx", "curl_lanza"),
)
"""Goals that are a speed in parts of another: the turn of the one that sets it, and that of Lanza."""

TITLES: Final[Mapping[str, str]] = {
    "copy": "`cp` + `sha256sum` + `sync`",
    "push_xet": "**push**, `hf upload` (Xet)",
    "push_lfs": "**push**, `hf upload` with `HF_HUB_DISABLE_XET=1`",
    "pull_lanza": "**pull**, `hf download`",
    "pull_nginx": "`hf download` from nginx",
    "curl_lanza": "**pull**, `curl`",
    "curl_nginx": "`curl` from nginx",
}


def verdicts(results: Record) -> list[Verdict]:
    """Every goal that the run has figures for."""
    found = [verdict for case in results["cases"] for verdict in _of_case(case)]
    for record in results["second_pushes"]:
        share = Spread.of([record["sent"] / record["size"]])
        found.append(Verdict(goal=AGAIN, where=record["edit"], spread=share))
    if results["listing"]:
        found.append(_worst(results["listing"]))
    return found


def _worst(lists: Record) -> Verdict:
    """Of all lists, the one that suffers most from many repositories."""
    name, one = max(lists["queries"].items(), key=lambda item: item[1]["ratio"])
    where = f"{lists['sizes'][-1]:,} repositories, not {lists['sizes'][0]:,}: worst of all, {name}"
    spread = Spread(middle=one["ratio"], least=one["least"], most=one["most"])
    return Verdict(goal=LISTS, where=where, spread=spread)


def _of_case(case: Record) -> Iterable[Verdict]:
    rounds = case["rounds"]
    for goal, theirs, ours in RATIOS:
        # Of many small files the pull has no goal: the client's requests, not the bytes, are what takes long.
        if ours not in rounds[0] or (goal is PULL and case["files"] > 1):
            continue
        yield Verdict(goal=goal, where=case["title"], spread=_speed(rounds, theirs, ours))


def _speed(rounds: Sequence[Record], theirs: str, ours: str) -> Spread:
    return Spread.of([figures[theirs]["seconds"] / figures[ours]["seconds"] for figures in rounds])


def page(results: Record) -> list[str]:
    """The generated part of the page."""
    found = verdicts(results)
    lines = [f"Measured {results['started'][:10]} on {_machine(results)}.", ""]
    lines += [*busy_words(results), *missed(found)]
    lines += ["### The Hub against its goals", "", *table(HEAD, [verdict.row for verdict in found])]
    for case in results["cases"]:
        title = case["title"][0].upper() + case["title"][1:]
        lines += ["", f"### {title}", "", *_figures(case)]
    if results["listing"]:
        lines += ["", "### Lists", "", *listing(results["listing"])]
    return lines


def _machine(results: Record) -> str:
    machine = results["machine"]
    return (
        f"{machine_words(machine)}, {', '.join(machine['programs'])}; {versions(machine['packages'])}. "
        f"Rounds: {results['rounds']}; load average at the start {results['load_average']:.2f}; the "
        f"hypervisor took {results['stolen_seconds']:.0f} CPU seconds of {results['took_seconds']:.0f} s"
    )


def _figures(case: Record) -> list[str]:
    rounds = case["rounds"]
    mib = case["bytes"] / 2**20
    rows = []
    for name, title in TITLES.items():
        if name not in rounds[0]:
            continue
        seconds = Spread.of([figures[name]["seconds"] for figures in rounds])
        against = next((theirs for _, theirs, ours in RATIOS if ours == name), None)
        rows.append(
            (
                title,
                seconds.text(".2f"),
                f"{mib / seconds.middle:.0f}",
                _cpu(rounds, name, "cpu"),
                _cpu(rounds, name, "server_cpu"),
                _speed(rounds, against, name).text(".2f") if against else "",
            )
        )
    unsynced = Spread.of([figures["copy"]["unsynced"] for figures in rounds])
    head = (
        "",
        "seconds",
        "MiB/s",
        "CPU s of the client",
        "CPU s of the server",
        "of the speed above or beside",
    )
    return [
        *table(head, rows),
        "",
        f"Without its `sync`, `cp` + `sha256sum` took {unsynced.text('.2f')} s.",
    ]


def _cpu(rounds: Sequence[Record], name: str, key: str) -> str:
    values = [figures[name][key] for figures in rounds if key in figures[name]]
    return f"{median(values):.2f}" if values else ""


def listing(found: Record) -> list[str]:
    """The figures of lists: for each query, how long its first page took, and of how many repositories."""
    small, large = found["sizes"][0], found["sizes"][-1]
    rows = [
        (
            name,
            f"{it['milliseconds'][0]:.2f} (of {it['listed'][0]})",
            f"{it['milliseconds'][-1]:.2f} (of {it['listed'][-1]})",
            f"{it['ratio']:.2f} ({it['least']:.2f}–{it['most']:.2f})",
        )
        for name, it in found["queries"].items()
    ]
    return table((found["database"], f"{small:,}, ms", f"{large:,}, ms", "ratio"), rows)
