from __future__ import annotations

import collections
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lanza.hub.scanner import TOO_MUCH, Limits, Suspect, Verdict, scan

CLEAN = Verdict()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def lay(folder: Path, name: str, content: bytes) -> Suspect:
    path = folder / str(len(list(folder.iterdir())))
    path.write_bytes(content)
    return Suspect(name=name, path=path)


def safetensors(**header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def test_each_file_gets_its_verdict(tmp_path: Path) -> None:
    files = [
        lay(tmp_path, "good.pkl", pickle.dumps({"a": [1.0]})),
        lay(tmp_path, "evil.pkl", pickle.dumps(Evil())),
        lay(tmp_path, "odd.pkl", b"ccollections\nChainMap\n(tR."),
        lay(tmp_path, "half.pkl", pickle.dumps([collections.OrderedDict(a=1)] * 3, protocol=2)[:-9]),
        lay(tmp_path, "noise.bin", bytes(range(256)) * 40),
        lay(tmp_path, "model.safetensors", safetensors()),
        lay(
            tmp_path,
            "liar.safetensors",
            safetensors(a={"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}),
        ),
    ]
    verdicts = scan(files, seconds=60)
    assert [it.level for it in verdicts] == ["", "unsafe", "suspicious", "suspicious", "", "", "caution"]
    assert "posix.system" in verdicts[1].message
    assert "collections.ChainMap" in verdicts[2].message
    assert "cut short" in verdicts[6].message


def test_what_trainers_leave_is_clean_and_what_hides_in_it_is_not(tmp_path: Path) -> None:
    arguments = b"\x80\x02ctransformers.training_args\nTrainingArguments\n)\x81."
    files = [
        lay(tmp_path, "training_args.bin", arguments),
        lay(tmp_path, "weights.bin", arguments),
        lay(tmp_path, "optimizer.pt", pickle.dumps(Evil())),
    ]
    assert [it.level for it in scan(files, seconds=60)] == ["", "suspicious", "unsafe"]


def test_a_pickle_in_an_archive_is_found(tmp_path: Path) -> None:
    place = tmp_path / "0.pt"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Evil()))
    assert [it.level for it in scan([Suspect(name="model.pt", path=place)], seconds=60)] == ["unsafe"]


def test_a_file_that_eats_memory_cannot_be_scanned_and_the_next_one_can(tmp_path: Path) -> None:
    # without the bound, the danger at the end would be lost with the memory
    greedy = b"N" * 10_001 + b"cos\nsystem\n(S'true'\ntR."
    files = [lay(tmp_path, "greedy.pkl", greedy), lay(tmp_path, "evil.pkl", pickle.dumps(Evil()))]
    verdicts = scan(files, seconds=60, limits=Limits(operations=10_000))
    assert verdicts[0] == TOO_MUCH
    assert verdicts[1].level == "unsafe"


def test_a_bomb_in_an_archive_is_bounded(tmp_path: Path) -> None:
    place = tmp_path / "0.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.pkl", "w") as entry:
        entry.write(b"\x80\x04\x8e" + struct.pack("<Q", 2**28))
        entry.write(bytes(2**28))
        entry.write(b"0N.")
    assert place.stat().st_size < 2**20
    limits = Limits(memory=2**28)
    assert scan([Suspect(name="bomb.zip", path=place)], seconds=60, limits=limits) == [TOO_MUCH]


def test_a_file_that_takes_too_long_cannot_be_scanned(tmp_path: Path) -> None:
    # a thousand names that are looked up far back each, and ever farther
    slow = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94" + b"\x94" * 30_000 + b"h\x00h\x01\x93" * 1
    slow += (b"\x94" * 200 + b"\x93") * 20_000
    limits = Limits(seconds=1)
    assert scan([lay(tmp_path, "slow.pkl", slow)], seconds=60, limits=limits) == [TOO_MUCH]


def test_no_time_gives_no_verdict(tmp_path: Path) -> None:
    assert scan([lay(tmp_path, "good.pkl", pickle.dumps(1))], seconds=0) == []


def test_files_for_which_no_scanner_starts_get_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    assert scan([lay(tmp_path, "good.pkl", pickle.dumps(1))], seconds=60) == []
    assert "cannot be scanned" in caplog.text


def test_a_scanner_that_is_stopped_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def expired(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("", 1, output=b'ready\n{"level": "", "message": ""}\n{"level": "un')

    monkeypatch.setattr(subprocess, "run", expired)
    files = [lay(tmp_path, "a.pkl", b""), lay(tmp_path, "b.pkl", b"")]
    assert scan(files, seconds=60) == [CLEAN]
