"""What each namespace stores, for administrators: `lanza users ls` and `lanza orgs ls` show it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from lanza.auth.api.dependencies import require_rules
from lanza.hub import repos
from lanza.hub.api.dependencies import CallerDep, HubDep

router = APIRouter()


@router.get("/api/lanza/usage")
def usage(hub: HubDep, caller: CallerDep) -> list[dict[str, Any]]:
    """What each namespace stores in bytes, and may."""
    require_rules(caller)
    with hub.database.reading() as session:
        return [asdict(one) for one in repos.usage(session, hub)]
