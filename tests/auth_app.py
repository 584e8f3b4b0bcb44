"""The routes of `lanza.auth` as an application of their own, over a database of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from asking import Answer, ask
from lanza.auth import accounts, api, tokens
from lanza.auth.guard import Guard
from lanza.auth.principal import Role
from lanza.auth.signing import Signer
from lanza.auth.tokens import Authenticator
from lanza.database import Database
from lanza.errors import LanzaError


@dataclass
class Clock:
    """A clock that stands still until it is told."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class AuthApp:
    """The application, and what is in it."""

    database: Database
    clock: Clock = field(default_factory=Clock)
    app: FastAPI = field(default_factory=lambda: FastAPI(redirect_slashes=False))

    def __post_init__(self) -> None:
        state = self.app.state
        state.database = self.database
        state.authenticator = Authenticator(self.database, clock=self.clock)
        state.guard = Guard(self.clock)
        state.leaving = lambda session, account: lambda: None
        state.signer = Signer(b"k" * 32, clock=self.clock)
        self.app.include_router(api.router)
        self.app.add_exception_handler(LanzaError, _refuse)

    def user(self, name: str, *, role: Role = Role.WRITE, **more: Any) -> str:
        """A new user; gives a token."""
        with self.database.writing() as session:
            account = accounts.create_user(session, name, **more)
            return tokens.issue(session, account, name="test", role=role)[1]

    def ask(
        self,
        method: str,
        path: str,
        token: str = "",
        *,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        if form is not None:
            content = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        shown = f"Bearer {token}" if token else None

        async def known(scope: Any, receive: Any, send: Any) -> None:
            scope["state"]["principal"] = self.app.state.authenticator.principal(shown)
            await self.app(scope, receive, send)

        return ask(known, path, method=method, headers=given, body=content, client=client)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, LanzaError)
    return JSONResponse({"error": error.message}, error.status)
