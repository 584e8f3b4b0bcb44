"""The verbs of `lanza` for endpoints, as a process: what people read, and what programs do."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from hubs import User


@pytest.fixture
def lanza(ana: User) -> Any:
    def run(*arguments: str, check: bool = True) -> Any:
        return ana.run(sys.executable, "-m", "lanza", *arguments, check=check, COLUMNS="200")

    return run


def test_what_a_month_costs_is_said_before_deploying(ana: User, lanza: Any) -> None:
    repo = f"{ana.name}/becas"
    busy = ("--requests-per-day", "200000", "--seconds-each", "1", "--peak", "2")
    done = lanza("deploy", repo, "--name", "caro", "--budget", "0.5/day", "--max", "2", *busy)
    lines = [line for line in done.stderr.splitlines() if line.startswith("lanza: ")]
    assert "a month on 0 to 2 cpu x1 costs 0 while nobody asks, about " in lines[0]
    assert "at worst (dollars; 3.6 an hour as of 2026" in lines[0]
    assert "for 200000 requests a day 0 to 7 cpu x1 would do" in lines[1]
    assert "above the budget of 0.5 dollars a day: the endpoint is paused" in lines[2]
    assert "about 7 replicas have work" in lines[3]
    assert done.stdout.startswith(f"{ana.name}/caro is running")
    made = json.loads(lanza("deploy", repo, "--name", "solo", "--json").stdout)
    assert made["status"]["state"] == "running"
    assert made["estimate"]["month"]["idle"] == 0
    assert made["estimate"]["month"]["worst"] > 0


def test_an_estimate_alone(ana: User, lanza: Any) -> None:
    found = json.loads(lanza("estimate", "becas", "--min", "1", "--json").stdout)
    assert found["month"]["idle"] == found["month"]["worst"]
    assert "a month on 1 to 1 cpu x1 costs" in lanza("estimate", f"{ana.name}/becas", "--min", "1").stdout
    refused = lanza("estimate", check=False)
    assert refused.returncode != 0
    assert "name a model" in refused.stderr
    assert "there is no model" in lanza("estimate", "nobody/nothing", check=False).stderr


def test_show_tells_of_the_last_hour(ana: User, lanza: Any) -> None:
    lanza("deploy", f"{ana.name}/becas", "--name", "visto")
    shown = lanza("show", "visto").stdout
    assert "last hour no requests" in shown
    hour = json.loads(lanza("show", "visto", "--json").stdout)["lastHour"]
    assert hour == {"requests": 0, "errors": 0, "mean": None, "slowest": None}
