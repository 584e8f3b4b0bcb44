"""What a handler.py says of itself, read as a syntax tree: it is never run here.

The model held here: ``EndpointHandler(path)`` is made once and ``handler(data)`` answers each request.
A reading finds what would keep it from being made, and the slips that tutorials warn of. It follows
strings given directly or through a name assigned once at the top; it does not follow calls.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from typing import Final

from lanza.models.facts import ModelFacts
from lanza.models.findings import Finding, error, note, warning
from lanza.models.source import Call, find_calls

HANDLER_CLASS: Final = "EndpointHandler"
_PATH: Final = "handler.py"
_TOKENIZES: Final = ("Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor")
_DOWNLOADS: Final = frozenset({"snapshot_download", "hf_hub_download", "urlretrieve", "load_dataset"})
_BY_NAME: Final = frozenset({"SentenceTransformer", "CrossEncoder"})
_WITHOUT_GRADIENTS: Final = frozenset({"no_grad", "inference_mode", "set_grad_enabled", "pipeline"})
_INIT_SHAPE: Final = "def __init__(self, path: str = ''):"
_CALL_SHAPE: Final = "def __call__(self, data: dict):"


def examine_handler(facts: ModelFacts) -> Iterator[Finding]:
    """Findings on the handler.py of this folder, if there is one."""
    if not facts.has_handler:
        return
    try:
        source = (facts.path / _PATH).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the compiler minds of style is no finding
            tree = ast.parse(source, filename=_PATH)
    except SyntaxError as problem:
        yield error(
            "handler_syntax",
            f"handler.py is not valid Python: {problem.msg} at line {problem.lineno}.",
            "Correct it; `python -m py_compile handler.py` shows the place.",
            path=_PATH,
        )
        return
    except (OSError, ValueError, RecursionError, MemoryError) as problem:
        yield error("handler_syntax", f"handler.py cannot be read: {problem}.", "Write it again.", path=_PATH)
        return
    yield from _check_class(tree)
    calls = tuple(find_calls(tree))
    yield from _check_inference(tree, calls)
    yield from _check_origins(facts, calls)
    yield from _check_habits(calls)


def _check_class(tree: ast.Module) -> Iterator[Finding]:
    definition = next(
        (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == HANDLER_CLASS), None
    )
    if definition is None:
        if _names_at_top(tree):
            yield note(
                "handler_elsewhere",
                f"{HANDLER_CLASS} is not defined in handler.py itself, so it was not read.",
                "Nothing to do if it can be imported from the folder.",
                path=_PATH,
            )
            return
        yield error(
            "no_handler_class",
            f"handler.py defines no class {HANDLER_CLASS}.",
            "Name the class so, or write a starting one with `lanza init handler`.",
            path=_PATH,
        )
        return
    inherits = any(not (isinstance(base, ast.Name) and base.id == "object") for base in definition.bases)
    yield from _check_method(definition, "__init__", _INIT_SHAPE, inherits=inherits)
    yield from _check_method(definition, "__call__", _CALL_SHAPE, inherits=inherits)


def _check_method(definition: ast.ClassDef, name: str, shape: str, *, inherits: bool) -> Iterator[Finding]:
    method = next(
        (
            node
            for node in definition.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ),
        None,
    )
    code = "handler_signature"
    if method is None:
        if not inherits and not _assigns(definition, name):
            yield error(code, f"{HANDLER_CLASS} has no {name}.", f"Write `{shape}`.", path=_PATH)
    elif name == "__init__" and isinstance(method, ast.AsyncFunctionDef):
        yield error(code, "__init__ cannot be async.", f"Write `{shape}`.", path=_PATH)
    elif not method.decorator_list and not _takes_one_argument(method.args):
        yield error(
            code,
            f"{name} (line {method.lineno}) cannot be called with one argument.",
            f"Write `{shape}`, and give other parameters a default.",
            path=_PATH,
        )


def _takes_one_argument(arguments: ast.arguments) -> bool:
    """Whether a bound method of these arguments (`self` first) can be called as ``method(value)``."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    if any(default is None for default in arguments.kw_defaults):
        return False
    return required <= 2 and (positional >= 2 or arguments.vararg is not None)


