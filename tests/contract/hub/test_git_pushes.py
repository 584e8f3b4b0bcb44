"""Debian's git against the routes that serve it: what may be pushed and what not, and how clones may look."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from databases import new_database
from lanza.auth.principal import ANONYMOUS, Principal, Role
from lanza.auth.records import Account
from lanza.auth.signing import Signer
from lanza.database import now
from lanza.errors import LanzaError, Unauthorized
from lanza.hub.api import git_http
from lanza.hub.blobs import BlobStore
from lanza.hub.git import MOST_PROGRAMS, GitRepo, GitStore, Put
from lanza.hub.hub import Hub, HubLimits
from lanza.hub.objects import write_pointer
from lanza.hub.records import Blob, Repo, RepoBlob
from lanza.hub.wire import FLUSH, packet
from lanza.server.edge import Edge
from lanza.server.refusals import answer_to

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

ANA = Principal(account_id=1, name="ana", role=Role.WRITE, memberships={"ana": "admin"})
EVA = Principal(account_id=2, name="eva", role=Role.WRITE, memberships={"eva": "admin"})
SHA256 = "ab" * 32


def who(authorization: str | None) -> Principal:
    if authorization is None:
        return ANONYMOUS
    name = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")[0]
    if name not in ("ana", "eva"):
        raise Unauthorized("Invalid credentials in Authorization header.")
    return ANA if name == "ana" else EVA


@dataclass(kw_only=True)
class Served:
    """A Hub with one private and one public repository, and git clients of it."""

    hub: Hub
    url: str
    homes: Path

    @property
    def repo(self) -> GitRepo:
        return self.hub.git.open(1)

    def address(self, user: str | None = "ana", path: str = "ana/becas") -> str:
        host = self.url.removeprefix("http://")
        return f"http://{user}:secret@{host}/{path}" if user else f"{self.url}/{path}"

    def git(self, *arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.homes),
                "LC_ALL": "C",
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_AUTHOR_NAME": "Ana",
                "GIT_AUTHOR_EMAIL": "ana@example.org",
                "GIT_COMMITTER_NAME": "Ana",
                "GIT_COMMITTER_EMAIL": "ana@example.org",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, f"git {arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def clone(self, to: Path, *options: str) -> Path:
        self.git("clone", "-q", *options, self.address(), str(to), cwd=to.parent)
        return to

    def change(self, clone: Path, **files: str) -> None:
        for name, content in files.items():
            (clone / name).write_text(content)
        self.git("-c", "core.protectNTFS=false", "add", "-A", cwd=clone)
        self.git("-c", "core.protectNTFS=false", "commit", "-qm", "a change", cwd=clone)

    def push(self, clone: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.git("push", *(arguments or ("origin", "main")), cwd=clone, check=check)

    def names(self, revision: str = "main") -> set[str]:
        repo = self.repo
        return {entry.path for entry in repo.entries(repo.resolve(revision), recursive=True)}

    def fsck(self) -> str:
        done = self.git("--git-dir", str(self.repo.folder), "fsck", "--strict", "--full", cwd=self.homes)
        return done.stdout + done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    database = new_database(tmp_path)
    (tmp_path / "scratch").mkdir()
    hub = Hub(
        database=database,
        git=GitStore(tmp_path / "git"),
        blobs=BlobStore.open(str(tmp_path), tmp_path / "scratch"),
        signer=Signer(bytes(32)),
        limits=HubLimits(regular_bytes=100_000, commit_bytes=5_000_000),
    )
    with database.writing() as session:
        session.add_all(
            Account(id=i, key=n, name=n, kind="user", created_at=now()) for i, n in ((1, "ana"), (2, "eva"))
        )
        session.flush()
        session.add_all(
            Repo(
                id=i,
                kind="model",
                key=f"ana/{name}",
                namespace="ana",
                name=name,
                owner_id=1,
                visibility=visibility,
                created_at=now(),
                updated_at=now(),
            )
            for i, name, visibility in ((1, "becas", "private"), (2, "abierto", "public"))
        )
        session.add(Blob(sha256=SHA256, size=12, created_at=now()))
        session.flush()
        session.add(RepoBlob(repo_id=1, sha256=SHA256, created_at=now()))
    for number in (1, 2):
        hub.git.create(number, author="ana")
    with running(hub) as url:
        (tmp_path / "home").mkdir()
        yield Served(hub=hub, url=url, homes=tmp_path / "home")
    database.close()


async def refuse(request: Request, raised: Exception) -> Response:
    assert isinstance(raised, LanzaError)
    return answer_to(raised, request.scope)


@contextmanager
def running(hub: Hub) -> Iterator[str]:
    """The git routes of a Hub behind the real edge, on a port of this machine."""
    app = FastAPI(redirect_slashes=False)
    app.state.hub = hub
    app.include_router(git_http.router)
    app.add_exception_handler(LanzaError, refuse)
    edge = Edge(app, authenticate=who)
    server = uvicorn.Server(uvicorn.Config(edge, port=0, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.mark.parametrize("suffix", ["", ".git"])
@pytest.mark.parametrize("protocol", ["0", "1", "2"])
def test_a_clone_has_the_files_and_the_history(
    served: Served, tmp_path: Path, suffix: str, protocol: str
) -> None:
    served.repo.commit("main", [Put("a/b.txt", b"hola\n")], author="ana", title="uno")
    served.git(
        "-c", f"protocol.version={protocol}", "clone", "-q", served.address() + suffix, "one", cwd=tmp_path
    )
    assert (tmp_path / "one" / "a" / "b.txt").read_text() == "hola\n"
    assert served.git("rev-list", "--count", "HEAD", cwd=tmp_path / "one").stdout == "2\n"


def test_a_clone_may_be_shallow_or_leave_the_files_out(served: Served, tmp_path: Path) -> None:
    for number in range(5):
        served.repo.commit("main", [Put("n.txt", b"%d" % number)], author="ana", title="n")
    shallow = served.clone(tmp_path / "shallow", "--depth=1")
    assert served.git("rev-list", "--count", "HEAD", cwd=shallow).stdout == "1\n"
    partial = served.clone(tmp_path / "partial", "--filter=blob:none")
    assert (partial / "n.txt").read_text() == "4"
    assert served.git("show", "HEAD~2:n.txt", cwd=partial).stdout == "2"


def test_a_push_from_a_shallow_clone_arrives(served: Served, tmp_path: Path) -> None:
    served.repo.commit("main", [Put("n.txt", b"1")], author="ana", title="n")
    one = served.clone(tmp_path / "one", "--depth=1")
    served.change(one, nota="hola")
    served.push(one)
    assert "nota" in served.names()
    assert served.fsck() == ""


def test_a_push_moves_the_branch_and_is_in_the_record(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    served.change(one, nota="hola")
    served.push(one)
    assert "nota" in served.names()
    with served.hub.database.reading() as session:
        assert session.get_one(Repo, 1).head == served.repo.resolve("main").oid
    assert served.fsck() == ""
    assert not list(served.repo.folder.glob("incoming-*"))


def test_a_push_of_much_in_pieces_arrives(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    for number in range(30):
        (one / f"{number}.dat").write_bytes(os.urandom(90_000))
    served.change(one)
    served.push(one)  # more than http.postBuffer: git asks first, and sends it in chunks
    assert len(served.names()) == 31


def test_branches_and_tags_can_be_pushed_and_removed(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    served.git("tag", "-a", "v1", "-m", "first", cwd=one)
    served.git("tag", "v2", cwd=one)
    served.push(one, "origin", "HEAD:refs/heads/dev/a", "--tags")
    assert {ref.name for ref in served.repo.branches()} == {"main", "dev/a"}
    assert {ref.name for ref in served.repo.tags()} == {"v1", "v2"}
    assert {ref.target for ref in served.repo.tags()} == {served.repo.resolve("main").oid}
    served.push(one, "origin", "--delete", "dev/a", "v1")
    assert {ref.name for ref in served.repo.branches()} == {"main"}
    assert {ref.name for ref in served.repo.tags()} == {"v2"}


def test_main_cannot_be_removed(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    done = served.push(one, "origin", "--delete", "main", check=False)
    assert done.returncode != 0
    assert "every repository has one" in done.stderr


def test_only_branches_and_tags_can_be_pushed(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    done = served.push(one, "origin", "HEAD:refs/pr/1", "HEAD:refs/heads/dev", check=False)
    assert "only branches and tags" in done.stderr
    assert {ref.name for ref in served.repo.branches()} == {"main", "dev"}
    done = served.push(one, "--atomic", "origin", "HEAD:refs/pr/1", "HEAD:refs/heads/two", check=False)
    assert done.returncode != 0
    assert {ref.name for ref in served.repo.branches()} == {"main", "dev"}


def test_a_push_from_behind_needs_force(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    served.repo.commit("main", [Put("otro", b"")], author="ana", title="otro")
    served.change(one, nota="hola")
    assert served.push(one, check=False).returncode != 0
    assert "otro" in served.names()
    served.push(one, "--force", "origin", "main")
    assert "otro" not in served.names()


def test_of_pushes_at_once_one_wins(served: Served, tmp_path: Path) -> None:
    clones = [served.clone(tmp_path / f"c{number}") for number in range(4)]
    for number, clone in enumerate(clones):
        served.change(clone, **{f"f{number}": "x"})
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda clone: served.push(clone, check=False), clones))
    assert sum(it.returncode == 0 for it in done) == 1
    assert len(served.names()) == 2
    assert served.fsck() == ""


def test_a_pointer_to_what_was_not_uploaded_is_refused(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    (one / "good.dat").write_bytes(write_pointer(SHA256, 12))
    served.change(one)
    served.push(one)
    for wrong in (write_pointer("cd" * 32, 12), write_pointer(SHA256, 13)):
        (one / "wrong.dat").write_bytes(wrong)
        served.change(one)
        done = served.push(one, check=False)
        assert done.returncode != 0
        assert "remote: wrong.dat: the large file" in done.stderr
        served.git("reset", "-q", "--hard", "HEAD~1", cwd=one)
    assert served.names() == {".gitattributes", "good.dat"}


def test_a_pointer_in_a_commit_below_the_last_is_seen(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    (one / "wrong.dat").write_bytes(write_pointer("cd" * 32, 12))
    served.change(one)
    (one / "wrong.dat").unlink()
    served.change(one)
    assert "wrong.dat" in served.push(one, check=False).stderr
    assert served.names() == {".gitattributes"}


def test_a_file_that_is_too_large_for_git_is_refused(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    served.change(one, grande="x" * 100_001)
    done = served.push(one, check=False)
    assert done.returncode != 0
    assert "remote: grande: git itself takes 100,000 bytes here" in done.stderr
    assert "git lfs migrate" in done.stderr


SECRET = "TOKEN = 'hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567'\n"


def forbid(served: Served, *kinds: str) -> None:
    """Have ana's namespace refuse these kinds of findings from now on."""
    with served.hub.database.writing() as session:
        session.get_one(Account, 1).refused = list(kinds)


