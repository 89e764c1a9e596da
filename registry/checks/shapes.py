"""Shapes: what a JSON Schema says about the members that expressions read, and values made from it.

What counts as stated: a member that `properties` lists is there if `required` lists it, else it may be absent. One
that is not listed never comes where `additionalProperties` is false; in an open object it may be absent. A map
(`additionalProperties` with a schema, no `properties`) is taken to hold the member that is asked for, an object that
lists nothing is not judged. A skill's `returns` lists what is always there, unless it has its own `required`.

Values are made the same way each time: bounds, each member of an enum, both booleans, integral and fractional numbers,
empty and long texts and lists, absent optional members. Every value is held against the schema before it is used, so
that no expression is refused for a value that cannot come. Personal members (`x-pii`) are tokens, as they are when an
expression sees them.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import jsonschema_rs

from guard.canonical import canonical
from guard.redaction import PII_MARK
from registry.documents import container_of
from registry.expressions import MemberPath

Schema = Mapping[str, Any]
Tree = dict[str, "Tree"]
"""Members that are read; an empty one is read whole."""

MAX_VALUES = 256
_DEPTH = 6
_MANY = 64
_TOKEN = "pii:00112233445566778899aabbccddeeff"  # noqa: S105 - what redaction makes of a personal text
_ABSENT = object()
_FORMATS = {
    "date-time": ("2024-02-29T23:59:59Z", "2024-01-01T00:00:00.5+02:00"),
    "date": ("2024-02-29",),
    "time": ("23:59:59Z",),
    "duration": ("P1DT2H",),
    "uuid": ("6f1d3d0e-5a3b-5a0c-9a4e-2b6f0c7e7d11",),
    "email": ("a.b@example.com",),
    "hostname": ("example.com",),
    "ipv4": ("192.0.2.1",),
    "ipv6": ("2001:db8::1",),
    "uri": ("https://example.com/a?b=c",),
    "uri-reference": ("/a?b=c",),
}
_PROBES = (
    *("0", "1", "12", "123", "1234", "12345", "123456", "12345678", "1234567890", "1.0", "1.0.0", "v1", "A", "AB"),
    *("ABC", "EUR", "ABCD", "abc", "a-b", "a_b", "A1", "AB12", "A-1", "AB-12", "ABC-123", "V-1", "PO-1", "INV-1"),
    *("DE", "en", "en-US", "2024", "2024-01", "2024-01-31", "2024-01-31T00:00:00Z", "12:30", "+491234567"),
    *("a.b", "a.b.c", "a/b", "s3://a/b", "https://example.com/", "a@example.com", "#aabbcc", "0" * 32, "0" * 64),
)


class _NotMade(Exception):
    """No value can be made of a schema, or nothing is stated to make it from."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A schema with what follows from it, computed once; `shape_of` gives the same object for the same schema."""

    schema: Schema
    _values: dict[str, tuple[Any, ...] | None] = field(default_factory=dict, repr=False)

    @cached_property
    def _validator(self) -> Any:
        return jsonschema_rs.validator_for(json.dumps(self.schema))

    def member(self, path: Sequence[str]) -> "Member":
        """Return what is stated about the member at `path`, relative to this shape."""
        return _member(self.schema, self.schema, tuple(path))

    def scalars(self) -> Iterator[tuple[MemberPath, str]]:
        """Yield path and type of every member that has one type only and is no object."""
        yield from _scalars(self.schema, self.schema, (), _DEPTH)

    def values(self, paths: Sequence[Sequence[str]]) -> tuple[Any, ...] | None:
        """Return values of this shape that differ in what stands at `paths`; None if it says too little to make any.

        They are all there are where `is_finite(paths)`.
        """
        tree: Tree = {}
        for path in paths:
            node = tree
            for name in path:
                node = node.setdefault(name, {})
        key = json.dumps(tree, sort_keys=True)
        if key not in self._values:
            try:
                made = _values(self.schema, self.schema, tree, _DEPTH)
            except _NotMade:
                self._values[key] = None
            else:
                valid = tuple(value for value in made if self._validator.is_valid(value))
                self._values[key] = valid or None
        return self._values[key]

    def is_finite(self, paths: Sequence[Sequence[str]]) -> bool:
        """Tell whether what can stand at `paths` are a few values: booleans, enums, null, absence."""
        counts = [self.member(path).count for path in paths]
        return all(counts) and _product(counts) <= MAX_VALUES