def _names_at_top(tree: ast.Module) -> bool:
    """Whether the class comes by import or assignment."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(
            (alias.asname or alias.name) in {HANDLER_CLASS, "*"} for alias in node.names
        ):
            return True
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == HANDLER_CLASS for target in node.targets
        ):
            return True
    return any(
        isinstance(node, ast.If | ast.Try)
        and any(isinstance(inner, ast.ClassDef) and inner.name == HANDLER_CLASS for inner in ast.walk(node))
        for node in tree.body
    )


def _assigns(definition: ast.ClassDef, name: str) -> bool:
    targets = (target for node in definition.body if isinstance(node, ast.Assign) for target in node.targets)
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _check_inference(tree: ast.Module, calls: tuple[Call, ...]) -> Iterator[Finding]:
    if not any(_loads_model(call) for call in calls):
        return
    if not any(call.name == "eval" and call.owner for call in calls):
        yield warning(
            "no_eval",
            "handler.py never calls eval() on its model, so dropout may change every answer.",
            "Call self.model.eval() after loading it (from_pretrained does; a model built by hand does not).",
            path=_PATH,
        )
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if named.isdisjoint(_WITHOUT_GRADIENTS):
        yield warning(
            "no_no_grad",
            "handler.py never turns gradients off, so each request keeps memory for a training step.",
            "Wrap the model's call in `with torch.inference_mode():`.",
            path=_PATH,
        )


def _loads_model(call: Call) -> bool:
    """Whether this makes a torch model that answers by being called."""
    if call.name == "from_pretrained":
        by_itself = call.owner.startswith("ORT") or call.owner.endswith(("Pipeline", "Config"))
        return not by_itself and not _is_tokenizer(call)
    return call.name in {"load_state_dict", "load_model"} or (call.name == "load" and call.owner == "torch")


def _check_origins(facts: ModelFacts, calls: tuple[Call, ...]) -> Iterator[Finding]:
    """Where the handler gets its parts from: the folder that it is given, or a name on a hub."""
    named = (facts.base_model, facts.config.get("_name_or_path"))
    own = {name for name in named if isinstance(name, str)}
    own |= {name for call in calls if (name := _model_name(call))}
    for call in calls:
        tokenizer = _tokenizer_name(call)
        if tokenizer and _is_remote(facts, tokenizer) and tokenizer not in own:
            yield warning(
                "tokenizer_of_another_model",
                f"Line {call.line} takes the tokenizer of {tokenizer!r}, not of the model in this folder.",
                "Load it from the folder that __init__ is given: from_pretrained(path).",
                path=_PATH,
            )
        fetched = _model_name(call) or tokenizer
        if call.name in _DOWNLOADS or (fetched and _is_remote(facts, fetched)):
            yield warning(
                "fetched_at_start",
                f"Line {call.line} fetches {fetched or call.text(0) or call.name!r} when the handler starts: "
                "slow, and impossible offline.",
                "Put it into the folder, and load it from the path that __init__ is given.",
                path=_PATH,
            )


def _model_name(call: Call) -> str | None:
    """What a call loads a model from, where the file says it."""
    if call.name == "from_pretrained" and not _is_tokenizer(call):
        return call.text(0, "pretrained_model_name_or_path")
    if call.name == "pipeline":
        return call.text(1, "model")
    return call.text(0, "model_name_or_path") if call.name in _BY_NAME else None


def _tokenizer_name(call: Call) -> str | None:
    if call.name == "from_pretrained" and _is_tokenizer(call):
        return call.text(0, "pretrained_model_name_or_path")
    return call.text(None, "tokenizer") if call.name == "pipeline" else None


def _is_tokenizer(call: Call) -> bool:
    return call.owner.endswith(_TOKENIZES)


def _is_remote(facts: ModelFacts, name: str) -> bool:
    """Whether this names a model on a hub, not a folder beside the handler."""
    is_path = "\0" in name or name.startswith((".", "/", "~"))
    return not is_path and not os.path.exists(facts.path / name)  # noqa: PTH110 (pathlib raises on long names)


def _check_habits(calls: tuple[Call, ...]) -> Iterator[Finding]:
    for call in calls:
        if call.keywords.get("trust_remote_code") is True:
            yield warning(
                "remote_code",
                f"Line {call.line} sets trust_remote_code=True: it runs Python code that comes with a model.",
                "Read that code, pin its revision, or use a model that transformers has itself.",
                path=_PATH,
            )
        if call.name == "input" and not call.owner:
            yield warning(
                "waits_for_input",
                f"Line {call.line} calls input(), and a server has no keyboard.",
                "Take the value from `data`, or from an environment variable.",
                path=_PATH,
            )
