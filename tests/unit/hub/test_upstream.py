from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from databases import new_database
from lanza.auth import accounts
from lanza.auth.principal import ANONYMOUS, Principal, Role
from lanza.auth.records import Account
from lanza.auth.signing import Signer
from lanza.database import now
from lanza.errors import (
    EntryNotFound,
    Forbidden,
    Gated,
    NotFound,
    Overloaded,
    RangeNotSatisfiable,
    UpstreamUnavailable,
    UsageError,
)
from lanza.hub import lfs, repos
from lanza.hub.api.paths import SLASH
from lanza.hub.blobs import BlobStore
from lanza.hub.git import GitStore
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, parse_repo
from lanza.hub.upstream import Imports, ReadThrough, Upstream, import_repo
from lanza.hub.upstream.cache import LEFT_FREE, Cache, Record
from lanza.hub.upstream.imports import Import
from lanza.hub.upstream.ours import is_ours, note_mirror
from lanza.hub.upstream.upstream import Reply
from lanza.hub.upstream.wanted import wanted

URL = "https://hub.invalid"
COMMIT = "1" * 40
WEIGHTS = bytes(range(256)) * 10_000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


# Addresses


@pytest.mark.parametrize(
    ("path", "repo", "address", "pinned"),
    [
        ("/api/models/far/vit", "far/vit", "/api/models/far/vit", False),
        ("/api/models/gpt2", "gpt2", "/api/models/gpt2", False),
        ("/api/models/gpt2/refs", "gpt2", "/api/models/gpt2/refs", False),
        ("/api/models/far/vit/revision/main", "far/vit", "/api/models/far/vit/revision/main", False),
        (f"/api/models/far/vit/tree/{COMMIT}", "far/vit", f"/api/models/far/vit/tree/{COMMIT}", True),
        ("/api/models/gpt2/tree/main/a/b c", "gpt2", "/api/models/gpt2/tree/main/a/b%20c", False),
        (f"/gpt2/resolve/refs{SLASH}pr{SLASH}1/a.txt", "gpt2", "/gpt2/resolve/refs%2Fpr%2F1/a.txt", False),
        (
            f"/far/vit/resolve/{COMMIT}/a/ñ%?.txt",
            "far/vit",
            f"/far/vit/resolve/{COMMIT}/a/%C3%B1%25%3F.txt",
            True,
        ),
    ],
)
def test_addresses_of_models_are_read_through(path: str, repo: str, address: str, pinned: bool) -> None:
    found = wanted(path)
    assert found is not None
    assert (found.name.id, found.address, found.pinned) == (repo, address, pinned)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/far/vit",
        "/api/models",
        "/api/models/far/vit/discussions",
        "/api/models/far/vit/xet-read-token/main",
        "/api/models/far/vit/revision",
        "/api/models/far/../settings",
        "/api/models/a/b/c/d",
        "/api/datasets/far/vit",
        "/datasets/far/vit/resolve/main/a.txt",
        "/far/vit/resolve/main/../../x",
        "/far/vit/resolve/main/.git/config",
        "/far/vit/resolve/../main/x",
        "/far@host/vit/resolve/main/x",
        "/far/vit?/resolve/main/x",
        f"/far{SLASH}vit/resolve/main/x",
        "/far/vit.git/info/refs",
        "/api/whoami-v2",
    ],
)
def test_nothing_else_is(path: str) -> None:
    assert wanted(path) is None


def test_a_query_goes_along_unless_it_is_odd() -> None:
    found = wanted("/api/models/far/vit", b"blobs=true&expand=sha")
    assert found is not None
    assert found.address == "/api/models/far/vit?blobs=true&expand=sha"
    assert wanted("/api/models/far/vit", b"a=\x80") is None
    assert wanted("/api/models/far/vit", b"a" * 5000) is None


# The cache


