"""Parameters: JSON values with `${expression}` in their strings."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from guard.canonical import canonical
from registry.expressions.environment import Expression, ExpressionFault, compile_expression, outermost
from registry.expressions.syntax import MemberPath


@dataclass(frozen=True)
class Template:
    """A JSON value with `${expression}` in its strings.

    A string that is one expression takes the expression's value and type; expressions within text are written into
    it, strings as they are and other values as canonical JSON. `$${` stands for `${`.
    """

    _value: Any
    expressions: tuple[Expression, ...] = field(compare=False)  # in the order of the document

    @property
    def is_constant(self) -> bool:
        return not self.expressions

    @property
    def paths(self) -> tuple[MemberPath, ...]:
        return outermost(path for expression in self.expressions for path in expression.paths)

    @property
    def source(self) -> Any:
        """The JSON value that compiles to this template."""
        return _source(self._value)

    @property
    def members(self) -> Mapping[str, "Template"]:
        """The templates of its members, for one that is an object."""
        assert isinstance(self._value, dict)
        return {name: Template(value, tuple(_expressions(value))) for name, value in self._value.items()}

    def spliced(self) -> tuple[str | MemberPath, ...] | None:
        """Return the value's JSON text in pieces, members' texts to be put in at their paths.

        None if an expression is more than a member's path, or stands within text: then it must be evaluated.
        """
        pieces: list[str | MemberPath] = []
        return tuple(pieces) if _splice(self._value, pieces) else None

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """Return the JSON value over `bindings`.

        Raises:
            ExpressionFault: an expression has no value, or one that JSON has no word for.
        """
        return _render(self._value, bindings)


def compile_template(value: Any) -> Template:
    """Return `value` (parsed JSON) with its `${...}` compiled.

    Raises:
        ExpressionFault: an expression does not compile or is not closed.
    """
    expressions: list[Expression] = []
    compiled = _compile_value(value, expressions)
    return Template(compiled, tuple(expressions))


@dataclass(frozen=True)
class _Text:
    parts: tuple[str | Expression, ...]


def _compile_value(value: Any, expressions: list[Expression]) -> Any:
    if isinstance(value, Mapping):
        return {key: _compile_value(item, expressions) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_compile_value(item, expressions) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    parts = tuple(_parts(value))
    expressions += [part for part in parts if isinstance(part, Expression)]
    if len(parts) == 1:
        return parts[0]
    return _Text(parts)


def _parts(text: str) -> Iterator[str | Expression]:
    literal, start = "", 0
    while (dollar := text.find("${", start)) >= 0:
        if text[dollar - 1 : dollar] == "$" and dollar > start:
            literal += text[start : dollar - 1] + "${"
            start = dollar + 2
            continue
        literal += text[start:dollar]
        if literal:
            yield literal
        end = _closing_brace(text, dollar + 2)
        yield compile_expression(text[dollar + 2 : end].strip())
        literal, start = "", end + 1
    if literal := literal + text[start:]:
        yield literal


_TOKEN = re.compile(r"""("|')(?:\\.|(?!\1).)*\1|[{}]""", re.DOTALL)


def _closing_brace(text: str, start: int) -> int:
    """Return where the expression that starts at `start` ends; braces of maps and within strings are part of it."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token.group() == "{":
            depth += 1
        elif token.group() == "}":
            if not depth:
                return token.start()
            depth -= 1
    raise ExpressionFault("does_not_compile", f"{text!r} opens '${{' and does not close it; write '$${{' for the text")


def _source(value: Any) -> Any:
    if isinstance(value, Expression):
        return f"${{{value.text}}}"
    if isinstance(value, _Text):
        return "".join(map(_source, value.parts))
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: _source(item) for key, item in value.items()}
    return [_source(item) for item in value] if isinstance(value, list) else value


def _expressions(value: Any) -> Iterator[Expression]:
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, _Text):
        yield from (part for part in value.parts if isinstance(part, Expression))
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _expressions(item)


def _splice(value: Any, pieces: list[str | MemberPath]) -> bool:
    """Add the pieces of a value's JSON text; False if it has none."""
    if isinstance(value, Expression):
        pieces.append(value.paths[0] if value.is_path else "")
        return value.is_path
    if isinstance(value, dict | list):
        is_object = isinstance(value, dict)
        pieces.append("{" if is_object else "[")
        for place, key in enumerate(value):
            pieces.append("," if place else "")
            if is_object:
                pieces.append(f"{canonical(key)}:")
            if not _splice(value[key] if is_object else key, pieces):
                return False
        pieces.append("}" if is_object else "]")
        return True
    if isinstance(value, _Text):
        return False
    pieces.append(canonical(value))
    return True


def _render(value: Any, bindings: Mapping[str, Any]) -> Any:
    if isinstance(value, Expression):
        return _json(value.evaluate(bindings), value.text)
    if isinstance(value, _Text):
        return "".join(part if isinstance(part, str) else _written(_render(part, bindings)) for part in value.parts)
    if isinstance(value, dict):
        return {key: _render(item, bindings) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, bindings) for item in value]
    return value


def _json(value: Any, text: str) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else canonical(key): _json(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, text) for item in value]
    if value is None or isinstance(value, str | bool | int | float | Decimal):
        return value
    raise ExpressionFault("not_json", f"{text}: JSON has no word for a {type(value).__name__}")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)
