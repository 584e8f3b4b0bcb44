"""Endpoints, hardware and the catalog as JSON that Hugging Face's clients read; what is ours is in `lanza`.

Pure. An endpoint is its spec's tree, with what was chosen where that left it open. Clients fail when some
fields are missing (`healthRoute`, `model.task`, `status.createdAt`, ...), show `status.url` as the address to
call, and treat what they do not know as text. No value of a secret comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lanza.auth.api.dependencies import moment
from lanza.endpoints.catalog import ENGINE, recipe_id
from lanza.endpoints.control import View
from lanza.endpoints.estimate import Estimate
from lanza.endpoints.forecast import Forecast
from lanza.endpoints.platform import Instance
from lanza.endpoints.points import Step
from lanza.endpoints.records import Replica, Revision
from lanza.endpoints.repositories import Listed
from lanza.endpoints.spec import EndpointSpec, kept
from lanza.endpoints.states import LIVE, Phase, State
from lanza.endpoints.store import base_of

_CALLABLE: Final = frozenset({State.RUNNING, State.UPDATING, State.UPDATE_FAILED, State.SCALED_TO_ZERO})


def described(view: View, server: str) -> dict[str, Any]:
    """An endpoint. `server` is this server's address as the client knows it."""
    spec = view.spec
    tree = kept(spec)
    model = {**tree["model"], "revision": view.revision.commit, "secrets": dict.fromkeys(spec.model.secrets)}
    return {
        **tree,
        "provider": _provider(spec, view.instance),
        "compute": _compute(tree["compute"], view.instance),
        "model": {name: value for name, value in model.items() if name not in ("command", "args") or value},
        "status": _status(view, server),
        "healthRoute": "/health" if spec.model.custom is None else spec.model.custom.health_route,
        "lanza": _ours(view, server),
    }


def address(server: str, namespace: str, name: str) -> str:
    """Where an endpoint is called."""
    return f"{server}/endpoints/{namespace}/{name}"


def _provider(spec: EndpointSpec, instance: Instance) -> dict[str, str]:
    return {
        "vendor": spec.provider.vendor or instance.vendor,
        "region": spec.provider.region or instance.region,
    }


def _compute(tree: Mapping[str, Any], instance: Instance) -> dict[str, Any]:
    """What was asked for; where that was nothing in particular, what was chosen."""
    return {
        **tree,
        "id": instance.id,
        "accelerator": tree["accelerator"] or instance.accelerator,
        "instanceType": tree["instanceType"] or instance.type,
        "instanceSize": tree["instanceSize"] or instance.size,
    }


def _status(view: View, server: str) -> dict[str, Any]:
    endpoint = view.endpoint
    ready = sum(it.phase == Phase.READY.value for it in view.replicas)
    live = sum(it.phase in LIVE for it in view.replicas)
    least = view.spec.compute.scaling.min_replica
    rests = endpoint.state in (State.PAUSED, State.SCALED_TO_ZERO, State.FAILED)
    by = {"id": endpoint.created_by, "name": endpoint.created_by}
    status = {
        "state": endpoint.state,
        "message": "  ".join(it for it in (endpoint.message, view.revision.warning) if it),
        "createdAt": moment(endpoint.created_at),
        "createdBy": by,
        "updatedAt": moment(endpoint.updated_at),
        "updatedBy": {"id": view.revision.created_by, "name": view.revision.created_by},
        "private": None,
        "readyReplica": ready,
        "targetReplica": live if rests else max(1, least, live),
    }
    if endpoint.state in _CALLABLE or (endpoint.serving is not None and not rests):
        status["url"] = address(server, endpoint.namespace, endpoint.name)
    return status


def _ours(view: View, server: str) -> dict[str, Any]:
    """What no spec says."""
    endpoint = view.endpoint
    return {
        "namespace": endpoint.namespace,
        "url": address(server, endpoint.namespace, endpoint.name),
        "revision": endpoint.revision,
        "serving": endpoint.serving,
        "branch": view.spec.model.revision,
        "base": _base(view.revision),
        "warning": view.revision.warning,
        "serverless": endpoint.serverless,
        "lastRequestAt": moment(endpoint.last_request_at),
        "pricePerHour": view.instance.price_per_hour,
        "instance": hardware_of(view.instance),
    }