@dataclass(frozen=True)
class Member:
    """What a schema says about one member.

    Attributes:
        presence: `always`, `maybe`, `never`, or `unknown` where nothing is stated.
        types: the JSON types it can have; empty if any.
        enum: the values it can have; None if not listed.
        known: the members of the object that lacks it, for a message.
    """

    presence: str
    types: frozenset[str] = frozenset()
    enum: tuple[Any, ...] | None = None
    known: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many values it can have, absence included; 0 if they are not a few."""
        values = len(self.enum) if self.enum is not None else 0
        if self.enum is None and self.types and self.types <= {"boolean", "null"}:
            values = sum(2 if name == "boolean" else 1 for name in self.types)
        if self.presence == "never":
            return 1
        if self.presence == "unknown" or not values:
            return 0
        return values + (self.presence == "maybe")


def shape_of(schema: Any) -> Shape:
    """Return the shape of a JSON Schema as it stands in a registered event schema."""
    return _shape(canonical(schema))


def returned_shape(returns: Any) -> Shape | None:
    """Return the shape of a signature's `returns`, None if it promises no members.

    Its members are JSON Schemas or type names: `{"properties": {"pass": "boolean"}}`.
    """
    properties = returns.get("properties") if isinstance(returns, Mapping) else None
    if not isinstance(properties, Mapping) or not properties:
        return None
    stated = {"type": "object", "required": list(properties), "additionalProperties": False, **returns}
    return shape_of({**stated, "properties": {name: of_type(item) for name, item in properties.items()}})


@lru_cache(maxsize=4096)
def either(shapes: tuple[Shape | None, ...]) -> Shape | None:
    """Return the shape of what has one of several shapes, None if nothing can be said about it."""
    distinct = list(dict.fromkeys(shapes))
    if not distinct or None in distinct:
        return None
    if len(distinct) == 1:
        return distinct[0]
    schemas = [shape.schema for shape in distinct if shape]
    # A reference is relative to its own schema.
    return None if any(map(_refers, schemas)) else shape_of({"anyOf": schemas})


@lru_cache(maxsize=4096)
def merged(own: Shape | None, over: Shape | None) -> Shape | None:
    """Return the shape of an object whose members another object's stand over, None if nothing can be said."""
    if own is None or over is None or _refers(own.schema) or _refers(over.schema):
        return None
    left, right = own.schema, over.schema
    if not {"properties"} <= left.keys() & right.keys() or {"allOf", "anyOf", "oneOf"} & (left.keys() | right.keys()):
        return None
    is_closed = left.get("additionalProperties") is False and right.get("additionalProperties") is False
    return shape_of(
        {
            "type": "object",
            "properties": {**left["properties"], **right["properties"]},
            "required": list(dict.fromkeys([*left.get("required", ()), *right.get("required", ())])),
            "additionalProperties": not is_closed,
        }
    )


def _refers(schema: Any) -> bool:
    return '"$ref"' in json.dumps(schema)


def of_type(item: Any) -> Any:
    """Return the JSON Schema of a type name such as `array<string>`; a schema stays one."""
    if not isinstance(item, str):
        return item
    if item == "any":
        return {}
    container = container_of(item)
    if container is None:
        return {"type": item}
    kind, inner = container
    inner_name = "items" if kind == "array" else "additionalProperties"
    return {"type": "array" if kind == "array" else "object", inner_name: of_type(inner)}


@lru_cache(maxsize=4096)
def _shape(text: str) -> Shape:
    schema = json.loads(text)
    try:
        jsonschema_rs.validator_for(text)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return Shape({})  # another check's fault, or another format's schema
    return Shape(_as_seen(schema, is_personal=False))


def _as_seen(schema: Any, *, is_personal: bool) -> Any:
    """Return the schema of what is left after redaction: a personal scalar is a token."""
    if not isinstance(schema, Mapping):
        return schema
    is_personal = is_personal or schema.get(PII_MARK) is True
    inner = {name for name in ("properties", "items", "additionalProperties", "prefixItems") if name in schema}
    if is_personal and not inner and "$ref" not in schema:
        return {"type": "string", PII_MARK: True}
    seen = dict(schema)
    for name in ("properties", "$defs", "definitions", "patternProperties"):
        if isinstance(schema.get(name), Mapping):
            seen[name] = {key: _as_seen(item, is_personal=is_personal) for key, item in schema[name].items()}
    for name in ("items", "additionalProperties", "not", "if", "then", "else"):
        if name in schema:
            seen[name] = _as_seen(schema[name], is_personal=is_personal)
    for name in ("allOf", "anyOf", "oneOf", "prefixItems"):
        if isinstance(schema.get(name), list):
            seen[name] = [_as_seen(item, is_personal=is_personal) for item in schema[name]]
    return seen


# What is stated