def test_what_the_namespace_refuses_is_said_in_the_terminal(served: Served, tmp_path: Path) -> None:
    forbid(served, "secret")
    one = served.clone(tmp_path / "one")
    before = served.repo.resolve("main").oid
    served.change(one, **{"config.py": SECRET})
    done = served.push(one, check=False)
    assert done.returncode != 0
    assert "remote: config.py: line 1 seems to hold a Hugging Face token: revoke it" in done.stderr
    assert "ana refuses secret: `lanza policy ana` changes that" in " ".join(done.stderr.split())
    assert served.repo.resolve("main").oid == before
    served.change(one, **{"config.py": "TOKEN = os.environ['TOKEN']"})
    assert served.push(one, check=False).returncode != 0  # the commit below still holds it
    served.git("reset", "-q", "--soft", "origin/main", cwd=one)
    served.git("commit", "-qm", "without", cwd=one)
    served.push(one)
    assert "config.py" in served.names()
    assert served.fsck() == ""


def test_an_old_finding_blocks_no_other_push(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    served.change(one, **{"config.py": SECRET})
    served.git("checkout", "-qb", "dev", cwd=one)
    served.change(one, **{"dev.py": SECRET})
    served.push(one, "origin", "main", "dev")
    forbid(served, "secret")
    served.git("checkout", "-q", "main", cwd=one)
    served.change(one, nota="hola")
    served.push(one)
    # A merge, a new branch and a history that is written anew bring nothing that was not there.
    served.git("merge", "-q", "--no-ff", "-m", "both", "dev", cwd=one)
    served.push(one, "origin", "main", "main:copy")
    served.git("checkout", "-q", "--orphan", "anew", cwd=one)
    served.git("commit", "-qm", "one commit", cwd=one)
    served.push(one, "--force", "origin", "anew:main")
    assert served.names() == {".gitattributes", "config.py", "dev.py", "nota"}
    served.change(one, **{"other.py": SECRET})
    assert "remote: other.py: line 1" in served.push(one, "origin", "anew:main", check=False).stderr
    assert served.fsck() == ""


def test_a_large_file_that_is_refused_stays_uploaded(served: Served, tmp_path: Path) -> None:
    content = b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R."  # a pickle, whatever its name is
    sha256 = hashlib.sha256(content).hexdigest()
    served.hub.blobs.write(sha256, len(content), iter([content]))
    with served.hub.database.writing() as session:
        session.add(Blob(sha256=sha256, size=len(content), created_at=now()))
        session.flush()
        session.add(RepoBlob(repo_id=1, sha256=sha256, created_at=now()))
    forbid(served, "pickle")
    one = served.clone(tmp_path / "one")
    (one / "evil.dat").write_bytes(write_pointer(sha256, len(content)))
    served.change(one)
    assert "remote: evil.dat: it would run posix.system" in served.push(one, check=False).stderr
    forbid(served)
    served.push(one)
    assert "evil.dat" in served.names()


def test_a_push_over_the_limit_is_refused_in_words(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    for number in range(60):
        (one / f"{number}.dat").write_bytes(os.urandom(99_000))
    served.change(one)
    done = served.push(one, check=False)
    assert done.returncode != 0
    assert "exceeds maximum allowed size" in done.stderr
    assert served.names() == {".gitattributes"}
    assert not list(served.repo.folder.glob("incoming-*"))


def test_a_push_that_the_namespace_has_no_room_for_is_refused(served: Served, tmp_path: Path) -> None:
    with served.hub.database.writing() as session:
        session.get_one(Account, 1).quota_bytes = 50_000
    one = served.clone(tmp_path / "one")
    (one / "x").write_bytes(os.urandom(60_000))
    served.change(one)
    assert "at most 50,000 bytes" in served.push(one, check=False).stderr
    assert served.names() == {".gitattributes"}


@pytest.mark.parametrize("name", ["back\\slash", "ctrl\x01", "git~1"])
def test_odd_names_are_refused(served: Served, tmp_path: Path, name: str) -> None:
    one = served.clone(tmp_path / "one")
    served.change(one, **{name: "x"})
    assert served.push(one, check=False).returncode != 0
    assert served.names() == {".gitattributes"}


def test_submodules_are_refused(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    head = served.git("rev-parse", "HEAD", cwd=one).stdout.strip()
    served.git("update-index", "--add", "--cacheinfo", f"160000,{head},sub", cwd=one)
    served.git("commit", "-qm", "sub", cwd=one)
    assert "remote: sub: submodules cannot be kept" in served.push(one, check=False).stderr


def test_a_name_that_is_no_unicode_is_refused(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    Path(os.fsdecode(os.fsencode(one) + b"/a\xff")).write_text("x")
    served.change(one)
    assert "no UTF-8" in served.push(one, check=False).stderr


def test_who_is_nobody_is_asked_for_a_token(served: Served, tmp_path: Path) -> None:
    for path in ("ana/becas", "ana/nothing"):
        done = served.git("clone", served.address(None, path), "x", cwd=tmp_path, check=False)
        assert "could not read Username" in done.stderr
    served.git("clone", "-q", served.address(None, "ana/abierto"), "open", cwd=tmp_path)
    done = served.git("push", "origin", "HEAD:refs/heads/x", cwd=tmp_path / "open", check=False)
    assert "could not read Username" in done.stderr


def test_what_is_private_is_absent_for_others_and_what_is_public_cannot_be_written(
    served: Served, tmp_path: Path
) -> None:
    done = served.git("clone", served.address("eva"), "x", cwd=tmp_path, check=False)
    assert "not found" in done.stderr
    served.git("clone", "-q", served.address("eva", "ana/abierto"), "open", cwd=tmp_path)
    done = served.git("push", "origin", "HEAD:refs/heads/x", cwd=tmp_path / "open", check=False)
    assert "403" in done.stderr
    done = served.git("clone", served.address("mal"), "y", cwd=tmp_path, check=False)
    assert "Authentication failed" in done.stderr


def test_a_message_that_is_no_unicode_can_be_read(served: Served, tmp_path: Path) -> None:
    one = served.clone(tmp_path / "one")
    (one / "x").write_text("x")
    served.git("add", "-A", cwd=one)
    (tmp_path / "message").write_bytes(b"a\xf1o\n")
    served.git("-c", "i18n.commitEncoding=latin-1", "commit", "-qF", str(tmp_path / "message"), cwd=one)
    served.push(one)
    assert served.repo.resolve("main").title == "a\ufffdo"


def ask(
    served: Served, path: str, body: bytes | None = None, *, user: str = "ana", **headers: str
) -> tuple[int, bytes]:
    """One request as it stands; status and body of the answer."""
    request = urllib.request.Request(f"{served.url}/ana/becas/{path}", data=body)
    request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:secret".encode()).decode())
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


FETCH = {"Content_Type": "application/x-git-upload-pack-request", "Git_Protocol": "version=2"}
LIST_REFS = packet(b"command=ls-refs\n") + FLUSH


def test_what_a_client_asks_may_be_zipped(served: Served) -> None:
    zipped = gzip.compress(LIST_REFS)
    for body, more in ((LIST_REFS, {}), (zipped, {"Content_Encoding": "gzip"})):
        status, answer = ask(served, "git-upload-pack", body, **FETCH, **more)
        assert (status, b"refs/heads/main" in answer) == (200, True)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("git-upload-pack", gzip.compress(LIST_REFS)[:-9], {**FETCH, "Content_Encoding": "gzip"}, 400),
        ("git-upload-pack", b"no gzip", {**FETCH, "Content_Encoding": "gzip"}, 400),
        ("git-upload-pack", gzip.compress(bytes(2**26)), {**FETCH, "Content_Encoding": "gzip"}, 413),
        ("git-upload-pack", LIST_REFS, {**FETCH, "Content_Encoding": "br"}, 415),
        ("git-upload-pack", LIST_REFS, {}, 415),
        ("git-receive-pack", b"00", {"Content_Type": "application/x-git-receive-pack-request"}, 400),
        ("git-receive-pack", b"0009x", {"Content_Type": "application/x-git-receive-pack-request"}, 400),
        ("git-receive-pack", b"0006x\n0000", {"Content_Type": "application/x-git-receive-pack-request"}, 400),
        ("info/refs", None, {}, 403),
        ("info/refs?service=git-shell", None, {}, 403),
    ],
)
def test_what_git_would_not_say_is_refused(
    served: Served, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    assert ask(served, path, body, **headers)[0] == status


def test_no_more_programs_run_than_may(served: Served) -> None:
    for _ in range(MOST_PROGRAMS):
        assert served.hub.git.programs.acquire(blocking=False)
    assert ask(served, "info/refs?service=git-upload-pack")[0] == 429
    assert ask(served, "git-upload-pack", LIST_REFS, **FETCH)[0] == 429
    served.hub.git.programs.release()
    assert ask(served, "git-upload-pack", LIST_REFS, **FETCH)[0] == 200


def send(served: Served, request: str, body: bytes) -> socket.socket:
    """A connection on which a request was begun."""
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    token = base64.b64encode(b"ana:secret").decode()
    head = f"POST /ana/becas/{request} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {token}\r\n"
    head += f"Content-Type: application/x-{request}-request\r\nGit-Protocol: version=2\r\n"
    connection.sendall(head.encode() + body)
    return connection


def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in ten seconds")


def idle(served: Served) -> bool:
    """Whether nothing runs for a client any more."""
    programs = served.hub.git.programs
    held = 0
    while programs.acquire(blocking=False):
        held += 1
    for _ in range(held):
        programs.release()
    return held == MOST_PROGRAMS and not [line for line in processes() if str(served.repo.folder) in line]


def processes() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_text(errors="replace"))
    return lines


def test_a_client_that_leaves_in_the_middle_of_a_push_leaves_nothing(served: Served) -> None:
    command = f"{'0' * 40} {'1' * 40} refs/heads/x\0report-status".encode()
    begun = packet(command) + FLUSH + b"PACK\0\0\0\2\0\0\0\7"
    connection = send(served, "git-receive-pack", b"Content-Length: 100000\r\n\r\n" + begun)
    until(lambda: bool(list(served.repo.folder.glob("incoming-*"))))
    assert not idle(served)
    connection.close()
    until(lambda: idle(served))
    assert not list(served.repo.folder.glob("incoming-*"))


def test_a_client_that_leaves_in_the_middle_of_a_clone_ends_it(served: Served) -> None:
    head = served.repo.commit(
        "main", [Put(f"{number}", os.urandom(2**20)) for number in range(40)], author="ana", title="much"
    )
    wanted = packet(b"command=fetch\n") + b"0001" + packet(f"want {head.oid}\n".encode())
    wanted += packet(b"done\n") + FLUSH
    connection = send(served, "git-upload-pack", f"Content-Length: {len(wanted)}\r\n\r\n".encode() + wanted)
    assert connection.recv(4) == b"HTTP"
    assert not idle(served)
    connection.close()
    until(lambda: idle(served))
