"""Clients of other years against the same server, each in an environment of its own that pip makes.

The oldest `huggingface_hub` of the 1.x line; the last of 0.x, which still brings `huggingface-cli`; and one
of the days when Xet was new. They ask in other words than today's, and let the server choose between Xet and
LFS: it chooses LFS, as their Xet may be too old for it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubs import User
from terminal import Terminal

Install = Callable[..., Path]


@dataclass(frozen=True, kw_only=True)
class Client:
    """An environment's programs. `command` is that of the command line, `auth` how it begins for logins."""

    version: str
    programs: Path
    command: str
    auth: tuple[str, ...] = ()

    def cli(self, user: User, *words: str, **more: str) -> str:
        """Run its command line as `user`, who has no token but one that they stored."""
        done = user.run(
            str(self.programs / self.command), *words, **{"HF_TOKEN": "", "PYTHONPATH": "", **more}
        )
        return done.stdout + done.stderr

    def python(self, user: User, code: str, *words: str, **more: str) -> str:
        program = str(self.programs / "python")
        return user.run(program, "-c", code, *words, **{"PYTHONPATH": "", **more}).stdout


@pytest.fixture(scope="session")
def install(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Installs requirements into an environment of its own, kept for later runs where pytest has a cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("clients") if cache else tmp_path_factory.mktemp("clients")

    def make(name: str, *requirements: str) -> Path:
        path = folder / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
        programs = path / ("Scripts" if sys.platform == "win32" else "bin")
        ready = path / "ready"
        if not ready.exists():
            venv.create(path, clear=True, with_pip=False)
            pip = (sys.executable, "-m", "pip", "--python", str(programs / "python"))
            done = subprocess.run(
                [*pip, "install", *requirements], capture_output=True, text=True, timeout=170
            )
            if done.returncode != 0:
                pytest.fail(
                    f"pip cannot install {' '.join(requirements)} here:\n{done.stderr}", pytrace=False
                )
            ready.touch()
        return programs

    return make


@pytest.fixture(scope="session")
def oldest_1(install: Install) -> Client:
    # Its command line imports click, which it had through a typer of its day.
    programs = install("huggingface_hub-1.0.0", "huggingface_hub==1.0.0", "click")
    return Client(version="1.0.0", programs=programs, command="hf", auth=("auth",))


@pytest.fixture(scope="session")
def last_0(install: Install) -> Client:
    programs = install("huggingface_hub-0.36.2", "huggingface_hub==0.36.2")
    return Client(version="0.36.2", programs=programs, command="huggingface-cli")


@pytest.fixture(scope="session")
def early_xet(install: Install) -> Client:
    programs = install("huggingface_hub-0.33.0", "huggingface_hub==0.33.0", "hf_xet==1.1.3")
    return Client(version="0.33.0", programs=programs, command="huggingface-cli")


@pytest.fixture(params=["oldest_1", "last_0", "early_xet"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.getfixturevalue(request.param)
    return found


REPOSITORIES = """
import json, sys
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

def missing(kind, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except kind:
        return True

api, repo = HfApi(), sys.argv[1]
said = {"version": huggingface_hub.__version__, "name": api.whoami()["name"]}
api.create_repo(repo, private=True)
api.create_repo(repo, private=True, exist_ok=True)
card = b"---\\nlanguage: es\\npipeline_tag: fill-mask\\n---\\n"
api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo)
api.create_commit(repo, commit_message="dos", operations=[
    CommitOperationAdd("a/uno.txt", b"uno"),
    CommitOperationAdd("pesos.bin", bytes(range(256)) * 50_000),
])
said["absent"] = missing(RepositoryNotFoundError, HfApi(token=False).model_info, repo)
info = api.model_info(repo, files_metadata=True, securityStatus=True)
said["info"] = [info.private, info.pipeline_tag, {file.rfilename: file.size for file in info.siblings}]
said["expanded"] = api.model_info(repo, expand=["private", "usedStorage"]).private
said["tree"] = [entry.path for entry in api.list_repo_tree(repo, recursive=True, expand=True)]
said["no file"] = missing(EntryNotFoundError, api.hf_hub_download, repo, "nada.txt")
api.create_branch(repo, branch="otra")
api.create_tag(repo, tag="v1", tag_message="primera")
api.create_commit(repo, commit_message="menos", operations=[CommitOperationDelete("a/")])
said["refs"] = [[ref.name for ref in refs] for refs in vars(api.list_repo_refs(repo)).values() if refs]
said["log"] = [commit.title for commit in api.list_repo_commits(repo)]
said["gone"] = [api.file_exists(repo, "a/uno.txt"), api.file_exists(repo, "a/uno.txt", revision="otra")]
api.update_repo_settings(repo, private=False)
said["found"] = [model.id for model in api.list_models(author=said["name"], search="becas", limit=5)]
api.move_repo(repo, repo + "-2")
said["moved"] = [api.model_info(repo).id, api.repo_exists(repo + "-2")]
api.delete_repo(repo + "-2")
said["deleted"] = not api.repo_exists(repo + "-2")
print(json.dumps(said))
"""


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts and path.name != ".gitattributes"
    }


@pytest.mark.parametrize("more", [{}, {"HF_HUB_DISABLE_XET": "1"}], ids=["as-installed", "without-xet"])
def test_its_command_line(
    client: Client, ana: User, folder: Path, tmp_path: Path, more: dict[str, str]
) -> None:
    repo = f"{ana.name}/becas"
    assert ana.token not in client.cli(ana, *client.auth, "login", "--token", ana.token)
    assert ana.name in client.cli(ana, *client.auth, "whoami")
    assert f"{ana.url}/{repo}" in client.cli(ana, "repo", "create", "becas", "--private")
    assert f"{ana.url}/{repo}" in client.cli(ana, "upload", repo, str(folder), **more)
    client.cli(ana, "download", repo, "--local-dir", str(tmp_path / "down"), **more)
    assert hashes(tmp_path / "down") == hashes(folder)
    info = ana.api().model_info(repo, files_metadata=True)
    large = {file.rfilename for file in info.siblings if file.lfs}
    assert info.private
    assert large == {"pesos.bin", "onnx/model.onnx"}


def test_its_upload_of_a_large_folder(client: Client, ana: User, folder: Path) -> None:
    """A command of its own then: many workers, and a commit whenever enough is there."""
    repo, down = f"{ana.name}/grande", folder.parent / "down"
    # Of several workers one may find nothing to do at first, and then sleeps for ten seconds.
    options = ("--repo-type=model", "--num-workers=1", "--no-bars", "--no-report")
    client.cli(ana, "upload-large-folder", repo, str(folder), *options, HF_TOKEN=ana.token)
    client.cli(ana, "download", repo, "--local-dir", str(down), HF_TOKEN=ana.token)
    assert hashes(down) == hashes(folder)


def test_its_api(client: Client, ana: User) -> None:
    repo = f"{ana.name}/becas"
    said = json.loads(client.python(ana, REPOSITORIES, repo))
    files = {".gitattributes", "README.md", "a/uno.txt", "pesos.bin"}
    private, pipeline, sizes = said.pop("info")
    assert (private, pipeline) == (True, "fill-mask")
    assert set(sizes) == files
    assert sizes["pesos.bin"] == 256 * 50_000
    assert set(said.pop("tree")) == files | {"a"}
    assert said == {
        "version": client.version,
        "name": ana.name,
        "absent": True,
        "expanded": True,
        "no file": True,
        "refs": [["main", "otra"], ["v1"]],
        "log": ["menos", "dos", "Upload README.md with huggingface_hub", "initial commit"],
        "gone": [False, True],
        "found": [repo],
        "moved": [f"{repo}-2", True],
        "deleted": True,
    }


def test_huggingface_cli_itself_asks_in_a_terminal(last_0: Client, ana: User) -> None:
    """The command that tutorials were written for, not the stand-in of `lanza shell`."""
    program = str(last_0.programs / "huggingface-cli")
    ana.run("git", "config", "--global", "credential.helper", "store")
    environment = ana.environment(HF_TOKEN="", PYTHONPATH="")
    with Terminal(program, "login", cwd=ana.home, env=environment) as terminal:
        terminal.expect("Enter your token (input will not be visible): ")
        terminal.enter(ana.token)
        terminal.expect("Add token as git credential? (Y/n) ")
        terminal.enter("Y")
        assert terminal.end() == 0, terminal.text
    for line in ("Token is valid (permission: write).", "git credential helpers (store)", "Login successful"):
        assert line in terminal.text
    with Terminal(program, "repo", "create", "becas", cwd=ana.home, env=environment) as terminal:
        assert terminal.end() == 0, terminal.text
    ana.run("git", "clone", f"{ana.url}/{ana.name}/becas", "clon", HF_TOKEN="")
