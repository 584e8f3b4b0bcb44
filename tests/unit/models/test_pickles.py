from __future__ import annotations

import datetime
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanza.errors import UnsafeModel
from lanza.models.files import list_files
from lanza.models.findings import Finding, Level
from lanza.models.pickles import examine_pickles, is_never_loaded, require_clean, scan


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo never",)


EVIL = pickle.dumps(Evil())


def torch_zip(payload: bytes) -> bytes:
    """The form of torch.save: an archive whose data.pkl is the pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(16))
    return stream.getvalue()


class _Named:
    """A pickle that imports a name without being an instance of it, as torch's own do."""

    def __init__(self, module: str, name: str) -> None:
        self.text = f"c{module}\n{name}\n."

    def dump(self) -> bytes:
        return b"\x80\x02" + self.text.encode()


TENSORS = torch_zip(_Named("torch._utils", "_rebuild_tensor_v2").dump())


def examine(root: Path, weights: tuple[str, ...] = ()) -> list[Finding]:
    return list(examine_pickles(root, list_files(root), weights))


def test_weights_that_only_rebuild_tensors_are_clean(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(TENSORS)
    assert scan(tmp_path / "pytorch_model.bin").is_clean
    require_clean(tmp_path, ("pytorch_model.bin",))
    (finding,) = examine(tmp_path, ("pytorch_model.bin",))
    assert (finding.level, finding.code) == (Level.WARNING, "pickled_weights")
    assert "weights_only=True" in finding.message
    assert "safetensors" in finding.next_step


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pytorch_model.bin", EVIL),
        ("pytorch_model.bin", torch_zip(EVIL)),
        ("model.pt", torch_zip(EVIL)),
        ("extra.pkl", EVIL),
        ("pics.zip", torch_zip(EVIL)),
        ("no_suffix", EVIL),
        ("sub/folder/x.ckpt", EVIL),
    ],
)
def test_what_would_run_code_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    (finding,) = examine(tmp_path, ("pytorch_model.bin",))
    assert (finding.level, finding.code) == (Level.ERROR, "unsafe_pickle")
    assert "system" in finding.message


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (TENSORS[:-30], "unreadable_pickle"),
        (TENSORS[:60], "unreadable_pickle"),
        (b"not a pickle at all", "unreadable_pickle"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "unreadable_pickle"),
        (torch_zip(pickle.dumps(datetime.date(2020, 1, 1))), "unknown_pickle"),
    ],
)
def test_weights_that_are_not_surely_clean_are_not_loaded(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    (finding,) = examine(tmp_path, ("pytorch_model.bin",))
    assert (finding.level, finding.code) == (Level.ERROR, code)
    with pytest.raises(UnsafeModel, match=r"pytorch_model\.bin"):
        require_clean(tmp_path, ("pytorch_model.bin",))


def test_safetensors_and_onnx_need_no_scan(tmp_path: Path) -> None:
    require_clean(tmp_path, ("model.safetensors", "model.onnx", "model.onnx_data"))


def test_an_archive_with_an_unreadable_entry_is_not_clean(tmp_path: Path) -> None:
    start = TENSORS.index(b"\x80\x02")
    (tmp_path / "pytorch_model.bin").write_bytes(TENSORS[:start] + b"\x81" + TENSORS[start + 1 :])
    assert not scan(tmp_path / "pytorch_model.bin").is_clean


def test_what_a_trainer_leaves_is_named_and_never_an_error(tmp_path: Path) -> None:
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    (finding,) = examine(tmp_path)
    assert (finding.level, finding.code) == (Level.NOTE, "never_loaded")
    assert "optimizer.pt" in finding.message

    (tmp_path / "training_args.bin").write_bytes(EVIL)
    levels = {finding.code: finding.level for finding in examine(tmp_path)}
    assert levels == {"never_loaded": Level.NOTE, "unsafe_pickle": Level.WARNING}


def test_a_pickle_that_nothing_loads_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "labels.pkl").write_bytes(pickle.dumps(["a", "b"]))
    (finding,) = examine(tmp_path)
    assert (finding.level, finding.code) == (Level.NOTE, "unused_pickle")


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.bin").write_bytes(os.urandom(2000))
    (tmp_path / "readme.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "empty.bin").write_bytes(b"")
    (tmp_path / "notes.md").write_text("hola")
    assert examine(tmp_path) == []


def test_names_of_training_states() -> None:
    assert is_never_loaded("checkpoint-5/optimizer.pt")
    assert is_never_loaded("rng_state_3.pth")
    assert not is_never_loaded("pytorch_model.bin")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=80)
    | st.tuples(st.integers(0, len(TENSORS) - 1), st.binary(min_size=1, max_size=3)).map(
        lambda change: TENSORS[: change[0]] + change[1] + TENSORS[change[0] + len(change[1]) :]
    ),
    suffix=st.sampled_from([".bin", ".pkl", ".npy", ".zip"]),
)
def test_no_damage_makes_the_scan_raise(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    scan(path)
