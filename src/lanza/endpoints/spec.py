"""What an endpoint is asked to be: one tree of values, as Hugging Face's clients send it, and ours beside it.

The model: `endpoint.yaml`, the body of `POST /v2/endpoint/{namespace}` and what the database keeps are this
one tree, in camel case. `read_spec` is the only way in: types, names and ranges are checked there. Whether
the repository exists and the hardware is there is for others to say. Secrets are in a spec only on their way
in (`secrets.py` takes them out); what is kept and shown has their names alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from itertools import chain
from typing import Any, Final

import msgspec

from lanza.errors import BadRequest, NotYet
from lanza.models.heads import TASKS

LONGEST_NAME: Final = 64
CUSTOM_TASK: Final = "custom"
"""The task of a handler.py."""
MOST_REPLICAS: Final = 100
MOST_VARIABLES: Final = 200
LONGEST_VARIABLE: Final = 32 * 1024
DEFAULT_IDLE_MINUTES: Final = 15.0
ENGINES: Final = ("onnx", "transformers", "handler")
"""The engines of Lanza's own replica, as a spec names them."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = re.compile(r"LANZA_|LD_|PYTHON(HOME|PATH|STARTUP)$")
"""Variables that a replica is started with, or that would change which program is run."""
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+/?")
_WEBHOOK: Final = re.compile(r"https?://[^\s/?#]")
_CALLER: Final = re.compile(r"[^\s/*]+(/[^/]+)?")


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


def read_spec(tree: Any) -> EndpointSpec:
    """The spec in decoded JSON or YAML. BadRequest names the field that is wrong; NotYet what is to come."""
    if isinstance(tree, Mapping) and tree.get("safety") is not None:
        raise NotYet("a safety policy cannot be kept yet: leave `safety` out, and moderate in the caller.")
    try:
        spec = msgspec.convert(tree, EndpointSpec)
    except msgspec.ValidationError as error:
        raise BadRequest(_printable(f"this is no endpoint: {_located(str(error))}.")) from error
    checks = (
        _wrong_names(spec),
        _wrong_scaling(spec.compute.scaling),
        _wrong_model(spec.model),
        _wrong_rest(spec),
    )
    for wrong in chain.from_iterable(checks):
        raise BadRequest(_printable(wrong))
    return spec


