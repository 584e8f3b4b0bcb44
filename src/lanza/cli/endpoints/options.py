"""Options that several verbs of endpoints take, each said once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="A variable; NAME alone takes its value from here."),
]
EnvFileOption = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Variables, a NAME=VALUE a line.")
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="NAME", help="A secret, its value taken from here; or NAME=VALUE."),
]
SecretsFileOption = Annotated[
    Path | None, typer.Option("--secrets-file", metavar="FILE", help="Secrets, a NAME=VALUE a line.")
]
MinOption = Annotated[
    int | None, typer.Option("--min", min=0, help="Replicas at least; 0 goes to zero when idle (default).")
]
MaxOption = Annotated[int | None, typer.Option("--max", min=1, help="Replicas at most; else 1.")]
IdleOption = Annotated[
    float | None, typer.Option("--idle", metavar="MINUTES", help="Idle minutes until zero; else 15.")
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", help="Size of its hardware, as `lanza hardware` lists; else what fits."),
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", metavar="DOLLARS[/day|/month|/total]", help="It is paused there.")
]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="Removed after that: 12h, 30d, 8w.")
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Until it answers, or has failed.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")]


class Access(StrEnum):
    """Who may call it, as options have it."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    PROTECTED = "protected"
    PRIVATE = "private"


TypeOption = Annotated[
    Access | None, typer.Option("--type", help="Who may call it; else protected: tokens of the namespace.")
]
PerDayOption = Annotated[
    float | None, typer.Option("--requests-per-day", min=0, metavar="N", help="Expected, for the estimate.")
]
EachOption = Annotated[
    float, typer.Option("--seconds-each", min=0, metavar="S", help="What one of them takes.")
]
PeakOption = Annotated[
    float, typer.Option("--peak", min=1, metavar="P", help="Times more at the busiest than on average.")
]
RehearseOption = Annotated[
    bool, typer.Option("--rehearse", help="Hardware that is not here becomes this machine.")
]
