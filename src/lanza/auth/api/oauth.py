"""OAuth's device flow over HTTP: what a bare `hf auth login` asks for, and the page where a user allows it.

The page needs name and password each time, so no other site can make a browser allow anything. A cookie and a
signed field that belong together see to it that nobody is logged in as somebody else from afar either.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from lanza.auth import accounts, audit, device
from lanza.auth.api.dependencies import FormDep, Parts, PartsDep
from lanza.errors import BadRequest, Forbidden, LanzaError, Unauthorized

router: Final = APIRouter()

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
PAGE: Final = "/oauth/activate"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
COOKIE: Final = "lanza_form"
FORM_SECONDS: Final = 1800
MANY: Final = 20
"""Failures that cost an address nothing: a whole school may have one."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}

_NONCE: Final = re.compile("[0-9a-f]{32}")


@router.post("/oauth/device")
def start(request: Request, parts: PartsDep, fields: FormDep) -> Response:
    """Codes for a program that wants a token. Any `client_id` is good: all programs get the same."""
    key = f"login from {_address(request)}"
    parts.guard.check(key, free=50)
    parts.guard.failed(key)  # it is not, but nobody needs many
    with parts.database.writing() as session:
        codes = device.start(session)
    page = f"{request.url.scheme}://{request.url.netloc}{PAGE}"
    answer = {
        "device_code": codes.device_code,
        "user_code": codes.user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?code={codes.user_code}",
        "interval": round(device.INTERVAL.total_seconds()),
        "expires_in": round(device.LIFETIME.total_seconds()),
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.post("/oauth/token")
def token(parts: PartsDep, fields: FormDep) -> Response:
    """The token, if the user has allowed it by now. Errors are in OAuth's form."""
    if fields.get("grant_type") != DEVICE_GRANT:
        return _no_token("unsupported_grant_type", "this server knows the device flow alone: log in again.")
    with parts.database.writing() as session:
        found = device.redeem(session, fields.get("device_code", ""))
    if isinstance(found, device.Answer):
        return _no_token(found, _EXPLAINED[found])
    answer = {"access_token": found.token, "token_type": "bearer", "expires_in": found.seconds}
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


@router.get(PAGE, include_in_schema=False)
def ask(request: Request, parts: PartsDep, code: str = "") -> Response:
    """The page that asks whether a program may log in."""
    return _form(request, parts, code=device.as_shown(code) if code else "")


@router.post(PAGE, include_in_schema=False)
def decide(request: Request, parts: PartsDep, fields: FormDep) -> Response:
    """What the user has decided. When it cannot be done, the page again, and why."""
    try:
        _check_form(request, parts, fields)
        if fields.get("decision") == "deny":
            _deny(request, parts, fields)
            return _html("done.html", allowed=False, name="")
        return _html("done.html", allowed=True, name=_allow(request, parts, fields))
    except LanzaError as error:
        code = device.as_shown(fields.get("code", ""))
        return _form(request, parts, code=code, name=fields.get("name", ""), problem=error)


_EXPLAINED: Final = {
    device.Answer.PENDING: "the user has not decided yet: ask again.",
    device.Answer.SLOW_DOWN: "ask less often.",
    device.Answer.EXPIRED: "this code is unknown, expired, or was used: start again.",
    device.Answer.DENIED: "the user has denied it.",
}


def _allow(request: Request, parts: Parts, fields: dict[str, str]) -> str:
    """Check name and password, and let the program in. Gives the name of the user."""
    name = fields.get("name", "").strip()
    if not name or not fields.get("password"):
        raise BadRequest("Fill in your user name and your password.")
    keys = (f"address {_address(request)}", f"account {name.lower()}")
    parts.guard.check(keys[0], free=MANY)
    parts.guard.check(keys[1])
    for key in keys:
        parts.guard.failed(key)
    with parts.database.reading() as session:
        account = accounts.check_login(session, name, fields["password"])
    with parts.database.writing() as session:
        device.allow(session, fields.get("code", ""), account)
        audit.note(
            session,
            who=account.name,
            what="login.allow",
            target=account.name,
            request_id=getattr(request.state, "request_id", ""),
            address=_address(request),
        )
    for key in keys:
        parts.guard.succeeded(key)
    return account.name


def _deny(request: Request, parts: Parts, fields: dict[str, str]) -> None:
    key = f"address {_address(request)}"
    parts.guard.check(key, free=MANY)
    parts.guard.failed(key)
    with parts.database.writing() as session:
        device.deny(session, fields.get("code", ""))
    parts.guard.succeeded(key)


def _check_form(request: Request, parts: Parts, fields: dict[str, str]) -> None:
    """Whether this browser was given this form by this server."""
    nonce = request.cookies.get(COOKIE, "")
    try:
        claims = parts.signer.verify("form", fields.get("proof", ""))
    except Unauthorized:
        claims = {"nonce": None}
    if not _NONCE.fullmatch(nonce) or not hmac.compare_digest(claims["nonce"] or "", nonce):
        raise Forbidden("This form is too old, or your browser keeps no cookies of this site: try once more.")


def _form(
    request: Request, parts: Parts, *, code: str, name: str = "", problem: LanzaError | None = None
) -> Response:
    given = request.cookies.get(COOKIE, "")
    nonce = given if _NONCE.fullmatch(given) else secrets.token_hex(16)
    proof = parts.signer.sign("form", {"nonce": nonce}, seconds=FORM_SECONDS)
    page = _html("activate.html", code=code, name=name, proof=proof, problem=problem and _sentence(problem))
    if problem is not None:
        page.status_code = problem.status
        if problem.retry_after is not None:
            page.headers["Retry-After"] = str(math.ceil(problem.retry_after))
    page.set_cookie(
        COOKIE,
        nonce,
        path="/oauth",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return page


def _html(template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(_environment().get_template(template).render(**values), headers=HEADERS)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _sentence(error: LanzaError) -> str:
    return error.message[:1].upper() + error.message[1:]


def _no_token(error: str, description: str) -> Response:
    answer = {"error": error, "error_description": description}
    return JSONResponse(answer, status_code=400, headers={"Cache-Control": "no-store"})


def _address(request: Request) -> str:
    return "" if request.client is None else request.client.host
