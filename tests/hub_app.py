"""The whole server over a folder of its own, without a socket."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from asking import Answer, ask
from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.hub.hub import Hub


@dataclass(frozen=True, kw_only=True)
class Server:
    """An application, and the Hub within it."""

    app: Any
    hub: Hub

    def user(self, name: str) -> str:
        """A new user; gives a token of role write."""
        with self.hub.database.writing() as session:
            account = accounts.create_user(session, name)
            return tokens.issue(session, account, name="test", role=Role.WRITE)[1]

    def ask(
        self, path: str, token: str = "", *, method: str = "GET", body: Any = None, **headers: str
    ) -> Answer:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return ask(self.app, path, method=method, headers=headers, body=content)

    def page(self, path: str, token: str = "") -> Answer:
        """As a browser asks."""
        return self.ask(path, token, Accept="text/html")

    def make(self, token: str, name: str, **more: Any) -> None:
        answer = self.ask("/api/repos/create", token, method="POST", body={"name": name, **more})
        assert answer.status == 200, answer.text

    def commit(self, token: str, repo: str, **files: bytes) -> None:
        """A commit of files to a model's main branch, named by their paths, with `__` for a slash."""
        lines: list[Any] = [{"key": "header", "value": {"summary": "add <files>", "description": ""}}]
        for path, content in files.items():
            value = {"path": path.replace("__", "/"), "encoding": "base64"}
            value["content"] = base64.b64encode(content).decode()
            lines.append({"key": "file", "value": value})
        body = "\n".join(map(json.dumps, lines)).encode()
        answer = self.ask(f"/api/models/{repo}/commit/main", token, method="POST", body=body)
        assert answer.status == 200, answer.text
