"""From what somebody asks for to what replicas are made of: checked, resolved, and with hardware chosen.

The model: a `Maker` turns a tree as it came, with what there was before, into a `Making`. A commit and an
instance are chosen once: a later change keeps both, unless it speaks of what they follow from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from lanza.auth.principal import Principal
from lanza.endpoints.hardware import Choice, choose
from lanza.endpoints.platform import Instance, Platform
from lanza.endpoints.reading import merged, read_spec
from lanza.endpoints.repositories import Base, Found, Repositories
from lanza.endpoints.secrets import taken_out
from lanza.endpoints.spec import EndpointSpec, kept
from lanza.endpoints.store import Making
from lanza.errors import BadRequest, Forbidden, NoRoom

_HARDWARE: Final = ("accelerator", "instanceType", "instanceSize")


@dataclass(frozen=True, kw_only=True)
class Before:
    """What an endpoint is made of until now."""

    spec: EndpointSpec
    instance: Instance
    repo_id: int | None
    commit: str
    base: Base | None
    secrets: Mapping[str, str]
    warning: str


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What an endpoint would be made of: nothing is made yet. `offers` are those that there are to choose.

    `uncounted` says what `needs_bytes` leaves out.
    """

    spec: EndpointSpec
    choice: Choice
    needs_bytes: int
    uncounted: str
    offers: Sequence[Instance]


class Maker:
    """`allowed` are the programs that those may run who do not administer the server.

    `rehearse`: hardware that is not here is replaced by what is.
    """

    def __init__(
        self,
        *,
        platforms: Mapping[str, Platform],
        repositories: Repositories,
        allowed: frozenset[str] = frozenset(),
        rehearse: bool = False,
    ) -> None:
        self._platforms = platforms
        self._repositories = repositories
        self._allowed = allowed
        self._rehearse = rehearse

    def new(self, caller: Principal, tree: Mapping[str, Any], *, rehearse: bool = False) -> Making:
        """For an endpoint that is to be made."""
        spec, values = taken_out(read_spec(tree))
        self._check_program(caller, spec, None)
        found = self._repositories.resolve(caller, spec.model.repository, spec.model.revision)
        choice = self._choose(spec, found.needs_bytes, rehearse=rehearse)
        return _made(spec, choice, _Files.of(found), _given(values, {}))

    def fit(self, caller: Principal, tree: Mapping[str, Any], *, rehearse: bool = False) -> Fit:
        """For an endpoint that may be made. The errors are those of `new`."""
        spec, _ = taken_out(read_spec(tree))
        self._check_program(caller, spec, None)
        found = self._repositories.resolve(caller, spec.model.repository, spec.model.revision)
        choice = self._choose(spec, found.needs_bytes, rehearse=rehearse)
        return Fit(
            spec=spec,
            choice=choice,
            needs_bytes=found.needs_bytes,
            uncounted=found.uncounted,
            offers=self._platforms[spec.platform].offers(),
        )

    def changed(
        self, caller: Principal, change: Mapping[str, Any], before: Before, *, rehearse: bool = False
    ) -> Making:
        """For one that there is: `change` has the fields that are to be others."""
        spec, values = taken_out(read_spec(merged(kept(before.spec), change)))
        self._check_program(caller, spec, before.spec)
        found = self._found(caller, spec, change)
        choice = Choice(instance=before.instance, warning=before.warning)
        if found is not None or _speaks_of_hardware(change):
            choice = self._choose(spec, 0 if found is None else found.needs_bytes, rehearse=rehearse)
        files = _Files.of(before if found is None else found)
        return _made(spec, choice, files, _given(values, before.secrets))

    def _found(self, caller: Principal, spec: EndpointSpec, change: Mapping[str, Any]) -> Found | None:
        """The repository, if its branch is to be looked at again: it is named, or nothing else is."""
        model = change.get("model") if change else {"revision": None}
        if not isinstance(model, Mapping) or not {"repository", "revision"} & model.keys():
            return None
        return self._repositories.resolve(caller, spec.model.repository, spec.model.revision)

    def _check_program(self, caller: Principal, spec: EndpointSpec, before: EndpointSpec | None) -> None:
        """Forbidden, where a program is to be run that this caller may not choose."""
        words = spec.model.words
        same = before is not None and (before.model.words, before.model.env) == (words, spec.model.env)
        if spec.model.custom is None or same or caller.rules or words[0] in self._allowed:
            return
        raise Forbidden(
            f"running {words[0]!r} on the server's machine needs an administrator's token: use one, or ask "
            "for `lanza up --allow-command` with the program."
        )

    def _choose(self, spec: EndpointSpec, needs_bytes: int, *, rehearse: bool) -> Choice:
        platform = self._platforms.get(spec.platform)
        if platform is None:
            there = ", ".join(self._platforms) or "none"
            raise BadRequest(f"there is no platform {spec.platform!r} here; there is: {there}.")
        choice = choose(
            spec.compute,
            spec.provider,
            platform.offers(),
            needs_bytes=needs_bytes,
            rehearse=rehearse or self._rehearse,
        )
        with suppress(NoRoom):  # not now: it waits for its turn, and says so
            platform.check(choice.instance, needs_bytes=needs_bytes)
        return choice


@dataclass(frozen=True, kw_only=True)
class _Files:
    repo_id: int | None
    commit: str
    base: Base | None

    @classmethod
    def of(cls, known: Before | Found) -> _Files:
        return cls(repo_id=known.repo_id, commit=known.commit, base=known.base)


def _made(spec: EndpointSpec, choice: Choice, files: _Files, secrets: Mapping[str, str]) -> Making:
    return Making(
        spec=spec,
        instance=choice.instance,
        repo_id=files.repo_id,
        commit=files.commit,
        base=files.base,
        secrets=secrets,
        warning=choice.warning,
    )


def _speaks_of_hardware(change: Mapping[str, Any]) -> bool:
    compute = change.get("compute")
    named = isinstance(compute, Mapping) and any(name in compute for name in _HARDWARE)
    return named or "provider" in change or "platform" in change


def _given(values: Mapping[str, str | None], before: Mapping[str, str]) -> dict[str, str]:
    """The secrets: those without a value keep the one that they have. BadRequest when they have none."""
    unknown = [name for name, value in values.items() if value is None and name not in before]
    if unknown:
        raise BadRequest(f"model.secrets: {', '.join(unknown)} has no value yet, so give it one.")
    return {name: before[name] if value is None else value for name, value in values.items()}
