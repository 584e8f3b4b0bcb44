"""The Hub as endpoints see it: what a model needs, its base included."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_parts import hub as make_hub
from hub_parts import person, push, record
from lanza.auth.principal import Principal
from lanza.endpoints.repositories import Found
from lanza.hub import repos
from lanza.hub.catalog import refresh
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, parse_repo
from lanza.server.repositories import HubRepositories, needs_bytes

SMALL, LARGE = 1_000, 50_000


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = make_hub(tmp_path)
    yield made
    made.database.close()


def safetensors(count: int) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * count)


def model(hub: Hub, caller: Principal, name: str, files: dict[str, bytes], *, private: bool = False) -> None:
    repos.create(hub, caller, parse_repo(Kind.MODEL, name), visibility="private" if private else "public")
    number = record(hub, name).id
    push(hub, number, files)
    refresh(hub, number)


def adapter(hub: Hub, caller: Principal, name: str, base: str, weigh: Any = None) -> Found:
    config = json.dumps({"base_model_name_or_path": base, "peft_type": "LORA"}).encode()
    files = {"adapter_config.json": config, "adapter_model.safetensors": safetensors(SMALL)}
    model(hub, caller, name, files)
    return HubRepositories(hub, weigh=weigh).resolve(caller, name, None)


def test_an_adapter_needs_what_its_base_needs(hub: Hub) -> None:
    ana = person(hub, "ana")
    model(hub, ana, "ana/base", {"config.json": b"{}", "model.safetensors": safetensors(LARGE)}, private=True)
    assert adapter(hub, ana, "ana/lora", "ana/base").needs_bytes == needs_bytes({"F32": LARGE})


@pytest.mark.parametrize("base", ["eva/secret", "nadie/nada", "/home/ana/base"])
def test_what_is_not_for_the_caller_is_not_counted(hub: Hub, base: str) -> None:
    ana, eva = person(hub, "ana"), person(hub, "eva")
    weights = {"model.safetensors": safetensors(LARGE)}
    model(hub, eva, "eva/secret", weights, private=True)
    found = adapter(hub, ana, "ana/lora", base)
    assert (found.needs_bytes, found.base) == (0, None)
    assert f"base {base} is cannot be told" in found.uncounted


def test_what_is_upstream_is_counted_where_it_is(hub: Hub) -> None:
    found = adapter(hub, person(hub, "ana"), "ana/lora", "google/base", lambda name, _: {"BF16": LARGE})
    assert found.needs_bytes == needs_bytes({"BF16": LARGE})
    assert (found.base, found.uncounted) == (None, "")
