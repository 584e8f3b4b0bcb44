"""`lanza up` as a process: its start, its stop, and the commands of the line against it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubs import Hub, User, hub
from serving import ROOT

LANZA = (sys.executable, "-m", "lanza")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("up") / "data", "--no-upstream") as running:
        yield running


@pytest.fixture(scope="module")
def ana(server: Hub) -> User:
    return server.user("ana")


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "LANZA_HOME": str(home / "lanza"),
        "PYTHONPATH": str(ROOT / "src"),
        **more,
    }


def lanza(
    home: Path, *words: object, input: str | None = None, code: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*LANZA, *map(str, words)],
        env=environment(home, **more),
        cwd=home,
        input="" if input is None else input,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def get(url: str, **options: object) -> str:
    with urllib.request.urlopen(url, timeout=20, **options) as answer:  # type: ignore[arg-type]
        return str(answer.read().decode())


def test_a_first_start_makes_all_that_is_needed(server: Hub) -> None:
    assert {"lanza.db", "secret.key", "admin.token", "git", "lock"} <= {
        it.name for it in server.data.iterdir()
    }
    assert stat.S_IMODE((server.data / "admin.token").stat().st_mode) == 0o600
    assert server.call("GET", "/api/whoami-v2")["name"] == "admin"
    assert json.loads(get(f"{server.url}/healthz")) == {"status": "ok"}
    assert json.loads(get(f"{server.url}/readyz")) == {"status": "ready"}


def test_a_second_server_on_the_folder_is_refused(server: Hub, tmp_path: Path) -> None:
    done = lanza(tmp_path, "up", "--port", 0, "--data", server.data, code=2)
    assert f"(process {server.process.pid})" in done.stderr
    assert "--data" in done.stderr
    assert json.loads(get(f"{server.url}/readyz")) == {"status": "ready"}


def test_a_port_that_is_taken_is_said_to_be(server: Hub, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    done = lanza(tmp_path, "up", "--port", port, "--data", tmp_path / "data", code=2)
    assert "--port" in done.stderr


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    done = lanza(tmp_path, "up", "--data", tmp_path / "data", "--collect-every", "soon", code=2)
    assert "--collect-every wants a number" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_peace_and_starts_again_with_all_it_had(tmp_path: Path, number: int) -> None:
    with hub(tmp_path / "data", "--no-upstream") as first:
        ana = first.user("ana")
        ana.api().create_repo("ana/becas")
        assert first.stop(number) == 0
        assert first.process.stdout is not None
        assert "Traceback" not in first.process.stdout.read()
    with hub(tmp_path / "data", "--no-upstream") as second:
        found = second.call("GET", "/api/models/ana/becas", token=ana.token)
        assert found["id"] == "ana/becas"


def test_what_is_running_ends_before_it_stops(tmp_path: Path) -> None:
    """Half of a request is there when the signal comes; its other half is still taken and answered."""
    with hub(tmp_path / "data", "--no-upstream") as running:
        body = json.dumps({"name": "cosa"}).encode()
        port = int(running.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = (
                "POST /api/repos/create HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {running.root}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
            )
            connection.sendall(head.encode())
            assert b"100 Continue" in connection.recv(1000)  # the route is reading
            running.process.send_signal(signal.SIGTERM)
            connection.sendall(body)
            assert b" 200 " in connection.recv(4000).split(b"\r\n")[0]
        assert running.process.wait(60) == 0


def test_a_killed_server_starts_again(tmp_path: Path) -> None:
    with hub(tmp_path / "data", "--no-upstream") as first:
        first.stop(signal.SIGKILL)
    with hub(tmp_path / "data", "--no-upstream") as second:
        assert second.call("GET", "/api/whoami-v2")["name"] == "admin"


def test_a_database_of_a_newer_lanza_is_refused(tmp_path: Path) -> None:
    with hub(tmp_path / "data", "--no-upstream") as first:
        assert first.stop() == 0
    import sqlite3

    with sqlite3.connect(tmp_path / "data" / "lanza.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999_future'")
    database.close()
    done = lanza(tmp_path, "up", "--port", 0, "--data", tmp_path / "data", code=2)
    assert "newer Lanza" in done.stderr


def test_a_new_admin_token_replaces_the_old_one(tmp_path: Path) -> None:
    with hub(tmp_path / "data", "--no-upstream") as first:
        before = first.root
        first.stop()
    with hub(tmp_path / "data", "--no-upstream", "--new-admin-token") as second:
        assert second.root != before
        assert second.call("GET", "/api/whoami-v2")["name"] == "admin"
        with pytest.raises(urllib.error.HTTPError) as refused:
            second.call("GET", "/api/whoami-v2", token=before)
        assert refused.value.code == 401
        refused.value.close()


@pytest.mark.parametrize(
    ("options", "warned"), [((), True), (("--behind-proxy", "10.0.0.0/8"), False)], ids=["open", "proxy"]
)
def test_an_address_that_others_reach_is_warned_of(
    tmp_path: Path, options: tuple[str, ...], warned: bool
) -> None:
    process = subprocess.Popen(
        [
            *LANZA,
            "up",
            "--host",
            "0.0.0.0",
            "--port",
            "0",
            "--no-upstream",
            "--data",
            tmp_path / "data",
            *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stdout is not None
    assert "Lanza is at" in process.stdout.readline()
    process.terminate()
    assert ("WARNING" in process.communicate(timeout=60)[1]) is warned


def test_the_admin_token_is_not_printed_where_no_terminal_is(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*LANZA, "up", "--port", "0", "--no-upstream", "--data", tmp_path / "data"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    process.terminate()
    said = "".join(lines) + process.communicate(timeout=60)[0]
    assert str(tmp_path / "data" / "admin.token") in said
    assert (tmp_path / "data" / "admin.token").read_text().strip() not in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_it_speaks_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "1",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    options = ("--no-upstream", "--data", tmp_path / "data", "--tls-cert", cert, "--tls-key", key)
    process = subprocess.Popen(
        [*LANZA, "up", "--port", "0", *options], stdout=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    assert process.stdout is not None
    try:
        found = re.search(r"https://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        trusting = ssl.create_default_context(cafile=str(cert))
        assert json.loads(get(f"{found[0]}/healthz", context=trusting)) == {"status": "ok"}
    finally:
        process.terminate()
        process.communicate(timeout=60)
    done = lanza(
        tmp_path, "up", "--port", 0, "--data", tmp_path / "d", "--tls-cert", key, "--tls-key", key, code=2
    )
    assert "no certificate and its key" in done.stderr


# --- the commands -------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, server: Hub, ana: User) -> Path:
    """A home in which ana is logged in."""
    done = lanza(tmp_path, "login", server.url, input=f"{ana.token}\n")
    assert "as ana" in done.stdout
    assert ana.token not in done.stdout + done.stderr
    return tmp_path


def test_a_wrong_token_is_not_kept(server: Hub, tmp_path: Path) -> None:
    done = lanza(tmp_path, "login", server.url, input="lz_wrong\n", code=1)
    assert "nvalid" in done.stderr
    assert "no server is known" in lanza(tmp_path, "ls", code=2).stderr


def test_a_folder_is_pushed_listed_pulled_and_removed(home: Path, server: Hub, ana: User) -> None:
    model = home / "modelo"
    (model / "onnx").mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "bert"}')
    (model / "onnx" / "model.onnx").write_bytes(bytes(range(256)) * 9000)
    pushed = json.loads(lanza(home, "push", model, "cosa", "--private", "--json").stdout)
    assert (pushed["repo"], pushed["url"]) == ("ana/cosa", f"{server.url}/ana/cosa")
    again = json.loads(lanza(home, "push", model, "ana/cosa", "--json").stdout)
    assert again["commit"] == pushed["commit"]
    listed = {row["path"]: row for row in json.loads(lanza(home, "ls", "ana/cosa", "--json").stdout)}
    assert listed["onnx/model.onnx"] == {"path": "onnx/model.onnx", "bytes": 256 * 9000, "large": True}
    assert "config.json" in lanza(home, "ls", "ana/cosa").stdout
    mine = json.loads(lanza(home, "ls", "--author", "ana", "--search", "cosa", "--json").stdout)
    assert [(row["repo"], row["private"]) for row in mine] == [("ana/cosa", True)]
    pulled = json.loads(lanza(home, "pull", "ana/cosa", "copia", "--json").stdout)
    assert pulled["commit"] == pushed["commit"]
    assert (home / "copia" / "onnx" / "model.onnx").read_bytes() == bytes(range(256)) * 9000
    lanza(home, "rm", "ana/cosa", "onnx/")
    listed_now = [row["path"] for row in json.loads(lanza(home, "ls", "ana/cosa", "--json").stdout)]
    assert sorted(listed_now) == [".gitattributes", "config.json"]
    assert "--yes" in lanza(home, "rm", "ana/cosa", code=2).stderr
    lanza(home, "rm", "ana/cosa", "--yes")
    assert "ana/cosa" in lanza(home, "ls", "ana/cosa", code=1).stderr


def test_what_is_not_there_is_one_line(home: Path) -> None:
    assert "check the path" in lanza(home, "push", "nowhere", "ana/x", code=2).stderr
    assert len(lanza(home, "pull", "ana/nothing", code=1).stderr.splitlines()) == 1
    gone = lanza(home, "ls", "--server", "http://127.0.0.1:9", code=1).stderr
    assert "lanza up" in gone


def test_tokens_are_made_listed_and_revoked(home: Path, server: Hub) -> None:
    token = lanza(home, "tokens", "create", "ci", "--role", "read", "--expires", "30d").stdout.strip()
    assert server.call("GET", "/api/whoami-v2", token=token)["name"] == "ana"
    listed = json.loads(lanza(home, "tokens", "ls", "--json").stdout)
    assert {"ci", "test"} <= {row["name"] for row in listed}
    shown = lanza(home, "tokens", "ls").stdout
    assert "ci" in shown
    assert token not in shown + json.dumps(listed)
    assert "ci" in lanza(home, "tokens", "create", "ci", code=1).stderr
    lanza(home, "tokens", "revoke", "ci")
    assert "ci" in lanza(home, "tokens", "revoke", "ci", code=1).stderr


def test_users_are_for_administrators(
    home: Path, server: Hub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lanza(home, "users", "add", "eva", input="una contraseña larga\n", code=1)
    boss = tmp_path_factory.mktemp("boss")
    lanza(boss, "login", server.url, input=f"{server.root}\n")
    lanza(boss, "users", "add", "eva", input="una contraseña larga\n")
    assert "eva" in lanza(boss, "users", "ls").stdout
    token = lanza(boss, "tokens", "create", "x", "--role", "write", "--user", "eva").stdout.strip()
    assert server.call("GET", "/api/whoami-v2", token=token)["name"] == "eva"
    assert "nothing to change" in lanza(boss, "users", "set", "eva", code=2).stderr
    assert "500MB, 50GB" in lanza(boss, "users", "set", "eva", "--quota", "much", code=2).stderr
    lanza(boss, "users", "set", "eva", "--quota", "1KB", "--admin", "--password", input="otra contraseña\n")
    rows = {row["name"]: row for row in json.loads(lanza(boss, "users", "ls", "--json").stdout)}
    kept = {name: rows["eva"][name] for name in ("admin", "quota_bytes", "limit_bytes", "stored_bytes")}
    assert kept == {"admin": True, "quota_bytes": 1000, "limit_bytes": 1000, "stored_bytes": 0}
    lanza(boss, "users", "set", "eva", "--quota", "none", "--no-admin")
    assert server.call("GET", "/api/whoami-v2", token=token)["name"] == "eva"
    assert "--yes" in lanza(boss, "users", "rm", "eva", code=2).stderr
    lanza(boss, "users", "rm", "eva", "--yes")
    assert "eva" not in lanza(boss, "users", "ls", "--json").stdout


def test_organizations_and_who_belongs_to_them(
    home: Path, server: Hub, tmp_path_factory: pytest.TempPathFactory
) -> None:
    boss = tmp_path_factory.mktemp("boss")
    lanza(boss, "login", server.url, input=f"{server.root}\n")
    lanza(boss, "users", "add", "leo", "--no-password")
    lanza(boss, "orgs", "add", "lab", "--owner", "ana", "--full-name", "The Lab")
    lanza(boss, "orgs", "set", "lab", "--quota", "2.5GB")
    (row,) = json.loads(lanza(boss, "orgs", "ls", "--json").stdout)
    assert (row["name"], row["limit_bytes"], row["repositories"]) == ("lab", 2_500_000_000, 0)
    lanza(home, "orgs", "join", "lab", "leo", "--role", "write")  # ana administers it
    members = json.loads(lanza(home, "orgs", "members", "lab", "--json").stdout)
    assert {(one["name"], one["role"]) for one in members} == {("ana", "admin"), ("leo", "write")}
    lanza(home, "orgs", "leave", "lab", "leo")
    assert "leo" not in lanza(home, "orgs", "members", "lab").stdout
    assert "no organization 'ana'" in lanza(boss, "orgs", "rm", "ana", "--yes", code=1).stderr
    assert lanza(home, "orgs", "rm", "lab", "--yes", code=1).stderr
    lanza(boss, "orgs", "rm", "lab", "--yes")
    assert "Nothing here" in lanza(boss, "orgs", "ls").stdout
    lanza(boss, "users", "rm", "leo", "--yes")


# --- the tutorial's command line ---------------------------------------------------------------------------


def test_huggingface_cli_has_the_prompts_and_lines_of_tutorials(home: Path, server: Hub, ana: User) -> None:
    login = lanza(home, "shell", "huggingface-cli", "login", input=f"{ana.token}\nn\n")
    assert "Enter your token (input will not be visible): " in login.stdout
    assert "Add token as git credential? (Y/n) " in login.stdout
    said = login.stdout + login.stderr
    assert "Token is valid (permission: write)." in said
    assert "Your token has been saved to" in said
    assert "Login successful" in said
    assert "hf auth login" in login.stderr
    assert ana.token not in said
    assert lanza(home, "shell", "huggingface-cli", "whoami").stdout.splitlines()[0] == "ana"
    made = lanza(home, "shell", "huggingface-cli", "repo", "create", "longformer", input="Y\n")
    for line in (
        "git version",
        "You are about to create ana/longformer",
        "Proceed? [Y/n]",
        "Your repo now lives at:",
        f"  {server.url}/ana/longformer",
        "You can clone it locally with the command below, and commit/push as usual.",
        f"  git clone {server.url}/ana/longformer",
    ):
        assert line in made.stdout
    assert "hf repos create longformer" in made.stderr
    again = lanza(home, "shell", "huggingface-cli", "repo", "create", "longformer", "-y", code=1)
    assert again.stderr.strip()
    lanza(home, "shell", "huggingface-cli", "repo", "create", "otra", input="n\n", code=1)
    assert "ana/otra" not in lanza(home, "ls", "--json").stdout


def test_huggingface_cli_uploads_and_downloads(home: Path, ana: User) -> None:
    (home / "subir").mkdir()
    (home / "subir" / "nota.txt").write_text("hola")
    uploaded = lanza(home, "shell", "huggingface-cli", "upload", "ana/subida", "subir")
    assert "hf upload ana/subida subir" in uploaded.stderr
    lanza(home, "shell", "huggingface-cli", "download", "ana/subida", "--local-dir", "bajada")
    assert (home / "bajada" / "nota.txt").read_text() == "hola"


def test_a_token_of_the_public_hub_stays_where_it_is(home: Path, ana: User) -> None:
    """`hf auth login` within the shell must not replace what the user has for huggingface.co."""
    theirs = home / ".cache" / "huggingface"
    theirs.mkdir(parents=True)
    (theirs / "token").write_text("hf_of_the_public_hub")
    lanza(home, "shell", "huggingface-cli", "login", "--token", ana.token)
    assert (theirs / "token").read_text() == "hf_of_the_public_hub"
