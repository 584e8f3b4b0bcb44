"""Who may see a repository, change it, and read its files.

The model: a repository is found by its name or by one that it had before. A private one is absent to those
who may not read it. What a public one is stays visible to all, also when it is gated; its files are then only
for members of its namespace and for those who were let in.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import Session

from lanza.auth.principal import Principal, Role, Scope
from lanza.errors import Gated, RepoNotFound
from lanza.hub.names import Kind, RepoName
from lanza.hub.records import AccessRequest, Redirect, Repo


def name_of(repo: Repo) -> RepoName:
    return RepoName(Kind(repo.kind), repo.namespace, repo.name)


def find_repo(session: Session, caller: Principal, name: RepoName, *, scope: Scope = Scope.READ) -> Repo:
    """The repository called `name`, or moved away from it, with the right to `scope` in it.

    RepoNotFound when there is none that the caller may read. Unauthorized or Forbidden when there is one, and
    the caller may read but not do `scope`.
    """
    repo = _named(session, name)
    if repo is None or not may_see(caller, repo):
        raise RepoNotFound(
            f"there is no {name.kind} {name.id!r} here, or it is private and not for you: check the name, "
            "and log in with `hf auth login` if it is yours."
        )
    if scope is not Scope.READ:
        caller.require(scope, repo.namespace, repo.name)
    return repo


def may_see(caller: Principal, repo: Repo) -> bool:
    return repo.visibility == "public" or caller.may(Scope.READ, repo.namespace, repo.name)


def check_content(session: Session, caller: Principal, repo: Repo) -> None:
    """Gated, when the files of `repo` are not for this caller."""
    if not repo.gated or caller.may(Scope.READ, repo.namespace, repo.name) or _let_in(session, caller, repo):
        return
    name = name_of(repo)
    if caller.anonymous:
        remedy = "log in with `hf auth login` and ask for access"
    elif repo.gated == "auto":
        remedy = "ask for access, which is given at once"
    else:
        remedy = "ask for access, and wait until its owner has let you in"
    raise Gated(f"the {name.kind} {name.id} is gated: {remedy} (POST /{name.path}/ask-access).")


def _named(session: Session, name: RepoName) -> Repo | None:
    found = session.scalar(select(Repo).where(Repo.kind == name.kind.value, Repo.key == name.key))
    if found is None and (moved := session.get(Redirect, (name.kind.value, name.key))):
        found = session.get(Repo, moved.repo_id)
    return found


def _let_in(session: Session, caller: Principal, repo: Repo) -> bool:
    """Whether the account was accepted, with a token that reaches what its account does."""
    if caller.anonymous:
        return False
    if caller.role is Role.FINE_GRAINED and not any(
        grant.covers(repo.namespace, repo.name) and Scope.READ in grant.scopes for grant in caller.grants
    ):
        return False
    request = session.get(AccessRequest, (repo.id, caller.account_id))
    return request is not None and request.status == "accepted"


def visible(caller: Principal) -> ColumnElement[bool]:
    """`may_see`, as a condition for a query."""
    if caller.rules:
        return true()
    public = Repo.visibility == "public"
    entities = {*caller.memberships, *(grant.entity.lower() for grant in caller.grants)}
    namespaces = [it for it in entities if "/" not in it and caller.may(Scope.READ, it)]
    keys = [it for it in entities if "/" in it and caller.may(Scope.READ, *it.split("/", 1))]
    return or_(public, func.lower(Repo.namespace).in_(namespaces), Repo.key.in_(keys))
