"""Tokens over HTTP: what `lanza tokens` calls.

Everybody manages their own, with a token of role write or admin, and administrators those of others too. No
token makes one that could do more than itself, or for longer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from lanza.auth import accounts, tokens
from lanza.auth.api.dependencies import CallerDep, PartsDep, TrailDep, json_body, moment, require_rules
from lanza.auth.grants import read_grant
from lanza.auth.principal import Principal, Role
from lanza.auth.records import Account, Token
from lanza.errors import Forbidden, Unauthorized

router: Final = APIRouter(prefix="/api/lanza")


class NewGrant(msgspec.Struct, forbid_unknown_fields=True):
    """What a fine-grained token may do with a namespace, or with `namespace/name`."""

    entity: str
    scopes: list[str]


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """A token to issue; for `user`, when an administrator asks."""

    name: str
    role: Role = Role.READ
    grants: list[NewGrant] = []
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    user: str | None = None


@router.get("/tokens")
def list_tokens(parts: PartsDep, caller: CallerDep, user: str | None = None) -> list[dict[str, Any]]:
    """The tokens of the caller, or of `user`: what they are for, not their values."""
    with parts.database.reading() as session:
        return [_token(token) for token in tokens.all_of(session, _owner(session, caller, user))]


@router.post("/tokens")
def issue_token(
    parts: PartsDep, caller: CallerDep, trail: TrailDep, wanted: Annotated[NewToken, json_body(NewToken)]
) -> Response:
    """A new token. Its value is in this answer, and nowhere else ever."""
    with parts.database.writing() as session:
        account = _owner(session, caller, wanted.user)
        token, value = tokens.issue(
            session,
            account,
            name=wanted.name,
            role=_allowed_role(caller, wanted.role),
            grants=[read_grant(grant.entity, grant.scopes) for grant in wanted.grants],
            expires_at=_allowed_expiry(session, caller, wanted.expires_at),
        )
        expires = moment(token.expires_at)
        trail.note(session, "token.create", f"{account.name}/{token.name}", role=token.role, expires=expires)
        answer = {**_token(token), "user": account.name, "token": value}
    return JSONResponse(answer, status_code=201, headers={"Cache-Control": "no-store"})


@router.delete("/tokens/{name}", status_code=204)
def revoke_token(
    parts: PartsDep, caller: CallerDep, trail: TrailDep, name: str, user: str | None = None
) -> None:
    """Make a token worthless. Any token may do this to itself."""
    with parts.database.writing() as session:
        account = _owner(session, caller, user, revoking=name)
        tokens.revoke(session, account, name)
        trail.note(session, "token.revoke", f"{account.name}/{name}")
    parts.authenticator.forget()


def _owner(session: Session, caller: Principal, user: str | None, *, revoking: str | None = None) -> Account:
    """Whose tokens the caller means, once it is clear that they may manage them."""
    if caller.anonymous:
        raise Unauthorized("this needs a token: log in with `lanza login`, or send one as Bearer.")
    if user is not None and user.lower() != caller.name.lower():
        require_rules(caller)
        return accounts.get(session, user, "user")
    if caller.role not in (Role.WRITE, Role.ADMIN) and revoking != caller.token_name:
        raise Forbidden(
            f"the token {caller.token_name!r} has the role {caller.role}, and tokens are managed with one of "
            "role write."
        )
    return accounts.get(session, caller.name, "user")


def _allowed_role(caller: Principal, role: Role) -> Role:
    if role is Role.ADMIN:
        require_rules(caller)
    return role


def _allowed_expiry(session: Session, caller: Principal, wanted: datetime | None) -> datetime | None:
    """When the new token may expire: no later than the one that asks for it."""
    issuer = tokens.find(session, accounts.get(session, caller.name), caller.token_name)
    latest = None if issuer is None else issuer.expires_at
    if wanted is not None and latest is not None and wanted > latest:
        raise Forbidden(
            f"the token {caller.token_name!r} expires on {latest:%Y-%m-%d}, and makes none that outlives it: "
            "choose an earlier moment, or use a token that lasts longer."
        )
    return latest if wanted is None else wanted


def _token(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "hint": token.hint,
        "grants": token.grants,
        "created_at": moment(token.created_at),
        "expires_at": moment(token.expires_at),
        "last_used_at": moment(token.last_used_at),
    }
