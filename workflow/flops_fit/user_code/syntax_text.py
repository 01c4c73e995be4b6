"""What a statement mentions and imports, and its text, from one walk through its syntax tree."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

_IGNORED = frozenset({"ctx", "kind", "type_comment"})
_BODIES = frozenset({"body", "orelse", "finalbody"})


@dataclass(slots=True)
class Survey:
    """What was found in a statement."""

    mentioned: dict[tuple[str, tuple[str, ...]], None] = field(default_factory=dict)
    """(name, its attributes) of every expression that begins with a name. Attributes of anything
    else, such as ``f(x).a``, come with the name ``""``."""
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)  # short constants: they may name a module
    text: str = ""
    """The same in all versions of Python, and free of comments, docstrings and layout.
    `ast.unparse` and `ast.dump` differ, and fail for a long expression."""


class _Written(str):
    """A piece of the text, not a value of the tree."""

    __slots__ = ()


_END, _END_OF_LIST = _Written(")"), _Written("]")


def survey(statement: ast.AST) -> Survey:
    """Return what a statement mentions and imports, and its text."""
    found = Survey()
    parts: list[str] = []
    waiting: list[object] = [statement]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _Written):
            parts.append(one)
        elif isinstance(one, ast.Name):
            found.mentioned[one.id, ()] = None
            parts.append(f"{one.id} ")
        elif isinstance(one, ast.Attribute):
            attributes: list[str] = []
            while isinstance(one, ast.Attribute):
                attributes.insert(0, one.attr)
                one = one.value
            name = one.id if isinstance(one, ast.Name) else ""
            found.mentioned[name, tuple(attributes)] = None
            parts.append(f"{name}.{'.'.join(attributes)} ")
            if not name:
                waiting.append(one)
        elif isinstance(one, ast.AST):
            if isinstance(one, ast.Import | ast.ImportFrom):
                found.imports.append(one)
            elif isinstance(one, ast.Constant) and isinstance(one.value, str):
                found.texts.update([one.value] if len(one.value) < 200 else ())
            parts.append(f"{type(one).__name__}(")
            waiting.append(_END)
            for key in reversed(one._fields):
                value = getattr(one, key, None)
                if value is None or key in _IGNORED:
                    continue
                if isinstance(value, list):
                    if key in _BODIES:
                        value = [part for part in value if not is_text(part)]
                    if value:
                        waiting.append(_END_OF_LIST)
                        waiting += reversed(value)
                        waiting.append(_Written(f"{key}=["))
                else:
                    waiting += (value, _Written(f"{key}="))
        else:
            parts.append(f"{one!a},")
    found.text = "".join(parts)
    return found


def is_text(statement: ast.AST) -> bool:
    """Return whether a statement is a text that stands for itself, such as a docstring."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def dotted(expression: ast.AST) -> tuple[str, tuple[str, ...]]:
    """Return (``a``, ``(b, c)``) of ``a.b.c`` or ``a.b.c[d]``, ``("", ...)`` of anything else."""
    while isinstance(expression, ast.Subscript):
        expression = expression.value
    attributes: tuple[str, ...] = ()
    while isinstance(expression, ast.Attribute):
        attributes = (expression.attr, *attributes)
        expression = expression.value
    return (expression.id if isinstance(expression, ast.Name) else "", attributes)
