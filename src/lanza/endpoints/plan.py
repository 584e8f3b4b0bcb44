"""What is to be done once a look is written: replicas to start, to stop, to forget; whom to tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from lanza.endpoints.notices import Notice
from lanza.endpoints.orders import Stock
from lanza.endpoints.platform import Order
from lanza.endpoints.repositories import Base

FolderKey = tuple[int, str, Base | None]
"""A repository, a commit, and what is put below it."""


@dataclass(kw_only=True)
class Plan:
    """`start` are platforms and orders, `stop` ids and the seconds they get to drain, `forget` ids.

    `changed` are the numbers of endpoints of which the gateway knows something that is no longer so. `busy`:
    somebody waits for the next look.
    """

    start: list[tuple[str, Order]] = field(default_factory=list)
    stop: dict[str, float] = field(default_factory=dict)
    forget: list[str] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    notices: list[Notice] = field(default_factory=list)
    busy: bool = False


class Folders(ABC):
    """Folders of repositories: those that are there, why others are not, and the wish for one."""

    def __init__(self) -> None:
        self.ready: dict[FolderKey, Stock] = {}
        self.errors: dict[FolderKey, str] = {}

    @abstractmethod
    def request(self, key: FolderKey) -> None:
        """Begin to fetch one, unless that is under way. Returns at once."""
