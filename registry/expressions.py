"""Conditions and `${...}` parameters: CEL, compiled once, evaluated over an episode's JSON.

A bare name means a member of the step's output: `pass == true` is `output.pass == true`. Only the members that an
expression reads are bound, so a step decodes no more than `Expression.paths`.

Numbers follow their value, not their spelling: 1 and 1.0 have one canonical JSON and take one path, so a number is an
int if it is integral and a double otherwise. CEL does not mix the two in arithmetic: write `double(amount) * 1.05`.
An integer beyond 64 bits is compared as a double. A float given by Python stays a double.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from cel_expr_python import cel
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from guard.canonical import canonical

VARIABLES = ("output", "input", "trigger", "episode", "event")
"""What an expression may read: the step's output and input, the trigger's payload, the episode, the awaited event."""

BARE = "output"
MemberPath = tuple[str, ...]
_TYPE_NAMES = frozenset(
    ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "dyn", "google")
)
_CACHED = 4096


class ExpressionFault(ValueError):
    """An expression that does not compile, or has no value for what it was given.

    Attributes:
        code: `does_not_compile`, `not_json`, or CEL's word for what went wrong in lower case, such as `not_found` (an
            absent member), `out_of_range`, `invalid_argument`, and `unknown` (no such operation on these types).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Expression:
    """A compiled expression.

    Attributes:
        paths: the member paths it reads, so that nothing else needs to be decoded.
        equals: path and literal of an expression of the form `path == literal`, for the proof that branches are total.
        is_path: it is nothing but a member path.
    """

    text: str
    paths: tuple[MemberPath, ...]
    equals: tuple[MemberPath, bool | str] | None = None
    is_path: bool = False
    _program: Any = field(default=None, repr=False, compare=False)

    def evaluate(self, bindings: Mapping[str, Any]) -> Any:
        """Return the value over `bindings`: variable -> parsed JSON.

        An expression that only names a member gives that member as it stands, every digit kept.

        Raises:
            ExpressionFault: it has no value, such as for an absent member.
        """
        if self.is_path:
            return self._member(bindings)
        try:
            value = self._program.eval(data=self._bound(bindings))
        except RuntimeError as error:
            raise _evaluation_fault(self.text, str(error)) from None
        if value.type() == cel.Type.ERROR:
            raise _evaluation_fault(self.text, value.plain_value())
        return _plain(value.plain_value())

    def _member(self, bindings: Mapping[str, Any]) -> Any:
        value: Any = bindings
        for name in self.paths[0]:
            if not isinstance(value, Mapping) or name not in value:
                raise ExpressionFault("not_found", f"{self.text}: there is no {'.'.join(self.paths[0])}")
            value = value[name]
        return value

    def _bound(self, bindings: Mapping[str, Any]) -> dict[str, Any]:
        bound: dict[str, Any] = {}
        for path in self.paths:
            source: Any = bindings
            target = bound
            for name in path[:-1]:
                source = source.get(name, _ABSENT)
                if not isinstance(source, Mapping):
                    break
                target = target.setdefault(name, {})
            else:
                name, source = path[-1], source.get(path[-1], _ABSENT)
            if source is not _ABSENT:
                target[name] = _cel_value(source)
        return bound


_ABSENT = object()


@lru_cache(maxsize=_CACHED)
def compile_expression(
    text: str, *, variables: tuple[str, ...] = VARIABLES, bare: str | None = BARE, checked: bool = True
) -> Expression:
    """Return the compiled `text`; the same text is compiled once.

    Args:
        variables: names the expression may read.
        bare: the variable whose members other names mean; None if there is none.
        checked: refuse what CEL's type checker refuses, such as `1 + "a"`; else that is found when it is evaluated.

    Raises:
        ExpressionFault: it does not compile.
    """
    env = _environment(variables)
    reads = _Reads.of(_parsed(env, text), variables)
    rewritten = text
    if bare:
        for position in sorted(reads.bare_positions, reverse=True):
            rewritten = f"{rewritten[:position]}{bare}.{rewritten[position:]}"
        if rewritten != text:
            reads = _Reads.of(_parsed(env, rewritten), variables)
    try:
        program = env.compile(rewritten, disable_check=not checked)
    except RuntimeError as error:
        raise _compile_fault(text, error) from None
    return Expression(
        text=text,
        paths=_outermost(reads.paths),
        equals=reads.equals,
        is_path=bare is not None and reads.is_path,
        _program=program,
    )


