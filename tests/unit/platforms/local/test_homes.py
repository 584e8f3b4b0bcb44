"""Homes of endpoints go when nobody has lived in them for long."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lanza.platforms.local.homes import KEPT_SECONDS, remove_old_homes


def test_old_homes_in_which_nobody_lives_are_removed(tmp_path: Path) -> None:
    homes, run = tmp_path / "homes", tmp_path / "run"
    for name in ("ana%2Fold", "ana%2Flived", "ana%2Fnew"):
        (homes / name / "locked").mkdir(parents=True)
        (homes / name / "locked").chmod(0)
        os.utime(homes / name, (1000, 1000 if name != "ana%2Fnew" else 1000 + KEPT_SECONDS))
    (run / "r1").mkdir(parents=True)
    (run / "r1" / "order.json").write_text(json.dumps({"endpoint": "ana/lived"}))
    remove_old_homes(homes, run, now=1001 + KEPT_SECONDS)
    assert sorted(it.name for it in homes.iterdir()) == ["ana%2Flived", "ana%2Fnew"]
    remove_old_homes(tmp_path / "none", run, now=0)
