"""An endpoint of a real model on this machine, from the client's first call to its last: waited for, asked,
put to zero, woken, moved to other files, called without a token and by its model's name."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceEndpointError

from hubs import Hub, User, hub
from serving import ROOT

EXAMPLE = ROOT / "examples" / "becas-qa"
QUESTION = {"question": "¿De cuánto es?", "context": "La beca es de 300 euros al mes."}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("served")
    with hub(folder / "data", "--no-upstream", "--rehearse", homes=folder / "homes") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def model(ana: User) -> str:
    repo: str = ana.api().create_repo("becas-qa").repo_id
    ana.api().upload_folder(folder_path=EXAMPLE, repo_id=repo)
    return repo


def without_token(url: str) -> str:
    """What is said to whom shows none."""
    request = urllib.request.Request(url, data=json.dumps({"inputs": QUESTION}).encode())
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=30)
    assert raised.value.code == 401
    with raised.value as answer:
        return answer.read().decode()


def metrics(url: str) -> dict[str, float]:
    """What the server's `/metrics` says, each name once."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    assert len(found) == len(lines)
    return found


def test_from_a_push_to_an_answer(ana: User, model: str, deploy: Callable[..., Any]) -> None:
    endpoint = deploy(repository=model)
    endpoint.wait(timeout=120, refresh_every=1)
    assert endpoint.client.question_answering(**QUESTION)["answer"] == "300 euros al mes"
    endpoint.scale_to_zero()
    assert endpoint.client.question_answering(**QUESTION)["answer"] == "300 euros al mes"
    assert endpoint.fetch().status == "running"
    counted = metrics(ana.url)
    label = f'endpoint="{ana.name}/becas-qa"'
    assert counted[f'lanza_gateway_requests_total{{{label},status="2xx"}}'] == 3  # and the one of `wait`
    assert counted[f"lanza_gateway_cold_start_seconds_count{{{label}}}"] == 1
    assert counted[f"lanza_gateway_held{{{label}}}"] == counted[f"lanza_gateway_in_flight{{{label}}}"] == 0
    assert counted[f'lanza_endpoint_replicas{{{label},phase="ready"}}'] == 1
    assert counted['lanza_repositories{kind="model"}'] >= 1  # the Hub's are there too
    client = endpoint.client
    assert "is authenticated: send a token" in without_token(endpoint.url)
    endpoint.pause()
    with pytest.raises(InferenceEndpointError, match="not yet deployed"):
        assert endpoint.client
    with pytest.raises(HfHubHTTPError, match="paused"):
        client.question_answering(**QUESTION)
    endpoint.resume()
    endpoint.wait(timeout=60, refresh_every=1)
    endpoint.delete()
    with pytest.raises(HfHubHTTPError, match="no endpoint"):
        client.question_answering(**QUESTION)


def test_a_model_answers_right_after_its_push_without_a_deployment(ana: User, model: str) -> None:
    client = InferenceClient(model=f"{ana.url}/models/{model}", token=ana.token)
    assert client.question_answering(**QUESTION)["answer"] == "300 euros al mes"
    [endpoint] = ana.api().list_inference_endpoints()
    assert (endpoint.repository, endpoint.status) == (model, "running")
    assert endpoint.raw["lanza"]["serverless"] is True
    assert "starting one needs a token" in without_token(f"{ana.url}/models/{model}2")
    endpoint.scale_to_zero()
    for _ in range(200):
        if not ana.api().list_inference_endpoints():
            return
        time.sleep(0.1)
    raise AssertionError("it was not removed")
