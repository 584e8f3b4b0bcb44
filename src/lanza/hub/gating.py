"""Gated repositories: who asked to be let in, who was, and who decides it.

A gated repository shows what it is to everybody, and its files only to members of its namespace and to
accounts whose request was accepted (`access.check_content`). With the gate "auto" asking is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.database import now
from lanza.errors import BadRequest, Forbidden, NotFound, Unauthorized
from lanza.hub.access import find_repo
from lanza.hub.names import RepoName
from lanza.hub.records import AccessRequest, Repo

STATUSES: Final = ("pending", "accepted", "rejected")
LONGEST_REASON: Final = 200
MOST_FIELDS: Final = 50


def ask(session: Session, caller: Principal, name: RepoName, fields: Mapping[str, str]) -> str:
    """The caller wants in; gives the status of their request. One that was rejected stays so."""
    if caller.account_id is None:
        raise Unauthorized("asking for access needs a token: log in with `hf auth login`.")
    repo = _gated(find_repo(session, caller, name))
    if caller.may(Scope.READ, repo.namespace, repo.name):
        return "accepted"
    request = session.get(AccessRequest, (repo.id, caller.account_id))
    if request is None:
        status = "accepted" if repo.gated == "auto" else "pending"
        request = _new(repo, caller.account_id, status, fields)
        session.add(request)
    elif request.status == "rejected":
        reason = f": {request.reason}" if request.reason else ""
        raise Forbidden(f"your request for access to {name.id} was rejected{reason}.")
    elif repo.gated == "auto":
        request.status = "accepted"
    return request.status


def decide(
    session: Session, caller: Principal, name: RepoName, user: Account, status: str, reason: str | None
) -> None:
    """Set the status of a user's request. NotFound when there is none, or it has that status already."""
    repo = _gated(find_repo(session, caller, name, scope=Scope.WRITE))
    if status not in STATUSES:
        raise BadRequest(f"`status` is one of {', '.join(STATUSES)}, and not {status!r}.")
    if reason is not None and (status != "rejected" or len(reason) > LONGEST_REASON):
        raise BadRequest(f"only a rejection has a reason, of at most {LONGEST_REASON} characters.")
    request = session.get(AccessRequest, (repo.id, user.id))
    if request is None:
        raise NotFound(f"{user.name} has not asked for access to {name.id}: grant it instead.")
    if request.status == status:
        raise NotFound(f"the request of {user.name} is {status} already.")
    request.status, request.reason = status, reason


def grant(session: Session, caller: Principal, name: RepoName, user: Account) -> None:
    """Let somebody in who may not have asked."""
    repo = _gated(find_repo(session, caller, name, scope=Scope.WRITE))
    request = session.get(AccessRequest, (repo.id, user.id))
    if request is None:
        session.add(_new(repo, user.id, "accepted", {}))
    elif request.status == "accepted":
        raise BadRequest(f"{user.name} has access to {name.id} already.")
    else:
        request.status, request.reason = "accepted", None


def requests(
    session: Session,
    caller: Principal,
    name: RepoName,
    status: str,
    *,
    limit: int,
    after: tuple[Any, int] | None = None,
) -> Sequence[tuple[AccessRequest, Account]]:
    """Requests of one status, the oldest first; those after the one with this time and account."""
    if status not in STATUSES:
        raise NotFound(f"requests are {', '.join(STATUSES)}, and not {status!r}.")
    repo = _gated(find_repo(session, caller, name, scope=Scope.WRITE))
    order = AccessRequest.created_at, AccessRequest.account_id
    query = (
        select(AccessRequest, Account)
        .join(Account, Account.id == AccessRequest.account_id)
        .where(AccessRequest.repo_id == repo.id, AccessRequest.status == status)
        .order_by(*order)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*order) > after)
    return [(request, account) for request, account in session.execute(query)]


def _gated(repo: Repo) -> Repo:
    if not repo.gated:
        raise BadRequest(f"{repo.namespace}/{repo.name} is not gated: everybody who sees it may read it.")
    return repo


def _new(repo: Repo, account_id: int, status: str, fields: Mapping[str, str]) -> AccessRequest:
    if len(fields) > MOST_FIELDS:
        raise BadRequest(f"a request has at most {MOST_FIELDS} fields.")
    return AccessRequest(
        repo_id=repo.id, account_id=account_id, status=status, fields=dict(fields), created_at=now()
    )
