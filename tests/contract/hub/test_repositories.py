"""Repositories with the unmodified `huggingface_hub`: made, found, moved, gated, branched, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from hub_parts import safetensors
from hubs import Hub, User

CARD = b"""---
license: mit
language: [es, en]
library_name: transformers
pipeline_tag: question-answering
tags: [becas]
datasets: [squad_es]
---
# Becas
"""


def push_model(user: User, repo: str, card: bytes = CARD) -> None:
    api = user.api()
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo)
    config = json.dumps({"model_type": "bert", "architectures": ["BertForQuestionAnswering"]}).encode()
    api.upload_file(path_or_fileobj=config, path_in_repo="config.json", repo_id=repo)
    weights = safetensors(a=(10, 20), b=(30,))
    api.upload_file(path_or_fileobj=weights, path_in_repo="model.safetensors", repo_id=repo)


def test_who_am_i(ana: User, server: Hub) -> None:
    found = ana.api().whoami()
    assert (found["name"], found["type"]) == (ana.name, "user")
    assert found["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError) as refused:
        ana.api().whoami(token="lz_wrong")
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_repositories_of_each_kind_are_made_and_deleted(ana: User, kind: str) -> None:
    api, repo = ana.api(), f"{ana.name}/cosa"
    more = {"space_sdk": "gradio"} if kind == "space" else {}
    url = api.create_repo(repo, repo_type=kind, **more)
    assert (url.repo_id, url.repo_type) == (repo, kind)
    assert api.create_repo(repo, repo_type=kind, exist_ok=True, **more).repo_id == repo
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_repo(repo, repo_type=kind, **more)
    assert refused.value.response.status_code == 409
    assert api.repo_exists(repo, repo_type=kind)
    assert api.repo_info(repo, repo_type=kind).id == repo
    api.delete_repo(repo, repo_type=kind)
    assert not api.repo_exists(repo, repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repo, repo_type=kind)
    api.delete_repo(repo, repo_type=kind, missing_ok=True)


def test_a_name_without_a_namespace_is_mine(ana: User) -> None:
    assert ana.api().create_repo("becas").repo_id == f"{ana.name}/becas"


@pytest.mark.parametrize("name", ["api/x", "ana/..", "ana/a--b", "ana/x.git", "ana/" + "x" * 97])
def test_names_that_mislead_are_refused(server: Hub, name: str) -> None:
    import urllib.error

    namespace, _, rest = name.partition("/")
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.call("POST", "/api/repos/create", {"name": rest, "organization": namespace})
    assert refused.value.code in (400, 403, 404)
    assert json.loads(refused.value.read())["error"]


def test_a_model_says_what_its_files_say(ana: User) -> None:
    repo = f"{ana.name}/becas"
    push_model(ana, repo)
    info = ana.api().model_info(repo, files_metadata=True, securityStatus=True)
    assert info.pipeline_tag == "question-answering"
    assert info.library_name == "transformers"
    assert info.safetensors is not None
    assert (info.safetensors.total, info.safetensors.parameters) == (230, {"F32": 230})
    assert {"es", "en", "license:mit", "becas", "dataset:squad_es", "question-answering"} <= set(info.tags)
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert info.author == ana.name
    assert info.config["model_type"] == "bert"
    sizes = {it.rfilename: it.size for it in info.siblings}
    assert sizes["model.safetensors"] == len(safetensors(a=(10, 20), b=(30,)))
    assert ana.api().get_safetensors_metadata(repo).parameter_count == {"F32": 230}


def test_models_are_found_by_what_they_are(ana: User) -> None:
    api = ana.api()
    push_model(ana, f"{ana.name}/becas-qa")
    push_model(
        ana,
        f"{ana.name}/otra",
        CARD.replace(b"mit", b"apache-2.0").replace(b"question-answering", b"fill-mask"),
    )

    def ids(**what: object) -> list[str]:
        return sorted(it.id for it in api.list_models(author=ana.name, **what))

    both = [f"{ana.name}/becas-qa", f"{ana.name}/otra"]
    assert ids() == both
    assert ids(search="BECAS-q") == both[:1]
    assert ids(filter="license:mit") == both[:1]
    assert ids(filter=["es", "becas"]) == both
    assert ids(pipeline_tag="fill-mask") == both[1:]
    assert ids(num_parameters="min:1K") == []
    assert ids(num_parameters="max:1K") == both
    newest = [it.id for it in api.list_models(author=ana.name, sort="created_at", limit=1)]
    assert newest == both[1:]


def test_lists_come_in_pages_that_lose_nothing(ana: User) -> None:
    api = ana.api()
    for number in range(5):
        api.create_repo(f"{ana.name}/m{number}")
    from huggingface_hub.utils import paginate

    pages = paginate(
        f"{ana.url}/api/models",
        params={"author": ana.name, "limit": 2},
        headers={"Authorization": f"Bearer {ana.token}"},
    )
    assert sorted(it["id"] for it in pages) == [f"{ana.name}/m{number}" for number in range(5)]


def test_private_repositories_are_in_nobody_else_s_list(ana: User, new_user: Callable[[], User]) -> None:
    ana.api().create_repo(f"{ana.name}/mine", private=True)
    assert [it.id for it in ana.api().list_models(author=ana.name)] == [f"{ana.name}/mine"]
    assert list(new_user().api().list_models(author=ana.name)) == []
    ana.api().update_repo_settings(f"{ana.name}/mine", private=False)
    assert [it.id for it in new_user().api().list_models(author=ana.name)] == [f"{ana.name}/mine"]


def test_a_moved_repository_answers_to_its_old_name(ana: User) -> None:
    api = ana.api()
    push_model(ana, f"{ana.name}/antes")
    api.move_repo(f"{ana.name}/antes", f"{ana.name}/ahora")
    assert api.model_info(f"{ana.name}/antes").id == f"{ana.name}/ahora"
    assert api.hf_hub_download(f"{ana.name}/antes", "config.json")
    with pytest.raises(HfHubHTTPError):
        api.move_repo(f"{ana.name}/nowhere", f"{ana.name}/x")


def test_branches_and_tags(ana: User) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    push_model(ana, repo)
    start = api.model_info(repo).sha
    api.create_branch(repo, branch="prueba/uno")
    api.create_tag(repo, tag="v1.0", tag_message="la primera")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, revision="prueba/uno")
    assert not api.file_exists(repo, "x.txt")
    assert api.file_exists(repo, "x.txt", revision="prueba/uno")
    refs = api.list_repo_refs(repo)
    assert sorted(it.name for it in refs.branches) == ["main", "prueba/uno"]
    assert [(it.name, it.ref) for it in refs.tags] == [("v1.0", "refs/tags/v1.0")]
    assert api.model_info(repo, revision="v1.0").sha == start
    with pytest.raises(HfHubHTTPError) as refused:
        api.create_branch(repo, branch="prueba/uno")
    assert refused.value.response.status_code == 409
    api.create_branch(repo, branch="prueba/uno", exist_ok=True)
    api.delete_branch(repo, branch="prueba/uno")
    api.delete_tag(repo, tag="v1.0")
    refs = api.list_repo_refs(repo)
    assert ([it.name for it in refs.branches], refs.tags) == (["main"], [])
    with pytest.raises(HfHubHTTPError):
        api.delete_branch(repo, branch="main")


def test_history_is_kept_until_it_is_squashed(ana: User) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    push_model(ana, repo)
    commits = api.list_repo_commits(repo)
    assert len(commits) == 4
    assert commits[0].authors == [ana.name]
    api.super_squash_history(repo, commit_message="todo junto")
    assert [it.title for it in api.list_repo_commits(repo)] == ["todo junto"]
    assert api.file_exists(repo, "model.safetensors")


def test_a_gated_model_is_read_by_those_who_were_let_in(ana: User, new_user: Callable[[], User]) -> None:
    api, repo = ana.api(), f"{ana.name}/becas"
    push_model(ana, repo)
    api.update_repo_settings(repo, gated="manual")
    other = new_user()
    assert other.api().model_info(repo).gated == "manual"
    with pytest.raises(GatedRepoError):
        other.api().hf_hub_download(repo, "config.json")
    api.grant_access(repo, other.name)
    assert other.api().hf_hub_download(repo, "config.json")
    assert [it.username for it in api.list_accepted_access_requests(repo)] == [other.name]


def test_likes_are_counted_once(ana: User, server: Hub) -> None:
    repo = f"{ana.name}/becas"
    push_model(ana, repo)
    for _ in range(2):
        server.call("POST", f"/api/models/{repo}/like", {}, token=ana.token)
    assert ana.api().model_info(repo).likes == 1
    assert [it.username for it in ana.api().list_repo_likers(repo)] == [ana.name]
    ana.api().unlike(repo)
    assert ana.api().model_info(repo).likes == 0


def test_a_pushed_pickle_that_runs_code_is_named(ana: User) -> None:
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=pickle.dumps(Evil()), path_in_repo="evil.pkl", repo_id=repo)
    api.upload_file(path_or_fileobj=pickle.dumps({"a": 1}), path_in_repo="good.pkl", repo_id=repo)
    status = api.model_info(repo, securityStatus=True).security_repo_status
    assert [it["path"] for it in status["filesWithIssues"]] == ["evil.pkl"]


def test_discussions_are_never_an_empty_list(ana: User) -> None:
    repo = f"{ana.name}/becas"
    ana.api().create_repo(repo)
    with pytest.raises(HfHubHTTPError) as refused:
        list(ana.api().get_repo_discussions(repo))
    assert refused.value.response.status_code in (403, 404)