def test_files_are_kept_only_when_they_have_their_hash(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most=10**9)
    for etag, content in ((SHA256, WEIGHTS), (git_hash(b"hola"), b"hola")):
        incoming = cache.begin(etag, len(content))
        assert incoming is not None
        assert cache.file(etag) is None
        incoming.write(content)
        assert incoming.finish()
        found = cache.file(etag)
        assert found is not None
        assert found.read_bytes() == content
    lying = cache.begin("0" * 64, 4)
    assert lying is not None
    lying.write(b"hola")
    assert not lying.finish()
    assert cache.file("0" * 64) is None
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("etag", ["", "../../etc/passwd", "abc", "g" * 40])
def test_only_hashes_are_names_of_files(tmp_path: Path, etag: str) -> None:
    cache = Cache(tmp_path, most=10**9)
    assert cache.file(etag) is None
    assert cache.begin(etag, 4) is None


def test_a_file_that_the_disk_has_no_room_for_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=LEFT_FREE + 10))
    cache = Cache(tmp_path, most=10**9)
    assert cache.begin(SHA256, 11) is None
    incoming = cache.begin(SHA256, 10)
    assert incoming is not None
    incoming.abandon()
    assert Cache(tmp_path, most=5).begin(SHA256, 6) is None


def test_what_was_used_last_stays_when_the_cache_is_full(tmp_path: Path) -> None:
    import os

    cache = Cache(tmp_path, most=250)
    contents = [bytes([number]) * 100 for number in range(3)]
    for number, content in enumerate(contents):
        incoming = cache.begin(git_hash(content), 100)
        assert incoming is not None
        incoming.write(content)
        assert incoming.finish()
        path = cache.file(git_hash(content))
        assert path is not None
        os.utime(path, (1000 + number, 1000 + number))
    assert cache.file(git_hash(contents[0]))  # used now
    cache.tidy()
    assert [cache.file(git_hash(it)) is not None for it in contents] == [True, False, True]


def test_a_cache_that_grows_keeps_its_bound(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most=20_000)
    for number in range(100):
        cache.keep(f"/{number}", Record(status=200, asked=0.0, body=bytes(1000)))
    assert sum(it.stat().st_size for it in (tmp_path / "records").glob("*/*")) <= 21_500
    assert cache.find("/99")


def test_answers_are_kept_and_damaged_ones_forgotten(tmp_path: Path) -> None:
    cache = Cache(tmp_path, most=10**9)
    record = Record(status=200, asked=5.0, commit=COMMIT, etag="x", size=3, body=b"{}")
    cache.keep("/a", record)
    assert Cache(tmp_path, most=10**9).find("/a") == record
    assert cache.find("/b") is None
    for path in (tmp_path / "records").glob("*/*"):
        path.write_bytes(b"\xc1")
    assert cache.find("/a") is None


# Reading through


class Far(Upstream):
    """An upstream hub that is told what to answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(URL, cache=folder)
        self.time = 0.0
        self.cache = Cache(folder, most=10**9, clock=lambda: self.time)
        self.answers: dict[tuple[str, str], tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.away = False
        self.closed = False

    def page(self, address: str, value: Any, status: int = 200, **headers: str) -> None:
        self.answers["GET", address] = (status, _dashed(headers), json.dumps(value).encode())

    def file(self, revision: str, path: str, content: bytes, etag: str) -> None:
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Content-Length": str(len(content))}
        self.answers["HEAD", f"/far/vit/resolve/{revision}/{path}"] = (200, headers, b"")
        self.answers["GET", f"/far/vit/resolve/{COMMIT}/{path}"] = (200, headers, content)

    @asynccontextmanager
    async def ask(
        self, method: str, address: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Reply]:
        self.asked.append((method, address))
        self.headers.append(headers or {})
        if self.away:
            raise UpstreamUnavailable(f"the upstream hub {URL} cannot be asked: no network.")
        missing = (404, {"X-Error-Code": "RepoNotFound"}, b"")
        status, given, body = self.answers.get((method, address), missing)
        if headers and "Range" in headers:
            start, _, last = headers["Range"].removeprefix("bytes=").partition("-")
            part = body[int(start) : int(last) + 1]
            given = {
                **given,
                "Content-Range": f"bytes {start}-{last}/{len(body)}",
                "Content-Length": str(len(part)),
            }
            status, body = 206, part
        yield Reply(status=status, headers=CIMultiDict(given), response=_Body(body))  # type: ignore[arg-type]

    async def close(self) -> None:
        self.closed = True


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def content(self) -> _Body:
        return self

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), size):
            yield self._body[start : start + size]


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def knows_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """The server's own routes: everything is unknown, but what is under /known."""
    if scope["path"].startswith("/known"):
        await JSONResponse({"here": True})(scope, receive, send)
        return
    headers = {"X-Error-Code": "RepoNotFound"}
    await JSONResponse({"error": "not here"}, 404, headers=headers)(scope, receive, send)


