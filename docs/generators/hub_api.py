"""hub-api.md: what the client can ask a hub for, against what this server answers.

The routes are read from the client's source and from the server's own table. Kept by hand is only why some
are left out or differ. A request of the client that no route takes and no reason names is an error here, and
so is a reason that nothing needs any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from generators.cell import cell
from generators.client import Addresses, addresses
from generators.routes import Route, routes

Request = tuple[str, str]

INTRODUCTION = """\
# The Hub API

What huggingface_hub can ask the hub at `HF_ENDPOINT` for, as its source has it, against the routes of this
server: {supported} requests are supported, {partly} partly, {left_out} not. What it asks of other hosts
(Inference Endpoints, the dataset viewer, inference providers) is not in this list. An unsupported request
gets an error, mostly a 404."""

PASSED_ON: Mapping[str, Mapping[Request, str]] = {
    "/{repo_id}/resolve/{revision}/{filename}": {
        ("GET", "/{repo_id}/resolve/{revision}/{filename}"): "hf_hub_download",
        ("HEAD", "/{repo_id}/resolve/{revision}/{filename}"): "get_hf_file_metadata",
    },
    "/api/{repo_type}s/{repo_id}/tree/{revision}{encoded_path_in_repo}": {
        ("GET", "/api/{repo_type}s/{repo_id}/tree/{revision}{encoded_path_in_repo}"): "list_repo_tree"
    },
    "/api/{repo_type}s/{repo_id}/auth-check": {
        ("GET", "/api/{repo_type}s/{repo_id}/auth-check/write"): "auth_check"
    },
    "/api/{repo_type}s/{repo_id}/xet-{value}-token": {
        ("GET", "/api/{repo_type}s/{repo_id}/xet-write-token/{revision}"): "create_commit",
        ("GET", "/api/{repo_type}s/{repo_id}/xet-read-token/{revision}"): "hf_hub_download",
    },
    "/api/spaces/{repo_id}/logs/{log_type}": {
        ("GET", "/api/spaces/{repo_id}/logs/{log_type}"): "fetch_space_logs"
    },
    "/api/jobs/{namespace}/{job_id}/{route}": {
        ("GET", "/api/jobs/{namespace}/{job_id}/{route}"): "fetch_job_logs"
    },
    "/buckets/{bucket_id}/resolve/{path}": {("GET", "/buckets/{bucket_id}/resolve/{path}"): "HfFileSystem"},
    "/buckets/{SANDBOX_SERVER_BUCKET}/resolve/{server_object}": {},
    # Links for people.
    "/jobs/{name}/{id}": {},
    "/{repo_type}s/{repo_id}/discussions/{num}": {},
    "/{repo_id}/discussions/{num}": {},
    "/collections/{slug}": {},
    "/{REPO_TYPES_URL_PREFIXES}{repo_id}": {},
    "/{repo_id}": {},
    "/buckets/{bucket_id}": {},
}
"""What the client asks for at addresses that it makes in one place and uses, or makes longer, in another."""

PARTLY: Mapping[Request, str] = {
    ("GET", "/api/models"): "not by `apps`, `inference`, `inference_provider`: 400",
    ("POST", "/api/repos/create"): "Spaces are kept and not run: no `template`, secrets, variables, volumes",
    (
        "POST",
        "/api/{api_prefix}/{from_id}/duplicate",
    ): "settings of Spaces are ignored: they are not run",
    ("POST", "/api/{repo_type}s/{repo_id}/commit/{revision}"): "no `create_pr`: there are no pull requests",
    ("POST", "/api/{repo_type}s/{repo_id}/preupload/{revision}"): "no `create_pr`",
    ("GET", "/api/{repo_type}s/{repo_id}/xet-write-token/{revision}"): "no `create_pr`",
    ("POST", "/oauth/token"): "the device flow; no refreshed tokens, and none from other identity providers",
}

SPACES = "Spaces are kept, and not run"
DISCUSSIONS = "no discussions and no pull requests"
REFUSED: Mapping[Request, str] = {
    ("GET", "/api/{repo_type}s/{repo_id}/discussions"): f"{DISCUSSIONS}: this one answers 403, because an "
    "empty list would have transformers wait for a pull request",
}
"""What has a route only to be refused in words."""

NOT: Mapping[str, str] = {
    r"/api/spaces/(hardware|templates|semantic-search|zero-gpu/.*)": SPACES,
    r"/api/spaces/\{repo_id\}/"
    r"(dev-mode|hardware|logs|pause|restart|runtime|secrets|sleeptime|variables|volumes).*": SPACES,
    r"/api/(scheduled-)?jobs/.*": "no jobs are run for others",
    r"(/api)?/buckets/.*": "no buckets: large files are in repositories",
    r"/api/collections.*": "no collections",
    r"(/api)?/(papers|daily_papers).*": "no papers",
    r"/api/settings/webhooks.*": "no webhooks",
    r"/api/kernels/.*": "no kernels: they are code to be run",
    r".*/discussions.*|/uploads": DISCUSSIONS,
    r"/api/users/\{username\}/follow(ers|ing)|/api/organizations/.*/followers": "nobody follows anybody",
    r"/api/datasets/\{repo_id\}/leaderboard": "no leaderboards",
    r"/api/models/\{repo_id\}/safetensors-metadata/.*": "`get_safetensors_metadata` reads it from the files",
    r".*/lfs-files/duplicate": "no commit copies from another repository: upload, bytes are stored once",
    r".*/lfs-files(/batch)?": "large files go by themselves once no commit needs them (`lanza hub collect`)",
    r".*/xet-read-token/.*": "files are sent whole, in ranges if asked, so nothing is read by Xet",
    r"/api/tasks": "an `InferenceClient` has to be told its model",
    r"/api/(telemetry/.*|agent-harnesses)": "the client does without",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request of the client comes to."""

    request: Request
    asked_by: str
    status: str
    reason: str = ""


