"""The Hub, as endpoints see it: which commit is meant, what a model needs, what could be deployed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select

from lanza.auth.principal import Principal
from lanza.endpoints.repositories import Base, Found, Listed, Search
from lanza.errors import Gated, RepoNotFound, RevisionNotFound, UpstreamUnavailable
from lanza.hub.access import check_content, find_repo, may_see, name_of
from lanza.hub.catalog import facts_at, recorded
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, RepoName, parse_repo
from lanza.hub.objects import Commit
from lanza.hub.records import Repo
from lanza.hub.refs import MAIN
from lanza.hub.search import Query, find
from lanza.models.heads import TASKS
from lanza.models.memory import RUNTIME_BYTES, WORKING_SHARE
from lanza.models.weights import BITS
from lanza.server.bases import Bases, Named, named

PAGE: Final = 100
_USUAL_BITS: Final = 32


class HubRepositories:
    """`endpoints.repositories.Repositories` over a Hub of our own.

    `bring` gets a model at a revision from the hub behind this one, and says whether it did; `weigh` only
    asks for its parameters, by their type.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        bring: Callable[[RepoName, str], bool] | None = None,
        weigh: Callable[[RepoName, str], Mapping[str, int]] | None = None,
    ) -> None:
        self._hub = hub
        self._bring = bring
        self._weigh = weigh
        self._bases = Bases(hub)

    def resolve(self, caller: Principal, repository: str, revision: str | None) -> Found:
        name = parse_repo(Kind.MODEL, repository)
        try:
            repo = self._find(caller, name)
        except RepoNotFound:
            if self._bring is None or not self._bring(name, revision or MAIN):
                raise
            repo = self._find(caller, name)
            revision = None  # it has no other commit than the one that was brought
        git = self._hub.git.open(repo.id)
        commit = git.resolve(revision or MAIN)
        facts = facts_at(self._hub, git, Kind.MODEL, commit)
        base, below, uncounted = self._below(repo.id, git, commit)
        return Found(
            repo_id=repo.id,
            name=name_of(repo).id,
            commit=commit.oid,
            task=facts.pipeline_tag,
            needs_bytes=needs_bytes(Counter(facts.parameters) + Counter(below)) if not uncounted else 0,
            base=base,
            uncounted=uncounted,
        )

    def _below(
        self, repo_id: int, git: GitRepo, commit: Commit
    ) -> tuple[Base | None, Mapping[str, int], str]:
        """The base of an adapter if it is here, its parameters, and why they are not known."""
        base = named(git, commit)
        if base is None:
            return None, {}, ""
        found = self._bases.known(repo_id, base)
        if found is not None:
            of = self._hub.git.open(found.repo_id)
            parameters = facts_at(self._hub, of, Kind.MODEL, of.resolve(found.commit)).parameters
            return found, parameters, "" if parameters else _uncounted(base)
        parameters = self._upstream(base)
        return None, parameters, "" if parameters else _uncounted(base)

    def _upstream(self, base: Named) -> Mapping[str, int]:
        """What the hub behind this one says of a base that is not here: empty when it says nothing."""
        if self._weigh is None:
            return {}
        try:
            return self._weigh(base.repo, base.revision)
        except (RepoNotFound, RevisionNotFound, Gated, UpstreamUnavailable):
            return {}  # what is wrong with it is said by who gets it

    def _find(self, caller: Principal, name: RepoName) -> Repo:
        with self._hub.database.reading() as session:
            repo = find_repo(session, caller, name)
            check_content(session, caller, repo)
            return repo

    def listed(self, caller: Principal, search: Search) -> Sequence[Listed]:
        found: list[Listed] = []
        query = _query(search)
        while search.limit is None or len(found) < search.limit:
            with self._hub.database.reading() as session:
                page = find(session, caller, query)
            found += [_listed(it, page.tags[it.id]) for it in page.repos if it.pipeline_tag in TASKS]
            if page.next is None:
                break
            query = replace(query, after=page.next)
        return found[: search.limit]

    def name_of(self, caller: Principal, repo_id: int) -> str:
        with self._hub.database.reading() as session:
            repo = session.scalar(select(Repo).where(Repo.id == repo_id, Repo.kind == Kind.MODEL.value))
        if repo is None or not may_see(caller, repo):
            raise RepoNotFound("the model of this recipe is not here any more, or it is private.")
        return name_of(repo).id


def needs_bytes(parameters: Mapping[str, int]) -> int:
    """The memory that serving weights like these takes, roughly: 0 when they cannot be counted."""
    weights = sum(count * BITS.get(dtype, _USUAL_BITS) // 8 for dtype, count in parameters.items())
    return int(weights * (1 + WORKING_SHARE)) + RUNTIME_BYTES["onnx"] if weights else 0


def _uncounted(base: Named) -> str:
    return (
        f"how large the adapter's base {base.name} is cannot be told, so nothing is known of the memory that "
        "this needs: the smallest hardware was assumed."
    )


def _query(search: Search) -> Query:
    tags = [] if search.task is None else [search.task]
    if search.license is not None:
        tags.append(f"license:{search.license.lower()}")
    words = (search.words or "").split()
    return Query(kind=Kind.MODEL, words=words, tags=tags, limit=PAGE, heavy=True)


def _listed(repo: Repo, tags: Sequence[str]) -> Listed:
    licenses = (tag.removeprefix("license:") for tag in tags if tag.startswith("license:"))
    return Listed(
        repo_id=repo.id,
        name=name_of(repo).id,
        task=repo.pipeline_tag or "",
        license=next(licenses, ""),
        created_at=repo.created_at,
        needs_bytes=needs_bytes(recorded(repo, tags).parameters),
    )