class Answer:
    """What was sent."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(it.get("body", b"") for it in self.messages[1:])

    @property
    def whole(self) -> bool:
        return not self.messages[-1].get("more_body", False)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    database = new_database(tmp_path)
    (tmp_path / "git").mkdir()
    with database.writing() as session:
        session.add(Account(key="ana", name="ana", kind="user", admin=True, created_at=now()))
    yield Hub(
        database=database,
        git=GitStore(tmp_path / "git"),
        blobs=BlobStore.open(str(tmp_path / "data"), tmp_path / "scratch"),
        signer=Signer(bytes(32)),
    )
    database.close()


@pytest.fixture
def far(tmp_path: Path) -> Far:
    return Far(tmp_path / "upstream")


def get(hub: Hub, far: Far, path: str, method: str = "GET", query: str = "", **headers: str) -> Answer:
    answer = Answer()

    async def send(message: Any) -> None:
        answer.messages.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "method": method,
        "scheme": "http",
        "server": ("here", 8420),
        "path": path,
        "query_string": query.encode(),
        "headers": [
            (b"host", b"here:8420"),
            (b"authorization", b"Bearer mine"),
            *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
        ],
    }
    asyncio.run(ReadThrough(knows_nothing, hub=hub, upstream=far)(scope, receive, send))
    return answer


def test_what_is_known_here_is_never_asked_for(hub: Hub, far: Far) -> None:
    assert get(hub, far, "/known").body == b'{"here":true}'
    for path in ("/ana/becas/resolve/main/config.json", "/api/models/ANA/secreto", "/api/models/settings/x"):
        assert (get(hub, far, path).status, far.asked) == (404, [])
    assert get(hub, far, "/api/models/far/vit", "POST").status == 404
    assert far.asked == []


def test_names_that_stay_here(hub: Hub) -> None:
    caller = Principal(account_id=1, name="ana", role=Role.ADMIN, memberships={"ana": "admin"}, admin=True)
    with hub.database.writing() as session:
        accounts.create_org(session, "lab", owner=session.get_one(Account, 1))
        accounts.create_org(session, "far", owner=session.get_one(Account, 1))
        note_mirror(session, "Far", URL)
    for one in ("ana/becas", "far/imported"):
        repos.create(hub, caller, parse_repo(Kind.MODEL, one))
    repos.move(hub, caller, parse_repo(Kind.MODEL, "ana/becas"), parse_repo(Kind.MODEL, "ana/becas-qa"))
    stays = ("ana/x", "ANA/x", "lab/x", "far/imported", "Becas-QA", "api/x")
    with hub.database.reading() as session:
        assert [one for one in stays if not is_ours(session, parse_repo(Kind.MODEL, one))] == []
        for one in ("far/other", "google/vit", "gpt2"):
            assert not is_ours(session, parse_repo(Kind.MODEL, one))


def test_what_a_model_is_comes_from_upstream_without_what_leads_to_xet(hub: Hub, far: Far) -> None:
    far.page(
        "/api/models/far/vit/tree/main", [{"path": "a", "xetHash": "x"}], Link=f'<{URL}/api/next>; rel="next"'
    )
    far.page(
        "/api/models/far/vit?blobs=true", {"id": "far/vit", "siblings": [{"rfilename": "a", "xetHash": "x"}]}
    )
    tree = get(hub, far, "/api/models/far/vit/tree/main")
    assert json.loads(tree.body) == [{"path": "a"}]
    assert tree.headers["link"] == '<http://here:8420/api/next>; rel="next"'
    info = get(hub, far, "/api/models/far/vit", query="blobs=true")
    assert json.loads(info.body) == {"id": "far/vit", "siblings": [{"rfilename": "a"}]}


def test_no_header_of_the_client_goes_upstream(hub: Hub, far: Far) -> None:
    far.file("main", "a.bin", WEIGHTS, SHA256)
    get(hub, far, "/far/vit/resolve/main/a.bin", cookie="x=y", user_agent="me")
    assert far.headers == [{}, {}]


def test_an_answer_is_asked_for_again_only_after_a_moment(hub: Hub, far: Far) -> None:
    address = "/api/models/far/vit/revision/main"
    far.page(address, {"sha": COMMIT})
    for _ in range(2):
        assert get(hub, far, address).status == 200
    assert len(far.asked) == 1
    far.time = 61.0
    far.page(address, {"sha": "2" * 40})
    assert json.loads(get(hub, far, address).body)["sha"] == "2" * 40


def test_what_a_commit_holds_is_asked_for_once(hub: Hub, far: Far) -> None:
    address = f"/api/models/far/vit/tree/{COMMIT}"
    far.page(address, [])
    for moment in (0.0, 1e9):
        far.time = moment
        assert get(hub, far, address).status == 200
    assert len(far.asked) == 1


def test_a_file_is_kept_and_then_given_from_the_disk(hub: Hub, far: Far) -> None:
    far.file("main", "a.bin", WEIGHTS, SHA256)
    path = "/far/vit/resolve/main/a.bin"
    head = get(hub, far, path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == f'"{SHA256}"'
    assert head.headers["x-repo-commit"] == COMMIT
    assert head.headers["content-length"] == str(len(WEIGHTS))
    first = get(hub, far, path)
    assert (first.status, first.body, first.whole) == (200, WEIGHTS, True)
    assert first.headers["content-security-policy"] == "sandbox"
    far.away = True
    far.time = 1e9
    again = get(hub, far, path)
    assert (again.status, again.body) == (200, WEIGHTS)
    assert again.headers["etag"] == f'"{SHA256}"'
    part = get(hub, far, path, range="bytes=100-199")
    assert (part.status, part.body) == (206, WEIGHTS[100:200])
    assert get(hub, far, path, if_none_match=f'"{SHA256}"').status == 304
    assert [it for it in far.asked if it[0] == "GET"] == [("GET", f"/far/vit/resolve/{COMMIT}/a.bin")]


def test_a_part_of_a_file_is_passed_on_and_not_kept(hub: Hub, far: Far) -> None:
    far.file("main", "a.bin", WEIGHTS, SHA256)
    path = "/far/vit/resolve/main/a.bin"
    part = get(hub, far, path, range="bytes=5-")
    assert (part.status, part.body) == (206, WEIGHTS[5:])
    assert part.headers["content-range"] == f"bytes 5-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
    assert far.cache.file(SHA256) is None
    whole = get(hub, far, path, range="bytes=5-", if_range='"other"')
    assert (whole.status, whole.body) == (200, WEIGHTS)
    far.file("main", "b.bin", b"hola", git_hash(b"hola"))
    with pytest.raises(RangeNotSatisfiable):
        get(hub, far, "/far/vit/resolve/main/b.bin", range="bytes=99-")


def test_a_file_with_a_wrong_hash_never_arrives_whole(hub: Hub, far: Far) -> None:
    far.file("main", "a.bin", WEIGHTS[::-1], SHA256)
    answer = Answer()
    with pytest.raises(UpstreamUnavailable, match="hash"):
        answer = get(hub, far, "/far/vit/resolve/main/a.bin")
    assert answer.body != WEIGHTS[::-1]
    assert far.cache.file(SHA256) is None


def test_files_that_are_missing_upstream_are_told_with_their_commit(hub: Hub, far: Far) -> None:
    headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
    far.answers["HEAD", "/far/vit/resolve/main/x.json"] = (404, headers, b"")
    for _ in range(2):
        with pytest.raises(EntryNotFound) as missing:
            get(hub, far, "/far/vit/resolve/main/x.json", "HEAD")
        assert missing.value.commit == COMMIT
    assert len(far.asked) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_upstream_does_not_know_is_answered_as_unknown_here(hub: Hub, far: Far, status: int) -> None:
    far.answers["HEAD", "/far/vit/resolve/main/x.json"] = (status, {}, b"")
    answer = get(hub, far, "/far/vit/resolve/main/x.json")
    assert (answer.status, answer.body) == (404, b'{"error":"not here"}')


def test_a_gated_model_says_why_it_cannot_be_read_through(hub: Hub, far: Far) -> None:
    far.answers["HEAD", "/far/vit/resolve/main/x.json"] = (401, {"X-Error-Code": "GatedRepo"}, b"")
    with pytest.raises(Gated, match="without a token"):
        get(hub, far, "/far/vit/resolve/main/x.json")


def test_offline_it_fails_and_says_so(hub: Hub, far: Far) -> None:
    far.away = True
    for path in ("/far/vit/resolve/main/config.json", "/api/models/far/vit"):
        with pytest.raises(
            UpstreamUnavailable, match=r"far/vit is not on this server.*no network.*--no-upstream"
        ):
            get(hub, far, path)


def test_the_connection_is_closed_with_the_server(hub: Hub, far: Far) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})
        assert not far.closed
        await send({"type": "lifespan.shutdown.complete"})

    async def send(_: Any) -> None:
        pass

    asyncio.run(ReadThrough(app, hub=hub, upstream=far)({"type": "lifespan"}, send, send))  # type: ignore[arg-type]
    assert far.closed


@pytest.mark.parametrize("url", ["https://me:secret@hub.invalid", "https://hub.invalid/?token=x", "nothing"])
def test_an_upstream_is_a_plain_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError):
        Upstream(url, cache=tmp_path)


# Importing


CARD = b"---\nlicense: mit\n---\n# ViT\n"


def offer(far: Far, card: bytes = CARD) -> None:
    tree = [
        {"type": "directory", "path": "onnx", "oid": "0" * 40},
        {"type": "file", "path": "README.md", "oid": git_hash(CARD), "size": len(CARD)},
        {
            "type": "file",
            "path": "onnx/a.bin",
            "oid": "0" * 40,
            "size": len(WEIGHTS),
            "lfs": {"oid": SHA256, "size": len(WEIGHTS), "pointerSize": 130},
        },
    ]
    more = f"/api/models/far/vit/tree/{COMMIT}?cursor=x"
    far.page("/api/models/far/vit/revision/main", {"id": "far/vit", "sha": COMMIT})
    first = f"/api/models/far/vit/tree/{COMMIT}?recursive=true&expand=false"
    far.page(first, tree[:2], Link=f'<{URL}{more}>; rel="next"')
    far.page(more, tree[2:])
    far.file("main", "README.md", card, git_hash(card))
    far.file("main", "onnx/a.bin", WEIGHTS, SHA256)


def principal(role: Role = Role.ADMIN) -> Principal:
    return Principal(account_id=1, name="ana", role=role, memberships={"ana": "admin"}, admin=True)


def test_a_model_is_imported_for_good(hub: Hub, far: Far) -> None:
    offer(far)
    name = parse_repo(Kind.MODEL, "far/vit")
    for _ in range(2):  # again it changes nothing
        commit = asyncio.run(import_repo(hub, principal(), far, name))
    with hub.database.reading() as session:
        repo = repos.find_repo(session, principal(), name)
        assert repo.head == commit.oid
        assert lfs.find(session, repo.id, SHA256) is not None
        assert not is_ours(session, parse_repo(Kind.MODEL, "far/other"))
        assert is_ours(session, name)
        git = hub.git.open(repo.id)
    sizes = {it.path: it.size for it in git.entries(commit, recursive=True)}
    assert (sizes["README.md"], sizes["onnx/a.bin"]) == (len(CARD), len(WEIGHTS))
    assert [it.title for it in git.log(commit, limit=9)] == [
        f"Import far/vit at {COMMIT[:12]}",
        "initial commit",
    ]
    assert b"".join(hub.blobs.read(SHA256)) == WEIGHTS


def test_only_an_administrator_imports_into_a_new_namespace(hub: Hub, far: Far) -> None:
    offer(far)
    name = parse_repo(Kind.MODEL, "far/vit")
    with pytest.raises(Forbidden, match="administrator"):
        asyncio.run(import_repo(hub, principal(Role.WRITE), far, name))
    mine = parse_repo(Kind.MODEL, "ana/vit")
    commit = asyncio.run(import_repo(hub, principal(Role.WRITE), far, name, to=mine))
    assert commit.author == "ana"


def test_a_failed_import_leaves_no_repository(hub: Hub, far: Far) -> None:
    offer(far, card=CARD[::-1])
    name, mine = parse_repo(Kind.MODEL, "far/vit"), parse_repo(Kind.MODEL, "ana/vit")
    with pytest.raises(UpstreamUnavailable, match=r"README\.md"):
        asyncio.run(import_repo(hub, principal(), far, name, to=mine))
    with hub.database.reading() as session:
        assert session.query(repos.Repo).count() == 0


def finished(imports: Imports, name: str, caller: Principal, to: str | None = None) -> Import:
    """What becomes of an import, once it has ended."""

    async def run() -> Import:
        source = parse_repo(Kind.MODEL, name)
        begun = await imports.begin(caller, source, parse_repo(Kind.MODEL, to or name), "main")
        assert begun.state == "running"
        await asyncio.gather(*imports._tasks)
        return imports.find(caller, begun.id)

    return asyncio.run(run())


def test_an_import_tells_how_far_it_is(hub: Hub, far: Far) -> None:
    offer(far)
    done = finished(Imports(hub, far), "far/vit", principal(), to="ana/vit")
    assert (done.state, done.error) == ("done", None)
    assert hub.git.open(1).resolve("main").oid == done.commit
    progress = done.progress
    assert progress.files == progress.files_done > 1
    assert progress.bytes == progress.bytes_done > len(WEIGHTS)


def test_an_import_that_fails_says_why(hub: Hub, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    imports = Imports(hub, far)
    missing = finished(imports, "far/nothing", principal())
    assert missing.state == "failed"
    assert "far/nothing" in (missing.error or "")

    async def broken(*_: Any, **more: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("lanza.hub.upstream.imports.import_repo", broken)
    failed = finished(imports, "far/vit", principal())
    assert "the server's log has it" in (failed.error or "")
    assert "secret" not in (failed.error or "")


def test_imports_are_for_whoever_began_them_and_bounded(hub: Hub, far: Far) -> None:
    offer(far)
    imports = Imports(hub, far)
    name = parse_repo(Kind.MODEL, "far/vit")

    async def run() -> None:
        with pytest.raises(Forbidden, match="administrator"):
            await imports.begin(principal(Role.WRITE), name, name, "main")
        begun = [await imports.begin(principal(), name, name, "main") for _ in range(4)]
        with pytest.raises(Overloaded, match="4 imports are running"):
            await imports.begin(principal(), name, name, "main")
        stranger = Principal(account_id=99, name="eva", role=Role.WRITE)
        for caller in (stranger, ANONYMOUS):
            with pytest.raises(NotFound, match="no import"):
                imports.find(caller, begun[0].id)
        await imports.close()
        assert not imports._tasks

    asyncio.run(run())
    with pytest.raises(NotFound, match="asks no other hub"):
        asyncio.run(Imports(hub, None).begin(principal(), name, name, "main"))