def _base(row: Revision) -> dict[str, str] | None:
    """What an adapter is put on."""
    base = base_of(row)
    if base is None:
        return None
    return {"repository": base.name, "revision": base.revision, "commit": base.commit}


def replica_of(row: Replica) -> dict[str, Any]:
    """A replica; not where it listens."""
    return {
        "id": row.id,
        "revision": row.revision,
        "platform": row.platform,
        "phase": row.phase,
        "startedAt": moment(row.started_at),
        "readyAt": moment(row.ready_at),
    }


def revision_of(row: Revision, *, current: int, serving: int | None) -> dict[str, Any]:
    """A revision, with the names of its secrets."""
    return {
        "number": row.number,
        "current": row.number == current,
        "serving": row.number == serving,
        "commit": row.commit,
        "base": _base(row),
        "createdAt": moment(row.created_at),
        "createdBy": row.created_by,
        "warning": row.warning,
        "spec": row.spec,
    }


def point_of(step: Step) -> dict[str, Any]:
    """What happened in some minutes, from `at` on. `seconds` are those of all requests together."""
    return {
        "at": moment(datetime.fromtimestamp(step.minute * 60, UTC)),
        "requests": step.requests,
        "errors": step.errors,
        "seconds": step.seconds,
        "slowest": step.slowest,
        "replicas": step.replicas,
        "cost": step.cost,
    }


def hardware_of(instance: Instance) -> dict[str, Any]:
    """One kind of hardware. All of it is anybody's, so the quota is as large as clients need it to be."""
    gib = instance.memory_bytes / 2**30
    return {
        "id": instance.id,
        "accelerator": instance.accelerator,
        "instanceType": instance.type,
        "instanceSize": instance.size,
        "architecture": instance.architecture,
        "numAccelerators": max(1, instance.accelerators),
        "numCpus": max(1, round(instance.cpus)),
        "memoryGb": round(gib, 1),
        "gpuMemoryGb": None,
        "pricePerHour": instance.price_per_hour,
        "priceAsOf": instance.price_as_of,
        "status": "available",
        "quota": {"maxAccelerators": 1000, "usedAccelerators": 0},
    }


def hardware(instances: Iterable[Instance]) -> dict[str, Any]:
    """All of it, by vendor and region."""
    regions: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for it in instances:
        regions.setdefault(it.vendor, {}).setdefault(it.region, []).append(hardware_of(it))
    return {
        "vendors": [
            {
                "name": vendor,
                "regions": [{"name": region, "computes": computes} for region, computes in each.items()],
            }
            for vendor, each in regions.items()
        ]
    }


def forecast(found: Forecast) -> dict[str, Any]:
    """What an endpoint would cost, in US dollars."""
    scaling = found.spec.compute.scaling
    budget = found.spec.budget
    suggestion = found.suggestion
    return {
        **_plan(found.instance, scaling.min_replica, scaling.max_replica, found.month),
        "budget": None if budget is None else {"amount": budget.amount, "period": budget.period},
        "suggestion": _plan(
            suggestion.instance, suggestion.min_replica, suggestion.max_replica, found.suggested
        ),
        "warnings": list(found.warnings),
    }


def _plan(instance: Instance, least: int, most: int, month: Estimate) -> dict[str, Any]:
    return {
        "instanceType": instance.type,
        "instanceSize": instance.size,
        "minReplica": least,
        "maxReplica": most,
        "pricePerHour": month.price_per_hour,
        "priceAsOf": month.price_as_of,
        "month": {
            "idle": month.idle,
            "expected": month.expected,
            "worst": month.worst,
            "replicaHours": month.replica_hours,
            "starts": month.starts,
        },
    }


def catalog(models: Iterable[tuple[Listed, Sequence[Instance]]]) -> dict[str, Any]:
    """Models that can be deployed, each with one recipe for each hardware."""
    return {"items": [_item(model, instances) for model, instances in models]}


def _item(model: Listed, instances: Sequence[Instance]) -> dict[str, Any]:
    author, _, name = model.name.partition("/")
    recipes = [
        {
            "publicId": recipe_id(model.repo_id, it),
            "accelerator": it.accelerator,
            "engineType": ENGINE,
            "ggufFile": None,
            "revision": None,
        }
        for it in instances
    ]
    return {
        "repoId": model.name,
        "modelName": name,
        "authorName": author,
        "license": model.license,
        "task": model.task,
        "createdAt": moment(model.created_at),
        "recipes": recipes,
    }
