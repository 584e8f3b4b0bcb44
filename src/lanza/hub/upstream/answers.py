"""What an upstream hub's answers mean here: as a record to keep, or as an error of ours. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from lanza.errors import (
    BadRequest,
    EntryNotFound,
    Gated,
    LanzaError,
    RepoNotFound,
    RevisionNotFound,
    UpstreamUnavailable,
)
from lanza.hub.names import RepoName
from lanza.hub.upstream.cache import Record
from lanza.hub.upstream.upstream import Reply

UNKNOWN: Final = "RepoNotFound"

_TAG: Final = re.compile(r'(?:W/)?"?([!#-~]*)"?')
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def record_of(reply: Reply, body: bytes = b"", *, now: float = 0.0) -> Record:
    """An answer with what matters of its headers."""
    headers = reply.headers
    code = headers.get("X-Error-Code", "")
    if reply.status in (401, 403, 404) and not code:  # without a token, what is private is not there
        code = UNKNOWN
    found = _TAG.fullmatch(headers.get("X-Linked-Etag") or headers.get("ETag", ""))
    commit = headers.get("X-Repo-Commit", "")
    size = headers.get("X-Linked-Size") or ("" if reply.elsewhere else headers.get("Content-Length", ""))
    return Record(
        status=reply.status,
        asked=now,
        code=code,
        message=headers.get("X-Error-Message", ""),
        commit=commit if _COMMIT.fullmatch(commit) else "",
        etag=found[1] if found else "",
        size=int(size) if size.isdigit() else None,
        link=headers.get("Link", ""),
        body=body,
    )


def refusal(name: RepoName, record: Record, file: str = "") -> LanzaError:
    """What upstream refused, as an error of ours."""
    said = record.message or f"it answers {record.status}"
    match record.code:
        case "EntryNotFound":
            return EntryNotFound(
                f"{name} has no {file or 'such folder'!r} on the upstream hub ({said}).", commit=record.commit
            )
        case "RevisionNotFound":
            return RevisionNotFound(f"{name} has no such revision on the upstream hub ({said}).")
        case "GatedRepo":
            return Gated(
                f"{name} is gated on the upstream hub, which is asked without a token: download it with "
                "HF_ENDPOINT unset and your own token, then push it here."
            )
        case code if code == UNKNOWN:
            return RepoNotFound(
                f"there is no {name.kind} {name} on the upstream hub, or it is private there."
            )
    return BadRequest(f"the upstream hub does not give {name}: {said}.")


def json_of(body: bytes) -> Any:
    """UpstreamUnavailable when it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamUnavailable("the upstream hub cannot be asked: it answers with no JSON.") from error


def without_xet(body: bytes) -> bytes:
    """JSON without the hashes that would make clients fetch files by Xet. UpstreamUnavailable."""
    value = json_of(body)
    files = value.get("siblings") if isinstance(value, dict) else value
    for one in files if isinstance(files, list) else ():
        if isinstance(one, dict):
            one.pop("xetHash", None)
    return orjson.dumps(value)
