"""What an expression reads and compares, taken from its syntax tree.

The tree is CEL's `cel.expr.ParsedExpr`, read by field number: its generated classes are in no package that is
installed here, and its numbers are part of CEL's published wire format (cel/expr/syntax.proto).
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

MemberPath = tuple[str, ...]
Literal = None | bool | int | float | str | bytes

_TYPE_NAMES = frozenset(
    ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "dyn", "google")
)
_NAMESPACES = {
    "base64": frozenset(("encode", "decode")),
    "math": frozenset(
        (
            *("greatest", "least", "ceil", "floor", "round", "trunc", "abs", "sign", "sqrt", "isNaN", "isInf"),
            *("isFinite", "bitAnd", "bitOr", "bitXor", "bitNot", "bitShiftLeft", "bitShiftRight"),
        )
    ),
    "optional": frozenset(("of", "ofNonZeroValue", "none", "unwrap")),
    "strings": frozenset(("quote",)),
}
"""Functions of the extensions that are called by a qualified name: `math` in `math.abs(x)` is no member."""

_EXPR, _SOURCE_INFO = 2, 3
_POSITIONS = 4
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9
_NULL, _BOOL, _INT, _UINT, _DOUBLE, _STRING, _BYTES = 1, 2, 3, 4, 5, 6, 7
_OPERAND, _FIELD, _TEST_ONLY = 1, 2, 3
_TARGET, _FUNCTION, _ARGS = 1, 2, 3
_ENTRIES, _MAP_KEY, _ENTRY_VALUE = 2, 3, 4
_ITER_VAR, _ITER_RANGE, _ACCU_VAR, _ACCU_INIT, _LOOP_CONDITION, _LOOP_STEP, _RESULT, _ITER_VAR2 = range(1, 9)

_INDEX, _OPTIONAL = ("_[_]",), ("_[_]", "_[?_]", "_?._")
_COMPARED = {"_==_": "==", "_!=_": "!=", "@in": "in"}

_Fields = dict[int, list[Any]]


@dataclass(frozen=True)
class Comparison:
    """`path == literal`, `path != literal` or `path in [literals]`, either way round."""

    path: MemberPath
    operator: str
    literals: tuple[Literal, ...]


@dataclass
class Reads:
    """What a walk over the syntax tree found.

    Attributes:
        paths: the member paths, each starting with a variable or a bare name.
        tested: those that stand in a `has(...)` or behind a `?`: they may be absent.
        bare_positions: where in the text, in characters, bare names stand.
        comparisons: members compared with literals.
        equals: path and literal if the whole expression is `path == literal`, else None.
        is_path: the whole expression is a member path.
    """

    variables: frozenset[str]
    paths: set[MemberPath] = field(default_factory=set)
    tested: set[MemberPath] = field(default_factory=set)
    bare_positions: list[int] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    equals: tuple[MemberPath, bool | str] | None = None
    is_path: bool = False
    _bare: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, parsed: bytes, variables: Iterable[str]) -> "Reads":
        """Return what the serialised ParsedExpr reads."""
        fields = _fields(parsed)
        root = _sub(fields, _EXPR)
        reads = cls(frozenset(variables))
        reads._visit(root, frozenset())
        reads.is_path = reads._path(root, frozenset()) is not None
        if whole := reads._comparison(root, frozenset()):
            (literal, *_) = whole.literals or (None,)
            if whole.operator == "==" and isinstance(literal, bool | str):
                reads.equals = whole.path, literal
        positions = {
            entry[1][0]: entry.get(2, [0])[0] for entry in map(_fields, _sub(fields, _SOURCE_INFO).get(_POSITIONS, []))
        }
        reads.bare_positions = [positions[node_id] for node_id in reads._bare]
        return reads

    def _visit(self, node: _Fields, bound: frozenset[str]) -> None:
        if (path := self._path(node, bound, _OPTIONAL)) is not None:
            path = self._qualified(path)
            self.paths.add(path)
            if _may_be_absent(node):
                self.tested.add(path)
            if path[0] not in self.variables:
                self._bare.append(_root(node)[_ID][0])
            return
        if comparison := self._comparison(node, bound):
            self.comparisons.append(comparison)
        if _COMPREHENSION in node:
            self._visit_loop(_sub(node, _COMPREHENSION), bound)
        else:
            for child in _children(node):
                self._visit(child, bound)

    def _visit_loop(self, loop: _Fields, bound: frozenset[str]) -> None:
        within = bound | {_text(loop, _ACCU_VAR)}
        each = within | {_text(loop, number) for number in (_ITER_VAR, _ITER_VAR2)}
        for number, names in (
            (_ITER_RANGE, bound),
            (_ACCU_INIT, bound),
            (_LOOP_CONDITION, each),
            (_LOOP_STEP, each),
            (_RESULT, within),
        ):
            self._visit(_sub(loop, number), names)

    def _qualified(self, path: MemberPath) -> MemberPath:
        """Return `path` with the longest variable it starts with as one name: CEL's variables may be called `a.b`."""
        for length in range(len(path), 1, -1):
            if (name := ".".join(path[:length])) in self.variables:
                return (name, *path[length:])
        return path

    def _path(self, node: _Fields, bound: frozenset[str], ways: tuple[str, ...] = _INDEX) -> MemberPath | None:
        """Return the member path that `node` names, None if it is something else.

        Args:
            ways: the operators besides `.` that lead to a member; those with `?` give an optional, not the member.
        """
        if _IDENT in node:
            name = _text(_sub(node, _IDENT), 1).lstrip(".")
            return None if name in bound or name in _TYPE_NAMES else (name,)
        if _SELECT in node:
            select = _sub(node, _SELECT)
            operand = self._path(_sub(select, _OPERAND), bound, ways)
            is_test = ways is _INDEX and _TEST_ONLY in select
            return None if operand is None or is_test else (*operand, _text(select, _FIELD))
        if _CALL in node and _text(call := _sub(node, _CALL), _FUNCTION) in ways:
            operand = self._path(_fields(call[_ARGS][0]), bound, ways)
            is_literal, key = _literal(_fields(call[_ARGS][1]))
            return (*operand, key) if operand is not None and is_literal and isinstance(key, str) else None
        return None

    def _comparison(self, node: _Fields, bound: frozenset[str]) -> Comparison | None:
        if _CALL not in node:
            return None
        call = _sub(node, _CALL)
        operator = _COMPARED.get(_text(call, _FUNCTION))
        if operator is None:
            return None
        left, right = map(_fields, call[_ARGS])
        for side, other in ((left, right), (right, left))[: 1 if operator == "in" else 2]:
            path = self._path(side, bound)
            items = _list_items(other) if operator == "in" else [other]
            literals = [_literal(item) for item in items]
            if path is not None and items and all(is_literal for is_literal, _ in literals):
                return Comparison(self._qualified(path), operator, tuple(value for _, value in literals))
        return None


