"""What a namespace refuses in pushes: its members may read it, its owner may set it (`lanza policy`)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from sqlalchemy.orm import Session

from lanza.auth import accounts
from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.errors import Forbidden
from lanza.hub.api.dependencies import CallerDep, HubDep, json_body
from lanza.hub.hub import Hub
from lanza.hub.policy import checked_kinds, policy_of

router = APIRouter(prefix="/api/lanza/namespaces")


class WantedPolicy(msgspec.Struct, forbid_unknown_fields=True):
    """Kinds of findings to refuse: all that the namespace itself refuses from now on."""

    refuse: list[str]


@router.get("/{namespace}/policy")
def read_policy(hub: HubDep, caller: CallerDep, namespace: str) -> dict[str, Any]:
    """What pushes to a namespace may not bring."""
    with hub.database.reading() as session:
        return _shown(hub, _owner(session, caller, namespace))


@router.put("/{namespace}/policy")
def set_policy(
    hub: HubDep,
    caller: CallerDep,
    namespace: str,
    wanted: Annotated[WantedPolicy, json_body(WantedPolicy)],
) -> dict[str, Any]:
    """Refuse these kinds of findings in a namespace, and no others but those that the server refuses."""
    refused = checked_kinds(wanted.refuse)
    with hub.database.writing() as session:
        owner = _owner(session, caller, namespace)
        if not caller.owns(owner.name):
            raise Forbidden(
                f"what {owner.name} refuses is for its owner to say, or an administrator, with a token of "
                "role write or admin."
            )
        owner.refused = sorted(refused)
        return _shown(hub, owner)


def _owner(session: Session, caller: Principal, namespace: str) -> Account:
    caller.require(Scope.READ, namespace)
    return accounts.get(session, namespace)


def _shown(hub: Hub, owner: Account) -> dict[str, Any]:
    policy = policy_of(hub, owner)
    return {
        "namespace": owner.name,
        "refuse": sorted(policy.namespace),
        "refused_by_server": sorted(policy.server),
    }
