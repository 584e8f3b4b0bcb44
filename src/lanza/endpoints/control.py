"""What people do with endpoints: the one way in for the API, for what starts by itself, and for commands.

The model: a caller, a namespace, a name and a wish; what changes something takes the caller's `Trail`, and
notes it. Rights are checked here, trees are made into what can run (`making.py`), and what is wanted is
stored; the loop is nudged and does the rest. What is returned is a `View`, a plain copy of what is stored.
Functions ask databases, so they are called on threads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from lanza.auth import accounts
from lanza.auth.audit import Trail
from lanza.auth.principal import Principal, Scope
from lanza.database import Database, now
from lanza.endpoints import store
from lanza.endpoints.estimate import Expected
from lanza.endpoints.forecast import Forecast, forecast
from lanza.endpoints.making import Before, Maker
from lanza.endpoints.platform import Instance, Platform
from lanza.endpoints.points import Step, Window, series
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.endpoints.repositories import Repositories
from lanza.endpoints.secrets import Vault
from lanza.endpoints.spec import EndpointSpec
from lanza.errors import BadRequest, Conflict, Unauthorized


@dataclass(frozen=True, kw_only=True)
class View:
    """An endpoint as it is stored, its present revision and its replicas."""

    endpoint: Endpoint
    revision: Revision
    spec: EndpointSpec
    instance: Instance
    replicas: Sequence[Replica]


class Control:
    """`changed` is told the number of an endpoint that was changed, so that the loop looks at once.

    `webhook_secret` is what an endpoint's webhooks are signed with.
    """

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        platforms: Mapping[str, Platform],
        repositories: Repositories,
        maker: Maker,
        changed: Callable[[int], None],
        webhook_secret: Callable[[str], str],
    ) -> None:
        self.database = database
        self.platforms = platforms
        self.repositories = repositories
        self._vault = vault
        self._maker = maker
        self._changed = changed
        self._webhook_secret = webhook_secret

    # Looking

    def all_of(self, caller: Principal, namespace: str) -> list[View]:
        """The endpoints of a namespace, by name."""
        caller.require(Scope.CALL, namespace)
        with self.database.reading() as session:
            accounts.get(session, namespace)
            return [_view(session, it) for it in store.all_of(session, namespace)]

    def get(self, caller: Principal, namespace: str, name: str) -> View:
        caller.require(Scope.CALL, namespace, name)
        with self.database.reading() as session:
            return _view(session, store.get(session, namespace, name))

    def revisions(self, caller: Principal, namespace: str, name: str) -> list[Revision]:
        """What it was asked to be, the newest first."""
        caller.require(Scope.CALL, namespace, name)
        with self.database.reading() as session:
            return list(store.revisions(session, store.get(session, namespace, name)))

    def webhook(self, caller: Principal, namespace: str, name: str) -> tuple[str | None, str]:
        """Where notices go, and the secret that they are signed with; for those who may manage it."""
        caller.require(Scope.MANAGE, namespace, name)
        view = self.get(caller, namespace, name)
        return view.spec.webhook, self._webhook_secret(f"{view.endpoint.namespace}/{view.endpoint.name}")

    def hardware(self, caller: Principal, namespace: str) -> list[Instance]:
        """All that there is for endpoints of this namespace."""
        caller.require(Scope.CALL, namespace)
        return [offer for platform in self.platforms.values() for offer in platform.offers()]

    def series(self, caller: Principal, namespace: str, name: str, window: Window) -> list[Step]:
        """What happened at an endpoint, for charts."""
        caller.require(Scope.CALL, namespace, name)
        with self.database.reading() as session:
            return series(session, store.get(session, namespace, name).id, window)

    def forecast(
        self, caller: Principal, tree: Mapping[str, Any], expected: Expected, *, rehearse: bool = False
    ) -> Forecast:
        """What an endpoint of this tree would cost. It is for all who have a token, as it may ask a lot."""
        if caller.anonymous:
            raise Unauthorized("this needs a token: log in with `lanza login`, or send one as Bearer.")
        return forecast(self._maker, caller, tree, expected, rehearse=rehearse)

    # Changing

    def create(
        self, trail: Trail, namespace: str, tree: Mapping[str, Any], *, rehearse: bool = False
    ) -> View:
        """A new endpoint. BadRequest, RepoNotFound, Forbidden, Conflict say what is wrong with it."""
        trail.caller.require(Scope.MANAGE, namespace)
        return self._create(trail, namespace, tree, rehearse=rehearse)

    def for_repository(self, trail: Trail, repository: str) -> int:
        """The number of the endpoint that calls alone have started for a repository, of this caller.

        It is in their own namespace, and goes when nobody has asked for a while: so it takes the right to
        call endpoints, and none to manage them.
        """
        caller = trail.caller
        caller.require(Scope.CALL, caller.name)
        name = serverless_name(repository)
        tree = {"name": name, "model": {"repository": repository}}
        try:
            return self._create(trail, caller.name, tree, serverless=True).endpoint.id
        except Conflict:  # another process has just started it
            with self.database.reading() as session:
                return store.get(session, caller.name, name).id

    def _create(
        self,
        trail: Trail,
        namespace: str,
        tree: Mapping[str, Any],
        *,
        rehearse: bool = False,
        serverless: bool = False,
    ) -> View:
        making = self._maker.new(trail.caller, tree, rehearse=rehearse)
        _check_expiry(making.spec, None)
        with self.database.writing() as session:
            owner = accounts.get(session, namespace)
            endpoint = store.create(
                session, self._vault, owner, making, by=trail.caller.name, serverless=serverless
            )
            _note(session, trail, "create", endpoint, tree)
            view = _view(session, endpoint)
        self._changed(endpoint.id)
        return view

    def update(
        self,
        trail: Trail,
        namespace: str,
        name: str,
        change: Mapping[str, Any],
        *,
        rehearse: bool = False,
    ) -> View:
        """Change some fields. Conflict when somebody else was faster."""
        caller = trail.caller
        caller.require(Scope.MANAGE, namespace, name)
        with self.database.reading() as session:
            seen = store.get(session, namespace, name)
            before = self._before(session, seen)
        making = self._maker.changed(caller, change, before, rehearse=rehearse)
        _check_expiry(making.spec, before.spec)

        def do(session: Session, endpoint: Endpoint) -> None:
            if (endpoint.id, endpoint.updated_at) != (seen.id, seen.updated_at):
                raise Conflict(f"{endpoint.key} was changed by somebody else just now: look, and try again.")
            store.change(session, self._vault, endpoint, making, by=caller.name)

        return self._do(trail, namespace, name, "update", do, change)

    def rollback(self, trail: Trail, namespace: str, name: str, to: int | None = None) -> View:
        """Make replicas of what an earlier revision was made of; None is the one before. How many there are,
        who may call and what it may cost stay as they are now."""

        def do(session: Session, endpoint: Endpoint) -> None:
            earlier = store.revision_of(session, endpoint, _earlier(session, endpoint, to))
            making = store.made_again(session, self._vault, endpoint, earlier)
            store.change(session, self._vault, endpoint, making, by=trail.caller.name)

        return self._do(trail, namespace, name, "rollback", do, {"to": to})

    def pause(self, trail: Trail, namespace: str, name: str) -> View:
        return self._do(trail, namespace, name, "pause", store.pause)

    def resume(self, trail: Trail, namespace: str, name: str) -> View:
        """BadRequest, in words that clients look for, when it runs already."""
        return self._do(trail, namespace, name, "resume", store.resume)

    def scale_to_zero(self, trail: Trail, namespace: str, name: str) -> View:
        return self._do(trail, namespace, name, "scale-to-zero", store.scale_to_zero)

    def delete(self, trail: Trail, namespace: str, name: str) -> None:
        self._do(trail, namespace, name, "remove", store.remove)

    def _do(
        self,
        trail: Trail,
        namespace: str,
        name: str,
        what: str,
        how: Callable[[Session, Endpoint], object],
        details: Mapping[str, Any] | None = None,
    ) -> View:
        trail.caller.require(Scope.MANAGE, namespace, name)
        with self.database.writing() as session:
            endpoint = store.get(session, namespace, name)
            how(session, endpoint)
            _note(session, trail, what, endpoint, details)
            session.flush()
            view = _view(session, endpoint)
        self._changed(endpoint.id)
        return view

    def _before(self, session: Session, endpoint: Endpoint) -> Before:
        revision = store.current(session, endpoint)
        return Before(
            spec=store.spec_of(revision),
            instance=store.instance_of(revision),
            repo_id=revision.repo_id,
            commit=revision.commit,
            base=store.base_of(revision),
            secrets=store.secrets_of(self._vault, endpoint, revision),
            warning=revision.warning,
        )


def _note(
    session: Session,
    trail: Trail,
    what: str,
    endpoint: Endpoint,
    details: Mapping[str, Any] | None = None,
) -> None:
    trail.note(session, f"endpoint.{what}", f"{endpoint.namespace}/{endpoint.name}", **(details or {}))


def serverless_name(repository: str) -> str:
    """The same for the same repository, and unlike what people call endpoints."""
    plain = re.sub(r"[^a-z0-9]+", "-", repository.rpartition("/")[2].lower()).strip("-")
    digest = hashlib.sha256(repository.lower().encode()).hexdigest()
    return f"{plain[:48].strip('-') or 'model'}-{digest[:12]}"


def _view(session: Session, endpoint: Endpoint) -> View:
    revision = store.current(session, endpoint)
    return View(
        endpoint=endpoint,
        revision=revision,
        spec=store.spec_of(revision),
        instance=store.instance_of(revision),
        replicas=store.replicas(session, endpoint),
    )


def _check_expiry(spec: EndpointSpec, before: EndpointSpec | None) -> None:
    """BadRequest for a moment that has passed: the endpoint would be gone before anybody has seen it."""
    given = spec.expires
    if given is not None and given <= now() and (before is None or given != before.expires):
        raise BadRequest(
            f"expires is in the past ({given:%Y-%m-%d %H:%M} {given.tzname()}): name a moment to come, or "
            "delete the endpoint."
        )


def _earlier(session: Session, endpoint: Endpoint, to: int | None) -> int:
    """The number of the revision to go back to."""
    if to == endpoint.revision:
        raise BadRequest(f"{endpoint.key} is at revision {to} already.")
    if to is not None:
        return to
    if endpoint.serving is not None and endpoint.serving != endpoint.revision:
        return endpoint.serving
    before = [it.number for it in store.revisions(session, endpoint) if it.number < endpoint.revision]
    if not before:
        raise BadRequest(f"{endpoint.key} has only one revision: there is nothing to go back to.")
    return before[0]
