"""Every call that huggingface_hub has for Inference Endpoints, unmodified, but for its fixed address."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from hubs import Hub, User

Deploy = Callable[..., Any]


def until(endpoint: Any, state: str) -> Any:
    """Fetch until it is in this state; at most ten seconds."""
    for _ in range(200):
        if endpoint.fetch().status == state:
            return endpoint
        time.sleep(0.05)
    raise AssertionError(f"{endpoint.status}, not {state}: {endpoint.raw['status']}")


def test_an_endpoint_is_made_and_runs(ana: User, deploy: Deploy) -> None:
    endpoint = deploy(min_replica=1, max_replica=2, scale_to_zero_timeout=5, env={"A": "1"}, tags=["becas"])
    assert (endpoint.name, endpoint.namespace) == ("becas-qa", ana.name)
    assert (endpoint.status, endpoint.url) == ("pending", None)
    assert endpoint.type == "authenticated"
    assert endpoint.task == "question-answering"
    assert len(endpoint.revision) == 40
    until(endpoint, "running")
    assert endpoint.url == f"{ana.url}/endpoints/{ana.name}/becas-qa"
    assert endpoint.health_route == "/health"
    assert endpoint.client.model == endpoint.url
    status = endpoint.raw["status"]
    assert (status["readyReplica"], status["targetReplica"]) == (1, 1)
    assert endpoint.raw["compute"]["scaling"]["scaleToZeroTimeout"] == 5
    assert endpoint.raw["model"]["env"] == {"A": "1"}
    assert endpoint.created_at <= endpoint.updated_at


def test_lists_and_looks(ana: User, deploy: Deploy) -> None:
    deploy("uno")
    deploy("dos")
    api = ana.api()
    assert [it.name for it in api.list_inference_endpoints()] == ["dos", "uno"]
    assert [it.name for it in api.list_inference_endpoints(namespace=ana.name)] == ["dos", "uno"]
    assert api.get_inference_endpoint("uno").repository == f"{ana.name}/becas"


def test_every_namespace_at_once(server: Hub, ana: User, deploy: Deploy) -> None:
    org = f"org-{ana.name}"
    server.call("POST", "/api/lanza/orgs", {"name": org, "owner": ana.name})
    deploy("uno")
    deploy("dos", namespace=org)
    found = ana.api().list_inference_endpoints(namespace="*", token=ana.token)
    assert {(it.namespace, it.name) for it in found} == {(ana.name, "uno"), (org, "dos")}


def test_pause_resume_and_zero(deploy: Deploy) -> None:
    endpoint = until(deploy(), "running")
    assert endpoint.pause().status == "paused"
    assert endpoint.url is None
    with pytest.raises(HfHubHTTPError, match="resume it first"):
        endpoint.scale_to_zero()
    endpoint.resume()
    until(endpoint, "running")
    assert endpoint.scale_to_zero().status == "scaledToZero"
    assert endpoint.url is not None
    endpoint.resume()
    until(endpoint, "running")


def test_resume_of_what_runs_is_fine_unless_it_must_not_be(deploy: Deploy) -> None:
    endpoint = until(deploy(), "running")
    assert endpoint.resume().status == "running"
    with pytest.raises(HfHubHTTPError, match="already running"):
        endpoint.resume(running_ok=False)


def test_an_update_of_scaling_keeps_all_else(deploy: Deploy) -> None:
    endpoint = until(deploy(), "running")
    endpoint.update(min_replica=0, max_replica=4, scale_to_zero_timeout=30)
    scaling = endpoint.raw["compute"]["scaling"]
    assert (scaling["minReplica"], scaling["maxReplica"], scaling["scaleToZeroTimeout"]) == (0, 4, 30)
    assert endpoint.raw["lanza"]["revision"] == 1
    assert endpoint.task == "question-answering"


def test_an_update_to_a_new_commit_is_a_new_revision(ana: User, deploy: Deploy) -> None:
    endpoint = until(deploy(), "running")
    before = endpoint.revision
    ana.api().upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=f"{ana.name}/becas")
    endpoint.update(min_replica=0)
    assert endpoint.revision == before
    endpoint.update(revision="main")
    assert endpoint.revision != before
    assert endpoint.raw["lanza"]["revision"] == 2
    until(endpoint, "running")


def test_every_field_of_an_update(ana: User, deploy: Deploy) -> None:
    endpoint = deploy()
    changed = ana.api().update_inference_endpoint(
        "becas-qa",
        accelerator="cpu",
        instance_size="x1",
        instance_type="cpu",
        min_replica=1,
        max_replica=3,
        scale_to_zero_timeout=60,
        scaling_metric="pendingRequests",
        scaling_threshold=2.0,
        repository=f"{ana.name}/becas",
        framework="custom",
        revision="main",
        task="fill-mask",
        env={"B": "2"},
        secrets={"S": "geheim"},
        cache_http_responses=True,
        tags=["t"],
    )
    assert (changed.framework, changed.task) == ("custom", "fill-mask")
    assert changed.raw["compute"]["scaling"]["measure"] == {"pendingRequests": 2.0}
    assert changed.raw["cacheHttpResponses"] is True
    assert changed.raw["model"]["env"] == {"B": "2"}
    assert endpoint.fetch().raw["tags"] == ["t"]


def test_deleted_is_gone_and_its_name_is_free(ana: User, deploy: Deploy) -> None:
    until(deploy(), "running").delete()
    assert ana.api().list_inference_endpoints() == []
    with pytest.raises(HfHubHTTPError, match="there is no endpoint"):
        ana.api().get_inference_endpoint("becas-qa")
    deploy()


def test_secrets_are_never_told(server: Hub, ana: User, deploy: Deploy) -> None:
    endpoint = deploy(secrets={"KEY": "muy-secreto-1"})
    assert endpoint.raw["model"]["secrets"] == {"KEY": None}
    path = f"/api/lanza/endpoints/{ana.name}/becas-qa/revisions"
    said = [endpoint.raw, ana.api().get_inference_endpoint("becas-qa").raw, server.call("GET", path)]
    assert "muy-secreto-1" not in str(said)
    assert b"muy-secreto-1" not in (server.data / "lanza.db").read_bytes()
    wal = server.data / "lanza.db-wal"
    assert not wal.exists() or b"muy-secreto-1" not in wal.read_bytes()


def test_hardware(ana: User) -> None:
    [hardware] = ana.api().list_inference_endpoints_hardware()
    assert (hardware.vendor, hardware.region) == ("lanza", "local")
    assert (hardware.accelerator, hardware.instance_type, hardware.instance_size) == ("cpu", "cpu", "x1")
    assert hardware.status == "available"
    assert hardware.price_per_hour == 3.6


@pytest.mark.filterwarnings("ignore:.*experimental.*:UserWarning")
def test_the_catalog_is_what_can_be_deployed_here(ana: User) -> None:
    api = ana.api()
    mine = [it for it in api.list_inference_catalog(search=f"{ana.name}/") if it.author == ana.name]
    [model] = mine
    assert (model.repo_id, model.license) == (f"{ana.name}/becas", "mit")
    assert model.task == "question-answering"
    [recipe] = model.recipes
    assert (recipe.accelerator, recipe.engine) == ("cpu", "lanza")
    assert api.list_inference_catalog(task="no-such-task") == []
    assert api.list_inference_catalog(accelerator="neuron") == []
    assert api.list_inference_catalog(engine="vllm") == []
    assert len(api.list_inference_catalog(limit=1)) == 1
    first = api.create_inference_endpoint_from_catalog(model.repo_id, name="uno", accelerator="cpu")
    second = api.create_inference_endpoint_from_catalog(recipe_id=recipe.id)
    assert (first.name, first.repository) == ("uno", model.repo_id)
    assert second.name.startswith("becas-")
    until(second, "running")


@pytest.mark.filterwarnings("ignore:.*experimental.*:UserWarning")
def test_what_the_catalog_does_not_have(ana: User) -> None:
    api = ana.api()
    with pytest.raises(HfHubHTTPError, match="no recipe"):
        api.create_inference_endpoint_from_catalog(recipe_id="sizzling-biryani")
    with pytest.raises(RepositoryNotFoundError, match="check the name"):
        api.create_inference_endpoint_from_catalog("nadie/nada")
    with pytest.raises(HfHubHTTPError, match="GGUF"):
        api.create_inference_endpoint_from_catalog(f"{ana.name}/becas", gguf_file="x.gguf")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Becas QA"}, "cannot be the name of an endpoint"),
        ({"min_replica": 3, "max_replica": 2}, "minReplica is from 0 to maxReplica"),
        ({"max_replica": 0, "min_replica": 0}, "maxReplica is from 1"),
        ({"min_replica": "many"}, r"compute\.scaling\.minReplica"),
        ({"scale_to_zero_timeout": -1}, "scaleToZeroTimeout"),
        ({"scaling_metric": "moonPhase", "scaling_threshold": 1}, "scaling.measure has one entry"),
        ({"type": "secret"}, "type"),
        ({"env": {"LD_PRELOAD": "x"}}, "LD_PRELOAD"),
        ({"env": {"A": 1}}, r"model\.env"),
        ({"domain": "ana.example"}, "further addresses"),
        (
            {"instance_type": "nvidia-l4", "vendor": "aws", "region": "us-east-1"},
            "the nearest is vendor lanza",
        ),
        ({"instance_size": "x8"}, "has cpu x1"),
        ({"custom_image": {"vLLM": {"url": "vllm/vllm-openai"}}}, "there are no containers here"),
        ({"custom_image": {"url": "ghcr.io/x/y"}}, r"model\.command"),
        ({"custom_image": {"url": ""}, "container_command": ["/bin/rm", "-rf"]}, "administrator's token"),
    ],
)
def test_what_cannot_be_is_refused_in_words(deploy: Deploy, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HfHubHTTPError, match=said):
        deploy(**changes)


def test_repositories_and_revisions_that_are_not_here(ana: User, deploy: Deploy) -> None:
    with pytest.raises(RepositoryNotFoundError, match="there is no model 'nadie/nada' here"):
        deploy(repository="nadie/nada")
    with pytest.raises(RevisionNotFoundError, match="no branch, tag or commit 'v9'"):
        deploy(revision="v9")
    with pytest.raises(HfHubHTTPError, match="namespace/name"):
        deploy(repository="becas")


def test_a_name_that_is_taken(deploy: Deploy) -> None:
    deploy()
    with pytest.raises(HfHubHTTPError, match="choose another") as raised:
        deploy()
    assert raised.value.response.status_code == 409


def test_the_endpoints_of_others(ana: User, deploy: Deploy, new_user: Callable[[], User]) -> None:
    deploy()
    other = new_user().api()
    for call in (
        lambda: other.list_inference_endpoints(namespace=ana.name),
        lambda: other.get_inference_endpoint("becas-qa", namespace=ana.name),
        lambda: other.pause_inference_endpoint("becas-qa", namespace=ana.name),
        lambda: other.delete_inference_endpoint("becas-qa", namespace=ana.name),
        lambda: other.update_inference_endpoint("becas-qa", namespace=ana.name, min_replica=0),
        lambda: other.list_inference_endpoints_hardware(namespace=ana.name),
    ):
        with pytest.raises(HfHubHTTPError, match="being no member of") as raised:
            call()
        assert raised.value.response.status_code == 403


def test_a_private_model_of_others_is_not_there(
    ana: User, deploy: Deploy, new_user: Callable[[], User]
) -> None:
    other = new_user()
    repo = other.api().create_repo("privado", private=True).repo_id
    with pytest.raises(RepositoryNotFoundError):
        deploy(repository=repo)


def test_without_a_token(ana: User) -> None:
    with pytest.raises(HfHubHTTPError, match="needs a token") as raised:
        ana.api().list_inference_endpoints(namespace=ana.name, token=False)
    assert raised.value.response.status_code == 401


def test_an_endpoint_that_is_not_there(ana: User) -> None:
    api = ana.api()
    for call in (api.get_inference_endpoint, api.pause_inference_endpoint, api.delete_inference_endpoint):
        with pytest.raises(HfHubHTTPError, match="there is no endpoint"):
            call("nada")
