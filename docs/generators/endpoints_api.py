"""endpoints-api.md: the routes of endpoints, and which of the client's functions call each.

What huggingface_hub asks of its two fixed addresses is read from its source. A request that no route takes is
an error here.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from generators.cell import cell
from generators.routes import found_in
from lanza.endpoints.api import router

PREFIXES = {"INFERENCE_ENDPOINTS_ENDPOINT": "/v2", "INFERENCE_CATALOG_ENDPOINT": "/api/v1/catalog"}
ASKED = re.compile(r"(?:\.(get|post|put|delete)\()?f'\{constants\.(" + "|".join(PREFIXES) + r")\}([^']*)'")

INTRODUCTION = """\
# The API of endpoints

`huggingface_hub` and `hf endpoints` have the addresses of Hugging Face's API fixed in their code. In Python,
two lines turn them to a server of your own; `lanza hf ...` and `lanza shell --intercept` do it for commands:

```python
from huggingface_hub import constants

constants.INFERENCE_ENDPOINTS_ENDPOINT = "http://127.0.0.1:8420/v2"
constants.INFERENCE_CATALOG_ENDPOINT = "http://127.0.0.1:8420/api/v1/catalog"
```

A body is the tree that [endpoint-spec.md](endpoint-spec.md) describes; an update has the fields that change.
Answers are that tree, with what was chosen where it was left open, `status`, `healthRoute`, and under `lanza`
what no spec says: the address, the revision, the instance with its price. Secrets are names without values;
an update that names one without a value keeps it. Errors are `{"error": ...}`, and say what to change.

## Hugging Face's

| request | asked by | |
|---|---|---|"""

OURS = """
## Lanza's own

| request | |
|---|---|"""


def lines() -> Iterator[str]:
    routes = [
        (method, path, inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0])
        for path, methods, function in found_in(router, "")
        for method in sorted(methods)
    ]
    asked = _asked()
    _check(asked, routes)
    yield INTRODUCTION
    for method, path, purpose in routes:
        if not path.startswith("/api/lanza"):
            names = sorted({name for how, text, name in asked if _is(text, path) and how in ("", method)})
            yield f"| `{method} {path}` | {', '.join(f'`{it}`' for it in names)} | {cell(purpose)} |"
    yield OURS
    for method, path, purpose in routes:
        if path.startswith("/api/lanza"):
            yield f"| `{method} {path}` | {cell(purpose)} |"


def _asked() -> list[tuple[str, str, str]]:
    """What the client asks for: method (empty where it is said elsewhere), path, the function that does."""
    spec = importlib.util.find_spec("huggingface_hub")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse((Path(spec.origin).parent / "hf_api.py").read_text(encoding="utf-8"))
    return [
        (method.upper(), PREFIXES[base] + path, function.name)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for method, base, path in ASKED.findall(ast.unparse(function))
    ]


def _check(asked: list[tuple[str, str, str]], routes: list[tuple[str, str, str]]) -> None:
    for how, text, name in asked:
        if not any(_is(text, path) and how in ("", method) for method, path, _ in routes):
            raise SystemExit(f"{name} asks for {how} {text}, and this server has no such route")


def _is(text: str, path: str) -> bool:
    """Whether the client's address is this route: a `{repo_id}` is two parts of it."""
    asked = text.replace("{repo_id}", "{}/{}")
    return re.sub(r"\{\w*\}", "{}", asked) == re.sub(r"\{\w+\}", "{}", path)
