"""`/openapi.json` and `/docs`: what this very replica takes and answers, from the types that decode it.

The page is one self-contained HTML document: no script or font comes from elsewhere.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from lanza import __version__
from lanza.replica.http import Routes
from lanza.tasks.base import Media, Task

_ERROR = {
    "type": "object",
    "required": ["error", "code", "request_id"],
    "properties": {name: {"type": "string"} for name in ("error", "code", "request_id")},
}
_FAILURES = {
    "400": "The request does not say what it must",
    "413": "The body is too large",
    "429": "The queue is full",
    "500": "The model failed",
    "503": "Loading or stopping",
    "504": "The deadline passed",
}
_PURPOSE = {
    "/": "Ask the model",
    "/predict": "Ask the model (the same as /)",
    "/health": "200 when the model is loaded, 503 before",
    "/info": "Which model and engine answer, and why",
    "/metrics": "Counters for Prometheus",
    "/docs": "This page",
    "/openapi.json": "This page for programs",
    "/v1/models": "The model, as OpenAI lists them",
    "/v1/chat/completions": "Chat, as OpenAI's API has it",
    "/v1/completions": "Continue a text, as OpenAI's API has it",
}


def openapi(info: Mapping[str, Any], task: Task | None, routes: Routes) -> dict[str, Any]:
    """An OpenAPI 3.1 document of `routes`."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    body: Any = {}
    answer: Any = {}
    if task is not None:
        (body, answer), found = msgspec.json.schema_components(
            [task.body, task.answer], ref_template="#/components/schemas/{name}"
        )
        schemas |= found
    paths = {
        path: {method.lower(): _operation(path, method, task, body, answer) for method in methods}
        for path, methods in routes.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{info['model']} on Lanza", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(path: str, method: str, task: Task | None, body: Any, answer: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": _PURPOSE.get(path, path) if method == "POST" or path != "/" else "Health, or this page",
        "responses": {"200": {"description": "OK"}},
    }
    if method == "POST":
        operation["responses"] |= {
            status: {
                "description": text,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
            for status, text in _FAILURES.items()
        }
    if method == "POST" and task is not None and path in ("/", "/predict"):
        content: dict[str, Any] = {"application/json": {"schema": body, "example": task.example}}
        if task.media is not Media.TEXT:
            content[f"{task.media}/*"] = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": content}
        operation["responses"]["200"]["content"] = {"application/json": {"schema": answer}}
    return operation


def page(info: Mapping[str, Any], task: Task | None, routes: Routes) -> str:
    """The page: what answers here, a form to try it, the schema."""
    facts = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in info.items()
        if value is not None
    )
    listed = "".join(
        f"<li><code>{' '.join(methods)} {html.escape(path)}</code> {html.escape(_PURPOSE.get(path, ''))}</li>"
        for path, methods in routes.items()
    )
    document = openapi(info, task, routes)
    schema = orjson.dumps(document["components"]["schemas"], option=orjson.OPT_INDENT_2).decode()
    example = orjson.dumps(task.example if task else {"inputs": ""}, option=orjson.OPT_INDENT_2).decode()
    return _PAGE.format(
        title=html.escape(str(info["model"])),
        task=html.escape(task.name if task else str(info.get("engine", ""))),
        facts=facts,
        routes=listed,
        example=html.escape(example),
        schema=html.escape(schema),
        file="" if task is not None and task.media is Media.TEXT else _FILE,
    )


_FILE = '<p><label>or a file: <input type="file" id="file"></label></p>'

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · Lanza</title><style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }}
h1 {{ margin: 0; overflow-wrap: anywhere; }} h1 + p {{ margin-top: .2rem; opacity: .7; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
 vertical-align: top; font-weight: normal; overflow-wrap: anywhere; }} th {{ opacity: .7; }}
textarea, pre {{ width: 100%; box-sizing: border-box; font: 14px/1.45 ui-monospace, monospace; padding: .8rem;
 border: 1px solid var(--line); border-radius: 6px; background: transparent; color: inherit; }}
pre {{ overflow: auto; max-height: 30rem; white-space: pre-wrap; }}
button {{ font: inherit; padding: .4rem 1.2rem; border-radius: 6px; border: 0; background: #2257c4;
 color: #fff; cursor: pointer; }} li {{ margin: .2rem 0; }}
</style></head><body>
<h1>{title}</h1><p>{task}</p>
<form id="try"><textarea id="body" rows="9" spellcheck="false" aria-label="request body">{example}</textarea>
<noscript><p>Scripts do not run here: send this with a POST to the address above, without <code>/docs</code>.
</p></noscript>
{file}<p id="key" hidden><label>your token: <input type="password" id="token" autocomplete="off"></label>
 This page is the model's: give it one that may do no more than call.</p>
<p id="ask" hidden><button type="button" id="send">Ask</button>
 <span id="time" role="status"></span></p></form>
<pre id="answer" hidden></pre>
<h2>What answers here</h2><table>{facts}</table>
<h2>Addresses</h2><ul>{routes}</ul>
<h2>Types</h2><pre>{schema}</pre>
<script>
document.getElementById("ask").hidden = false;
// Behind a gateway this page runs in a sandbox: its origin is nobody's, and forms are not sent.
const sandboxed = window.origin === "null", token = document.getElementById("token");
document.getElementById("key").hidden = !sandboxed;
document.getElementById("send").addEventListener("click", async () => {{
  const file = document.getElementById("file")?.files[0];
  const out = document.getElementById("answer"), time = document.getElementById("time");
  const start = performance.now();
  out.hidden = false; out.textContent = "…"; time.textContent = "";
  if (sandboxed && !token.value) {{ out.textContent = "Type a token first."; return; }}
  try {{
    const answer = await fetch("./", {{ method: "POST", body: file ?? document.getElementById("body").value,
      headers: {{ ...(file ? {{}} : {{ "Content-Type": "application/json" }}),
        ...(sandboxed ? {{ "Authorization": "Bearer " + token.value }} : {{}}) }} }});
    const text = await answer.text();
    time.textContent = answer.status + " in " + (performance.now() - start).toFixed(1) + " ms";
    try {{ out.textContent = JSON.stringify(JSON.parse(text), null, 2); }} catch {{ out.textContent = text; }}
  }} catch (error) {{ out.textContent = error + (sandboxed ? ": is the token good?" : ""); }}
}});
</script></body></html>
"""
