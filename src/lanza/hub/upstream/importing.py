"""Bringing a repository of an upstream hub here, for good: its files at one commit, as one commit here.

The model: every file is checked against what the upstream's tree says of it, then all are committed as if
they had been pushed. A repository that had to be made goes again when that fails. An administrator may
import into a namespace that nobody has here: it is made then, and does not count as ours (`ours.py`), so
that what else it holds upstream is still read through.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool

from lanza.auth import accounts
from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.errors import Forbidden, PayloadTooLarge, RepoNotFound, UpstreamUnavailable
from lanza.hub import commits, lfs, repos
from lanza.hub.access import find_repo
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName, check_path
from lanza.hub.objects import Commit
from lanza.hub.packs import Kind, object_id
from lanza.hub.trees import Put
from lanza.hub.upstream.answers import json_of, record_of, refusal
from lanza.hub.upstream.ours import note_mirror
from lanza.hub.upstream.upstream import Reply, Upstream

MOST_JSON: Final = 64 * 2**20
MOST_SMALL: Final = 512 * 2**20
"""Bytes of small files, which are in memory together."""

_NEXT: Final = re.compile(r'<([^>]+)>;\s*rel="next"')


class _Large(msgspec.Struct):
    oid: str
    size: int


class _File(msgspec.Struct):
    """A line of an upstream's tree."""

    type: str
    path: str
    oid: str
    size: int = 0
    lfs: _Large | None = None


@dataclass(kw_only=True)
class Progress:
    """How far an import has come. `files` and `bytes` are 0 until they are known."""

    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0


async def import_repo(
    hub: Hub,
    caller: Principal,
    upstream: Upstream,
    name: RepoName,
    *,
    to: RepoName | None = None,
    revision: str = "main",
    progress: Progress | None = None,
) -> Commit:
    """Import `name`, as it is at `revision`, as `to`, or else under its own name. `progress` is kept true.

    Forbidden when the caller may not write there, RepoNotFound, Gated, UpstreamUnavailable.
    """
    target = to or name
    source = _Source(upstream, name, progress or Progress())
    sha = await source.commit(revision)
    files = await source.files(sha)
    source.progress.files, source.progress.bytes = len(files), sum(map(_size, files))
    repo_id, made = await run_in_threadpool(_prepare, hub, caller, target, upstream.url)
    try:
        operations = await _bring(hub, caller, repo_id, source, sha, files)
        header = commits.Header(title=f"Import {name} at {sha[:12]}", description=f"From {upstream.url}.")
        return await run_in_threadpool(commits.apply, hub, caller, target, "main", header, operations)
    except BaseException:
        if made:
            await run_in_threadpool(repos.remove, hub, caller, target)
        raise


async def parameters_of(upstream: Upstream, name: RepoName, revision: str) -> Mapping[str, int]:
    """How many parameters of which type a model has, as the upstream hub says: empty where it does not.

    RepoNotFound, Gated, UpstreamUnavailable.
    """
    said = await _Source(upstream, name, Progress()).info(revision)
    counted = said.get("safetensors")
    parameters = counted.get("parameters") if isinstance(counted, dict) else None
    if not isinstance(parameters, dict):
        return {}
    return {str(kind): count for kind, count in parameters.items() if type(count) is int and count > 0}


