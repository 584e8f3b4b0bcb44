"""`lanza policy`, and what `hf upload` says of a push that it has refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hubs import User


def policy(ana: User, *options: str) -> str:
    done = ana.run(sys.executable, "-m", "lanza", "policy", ana.name, *options, HF_ENDPOINT=ana.url)
    return done.stdout


def test_an_upload_is_refused_in_words_and_goes_through_when_it_is_mended(ana: User, folder: Path) -> None:
    assert "refuses nothing" in policy(ana)
    assert json.loads(policy(ana, "--refuse", "secret,pickle", "--json"))["refuse"] == ["pickle", "secret"]
    (folder / "train.py").write_text("TOKEN = 'hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567'\n")
    hf = str(Path(sys.executable).with_name("hf"))
    refused = ana.run(hf, "upload", f"{ana.name}/becas", str(folder), check=False)
    said = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode != 0
    assert "train.py: line 1 seems to hold a Hugging Face token: revoke it, then take it out." in said
    assert f"{ana.name} refuses secret" in said
    assert "Traceback" not in said
    (folder / "train.py").write_text("TOKEN = os.environ['TOKEN']\n")
    ana.run(hf, "upload", f"{ana.name}/becas", str(folder))
    assert "refuses nothing" in policy(ana, "--refuse", "nothing")