def _plain(schema: Any, root: Schema, depth: int = _DEPTH) -> list[Schema]:
    """Return the alternatives of `schema`, each without references and combinations, with at most one type."""
    if schema is True or depth < 0:
        return [{}]
    if not isinstance(schema, Mapping):
        return []
    own = {name: item for name, item in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
    plain: list[Schema] = [own]
    parts = [*schema.get("allOf", ())]
    if "$ref" in schema:
        parts.append(_resolved(schema["$ref"], root))
    for part in parts:
        plain = [_both(left, right) for left in plain for right in _plain(part, root, depth - 1)]
    for name in ("anyOf", "oneOf"):
        if name in schema:
            choices = [choice for part in schema[name] for choice in _plain(part, root, depth - 1)]
            plain = [_both(left, right) for left in plain for right in choices]
    return [single for item in plain[:_MANY] for single in _by_type(item)]


def _by_type(schema: Schema) -> list[Schema]:
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": name} for name in schema["type"]]
    if "type" not in schema and ("properties" in schema or "required" in schema):
        return [{**schema, "type": "object"}]
    return [schema]


def _both(left: Schema, right: Schema) -> Schema:
    """Return the schema of what is of both; what cannot be told in one is left to validation."""
    both = {**left, **right}
    if "properties" in left and "properties" in right:
        both["properties"] = {**left["properties"], **right["properties"]}
        for name in left["properties"].keys() & right["properties"].keys():
            both["properties"][name] = {"allOf": [left["properties"][name], right["properties"][name]]}
    if "required" in left and "required" in right:
        both["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    if left.get("additionalProperties") is False:
        both["additionalProperties"] = False
    if "enum" in left and "enum" in right:
        both["enum"] = [item for item in left["enum"] if item in right["enum"]]
    if isinstance(left.get("type"), str) and isinstance(right.get("type"), list):
        both["type"] = left["type"]
    return both


def _resolved(reference: Any, root: Schema) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    node: Any = root
    for part in reference[1:].split("/")[1:]:
        node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return True if node is None else node


def _enum(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _member(schema: Any, root: Schema, path: MemberPath) -> Member:
    choices = _plain(schema, root)
    if not path:
        enums = [_enum(choice) for choice in choices]
        types = frozenset(choice["type"] for choice in choices if "type" in choice)
        is_typed = all("type" in choice or enum is not None for choice, enum in zip(choices, enums, strict=True))
        if not is_typed or not choices:
            return Member("unknown")
        listed = [item for enum in enums for item in enum or ()] if all(e is not None for e in enums) else None
        return Member(
            "always", types | frozenset(map(_type_of, listed or ())), None if listed is None else tuple(listed)
        )
    found = [_within(choice, root, path) for choice in choices if choice.get("type", "object") == "object"]
    if len(found) < len(choices) or not found:
        found.append(Member("never") if not found else Member("maybe"))
    return _either(found)


def _within(schema: Schema, root: Schema, path: MemberPath) -> Member:
    name, *rest = path
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    if name in properties:
        inner = _member(properties[name], root, tuple(rest))
        is_there = inner.presence != "always" or name in schema.get("required", ())
        return inner if is_there else Member("maybe", inner.types, inner.enum, inner.known)
    if more is False:
        return Member("never", known=tuple(properties))
    if not properties:
        return _member(more, root, tuple(rest)) if isinstance(more, Mapping) else Member("unknown")
    return Member("unlisted", known=tuple(properties))


def _either(members: Sequence[Member]) -> Member:
    """Return what holds for a member that one of several schemas states."""
    presences = {member.presence for member in members}
    known = tuple(dict.fromkeys(name for member in members for name in member.known))
    if len(presences) == 1:
        (presence,) = presences
    else:
        presence = "unknown" if "unknown" in presences else "unlisted" if "unlisted" in presences else "maybe"
    there = [member for member in members if member.presence != "never"]
    types = frozenset[str]().union(*(member.types for member in there)) if all(m.types for m in there) else frozenset()
    enums = [member.enum for member in there]
    enum = tuple(item for one in enums for item in one or ()) if enums and None not in enums else None
    return Member(presence, types, enum, known)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _scalars(schema: Any, root: Schema, path: MemberPath, depth: int) -> Iterator[tuple[MemberPath, str]]:
    choices = _plain(schema, root)
    types = {choice.get("type", "") for choice in choices}
    if path and len(types) == 1 and (name := types.pop()) not in ("", "object"):
        yield path, name
    for choice in choices if len(choices) == 1 and depth else ():
        for name, inner in choice.get("properties", {}).items():
            yield from _scalars(inner, root, (*path, name), depth - 1)


# Values


def _values(schema: Any, root: Schema, tree: Tree, depth: int) -> list[Any]:
    """Return values of `schema` that differ in the members of `tree`, the plainest first."""
    choices = _plain(schema, root)
    if not choices or depth < 0:
        raise _NotMade
    made: list[Any] = []
    for choice in choices:
        made += _choice_values(choice, root, tree, depth)
    return made[:MAX_VALUES]


def _choice_values(schema: Schema, root: Schema, tree: Tree, depth: int) -> list[Any]:
    enum = _enum(schema)
    if enum is not None:
        return list(enum)
    kind = schema.get("type")
    if kind == "object":
        return _objects(schema, root, tree, depth)
    if kind == "array":
        return _arrays(schema, root, depth)
    if kind == "string":
        return _texts(schema)
    if kind in ("number", "integer"):
        return _numbers(schema, kind)
    if kind == "boolean":
        return [True, False]
    if kind == "null":
        return [None]
    raise _NotMade


def _objects(schema: Schema, root: Schema, tree: Tree, depth: int) -> list[Any]:
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    more = schema.get("additionalProperties", True)
    if not tree:  # read whole, so every member counts
        tree = {name: {} for name in properties}
        if not properties:
            if required or not isinstance(more, Mapping):
                raise _NotMade
            return [{}, *({"key": value} for value in _values(more, root, {}, depth - 1))]
    options: dict[str, list[Any]] = {}
    for name in dict.fromkeys((*properties, *tree)):
        if name in properties:
            if name in tree:
                options[name] = _values(properties[name], root, tree[name], depth - 1)
                if name not in required:
                    options[name].append(_ABSENT)
            elif name in required:
                options[name] = [_any_value(properties[name], root, depth - 1)]
        elif more is False:
            continue
        elif isinstance(more, Mapping) and not properties:
            options[name] = _values(more, root, tree[name], depth - 1)
        else:
            raise _NotMade
    for name in required - options.keys():
        options[name] = ["a"]
    names = list(options)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not _ABSENT}
        for row in _combined(list(options.values()))
    ]


def _any_value(schema: Any, root: Schema, depth: int) -> Any:
    """Return one value for a member that nobody reads."""
    try:
        return _values(schema, root, {}, depth)[0]
    except (_NotMade, IndexError):
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        return {"object": {}, "array": []}.get(str(kind), "a")


def _combined(options: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield all combinations, or if they are too many: each value beside the plainest others, then in step."""
    if not all(options):
        return
    if _product([len(values) for values in options]) <= MAX_VALUES:
        yield from itertools.product(*options)
        return
    plainest = [values[0] for values in options]
    yield tuple(plainest)
    for place, values in enumerate(options):
        for value in values[1:]:
            yield (*plainest[:place], value, *plainest[place + 1 :])
    for turn in range(max(map(len, options))):
        yield tuple(values[(turn + place) % len(values)] for place, values in enumerate(options))


def _product(counts: Sequence[int]) -> int:
    total = 1
    for count in counts:
        total *= count
    return total


def _arrays(schema: Schema, root: Schema, depth: int) -> list[Any]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", _MANY)
    first = [_any_value(item, root, depth - 1) for item in schema.get("prefixItems", ())]
    items = schema.get("items", True)
    values = _values(items, root, {}, depth - 1) if items is not False else []
    lists = [[*first, value] for value in values]
    lists = [[*one, *itertools.islice(itertools.cycle(values), max(0, least - len(one)))] for one in lists]
    lists += [[*first, *values], first, []]
    return [one for place, one in enumerate(lists) if least <= len(one) <= most and one not in lists[:place]]


def _texts(schema: Schema) -> list[Any]:
    if schema.get(PII_MARK) is True:
        return [_TOKEN]
    if schema.get("format") in _FORMATS:
        return list(_FORMATS[schema["format"]])
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", _MANY), _MANY)
    if least > _MANY * _MANY:
        raise _NotMade
    texts = [text for text in ("a", "", "Ä 1", "a" * least, "x" * most) if least <= len(text) <= max(most, least)]
    if "pattern" in schema:
        texts = _valid(schema, [*texts, *_PROBES])[:4]
        if not texts:
            raise _NotMade
    return list(dict.fromkeys(texts))


def _numbers(schema: Schema, kind: str) -> list[Any]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), None
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf")
    candidates: list[float] = [1, 0, -1, 1_000_003, 0.5, -0.5]
    for bound in (low, high):
        if bound is not None:
            candidates += [bound, bound + 1, bound - 1, bound + 0.5, bound - 0.5]
    if low is not None and high is not None:
        candidates.append((low + high) / 2)
    if step is not None:
        candidates += [step, 2 * step, -step]
    integral = [int(number) if number == int(number) else number for number in candidates]
    typed = [number for number in integral if kind == "number" or isinstance(number, int)]
    return _valid(schema, list(dict.fromkeys(typed)))


def _valid(schema: Schema, values: Sequence[Any]) -> list[Any]:
    validator = jsonschema_rs.validator_for(json.dumps(schema))
    return [value for value in values if validator.is_valid(value)]
