"""The calls in a Python file, read from its syntax tree, with those of their arguments that are literal.

A name that is assigned one string, at the top of the file or of a class, stands for that string.
Nothing is run, and calls are not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Literal = str | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """``owner.name(*arguments, **keywords)``, an argument being None where it is no literal."""

    name: str
    owner: str
    arguments: tuple[Literal, ...]
    keywords: Mapping[str, Literal]
    line: int

    def text(self, position: int | None, keyword: str | None = None) -> str | None:
        """The string given at this position or by this keyword; None when there is none that is known."""
        value = self.keywords.get(keyword) if keyword else None
        if value is None and position is not None and position < len(self.arguments):
            value = self.arguments[position]
        return value if isinstance(value, str) and value else None


def find_calls(tree: ast.Module) -> Iterator[Call]:
    """Every call in the file, in the order of a breadth-first walk."""
    constants = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield Call(
                name=_last_name(node.func),
                owner=_last_name(node.func.value) if isinstance(node.func, ast.Attribute) else "",
                arguments=tuple(_literal(argument, constants) for argument in node.args),
                keywords={
                    keyword.arg: _literal(keyword.value, constants)
                    for keyword in node.keywords
                    if keyword.arg
                },
                line=node.lineno,
            )


def _constants(tree: ast.Module) -> dict[str, str]:
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    return {
        target.id: node.value.value
        for body in bodies
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def _literal(node: ast.expr, constants: Mapping[str, str]) -> Literal:
    match node:
        case ast.Constant(value=str() | bool() as value):
            return value
        case ast.Name(id=name):
            return constants.get(name)
        case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
            return constants.get(name)
        case _:
            return None


def _last_name(node: ast.expr) -> str:
    """The `b` of `a.b`, the `a` of `a`; of what is neither, a name that no Python has."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return "(expression)"
