"""Users, organizations and their members over HTTP: what `lanza users` and `lanza orgs` call.

They are for administrators of the server; who belongs to an organization is for its own as well.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter
from msgspec import UNSET, UnsetType

from lanza.auth import accounts
from lanza.auth.api.dependencies import (
    CallerDep,
    Parts,
    PartsDep,
    TrailDep,
    json_body,
    moment,
    require_rules,
)
from lanza.auth.audit import Trail
from lanza.auth.records import Account

router: Final = APIRouter(prefix="/api/lanza")

Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to make. Without a password they cannot log in in a browser."""

    name: str
    password: str | None = None
    admin: bool = False
    email: str | None = None
    full_name: str = ""


class UserChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change of a user; of an organization, the quota. A quota of null is the server's own."""

    password: str | UnsetType = UNSET
    admin: bool | UnsetType = UNSET
    quota_bytes: Bytes | UnsetType | None = UNSET


class NewOrg(msgspec.Struct, forbid_unknown_fields=True):
    """An organization to make, with its first administrator: the caller, if nobody is named."""

    name: str
    owner: str | None = None
    full_name: str = ""


class NewMember(msgspec.Struct, forbid_unknown_fields=True):
    """What a user is to be in an organization."""

    role: Literal["read", "write", "admin"]


@router.get("/users")
def list_accounts(parts: PartsDep, caller: CallerDep) -> list[dict[str, Any]]:
    """All users and organizations."""
    require_rules(caller)
    with parts.database.reading() as session:
        return [_account(account) for account in accounts.all_accounts(session)]


@router.post("/users", status_code=201)
def make_user(
    parts: PartsDep, caller: CallerDep, trail: TrailDep, wanted: Annotated[NewUser, json_body(NewUser)]
) -> dict[str, Any]:
    """A new user."""
    require_rules(caller)
    with parts.database.writing() as session:
        user = accounts.create_user(
            session,
            wanted.name,
            password=wanted.password,
            admin=wanted.admin,
            email=wanted.email,
            full_name=wanted.full_name,
        )
        trail.note(session, "account.create", user.name, kind="user", admin=user.admin)
        return _account(user)


@router.patch("/users/{name}")
def change_account(
    parts: PartsDep,
    caller: CallerDep,
    trail: TrailDep,
    name: str,
    wanted: Annotated[UserChanges, json_body(UserChanges)],
) -> dict[str, Any]:
    """A new password, more or less power, another quota."""
    require_rules(caller)
    with parts.database.writing() as session:
        account = accounts.get(session, name)
        if wanted.password is not UNSET:
            accounts.set_password(account, wanted.password)
        if wanted.admin is not UNSET:
            accounts.set_admin(session, account, wanted.admin)
        if wanted.quota_bytes is not UNSET:
            account.quota_bytes = wanted.quota_bytes
        fields = [it for it in wanted.__struct_fields__ if getattr(wanted, it) is not UNSET]
        trail.note(session, "account.update", account.name, fields=fields, admin=account.admin)
        changed = _account(account)
    parts.authenticator.forget()
    return changed


@router.delete("/users/{name}", status_code=204)
def remove_account(parts: PartsDep, caller: CallerDep, trail: TrailDep, name: str) -> None:
    """Remove a user or an organization with tokens and repositories."""
    require_rules(caller)
    _remove(parts, trail, name)


@router.post("/orgs", status_code=201)
def make_org(
    parts: PartsDep, caller: CallerDep, trail: TrailDep, wanted: Annotated[NewOrg, json_body(NewOrg)]
) -> dict[str, Any]:
    """A new organization."""
    require_rules(caller)
    with parts.database.writing() as session:
        owner = accounts.get(session, wanted.owner or caller.name, "user")
        org = _account(accounts.create_org(session, wanted.name, owner=owner, full_name=wanted.full_name))
        trail.note(session, "account.create", wanted.name, kind="org", owner=owner.name)
    parts.authenticator.forget()
    return org


@router.delete("/orgs/{org}", status_code=204)
def remove_org(parts: PartsDep, caller: CallerDep, trail: TrailDep, org: str) -> None:
    """Remove an organization with its repositories."""
    require_rules(caller)
    _remove(parts, trail, org, "org")


def _remove(parts: Parts, trail: Trail, name: str, kind: str | None = None) -> None:
    with parts.database.writing() as session:
        account = accounts.get(session, name, kind)
        trail.note(session, "account.remove", account.name)
        finish = parts.leaving(session, account)
        accounts.remove(session, account.name)
    parts.authenticator.forget()
    finish()


@router.put("/orgs/{org}/members/{user}", status_code=204)
def set_member(
    parts: PartsDep,
    trail: TrailDep,
    org: str,
    user: str,
    wanted: Annotated[NewMember, json_body(NewMember)],
) -> None:
    """Make a user a member of an organization, or change what they may do there."""
    _change_member(parts, trail, org, user, wanted.role)


@router.delete("/orgs/{org}/members/{user}", status_code=204)
def remove_member(parts: PartsDep, trail: TrailDep, org: str, user: str) -> None:
    """Make a user no member any more."""
    _change_member(parts, trail, org, user, None)


def _change_member(parts: Parts, trail: Trail, org: str, user: str, role: str | None) -> None:
    if not trail.caller.owns(org):
        require_rules(trail.caller)
    with parts.database.writing() as session:
        member = accounts.get(session, user, "user")
        accounts.set_member(session, accounts.get(session, org, "org"), member, role)
        trail.note(session, "member.set" if role else "member.remove", org, user=member.name, role=role)
    parts.authenticator.forget()


def _account(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "kind": account.kind,
        "full_name": account.full_name,
        "email": account.email,
        "admin": account.admin,
        "quota_bytes": account.quota_bytes,
        "created_at": moment(account.created_at),
    }
