"""Who calls, as a value: an account, what its token allows, and the rules that combine both.

The model: an account may do what its membership in a namespace allows (it is admin of its own); a token can
only take away from that. Roles are those of Hugging Face's tokens, and "admin" for this server's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lanza.errors import Forbidden, Unauthorized


class Scope(StrEnum):
    """What a token may be good for, in the words of Hugging Face's fine-grained tokens."""

    READ = "repo.content.read"
    WRITE = "repo.write"
    CALL = "inference.endpoints.infer.write"
    MANAGE = "inference.endpoints.write"
    ADMIN = "admin"


class Role(StrEnum):
    """A token's role."""

    READ = "read"
    WRITE = "write"
    FINE_GRAINED = "fine-grained"
    ADMIN = "admin"


_ROLE_SCOPES: Final[Mapping[Role, frozenset[Scope]]] = {
    Role.READ: frozenset({Scope.READ, Scope.CALL}),
    Role.WRITE: frozenset({Scope.READ, Scope.WRITE, Scope.CALL, Scope.MANAGE}),
    Role.FINE_GRAINED: frozenset(),
    Role.ADMIN: frozenset(Scope),
}

_MEMBER_SCOPES: Final[Mapping[str, frozenset[Scope]]] = {
    "read": frozenset({Scope.READ, Scope.CALL}),
    "write": frozenset({Scope.READ, Scope.WRITE, Scope.CALL, Scope.MANAGE}),
    "admin": frozenset({Scope.READ, Scope.WRITE, Scope.CALL, Scope.MANAGE}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a fine-grained token may do with one thing: `entity` is a namespace, or `namespace/name`."""

    entity: str
    scopes: frozenset[Scope]

    def covers(self, namespace: str, name: str | None) -> bool:
        mine = self.entity.lower()
        return mine == namespace.lower() or (name is not None and mine == f"{namespace}/{name}".lower())


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """A caller. `memberships` maps namespaces, in lower case, to roles in them, its own included.

    `admin` says that the account is an administrator of this server; its power needs a token of role admin.
    """

    account_id: int | None = None
    name: str = ""
    role: Role = Role.READ
    token_name: str = ""
    grants: tuple[Grant, ...] = ()
    memberships: Mapping[str, str] = field(default_factory=dict)
    admin: bool = False

    @property
    def anonymous(self) -> bool:
        return self.account_id is None

    @property
    def rules(self) -> bool:
        """Whether this is an administrator with a token that says so."""
        return self.admin and self.role is Role.ADMIN

    def may(self, scope: Scope, namespace: str, name: str | None = None) -> bool:
        """Whether the account and its token allow `scope` in a namespace, or for one repository there."""
        if self.rules:
            return True
        member = self.memberships.get(namespace.lower())
        if member is None or scope not in _MEMBER_SCOPES[member]:
            return False
        if self.role is not Role.FINE_GRAINED:
            return scope in _ROLE_SCOPES[self.role]
        return any(grant.covers(namespace, name) and scope in grant.scopes for grant in self.grants)

    def owns(self, namespace: str) -> bool:
        """Whether this may decide for a namespace: its user, an administrator of it, or the server's."""
        whole = self.role in (Role.WRITE, Role.ADMIN)
        return self.rules or (whole and self.memberships.get(namespace.lower()) == "admin")

    def require(self, scope: Scope, namespace: str, name: str | None = None) -> None:
        """Unauthorized for nobody, Forbidden for somebody who may not."""
        if self.may(scope, namespace, name):
            return
        if self.anonymous:
            raise Unauthorized("this needs a token: log in with `hf auth login`, or send one as Bearer.")
        where = f"{namespace}/{name}" if name else namespace
        member = self.memberships.get(namespace.lower())
        if member is None or scope not in _MEMBER_SCOPES[member]:
            role = "no member" if member is None else f"a member with the role {member}"
            raise Forbidden(
                f"{self.name} may not {_WORDS[scope]} {where}, being {role} of {namespace}: ask an "
                "administrator of it."
            )
        raise Forbidden(
            f"the token {self.token_name!r} of {self.name} has no right to {_WORDS[scope]} {where}: use one "
            "of role write, or a fine-grained one with that right."
        )


_WORDS: Final[Mapping[Scope, str]] = {
    Scope.READ: "read",
    Scope.WRITE: "write to",
    Scope.CALL: "call endpoints of",
    Scope.MANAGE: "manage endpoints of",
    Scope.ADMIN: "administer",
}

ANONYMOUS: Final = Principal()
