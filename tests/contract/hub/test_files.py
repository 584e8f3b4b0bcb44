"""Files up and down with the unmodified `huggingface_hub`: by Xet, which is its default, and by LFS."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hubs import Hub, User

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
print(api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2], commit_message="todo").oid)
"""
DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], revision=sys.argv[2]))
"""


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".gitattributes"
    }


def run(user: User, code: str, *arguments: str, **more: str) -> str:
    return user.run(sys.executable, "-c", code, *arguments, **more).stdout.strip()


@pytest.mark.parametrize("more", [{}, {"HF_HUB_DISABLE_XET": "1"}], ids=["xet", "lfs"])
def test_a_folder_comes_back_as_it_went(ana: User, folder: Path, more: dict[str, str]) -> None:
    repo = f"{ana.name}/becas"
    commit = run(ana, UPLOAD, repo, str(folder), **more)
    assert len(commit) == 40
    found = Path(run(ana, DOWNLOAD, repo, "main", **more))
    assert hashes(found) == hashes(folder)
    assert found.name == commit


def test_what_was_pushed_by_xet_is_there_for_lfs_and_the_other_way_round(
    ana: User, folder: Path, tmp_path: Path
) -> None:
    run(ana, UPLOAD, f"{ana.name}/a", str(folder))
    run(ana, UPLOAD, f"{ana.name}/b", str(folder), HF_HUB_DISABLE_XET="1")
    changed = folder / "pesos.bin"
    changed.write_bytes(changed.read_bytes() + b"and more")
    run(ana, UPLOAD, f"{ana.name}/b", str(folder))
    found = Path(run(ana, DOWNLOAD, f"{ana.name}/b", "main", HF_HUB_DISABLE_XET="1"))
    assert hashes(found) == hashes(folder)


def test_pushing_the_same_again_makes_no_commit(ana: User, folder: Path) -> None:
    repo = f"{ana.name}/becas"
    first = run(ana, UPLOAD, repo, str(folder))
    assert run(ana, UPLOAD, repo, str(folder)) == first
    # In a new home the client has no cache of what it has sent: the server must know by itself.
    assert run(ana, UPLOAD, repo, str(folder), HF_HOME=str(ana.home / "other")) == first
    assert len(ana.api().list_repo_commits(repo)) == 2  # the first is the empty repository's


def test_a_changed_file_is_pushed_after_its_bundle_was_dropped(ana: User, folder: Path) -> None:
    """The client remembers what it has sent, and then refers to it without sending it."""
    repo = f"{ana.name}/becas"
    large = folder / "grande.bin"
    block = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(200_000))
    large.write_bytes(block)
    run(ana, UPLOAD, repo, str(folder))
    large.write_bytes(b"at the front" + block)
    run(ana, UPLOAD, repo, str(folder))
    (folder / "otro.bin").write_bytes(block + b"at the end")
    run(ana, UPLOAD, repo, str(folder))
    found = Path(run(ana, DOWNLOAD, repo, "main"))
    assert hashes(found) == hashes(folder)


def test_single_files_and_deletions(ana: User, tmp_path: Path) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=b"uno", path_in_repo="a/uno.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"dos", path_in_repo="a/dos.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"x" * 11_000_000, path_in_repo="large.bin", repo_id=repo)
    assert sorted(api.list_repo_files(repo)) == [".gitattributes", "a/dos.txt", "a/uno.txt", "large.bin"]
    api.delete_file("a/uno.txt", repo)
    assert not api.file_exists(repo, "a/uno.txt")
    api.delete_folder("a", repo)
    assert sorted(api.list_repo_files(repo)) == [".gitattributes", "large.bin"]
    with pytest.raises(HfHubHTTPError, match="does not exist"):
        api.create_commit(repo, [CommitOperationDelete("nada.txt")], commit_message="no")
    path = api.hf_hub_download(repo, "large.bin", cache_dir=tmp_path)
    assert Path(path).stat().st_size == 11_000_000


def test_the_tree_says_what_each_file_is(ana: User, folder: Path) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    run(ana, UPLOAD, repo, str(folder))
    by_path = {entry.path: entry for entry in api.list_repo_tree(repo, recursive=True, expand=True)}
    weights = folder / "pesos.bin"
    found: Any = by_path["pesos.bin"]
    assert found.size == weights.stat().st_size
    assert found.lfs.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert found.last_commit.title == "todo"
    assert by_path["config.json"].lfs is None
    assert by_path["onnx"].path == "onnx"
    assert [it.path for it in api.list_repo_tree(repo, "onnx")] == ["onnx/model.onnx"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "nowhere"))
    infos = api.get_paths_info(repo, ["config.json", "onnx", "nowhere", "año 2026.txt"])
    assert sorted(it.path for it in infos) == ["año 2026.txt", "config.json", "onnx"]


def test_what_is_missing_is_named_in_the_client_s_own_errors(ana: User, new_user: Callable[[], User]) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo, private=True)
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "nada.txt")
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(repo, "nada.txt", revision="nowhere")
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download(f"{ana.name}/nowhere", "config.json")
    other = new_user().api()
    with pytest.raises(RepositoryNotFoundError):
        other.model_info(repo)
    with pytest.raises(RepositoryNotFoundError):
        other.hf_hub_download(repo, ".gitattributes")
    with pytest.raises(RepositoryNotFoundError):
        other.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)


def test_a_public_repository_is_read_by_all_and_written_by_its_owner(
    ana: User, new_user: Callable[[], User], folder: Path
) -> None:
    repo = f"{ana.name}/becas"
    run(ana, UPLOAD, repo, str(folder))
    other = new_user().api()
    assert other.model_info(repo).id == repo
    with pytest.raises(HfHubHTTPError) as refused:
        other.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)
    assert refused.value.response.status_code == 403
    with pytest.raises(HfHubHTTPError) as refused:
        other.delete_repo(repo)
    assert refused.value.response.status_code == 403


def test_a_commit_on_an_old_parent_is_refused(ana: User) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo)
    parent = api.model_info(repo).sha
    add = CommitOperationAdd("a.txt", b"uno")
    api.create_commit(repo, [add], commit_message="uno", parent_commit=parent)
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_commit(
            repo, [CommitOperationAdd("b.txt", b"dos")], commit_message="dos", parent_commit=parent
        )
    assert refused.value.response.status_code == 412


@pytest.mark.parametrize("path", ["../fuera.txt", "a/../../b", ".git/config", "a//b", "con\x07trol"])
def test_paths_that_lead_astray_are_refused(ana: User, path: str) -> None:
    import json
    import urllib.error
    import urllib.request

    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo)
    lines = [
        {"key": "header", "value": {"summary": "no", "description": ""}},
        {"key": "file", "value": {"content": "eA==", "path": path, "encoding": "base64"}},
    ]
    request = urllib.request.Request(
        f"{ana.url}/api/models/{repo}/commit/main",
        data="\n".join(map(json.dumps, lines)).encode(),
        headers={"Authorization": f"Bearer {ana.token}", "Content-Type": "application/x-ndjson"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 400
    assert "path" in json.loads(refused.value.read())["error"]
    assert api.list_repo_files(repo) == [".gitattributes"]


def test_a_large_file_that_was_never_sent_cannot_be_committed(
    ana: User, new_user: Callable[[], User]
) -> None:
    """Nor one that is there, but in a repository that the caller may not read."""
    import json
    import urllib.error
    import urllib.request

    theirs = new_user()
    theirs.api().create_repo(f"{theirs.name}/secret", private=True)
    secret = b"s" * 11_000_000
    theirs.api().upload_file(path_or_fileobj=secret, path_in_repo="s.bin", repo_id=f"{theirs.name}/secret")
    ana.api().create_repo(f"{ana.name}/becas")
    for digest in (hashlib.sha256(secret).hexdigest(), "0" * 64):
        lines = [
            {"key": "header", "value": {"summary": "no", "description": ""}},
            {
                "key": "lfsFile",
                "value": {"path": "x.bin", "algo": "sha256", "oid": digest, "size": len(secret)},
            },
        ]
        request = urllib.request.Request(
            f"{ana.url}/api/models/{ana.name}/becas/commit/main",
            data="\n".join(map(json.dumps, lines)).encode(),
            headers={"Authorization": f"Bearer {ana.token}", "Content-Type": "application/x-ndjson"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 400
        assert "x.bin" in json.loads(refused.value.read())["error"]


def test_a_download_goes_on_where_it_stopped(ana: User, folder: Path, server: Hub, tmp_path: Path) -> None:
    repo = f"{ana.name}/becas"
    run(ana, UPLOAD, repo, str(folder))
    url = f"{ana.url}/{repo}/resolve/main/pesos.bin"
    weights = (folder / "pesos.bin").read_bytes()
    part = tmp_path / "pesos.bin"
    part.write_bytes(weights[:1_000_001])
    subprocess.run(["curl", "-sf", "-C", "-", "-o", part, url], check=True)
    assert part.read_bytes() == weights


def test_a_bad_yaml_card_is_refused_with_its_reason(ana: User) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo)
    with pytest.raises((ValueError, BadRequestError)):
        api.upload_file(path_or_fileobj=b"---\nlicense: [mit\n---\n", path_in_repo="README.md", repo_id=repo)