class _Source:
    """A repository of an upstream hub, to be read."""

    def __init__(self, upstream: Upstream, name: RepoName, progress: Progress) -> None:
        self.progress = progress
        self._upstream = upstream
        self._name = name
        self._api = f"/api/{name.kind.plural}/{quote(name.id)}"

    async def info(self, revision: str) -> dict[str, Any]:
        said, _ = await self._json(f"{self._api}/revision/{quote(revision, safe='')}")
        return said if isinstance(said, dict) else {}

    async def commit(self, revision: str) -> str:
        sha = (await self.info(revision)).get("sha")
        if not isinstance(sha, str) or not re.fullmatch(r"[0-9a-f]{40}", sha):
            raise UpstreamUnavailable(
                f"the upstream hub does not say which commit {revision!r} of {self._name} is."
            )
        return sha

    async def files(self, sha: str) -> list[_File]:
        """All files of a commit. BadRequest for a path that no file here may have."""
        found: list[_File] = []
        address: str | None = f"{self._api}/tree/{sha}?recursive=true&expand=false"
        while address is not None:
            page, link = await self._json(address)
            try:
                found += [one for one in msgspec.convert(page, list[_File]) if one.type == "file"]
            except msgspec.ValidationError as error:
                raise UpstreamUnavailable(f"the upstream hub's tree cannot be read: {error}.") from error
            onward = _NEXT.search(link)
            within = onward is not None and onward[1].startswith(f"{self._upstream.url}/")
            address = onward[1].removeprefix(self._upstream.url) if onward and within else None
        for one in found:
            check_path(one.path)
        return found

    async def read(self, sha: str, file: _File) -> bytes:
        """A small file, with the content that the tree says."""
        async with self._upstream.ask("GET", self._address(sha, file)) as reply:
            if reply.status != 200:
                raise refusal(self._name, record_of(reply), file.path)
            content = await reply.read(max(file.size, 1))
        if object_id(Kind.BLOB, content).hex() != file.oid:
            raise UpstreamUnavailable(f"the upstream hub gave another content of {file.path!r} than it said.")
        return content

    async def receive(self, hub: Hub, repo_id: int, sha: str, file: _File, large: lfs.Large) -> None:
        async with self._upstream.ask("GET", self._address(sha, file)) as reply:
            if reply.status != 200:
                raise refusal(self._name, record_of(reply), file.path)
            await lfs.receive(hub, repo_id, large, self._counted(reply))

    async def _counted(self, reply: Reply) -> AsyncIterator[bytes]:
        async for piece in reply.pieces():
            self.progress.bytes_done += len(piece)
            yield piece

    def _address(self, sha: str, file: _File) -> str:
        return f"/{quote(self._name.path)}/resolve/{sha}/{quote(file.path)}"

    async def _json(self, address: str) -> tuple[Any, str]:
        async with self._upstream.ask("GET", address) as reply:
            if reply.status != 200:
                raise refusal(self._name, record_of(reply))
            body = await reply.read(MOST_JSON)
            return await run_in_threadpool(json_of, body), reply.headers.get("Link", "")


def check_target(hub: Hub, caller: Principal, target: RepoName) -> None:
    """Forbidden or Unauthorized, when the caller may not import there."""
    with hub.database.reading() as session:
        if accounts.find(session, target.namespace) is not None:
            caller.require(Scope.WRITE, target.namespace, target.name)
        elif not caller.rules:
            raise Forbidden(
                f"nobody here is called {target.namespace!r}, and only an administrator can import into "
                "a new namespace: import it into your own."
            )


def _prepare(hub: Hub, caller: Principal, target: RepoName, url: str) -> tuple[int, bool]:
    """The repository to write to, and whether it had to be made."""
    check_target(hub, caller, target)
    with hub.database.writing() as session:
        if accounts.find(session, target.namespace) is None:
            owner = session.get_one(Account, caller.account_id)
            accounts.create_org(session, target.namespace, owner=owner)
            note_mirror(session, target.namespace, url)
    made = False
    try:
        with hub.database.reading() as session:
            find_repo(session, caller, target, scope=Scope.WRITE)
    except RepoNotFound:
        repos.create(hub, caller, target)
        made = True
    with hub.database.reading() as session:
        return find_repo(session, caller, target, scope=Scope.WRITE).id, made


async def _bring(
    hub: Hub, caller: Principal, repo_id: int, source: _Source, sha: str, files: Sequence[_File]
) -> list[commits.Operation]:
    """The operations that make the files, the contents of the large ones already here."""
    if sum(one.size for one in files if one.lfs is None) > MOST_SMALL:
        raise PayloadTooLarge(f"its small files have more than {MOST_SMALL >> 20} MiB together.")
    operations: list[commits.Operation] = []
    for file, large in _sorted_out(files):
        source.progress.files_done = len(operations)
        if large is None:
            operations.append(Put(file.path, await source.read(sha, file)))
            source.progress.bytes_done += file.size
            continue
        if await run_in_threadpool(_has, hub, caller, repo_id, large):
            source.progress.bytes_done += large.size
        else:
            await source.receive(hub, repo_id, sha, file, large)
        operations.append(commits.LargeFile(path=file.path, sha256=large.sha256, size=large.size))
    source.progress.files_done = len(operations)
    return operations


def _size(file: _File) -> int:
    return file.lfs.size if file.lfs else file.size


def _sorted_out(files: Sequence[_File]) -> Iterator[tuple[_File, lfs.Large | None]]:
    for file in files:
        large = lfs.Large(sha256=file.lfs.oid, size=file.lfs.size) if file.lfs else None
        if large is not None:
            large.check()
        yield file, large


def _has(hub: Hub, caller: Principal, repo_id: int, large: lfs.Large) -> bool:
    with hub.database.writing() as session:
        return lfs.has_already(hub, session, caller, repo_id, large)
