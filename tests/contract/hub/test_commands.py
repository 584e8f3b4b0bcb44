"""The `hf` command as a process, as tutorials type it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hubs import User


def hf(user: User, *arguments: str, **more: str) -> str:
    program = str(Path(sys.executable).with_name("hf"))
    assert shutil.which(program), "huggingface_hub's command is not installed"
    done = user.run(program, *arguments, **more)
    return done.stdout + done.stderr


def test_log_in_make_a_repository_upload_and_download(ana: User, folder: Path, tmp_path: Path) -> None:
    said = hf(ana, "auth", "login", "--token", ana.token, HF_TOKEN="")
    assert ana.token not in said
    assert ana.name in hf(ana, "auth", "whoami", HF_TOKEN="")
    assert f"{ana.name}/becas" in hf(ana, "repos", "create", "becas", HF_TOKEN="")
    hf(ana, "upload", f"{ana.name}/becas", str(folder), HF_TOKEN="")
    hf(ana, "download", f"{ana.name}/becas", "--local-dir", str(tmp_path / "down"), HF_TOKEN="")
    for path in ("pesos.bin", "onnx/model.onnx", "config.json"):
        assert (tmp_path / "down" / path).read_bytes() == (folder / path).read_bytes()


def test_a_wrong_token_is_said_to_be_wrong(ana: User) -> None:
    program = str(Path(sys.executable).with_name("hf"))
    done = ana.run(program, "auth", "login", "--token", "lz_wrong", check=False, HF_TOKEN="")
    assert done.returncode != 0
    assert "nvalid" in done.stdout + done.stderr
