"""Who may call an endpoint: a pure function of what it says, who asks, and from where.

That an endpoint exists is no secret here: without a token for it the answer is 401 or 403, not 404, for "no
such endpoint" sends people to look for a typing error when what they lack is a right. Lists show only what
the caller may call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from lanza.auth.principal import Principal, Role, Scope
from lanza.endpoints.spec import Security
from lanza.errors import Forbidden, Unauthorized
from lanza.gateway.settings import Network
from lanza.gateway.targets import Target


def check_caller(target: Target, caller: Principal, address: str, internal: Sequence[Network]) -> None:
    """Unauthorized for nobody, Forbidden for somebody who may not."""
    if target.security is Security.PUBLIC:
        return
    if caller.anonymous:
        raise Unauthorized(
            f"{target.label} is {target.security}: send a token of this server, as "
            "`Authorization: Bearer lz_...`."
        )
    if not _allowed(target, caller):
        raise Forbidden(f"the token {caller.token_name!r} of {caller.name} {_lacking(target, caller)}")
    if target.security is Security.PRIVATE and not within(address, tuple(internal)):
        raise Forbidden(
            f"{target.label} is private, and {address or 'an unknown address'} is no internal address of "
            "this server: call from there, or make it protected."
        )


def _allowed(target: Target, caller: Principal) -> bool:
    if target.security is Security.AUTHENTICATED:
        return caller.rules or _good_for(target, caller)
    if caller.may(Scope.CALL, target.namespace, target.name):
        return True
    account = caller.name.lower()
    if f"{account}/{caller.token_name.lower()}" in target.allowed:
        return True
    return account in target.allowed and _good_for(target, caller)


def _lacking(target: Target, caller: Principal) -> str:
    """What keeps a token out: a right of its own, or the owner's word."""
    label = target.label
    welcome = (
        target.security is Security.AUTHENTICATED
        or target.namespace.lower() in caller.memberships
        or caller.name.lower() in target.allowed
    )
    if welcome and not _good_for(target, caller):
        return f"has no right to call {label}: use another, or one with the grant {label}={Scope.CALL}."
    return f"may not call {label}: ask its owner to name it in allowedTokens, or use another."


def _good_for(target: Target, caller: Principal) -> bool:
    """Whether the token is one for calling endpoints, of whomever."""
    if caller.role is not Role.FINE_GRAINED:
        return True  # every other role has the scope
    grants = (it for it in caller.grants if it.covers(target.namespace, target.name))
    return any(Scope.CALL in grant.scopes for grant in grants)


@lru_cache(maxsize=4096)
def within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether a client's address is in one of the networks."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
