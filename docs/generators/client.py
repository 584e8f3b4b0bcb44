"""Which addresses of a hub the installed huggingface_hub can ask for, read from its source.

The model: an address is text that begins with the endpoint. It is a request when a call takes it, or takes a
variable of the same function that holds it, and the call says a method (`get`, `http_backoff("POST", ...)`).
What is passed on in other ways has no method here: who asks for these has to know. Nothing of the client is
run.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

METHODS = ("get", "head", "post", "put", "patch", "delete")
ENDPOINTS = ("endpoint", "_endpoint", "ENDPOINT")


@dataclass
class Addresses:
    """Requests as `(method, template)` with the functions that make them; and templates without a method."""

    requests: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)


def addresses(root: Path | None = None) -> Addresses:
    """All of the client's, or of the modules below another folder."""
    found = Addresses()
    for path in sorted((root or _client()).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for request in _requests(function):
                    names = found.requests.setdefault(request, [])
                    if function.name not in names:
                        names.append(function.name)
        found.others |= {text for node in ast.walk(tree) for text in _templates(node, {})}
    found.others -= {template for _, template in found.requests}
    return found


def _client() -> Path:
    spec = importlib.util.find_spec("huggingface_hub")
    if spec is None or spec.origin is None:
        raise SystemExit("huggingface_hub is not installed, and its source is to be read: `make setup`.")
    return Path(spec.origin).parent


def _requests(function: ast.AST) -> Iterator[tuple[str, str]]:
    held: dict[str, list[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            held.setdefault(node.targets[0].id, []).extend(_templates(node.value, {}))
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and (method := _method(node)):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                yield from ((method, template) for template in _templates(argument, held))


def _templates(node: ast.AST, held: Mapping[str, list[str]]) -> Iterator[str]:
    match node:
        case ast.Name(id=name):
            yield from held.get(name, ())
        case ast.IfExp(body=body, orelse=other):
            yield from _templates(body, held)
            yield from _templates(other, held)
        case ast.JoinedStr(values=[ast.FormattedValue(value=first), *rest]) if _is_endpoint(first):
            template = "".join(map(_text, rest))
            if template.startswith("/"):
                yield template
        case ast.BinOp(left=left, right=ast.Constant(value=str() as text)) if _is_endpoint(left):
            yield text


def _is_endpoint(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in ENDPOINTS
        case ast.BoolOp(values=values):
            return any(map(_is_endpoint, values))
    return False


def _text(part: ast.expr) -> str:
    """A piece of an f-string; of an expression the name that says most: `{revision}` of `quote(revision)`."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    nodes = list(ast.walk(part))
    names = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    names += [node.id for node in nodes if isinstance(node, ast.Name) and node.id != "quote"]
    return f"{{{names[0]}}}"


def _method(call: ast.Call) -> str | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in METHODS:
        return name.upper()
    if name == "paginate":
        return "GET"
    said = (one.value for one in call.args if isinstance(one, ast.Constant))
    return next((str(one) for one in said if str(one).lower() in METHODS), None)