def compile_condition(text: str) -> Expression:
    """Return the compiled condition of a trigger: it reads `trigger`, the payload, and a bare name is a member of it.

    Raises:
        ExpressionFault: it does not compile.
    """
    return compile_expression(text, variables=("trigger",), bare="trigger")


@lru_cache(maxsize=64)
def _environment(variables: tuple[str, ...]) -> cel.Env:
    # DYN, because a declared DOUBLE refuses `amount > 100`.
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


def _parsed(env: cel.Env, text: str) -> bytes:
    """Return the serialised ParsedExpr message of `text`."""
    try:
        return AnyMessage.FromString(env.compile(text, disable_check=True).serialize()).value
    except RuntimeError as error:
        raise _compile_fault(text, error) from None


def _compile_fault(text: str, error: RuntimeError) -> ExpressionFault:
    reason = str(error).splitlines()[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: <input>:")
    return ExpressionFault("does_not_compile", f"{text!r} does not compile at {reason}")


def _evaluation_fault(text: str, reason: str) -> ExpressionFault:
    """Return the fault that CEL states as `CODE: message`; what comes without a code is a value it cannot take."""
    code, _, message = reason.partition(": ")
    return ExpressionFault(code.lower() if code.isupper() else "not_json", f"{text}: {message}")


def _cel_value(value: Any) -> Any:
    """Return parsed JSON as what the CEL runtime takes."""
    if value is None or isinstance(value, str | bool | float | datetime | timedelta | bytes):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, Decimal):
        # The size comes first: an exponent of thousands must not be written out.
        return int(value) if value.adjusted() < 18 and value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {key: _cel_value(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_cel_value(item) for item in value]
    raise ExpressionFault("not_json", f"an expression cannot read a {type(value).__name__}")


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytearray) else value


def _outermost(paths: Iterable[MemberPath]) -> tuple[MemberPath, ...]:
    """Return the paths that no other path contains, in order."""
    given = set(paths)
    return tuple(sorted(p for p in given if not any(p[:length] in given for length in range(1, len(p)))))


# -- What an expression reads -------------------------------------------------------------------------------------
#
# cel.expr.ParsedExpr, read by field number: its generated classes are in no package that is installed here, and its
# numbers are part of CEL's published wire format (cel/expr/syntax.proto).

_EXPR, _SOURCE_INFO = 2, 3
_POSITIONS = 4
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9
_CONST_BOOL, _CONST_STRING = 2, 6
_OPERAND, _FIELD = 1, 2
_TARGET, _FUNCTION, _ARGS = 1, 2, 3
_ENTRIES, _MAP_KEY, _ENTRY_VALUE = 2, 3, 4
_ITER_VAR, _ITER_RANGE, _ACCU_VAR, _ITER_VAR2 = 1, 2, 3, 8
_LOOP_BODY = (4, 5, 6, 7)  # accu_init, loop_condition, loop_step, result

_Fields = dict[int, list[Any]]


def _fields(message: bytes) -> _Fields:
    """Return a serialised message as field number -> values."""
    fields: _Fields = {}
    for unknown in UnknownFieldSet(Empty.FromString(message)):
        fields.setdefault(unknown.field_number, []).append(unknown.data)
    return fields


def _sub(fields: _Fields, number: int) -> _Fields:
    return _fields(fields[number][0])


def _text(fields: _Fields, number: int) -> str:
    return cast(bytes, fields.get(number, [b""])[0]).decode()


