"""The states of endpoints and replicas, in the words of Hugging Face's API where it has some."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What an endpoint is, for those who look at it. All but `deleting` are the API's."""

    PENDING = "pending"
    INITIALIZING = "initializing"
    UPDATING = "updating"
    UPDATE_FAILED = "updateFailed"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    SCALED_TO_ZERO = "scaledToZero"


class Intent(StrEnum):
    """What is wanted of an endpoint: by its owner, or by a budget that is spent, an idle hour, an expiry."""

    RUN = "run"
    ZERO = "zero"
    PAUSE = "pause"
    REMOVE = "remove"


class Phase(StrEnum):
    """What a replica is. `GONE` has ended, by itself or because it was told to."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


LIVE: Final = frozenset({Phase.STARTING, Phase.READY})