def merged(current: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with some fields changed: objects field by field, but those whose keys are names as a whole.

    None takes a field away, so that it has its default again.
    """
    result = dict(current)
    for name, value in change.items():
        before = result.get(name)
        if isinstance(value, Mapping) and name not in _WHOLE:
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        elif value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


_WHOLE: Final = frozenset({"image", "env", "secrets", "measure"})


def kept(spec: EndpointSpec) -> dict[str, Any]:
    """The tree as the database has it."""
    tree: dict[str, Any] = msgspec.to_builtins(spec)
    return tree


def _printable(text: str) -> str:
    """Names in it are anybody's, and it is shown in headers, logs and terminals."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _located(text: str) -> str:
    """msgspec's complaint with the field first: `$.compute.scaling` is what people wrote."""
    what, _, where = text.partition(" - at `$")
    return (
        f"`{where.rstrip('`').lstrip('.')}`: {what[0].lower()}{what[1:]}"
        if where
        else what[0].lower() + what[1:]
    )


def _wrong_names(spec: EndpointSpec) -> list[str]:
    wrong = []
    if not _NAME.fullmatch(spec.name) or len(spec.name) > LONGEST_NAME:
        wrong.append(
            f"{spec.name!r} cannot be the name of an endpoint: use 1 to {LONGEST_NAME} small letters, digits "
            "and '-', beginning and ending with a letter or digit."
        )
    if spec.model.repository.count("/") != 1:
        wrong.append(f"model.repository is namespace/name: not {spec.model.repository!r}.")
    return wrong


def _wrong_scaling(scaling: Scaling) -> list[str]:
    low, high, idle = scaling.min_replica, scaling.max_replica, scaling.scale_to_zero_timeout
    wrong = []
    if not 0 <= low <= high:
        wrong.append(f"minReplica is from 0 to maxReplica: {low} and {high} do not fit.")
    if not 1 <= high <= MOST_REPLICAS:
        wrong.append(f"maxReplica is from 1 to {MOST_REPLICAS}: not {high}.")
    if idle is not None and not 0 < idle < math.inf:
        wrong.append(
            "scaleToZeroTimeout is in minutes, and more than 0: set minReplica to 1 to keep one running."
        )
    if not 0 <= scaling.scale_down_after < math.inf:
        wrong.append("scaleDownAfter is in seconds, and not negative.")
    if scaling.measure is not None and (
        len(scaling.measure) != 1 or next(iter(scaling.measure)) not in set(Measure)
    ):
        wrong.append(f"scaling.measure has one entry, by {', '.join(Measure)}.")
    elif not 0 < scaling.threshold < math.inf:
        wrong.append(f"the threshold of {scaling.measured} is more than 0.")
    elif scaling.measured is Measure.HARDWARE and scaling.threshold > 100:
        wrong.append(f"hardwareUsage is in percent of what a replica has: never {scaling.threshold:g}.")
    return wrong


def _wrong_model(model: Model) -> list[str]:
    wrong = []
    if len(model.image) != 1:
        wrong.append('model.image has one entry: {"huggingface": {}} or {"custom": {...}}.')
    elif not {"huggingface", "custom"} >= set(model.image):
        kind = next(iter(model.image))
        wrong.append(
            f"there are no containers here, so no image of {kind}: install it, and give its command line as "
            f'model.command with image {{"custom": {{"port": 8000, "healthRoute": "/health"}}}}.'
        )
    else:
        wrong += _wrong_program(model) + _wrong_task(model)
    for name, value in (*model.env.items(), *model.secrets.items()):
        if not _VARIABLE.fullmatch(name) or _OURS.match(name):
            wrong.append(f"{name!r} cannot be an endpoint's variable: it is no name, or one of the system's.")
        elif value is not None and (len(value) > LONGEST_VARIABLE or "\0" in value):
            wrong.append(f"the value of {name} is no text of up to {LONGEST_VARIABLE:,} characters.")
    if len(model.env) + len(model.secrets) > MOST_VARIABLES:
        wrong.append(f"an endpoint has at most {MOST_VARIABLES} variables.")
    if both := model.env.keys() & model.secrets.keys():
        wrong.append(f"{min(both)} is in model.env and in model.secrets: leave it in one of them.")
    return wrong


def _wrong_task(model: Model) -> list[str]:
    """A program of its own and a handler do what they like: what clients call that is `custom`."""
    known = sorted({*TASKS, CUSTOM_TASK})
    if model.task is None or model.task in known or "custom" in model.image:
        return []
    nearest = get_close_matches(model.task.lower(), known, n=1, cutoff=0.5)
    meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return [f"model.task: there is no task {model.task[:80]!r} here; there are: {', '.join(known)}.{meant}"]


def _wrong_program(model: Model) -> list[str]:
    if "custom" not in model.image:
        return _wrong_engine(model)
    try:
        custom = model.custom
    except msgspec.ValidationError as error:
        return [f"model.image.custom: {_located(str(error))}."]
    assert custom is not None
    wrong = []
    if not model.words:
        wrong.append("there are no containers here: say which program to run in model.command.")
    if any("\0" in word for word in model.words):
        wrong.append("model.command has a character that no command line can.")
    if not 1 <= custom.port <= 65535:
        wrong.append(f"model.image.custom.port is from 1 to 65535: not {custom.port}.")
    return wrong


def _wrong_engine(model: Model) -> list[str]:
    """Of Lanza's own replica. It would say so itself, but only once it was started."""
    wrong = []
    if model.words:
        wrong.append("model.command goes with a custom image: leave it out.")
    if model.engine is not None and model.engine not in ENGINES:
        wrong.append(f"there is no engine {model.engine!r} here; there are: {', '.join(ENGINES)}.")
    return wrong


def _wrong_callers(spec: EndpointSpec) -> list[str]:
    """Names and origins that nobody can have, so that a slip of the pen is no closed door."""
    return [
        *(
            f"allowedTokens names accounts, or account/token: not {name!r}."
            for name in spec.allowed_tokens
            if not _CALLER.fullmatch(name)
        ),
        *(
            f'cors has origins such as https://app.example.org, or "*": not {origin!r}.'
            for origin in spec.cors
            if origin != "*" and not _ORIGIN.fullmatch(origin)
        ),
    ]


def _wrong_rest(spec: EndpointSpec) -> list[str]:
    wrong = _wrong_callers(spec)
    if spec.budget is not None:
        if not 0 < spec.budget.amount < math.inf:
            wrong.append(f"budget.amount is in dollars, and more than 0: not {spec.budget.amount:g}.")
        if spec.budget.period not in ("day", "month", "total"):
            wrong.append(f"budget.period is day, month or total: not {spec.budget.period!r}.")
    if spec.expires is not None and spec.expires.tzinfo is None:
        wrong.append("expires needs its zone: 2027-01-31T12:00:00Z.")
    elif spec.expires is not None and not 1970 <= spec.expires.year < 9999:
        wrong.append(f"expires is a moment of our time: not in the year {spec.expires.year}.")
    for name, value in (
        ("deadline", spec.deadline),
        ("startTimeout", spec.start_timeout),
        ("concurrency", spec.concurrency),
        ("rateLimit.perToken", spec.rate_limit.per_token),
        ("rateLimit.perEndpoint", spec.rate_limit.per_endpoint),
    ):
        if value is not None and not 0 < value < math.inf:
            wrong.append(f"{name} is more than 0: not {value:g}.")
    if spec.route is not None and (spec.route.domain or spec.route.path):
        wrong.append("route: endpoints have no further addresses here; put a proxy in front for that.")
    if spec.webhook is not None and not _WEBHOOK.match(spec.webhook):
        wrong.append("webhook is an address, http:// or https:// and a host.")
    return wrong
