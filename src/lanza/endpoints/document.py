"""A tree from the text of `endpoint.yaml`: YAML as far as a spec needs it, and nothing that surprises.

The model: one document of objects, lists and plain values, of bounded size and depth. A key that is there
twice, an alias (a few lines of them unfold to gigabytes), a tag of a language's own: each is refused, with
its line. JSON is YAML too. What the tree means is for `spec.py` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from lanza.errors import BadRequest, PayloadTooLarge

if TYPE_CHECKING:
    import yaml

MOST_BYTES: Final = 256 * 1024
MOST_VALUES: Final = 10_000
DEEPEST: Final = 32

_PLAIN: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")
)


def read_document(content: bytes) -> dict[str, Any]:
    """The tree. BadRequest names the line that is wrong."""
    import yaml

    if len(content) > MOST_BYTES:
        raise PayloadTooLarge(
            f"an endpoint.yaml has at most {MOST_BYTES:,} bytes: this has {len(content):,}."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadRequest(f"line {line} is not UTF-8: save the file as UTF-8.") from error
    try:
        _check(yaml.parse(text, yaml.SafeLoader))
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise BadRequest("an endpoint.yaml begins with fields: `name: ...` and `model: ...`.")
        return dict(_members(loader, node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise BadRequest(f"{where}this is no YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise BadRequest("this is no YAML: it holds characters that no text does.") from error


def _check(events: Iterator[yaml.Event]) -> None:
    """Sizes before anything is built; no aliases."""
    import yaml

    depth = values = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise BadRequest(f"{_line(event)}: `*{event.anchor}` is an alias: write the value out.")
        if isinstance(event, yaml.NodeEvent):
            values += 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if values > MOST_VALUES:
            raise BadRequest(f"{_line(event)}: there are over {MOST_VALUES:,} values: this is no endpoint.")
        if depth > DEEPEST:
            raise BadRequest(f"{_line(event)}: this is nested over {DEEPEST} levels deep.")


def _value(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    import yaml

    if node.tag not in _PLAIN:
        raise BadRequest(f"{_line(node)}: `{node.tag}` is no value of a spec: write text, numbers, lists.")
    if isinstance(node, yaml.MappingNode):
        return dict(_members(loader, node))
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, one) for one in node.value]
    try:
        return loader.construct_object(node)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{_line(node)}: {node.value[:40]!r} is no date and no number: quote it.") from error


def _members(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
    seen = set()
    for key, value in node.value:
        name = _value(loader, key) if not isinstance(key.value, list) else None
        if not isinstance(name, str):
            raise BadRequest(f"{_line(key)}: the name of a field is text: quote it.")
        if name in seen:
            raise BadRequest(f"{_line(key)}: `{name}` is there twice.")
        seen.add(name)
        yield name, _value(loader, value)


def _line(part: yaml.Node | yaml.Event) -> str:
    mark = part.start_mark
    assert mark is not None
    return f"line {mark.line + 1}"
