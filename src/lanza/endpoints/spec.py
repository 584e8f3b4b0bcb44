"""What an endpoint is asked to be: one tree of values, as Hugging Face's clients send it, and ours beside it.

The model: `endpoint.yaml`, the body of `POST /v2/endpoint/{namespace}` and what the database keeps are this
one tree, in camel case. `reading.py` is the only way in. Secrets are in a spec only on their way in
(`secrets.py` takes them out); what is kept and shown has their names alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

LONGEST_NAME: Final = 64
MOST_REPLICAS: Final = 100
DEFAULT_IDLE_MINUTES: Final = 15.0


class Security(StrEnum):
    """Who may call an endpoint.

    public: anybody. authenticated: any token of this server that may call endpoints. protected: tokens of the
    owner's namespace and those that `allowedTokens` names. private: the same, from internal addresses only.
    """

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    PROTECTED = "protected"
    PRIVATE = "private"


class Measure(StrEnum):
    """What the number of replicas follows.

    pendingRequests: requests under way or held, for each replica, averaged. requestsPerReplica: the same at
    its momentary peak. hardwareUsage: CPU of the replicas, in percent of what they have.
    """

    PENDING = "pendingRequests"
    REQUESTS = "requestsPerReplica"
    HARDWARE = "hardwareUsage"


DEFAULT_THRESHOLDS: Final[Mapping[Measure, float]] = {
    Measure.PENDING: 8.0,
    Measure.REQUESTS: 16.0,
    Measure.HARDWARE: 80.0,
}


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of the tree."""


class Provider(_Wire, frozen=True, kw_only=True):
    """Where: `lanza` in `local` is the machine (or the cluster) that this server runs on."""

    vendor: str = "lanza"
    region: str = "local"


class Scaling(_Wire, frozen=True, kw_only=True):
    """How many replicas. Times: `scaleToZeroTimeout` in idle minutes, `scaleDownAfter` in calm seconds.

    `scaleToZeroTimeout` counts when `minReplica` is 0; None is 15 minutes. `measure` has one entry, a
    threshold for each replica by its `Measure`; None is that measure's own.
    """

    min_replica: int = 0
    max_replica: int = 1
    scale_to_zero_timeout: float | None = None
    scale_down_after: float = 300.0
    measure: dict[str, float | None] | None = None

    @property
    def idle_seconds(self) -> float:
        minutes = DEFAULT_IDLE_MINUTES if self.scale_to_zero_timeout is None else self.scale_to_zero_timeout
        return minutes * 60

    @property
    def measured(self) -> Measure:
        return Measure(next(iter(self.measure))) if self.measure else Measure.PENDING

    @property
    def threshold(self) -> float:
        given = next(iter(self.measure.values())) if self.measure else None
        return DEFAULT_THRESHOLDS[self.measured] if given is None else given


class Compute(_Wire, frozen=True, kw_only=True):
    """On which hardware. Empty strings are "what this server thinks best"."""

    accelerator: str = "cpu"
    instance_type: str = ""
    instance_size: str = ""
    scaling: Scaling = Scaling()


class CustomImage(_Wire, frozen=True, kw_only=True):
    """A program that speaks HTTP. `url` names an image where a platform has images; here `command` is run."""

    url: str = ""
    port: int = 80
    health_route: str = "/health"
    credentials: dict[str, str] | None = None


class Model(_Wire, frozen=True, kw_only=True):
    """What is served: a repository at a revision, by our own engine or by a program of its own.

    `image` has one entry: `{"huggingface": {}}` is served by Lanza's replica, `{"custom": ...}` by `command`
    and `args`, in which `{port}` stands for the port that the program is to listen on. `engine` is ours:
    onnx, transformers, handler, or None for the best.
    """

    repository: str
    framework: str = "pytorch"
    revision: str | None = None
    task: str | None = None
    image: dict[str, dict[str, Any]] = msgspec.field(default_factory=lambda: {"huggingface": {}})
    command: list[str] | None = None
    args: list[str] | None = None
    env: dict[str, str] = {}
    secrets: dict[str, str | None] = {}
    engine: str | None = None

    @property
    def custom(self) -> CustomImage | None:
        """The program of its own, if it is one."""
        found = self.image.get("custom")
        return None if found is None else msgspec.convert(found, CustomImage)

    @property
    def words(self) -> tuple[str, ...]:
        """The command line of a program of its own."""
        return (*(self.command or ()), *(self.args or ()))


class Budget(_Wire, frozen=True, kw_only=True):
    """Money that an endpoint may cost, in US dollars, in each `period`: day, month, or total."""

    amount: float
    period: str = "month"


class RateLimit(_Wire, frozen=True, kw_only=True):
    """Requests per second, of one token and of all; None: no bound. Twice as many may come in one burst."""

    per_token: float | None = None
    per_endpoint: float | None = None


class Route(_Wire, frozen=True, kw_only=True):
    """A further address of an endpoint; none is served here, so a spec that wants one is refused."""

    domain: str | None = None
    path: str | None = None


class EndpointSpec(_Wire, frozen=True, kw_only=True):
    """An endpoint. What Hugging Face's API has comes first, what is Lanza's own follows `platform`.

    `expires` is when it is removed. `retry`: a request whose replica died is given to another.
    `allowed_tokens` are accounts, or `account/token`. `cors` are origins of web pages, or "*". `concurrency`
    bounds requests at once, `deadline` the seconds of one, `start_timeout` those until a replica is ready.
    `webhook` is told of budget and failures. `safety` is refused until it exists.
    """

    name: str
    model: Model
    type: Security = Security.PROTECTED
    provider: Provider = Provider()
    compute: Compute = Compute()
    tags: list[str] = []
    cache_http_responses: bool = False
    route: Route | None = None
    private_service: dict[str, Any] | None = None

    platform: str = "local"
    budget: Budget | None = None
    expires: datetime | None = None
    retry: bool = True
    allowed_tokens: list[str] = []
    cors: list[str] = []
    rate_limit: RateLimit = RateLimit()
    concurrency: int | None = None
    deadline: float = 60.0
    start_timeout: float = 600.0
    webhook: str | None = None
    safety: dict[str, Any] | None = None


def kept(spec: EndpointSpec) -> dict[str, Any]:
    """The tree as the database has it."""
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    return tree
