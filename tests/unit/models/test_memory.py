from __future__ import annotations

from pathlib import Path

import pytest

from lanza.models.facts import read_facts
from lanza.models.memory import needs, stored_need, this_machine

from .conftest import BERT, WriteFolder, safetensors, weights

MIB = 2**20


def model(folder: WriteFolder, dtype: str, width: int) -> Path:
    count = 4 * MIB
    data = safetensors({"a": (dtype, [count], bytes(count * width))})
    return folder({"config.json": BERT, "model.safetensors": data})


@pytest.mark.parametrize(
    ("dtype", "width", "stored"), [("F32", 4, "float32"), ("BF16", 2, "float16"), ("I8", 1, "int8")]
)
def test_the_need_at_each_precision(folder: WriteFolder, dtype: str, width: int, stored: str) -> None:
    found = needs(read_facts(model(folder, dtype, width)), None, "onnx")
    assert {need.precision: need.weights // MIB for need in found} == {
        "float32": 16,
        "float16": 8,
        "int8": 4,
        "int4": 2,
    }
    need = stored_need(found)
    assert need is not None
    assert need.precision == stored
    assert all(need.total > need.weights for need in found)


def test_an_adapter_needs_its_base(folder: WriteFolder) -> None:
    base = read_facts(model(folder, "F32", 4))
    facts = read_facts(folder({"adapter_config.json": {}, "adapter_model.safetensors": weights()}, name="a"))
    together = stored_need(needs(facts, base, "transformers"))
    assert together is not None
    assert together.weights == (4 * MIB + 20) * 4


def test_weights_that_cannot_be_counted_are_weighed(folder: WriteFolder) -> None:
    (need,) = needs(read_facts(folder({"model.onnx": bytes(1000)})), None, "onnx")
    assert (need.precision, need.weights, need.is_stored) == ("as stored", 1000, True)
    assert needs(read_facts(folder({}, name="empty")), None, None) == ()


def test_a_container_has_less_than_its_machine(tmp_path: Path) -> None:
    whole = this_machine(tmp_path)
    assert 0 < whole.available <= whole.total
    (tmp_path / "memory.max").write_text(f"{64 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{60 * MIB}\n")
    held = this_machine(tmp_path)
    assert held.total == 64 * MIB
    assert held.available <= 4 * MIB
    (tmp_path / "memory.max").write_text("max\n")
    assert this_machine(tmp_path).total == whole.total
