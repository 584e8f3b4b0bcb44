"""Conversions go once nobody has been started from them for long, and not while one is being made."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from lanza.platforms.local.conversions import KEPT_SECONDS, MAKING_SECONDS, remove_old_conversions
from lanza.platforms.local.keeper.answers import PARTS, known

NOW = 2_000_000_000.0


def conversion(root: Path, name: str, *, age: float) -> Path:
    folder = root / "converted" / name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    os.utime(folder, (NOW - age, NOW - age))
    return folder


def told(root: Path, name: str, graph: Path | None, *, age: float) -> Path:
    path = root / "prepared" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(dict.fromkeys(PARTS, "") | {"graph": str(graph) if graph else ""}))
    os.utime(path, (NOW - age, NOW - age))
    return path


def tidy(root: Path) -> set[str]:
    """The names of the conversions that are left."""
    remove_old_conversions(root / "converted", root / "prepared", now=NOW)
    return {it.name for it in (root / "converted").iterdir() if it.is_dir()}


def test_what_was_used_stays_and_what_nobody_names_goes(tmp_path: Path) -> None:
    used, old = (conversion(tmp_path, name, age=2 * KEPT_SECONDS) for name in ("used", "old"))
    conversion(tmp_path, "lost", age=2 * MAKING_SECONDS)
    conversion(tmp_path, "made just now", age=60)
    (tmp_path / "converted" / "hashes.json").write_text("{}")
    told(tmp_path, "used", used / "model.onnx", age=KEPT_SECONDS - 60)
    told(tmp_path, "old", old / "model.onnx", age=KEPT_SECONDS + 60)
    told(tmp_path, "without a graph", None, age=60)
    (tmp_path / "prepared" / "broken.json").write_text("{")
    assert tidy(tmp_path) == {"used", "made just now"}
    assert (tmp_path / "converted" / "hashes.json").is_file()
    assert not (tmp_path / "prepared" / "old.json").exists()


def test_a_start_counts_as_use(tmp_path: Path) -> None:
    folder = conversion(tmp_path, "one", age=2 * KEPT_SECONDS)
    path = told(tmp_path, "one", folder / "model.onnx", age=2 * KEPT_SECONDS)
    assert known(path) is not None
    assert time.time() - path.stat().st_mtime < 60


def test_a_server_that_has_converted_nothing_has_nothing_to_tidy(tmp_path: Path) -> None:
    remove_old_conversions(tmp_path / "converted", tmp_path / "prepared", now=NOW)
