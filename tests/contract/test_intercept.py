"""`lanza shell --intercept`: addresses that clients have built in are answered here, all others pass by."""

from __future__ import annotations

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lanza.cli.intercept import authority, intercepting
from lanza.cli.intercept.authority import make_authority
from lanza.cli.intercept.hosts import HOSTS, path_here

ASK = """
import json, sys, requests
kept = requests.post(sys.argv[1], headers={"Authorization": "Bearer lz_mine"}, json={"inputs": "hola"})
print(json.dumps(kept.json()))
"""


class Echo(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = {
            "path": self.path,
            "host": self.headers["Host"],
            "authorization": self.headers["Authorization"],
            "proxy": self.headers["Proxy-Authorization"],
            "size": len(body),
        }
        content = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")  # as our server says it; http.server leaves it out
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[str]:
    with listening() as port:
        yield f"http://127.0.0.1:{port}"


def run(code: str, *arguments: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://api-inference.huggingface.co/models/ana/becas?a=1", "/models/ana/becas?a=1"),
        ("https://api.endpoints.huggingface.cloud/v2/endpoint/ana", "/v2/endpoint/ana"),
        ("https://router.huggingface.co/v1/chat/completions", "/v1/chat/completions"),
        ("https://router.huggingface.co/hf-inference/models/ana/becas", "/models/ana/becas"),
        ("https://api.replicate.com/v1/predictions", "/replicate/v1/predictions"),
    ],
)
def test_what_requests_posts_to_such_an_address_is_answered_here(server: str, url: str, path: str) -> None:
    with intercepting(server, {}) as variables:
        done = run(ASK, url, variables=variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "path": path,
        "host": server.removeprefix("http://"),
        "authorization": "Bearer lz_mine",
        "proxy": None,
        "size": 18,
    }


def test_httpx_and_large_bodies_pass_too(server: str) -> None:
    code = (
        "import httpx2 as httpx\n"
        "with httpx.Client() as client:\n"
        "    for _ in range(3):\n"
        "        kept = client.put('https://router.huggingface.co/v2/x', content=b'x' * 5_000_000)\n"
        "        assert kept.json()['size'] == 5_000_000, kept.text\n"
    )
    with intercepting(server, {}) as variables:
        done = run(code, variables=variables)
    assert done.returncode == 0, done.stderr


def test_other_hosts_pass_unread(server: str, tmp_path: Path) -> None:
    other = make_authority(tmp_path, ("localhost",), trusted="")
    with listening(other.context()) as port, intercepting(server, {}) as variables:
        mine = {"REQUESTS_CA_BUNDLE": str(other.bundle), "NO_PROXY": "", "no_proxy": ""}
        done = run(ASK, f"https://localhost:{port}/there", variables=variables | mine)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["host"] == f"localhost:{port}"


def test_the_authority_can_speak_for_no_other_host(tmp_path: Path) -> None:
    """Even with its key: OpenSSL believes what it signs for the hosts, and nothing that it signs beside."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = authority._root(key, tuple(HOSTS))
    (tmp_path / "root.pem").write_text(authority._pem(root))
    for hosts, believed in (tuple(HOSTS), True), (("huggingface.co",), False), (("bank.example",), False):
        leaf = authority._leaf(ec.generate_private_key(ec.SECP256R1()), root, key, hosts)
        (tmp_path / "leaf.pem").write_text(authority._pem(leaf))
        command = ["openssl", "verify", "-x509_strict", "-CAfile", "root.pem", "leaf.pem"]
        verified = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (verified.returncode == 0) is believed, verified.stderr


def test_nobody_else_on_the_machine_may_use_it(server: str) -> None:
    with intercepting(server, {}) as variables:
        port = int(variables["HTTPS_PROXY"].rpartition(":")[2])
        for header in (b"", b"Proxy-Authorization: Basic bGFuemE6eA==\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(b"CONNECT api-inference.huggingface.co:443 HTTP/1.1\r\n" + header + b"\r\n")
                assert line.recv(100).startswith(b"HTTP/1.1 407 ")


def test_a_server_that_is_away_is_said(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with intercepting(url, {}) as variables:
            code = "import requests, sys; print(requests.get(sys.argv[1]).status_code)"
            asked = run(code, "https://router.huggingface.co/v1/models", variables=variables)
            assert asked.stdout == "502\n"


def test_keys_are_gone_when_the_shell_is(server: str) -> None:
    with intercepting(server, {}) as variables:
        bundle = Path(variables["SSL_CERT_FILE"])
        assert bundle.parent.stat().st_mode & 0o077 == 0
        assert bundle.is_file()
    assert not bundle.parent.exists()


def test_paths() -> None:
    assert path_here("router.huggingface.co", "/hf-inference/models/a/b") == "/models/a/b"
    assert path_here("router.huggingface.co", "/v1/models?x=/hf-inference/") == "/v1/models?x=/hf-inference/"


def test_in_a_shell_and_the_command_s_status_is_kept(server: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environment |= {"LANZA_HOME": str(tmp_path), "LANZA_TOKEN": "lz_mine"}
    code = f"{ASK}\nsys.exit(3)"
    shell = [sys.executable, "-m", "lanza", "shell", "--intercept", "--server", server]
    url = "https://api-inference.huggingface.co/models/ana/becas"
    done = subprocess.run(
        [*shell, sys.executable, "-c", code, url],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["path"] == "/models/ana/becas"
