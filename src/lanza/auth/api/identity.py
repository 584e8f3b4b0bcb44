"""Who am I, and who is that: as Hugging Face's clients ask and read it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from lanza.auth import accounts, tokens
from lanza.auth.api.dependencies import CallerDep, PartsDep, moment
from lanza.auth.principal import Principal, Role
from lanza.auth.records import Account
from lanza.errors import Unauthorized

router: Final = APIRouter()

# Clients that need to write look for the word "write"; they have none for an administrator's token.
_ROLES: Final = {
    Role.READ: "read",
    Role.WRITE: "write",
    Role.FINE_GRAINED: "fineGrained",
    Role.ADMIN: "write",
}


@router.get("/api/whoami-v2")
def who_am_i(parts: PartsDep, caller: CallerDep) -> Response:
    """The caller's account, its organizations and the token that was shown."""
    with parts.database.reading() as session:
        account = None if caller.account_id is None else session.get(Account, caller.account_id)
        if account is None:
            raise Unauthorized("nobody is logged in: log in with `hf auth login`, or send a token as Bearer.")
        return JSONResponse(_self(session, account, caller), headers={"Cache-Control": "no-store"})


@router.get("/api/users/{name}/overview")
def user(parts: PartsDep, caller: CallerDep, name: str) -> dict[str, Any]:
    """A user. The organizations of others are told only to who is logged in."""
    with parts.database.reading() as session:
        account = accounts.get(session, name, "user")
        orgs = [] if caller.anonymous else [_org(org) for org, _ in accounts.orgs_of(session, account)]
        return {**_user(account), "orgs": orgs}


@router.get("/api/organizations/{name}/overview")
def organization(parts: PartsDep, name: str) -> dict[str, Any]:
    """An organization, and how many members it has."""
    with parts.database.reading() as session:
        org = accounts.get(session, name, "org")
        return {**_org(org), "type": "org", "numUsers": len(accounts.members_of(session, org))}


@router.get("/api/organizations/{name}/members")
def members(parts: PartsDep, caller: CallerDep, name: str) -> list[dict[str, Any]]:
    """The members of an organization, for who is logged in."""
    if caller.anonymous:
        raise Unauthorized("members are shown to who is logged in: log in with `hf auth login`.")
    with parts.database.reading() as session:
        found = accounts.members_of(session, accounts.get(session, name, "org"))
        return [{**_user(member), "role": role} for member, role in found]


def _self(session: Session, account: Account, caller: Principal) -> dict[str, Any]:
    return {
        "type": "user",
        "id": str(account.id),
        "name": account.name,
        "fullname": account.full_name or account.name,
        "email": account.email,
        "emailVerified": False,
        "canPay": False,
        "isPro": False,
        "isAdmin": caller.rules,
        "avatarUrl": "",
        "orgs": [
            {**_org(org), "type": "org", "id": str(org.id), "roleInOrg": role}
            for org, role in accounts.orgs_of(session, account)
        ],
        "auth": {"type": "access_token", "accessToken": _token(session, account, caller)},
    }


def _token(session: Session, account: Account, caller: Principal) -> dict[str, Any]:
    shown: dict[str, Any] = {"displayName": caller.token_name, "role": _ROLES[caller.role]}
    token = tokens.find(session, account, caller.token_name)
    if token is not None:
        shown["createdAt"] = moment(token.created_at)
    if caller.role is Role.FINE_GRAINED:
        shown["fineGrained"] = {"canReadGatedRepos": True, "global": [], "scoped": _scoped(account, caller)}
    return shown


def _scoped(account: Account, caller: Principal) -> list[dict[str, Any]]:
    def kind(entity: str) -> str:
        if "/" in entity:
            return "model"
        return "user" if entity.lower() == account.key else "org"

    return [
        {
            "entity": {"_id": grant.entity.lower(), "type": kind(grant.entity), "name": grant.entity},
            "permissions": sorted(grant.scopes),
        }
        for grant in caller.grants
    ]


def _user(account: Account) -> dict[str, Any]:
    return {
        "type": "user",
        "user": account.name,
        "fullname": account.full_name or account.name,
        "avatarUrl": "",
        "isPro": False,
        "isFollowing": False,
    }


def _org(org: Account) -> dict[str, Any]:
    return {"name": org.name, "fullname": org.full_name or org.name, "avatarUrl": "", "isEnterprise": False}