def lines() -> Iterator[str]:
    client, server = addresses(), routes()
    answers = compare(client, server)
    by_status = {
        status: [answer for answer in answers if answer.status == status]
        for status in ("supported", "partly", "not")
    }
    supported, partly, left_out = by_status.values()
    yield INTRODUCTION.format(
        supported=len(supported),
        partly=len(partly),
        left_out=len(left_out),
    )
    yield from ("", "## Supported", "", "| request | asked by |", "|---|---|")
    yield from (f"| {_words(one.request)} | {one.asked_by} |" for one in supported)
    for title, some in (("Partly", partly), ("Not supported", left_out)):
        yield from ("", f"## {title}", "", "| request | asked by | |", "|---|---|---|")
        yield from (f"| {_words(one.request)} | {one.asked_by} | {cell(one.reason)} |" for one in some)
    yield from _more(client, server)


def compare(client: Addresses, server: list[Route]) -> list[Answer]:
    """Every request of the client, with what it comes to here. SystemExit names what nobody has decided."""
    known = client.others | {template for _, template in client.requests}
    wrong = [f"nothing says what the client does with {one}" for one in client.others - PASSED_ON.keys()]
    wrong += [f"the client has {one} no more" for one in PASSED_ON.keys() - known]
    answers, needed = [], set()
    for request, functions in sorted(_all(client).items(), key=lambda item: item[0][::-1]):
        status, reason, key = _answer(request, any(route.takes(*request) for route in server))
        if status == "?":
            wrong.append(f"the client can ask for {' '.join(request)}, and this server has no such route")
        needed.add(key)
        public = [name for name in functions if not name.startswith("_")] or functions
        asked_by = ", ".join(f"`{name}`" for name in public)
        answers.append(Answer(request=request, asked_by=asked_by, status=status, reason=reason))
    kept = {*PARTLY, *REFUSED, *NOT}
    wrong += [f"the reason for {key} is needed no more" for key in kept - needed]
    if wrong:
        listed = "".join(f"\n  {one}" for one in sorted(wrong))
        raise SystemExit(f"docs/generators/hub_api.py is behind the code:{listed}")
    return answers


def _all(client: Addresses) -> dict[Request, list[str]]:
    """Every request with the functions that make it."""
    more = {one: [by] for requests in PASSED_ON.values() for one, by in requests.items()}
    return {**client.requests, **more}


def _answer(request: Request, served: bool) -> tuple[str, str, Request | str]:
    """Status, reason and the key of the reason. The status is ? when nothing is known of the request."""
    if served and request in REFUSED:
        return "not", REFUSED[request], request
    if served and request in PARTLY:
        return "partly", PARTLY[request], request
    if served:
        return "supported", "", ""
    for pattern, reason in NOT.items():
        if re.fullmatch(pattern, request[1]):
            return "not", reason, pattern
    return "?", "", ""


def _more(client: Addresses, server: list[Route]) -> Iterator[str]:
    """Routes that no address in the client's source leads to."""
    asked = _all(client)
    more: dict[tuple[str, str], list[str]] = {}
    for route in server:
        if not any(route.takes(*request) for request in asked):
            more.setdefault((route.plain, route.purpose), []).append(route.method)
    yield from ("", "## What else is here", "")
    yield (
        "For git and git-lfs, for what the answers above lead to (uploads by LFS and by Xet), for `lanza` "
        "itself, and for who watches the server. Pages for people are not in this list."
    )
    yield from ("", "| request | |", "|---|---|")
    for (path, purpose), methods in more.items():
        yield f"| {_words((', '.join(methods), path))} | {cell(purpose)} |"


def _words(request: Request) -> str:
    return f"`{' '.join(request)}`"
