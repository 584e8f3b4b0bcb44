"""From a tree to a spec: read, changed, and refused where it makes no sense.

The model: `read_spec` is the only way in. Types are msgspec's to check, names and ranges are checked here, so
that what is stored is what can be. Whether the repository exists and the hardware is there is for others to
say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Any, Final

import msgspec

from lanza.endpoints.spec import LONGEST_NAME, MOST_REPLICAS, EndpointSpec, Measure, Model, Scaling
from lanza.errors import BadRequest, NotYet
from lanza.models.choice import ENGINES
from lanza.models.heads import TASKS

CUSTOM_TASK: Final = "custom"
"""The task of a handler.py."""
MOST_VARIABLES: Final = 200
LONGEST_VARIABLE: Final = 32 * 1024

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = re.compile(r"LANZA_|LD_|PYTHON(HOME|PATH|STARTUP)$")
"""Variables that a replica is started with, or that would change which program is run."""
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+/?")
_WEBHOOK: Final = re.compile(r"https?://[^\s/?#]")
_CALLER: Final = re.compile(r"[^\s/*]+(/[^/]+)?")


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
    elif "custom" in model.image:
        wrong += _wrong_program(model)
    else:
        wrong += _wrong_replica(model)
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


def _wrong_program(model: Model) -> list[str]:
    """Of a program of its own, which does what it likes."""
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


def _wrong_replica(model: Model) -> list[str]:
    """Of Lanza's own replica. It would say so itself, but only once it was started."""
    wrong = []
    if model.words:
        wrong.append("model.command goes with a custom image: leave it out.")
    if model.engine is not None and model.engine not in ENGINES:
        wrong.append(f"there is no engine {model.engine!r} here; there are: {', '.join(ENGINES)}.")
    known = sorted({*TASKS, CUSTOM_TASK})
    if model.task is not None and model.task not in known:
        nearest = get_close_matches(model.task.lower(), known, n=1, cutoff=0.5)
        meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
        wrong.append(
            f"model.task: there is no task {model.task[:80]!r} here; there are: {', '.join(known)}.{meant}"
        )
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