@dataclass
class _Reads:
    """What a walk over the syntax tree found."""

    variables: frozenset[str]
    paths: set[MemberPath] = field(default_factory=set)
    bare: list[int] = field(default_factory=list)
    bare_positions: list[int] = field(default_factory=list)
    equals: tuple[MemberPath, bool | str] | None = None
    is_path: bool = False

    @classmethod
    def of(cls, parsed: bytes, variables: Iterable[str]) -> "_Reads":
        fields = _fields(parsed)
        root = _sub(fields, _EXPR)
        reads = cls(frozenset(variables))
        reads._visit(root, frozenset())
        reads.is_path = reads._path(root, frozenset()) is not None
        reads.equals = reads._equality(root)
        positions = {
            entry[1][0]: entry.get(2, [0])[0] for entry in map(_fields, _sub(fields, _SOURCE_INFO).get(_POSITIONS, []))
        }
        reads.bare_positions = [positions[node_id] for node_id in reads.bare]
        return reads

    def _visit(self, node: _Fields, bound: frozenset[str]) -> None:
        if (path := self._path(node, bound)) is not None:
            path = self._qualified(path)
            self.paths.add(path)
            if path[0] not in self.variables:
                self.bare.append(_root(node)[_ID][0])
        elif _COMPREHENSION in node:
            loop = _sub(node, _COMPREHENSION)
            self._visit(_sub(loop, _ITER_RANGE), bound)
            inner = bound | {_text(loop, number) for number in (_ITER_VAR, _ACCU_VAR, _ITER_VAR2)}
            for number in _LOOP_BODY:
                self._visit(_sub(loop, number), inner)
        else:
            for child in _children(node):
                self._visit(child, bound)

    def _qualified(self, path: MemberPath) -> MemberPath:
        """Return `path` with the longest variable it starts with as one name: CEL's variables may be called `a.b`."""
        for length in range(len(path), 1, -1):
            if (name := ".".join(path[:length])) in self.variables:
                return (name, *path[length:])
        return path

    def _path(self, node: _Fields, bound: frozenset[str]) -> MemberPath | None:
        """Return the member path that `node` names, None if it is something else."""
        if _IDENT in node:
            name = _text(_sub(node, _IDENT), 1).lstrip(".")
            return None if name in bound or name in _TYPE_NAMES else (name,)
        if _SELECT in node:
            select = _sub(node, _SELECT)
            operand = self._path(_sub(select, _OPERAND), bound)
            return None if operand is None else (*operand, _text(select, _FIELD))
        if _CALL in node and _text(call := _sub(node, _CALL), _FUNCTION) == "_[_]":
            operand = self._path(_fields(call[_ARGS][0]), bound)
            key = _literal(_fields(call[_ARGS][1]))
            return (*operand, key) if operand is not None and isinstance(key, str) else None
        return None

    def _equality(self, node: _Fields) -> tuple[MemberPath, bool | str] | None:
        if _CALL not in node or _text(call := _sub(node, _CALL), _FUNCTION) != "_==_":
            return None
        left, right = map(_fields, call[_ARGS])
        for side, other in ((left, right), (right, left)):
            path, literal = self._path(side, frozenset()), _literal(other)
            if path is not None and literal is not None:
                return path, literal
        return None


def _root(node: _Fields) -> _Fields:
    """Return the identifier that a member path starts with."""
    while _IDENT not in node:
        node = next(_children(node))
    return node


def _children(node: _Fields) -> Iterator[_Fields]:
    if _SELECT in node:
        yield _sub(_sub(node, _SELECT), _OPERAND)
    elif _CALL in node:
        call = _sub(node, _CALL)
        yield from map(_fields, [*call.get(_TARGET, []), *call.get(_ARGS, [])])
    elif _LIST in node:
        yield from map(_fields, _sub(node, _LIST).get(1, []))
    elif _STRUCT in node:
        for entry in map(_fields, _sub(node, _STRUCT).get(_ENTRIES, [])):
            for number in (_MAP_KEY, _ENTRY_VALUE):
                if number in entry:
                    yield _sub(entry, number)


def _literal(node: _Fields) -> bool | str | None:
    if _CONST not in node:
        return None
    constant = _sub(node, _CONST)
    if _CONST_BOOL in constant:
        return bool(constant[_CONST_BOOL][0])
    return _text(constant, _CONST_STRING) if _CONST_STRING in constant else None


# -- Parameters ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Template:
    """A JSON value with `${expression}` in its strings.

    A string that is one expression takes the expression's value and type; expressions within text are written into
    it, strings as they are and other values as canonical JSON. `$${` stands for `${`.
    """

    _value: Any
    expressions: tuple[Expression, ...]

    @property
    def is_constant(self) -> bool:
        return not self.expressions

    @property
    def paths(self) -> tuple[MemberPath, ...]:
        return _outermost(path for expression in self.expressions for path in expression.paths)

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