def _may_be_absent(node: _Fields) -> bool:
    if _SELECT in node:
        return _TEST_ONLY in (select := _sub(node, _SELECT)) or _may_be_absent(_sub(select, _OPERAND))
    return _CALL in node and ("?" in _text(_sub(node, _CALL), _FUNCTION) or any(map(_may_be_absent, _children(node))))


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
        targets = [_fields(target) for target in call.get(_TARGET, [])]
        if not any(_is_namespace(target, _text(call, _FUNCTION)) for target in targets):
            yield from targets
        yield from map(_fields, call.get(_ARGS, []))
    elif _LIST in node:
        yield from _list_items(node)
    elif _STRUCT in node:
        for entry in map(_fields, _sub(node, _STRUCT).get(_ENTRIES, [])):
            for number in (_MAP_KEY, _ENTRY_VALUE):
                if number in entry:
                    yield _sub(entry, number)


def _is_namespace(target: _Fields, function: str) -> bool:
    return _IDENT in target and function in _NAMESPACES.get(_text(_sub(target, _IDENT), 1).lstrip("."), ())


def _list_items(node: _Fields) -> list[_Fields]:
    return [_fields(item) for item in _sub(node, _LIST).get(1, [])] if _LIST in node else []


def _literal(node: _Fields) -> tuple[bool, Literal]:
    """Return whether `node` is a literal, and its value."""
    if _CONST not in node:
        return False, None
    ((kind, (value, *_)),) = _sub(node, _CONST).items()
    if kind == _NULL:
        return True, None
    if kind == _BOOL:
        return True, bool(value)
    if kind == _INT:
        return True, value - 2**64 if value >= 2**63 else value
    if kind == _UINT:
        return True, cast(int, value)
    if kind == _DOUBLE:
        return True, struct.unpack("<d", struct.pack("<Q", value))[0]
    if kind == _STRING:
        return True, cast(bytes, value).decode()
    return kind == _BYTES, cast(bytes, value)


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
