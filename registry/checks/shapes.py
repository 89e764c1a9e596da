"""Shapes: what a JSON Schema says about the members that expressions read, and values made from it.

What counts as stated: a member that `properties` lists is there if `required` lists it, else it may be absent. One
that is not listed never comes where `additionalProperties` is false; in an open object it may be absent. A map
(`additionalProperties` with a schema, no `properties`) is taken to hold the member that is asked for, an object that
lists nothing is not judged. A skill's `returns` lists what is always there, unless it has its own `required`.

Values are made the same way each time: bounds, each member of an enum, both booleans, integral and fractional numbers,
empty and long texts and lists, absent optional members. Every value is held against the schema before it is used, so
that no expression is refused for a value that cannot come. Personal members (`x-pii`, or all of a topic whose tags say
so) are tokens, as they are when an expression sees them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import jsonschema_rs

from guard.canonical import canonical
from guard.redaction import PII_MARK, is_spelled_out
from registry.checks.samples import MAX_VALUES, Tree, product, values_of_schema
from registry.checks.schemas import DEPTH, NotTold, Root, Schema, enum_of, plain
from registry.documents import container_of
from registry.expressions import MemberPath

_TOKEN_NAME = {"pattern": "^pii:"}
_UNTRUE_OF_TOKENS = frozenset(
    ("format", "pattern", "minLength", "maxLength", "patternProperties", "propertyNames", "not", "if", "then", "else")
)
"""What a schema says of texts and names, and need not hold of their tokens."""

_ALTERNATIVES = frozenset(("anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas"))
_COMBINING = _ALTERNATIVES | {"allOf", "$ref"}


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
        try:
            return _member(self.schema, Root(self.schema), tuple(path))
        except NotTold:
            return Member("unknown")

    def scalars(self) -> Iterator[tuple[MemberPath, str]]:
        """Yield path and type of every member that has one type only and is no object."""
        with suppress(NotTold):
            yield from _scalars(self.schema, Root(self.schema), (), DEPTH)

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
                made = values_of_schema(self.schema, Root(self.schema), tree, DEPTH)
            except NotTold:
                self._values[key] = None
            else:
                valid = tuple(value for value in made if self._validator.is_valid(value))
                self._values[key] = valid or None
        return self._values[key]

    def is_finite(self, paths: Sequence[Sequence[str]]) -> bool:
        """Tell whether what can stand at `paths` are a few values: booleans, enums, null, absence."""
        counts = [self.member(path).count for path in paths]
        return all(counts) and product(counts) <= MAX_VALUES


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


def shape_of(schema: Any, *, is_personal: bool = False) -> Shape:
    """Return the shape of a JSON Schema as it stands in a registered event schema.

    Args:
        is_personal: whether its values are personal as a whole, as the redactor at the door takes it.
    """
    return _shape(canonical(schema), is_personal)


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
def _shape(text: str, is_personal: bool) -> Shape:
    schema = json.loads(text)
    try:
        jsonschema_rs.validator_for(text)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return Shape({})  # another check's fault, or another format's schema
    return Shape(_as_hidden(schema, is_sure=True, is_root=True) if is_personal else _as_seen(schema, is_personal=False))


def _as_hidden(schema: Any, *, is_sure: bool, is_root: bool = False) -> Any:
    """Return the schema of what is left of a value that is personal as a whole.

    A text is a token unless the schema spells it out; so is the name of a member that the schema does not name.

    Args:
        is_sure: whether the part holds for every value of its place: in an alternative nothing is spelled out.
    """
    if not isinstance(schema, Mapping):
        return schema
    mark = schema.get(PII_MARK)
    if mark is True and not is_root:
        return _as_seen(schema, is_personal=True)
    if is_sure and not is_root and (mark is False or is_spelled_out(schema)):
        return _as_seen(schema, is_personal=False)
    seen = {name: item for name, item in schema.items() if name not in _UNTRUE_OF_TOKENS}
    if "enum" in schema or "const" in schema:
        listed = schema.get("enum", [schema.get("const")])
        return {"anyOf": [{"type": "string", PII_MARK: True}, {"enum": [v for v in listed if not isinstance(v, str)]}]}
    if "string" in _types(schema):
        if len(_types(schema)) > 1:
            rest = _as_hidden({**schema, "type": sorted(_types(schema) - {"string"})}, is_sure=is_sure)
            return {"anyOf": [{"type": "string", PII_MARK: True}, rest]}
        seen[PII_MARK] = True
    for name in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(name), Mapping):
            sure = is_sure and (name == "properties" or not _alternatives_refer(schema))
            seen[name] = {key: _as_hidden(item, is_sure=sure) for key, item in schema[name].items()}
    for name in ("items", "additionalProperties"):
        if name in schema:
            seen[name] = _as_hidden(schema[name], is_sure=is_sure)
    for name in ("allOf", "anyOf", "oneOf", "prefixItems"):
        if isinstance(schema.get(name), list):
            sure = is_sure and name in ("allOf", "prefixItems")
            seen[name] = [_as_hidden(item, is_sure=sure) for item in schema[name]]
    if "object" in _types(schema) and not _COMBINING & schema.keys():
        seen["propertyNames"] = {"anyOf": [{"enum": list(schema.get("properties", ()))}, _TOKEN_NAME]}
    if "required" in schema:
        seen["required"] = [name for name in schema["required"] if name in schema.get("properties", ())]
    return seen


def _types(schema: Schema) -> set[str]:
    types = schema.get("type", ())
    return {types} if isinstance(types, str) else set(types)


def _alternatives_refer(schema: Any) -> bool:
    """Tell whether an alternative somewhere in a schema refers to another part of it."""
    if isinstance(schema, Mapping):
        within = [schema[name] for name in _ALTERNATIVES & schema.keys()]
        return any(map(_refers, within)) or any(map(_alternatives_refer, schema.values()))
    return isinstance(schema, list) and any(map(_alternatives_refer, schema))


def _as_seen(schema: Any, *, is_personal: bool) -> Any:
    """Return the schema of what is left after redaction: a personal scalar is a token."""
    if not isinstance(schema, Mapping):
        return schema
    is_personal = is_personal or schema.get(PII_MARK) is True
    inner = {name for name in ("properties", "items", "additionalProperties", "prefixItems") if name in schema}
    if is_personal and not inner and "$ref" not in schema:
        token = {"type": "string", PII_MARK: True}
        return {"anyOf": [token, {"type": "null"}]} if "null" in _types(schema) else token
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


def _member(schema: Any, root: Root, path: MemberPath) -> Member:
    choices = plain(schema, root)
    if not path:
        enums = [enum_of(choice) for choice in choices]
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


def _within(schema: Schema, root: Root, path: MemberPath) -> Member:
    name, *rest = path
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    if name in properties:
        inner = _member(properties[name], root, tuple(rest))
        is_there = inner.presence != "always" or name in schema.get("required", ())
        return inner if is_there else Member("maybe", inner.types, inner.enum, inner.known)
    if more is False or not _may_be_named(schema, name):
        return Member("never", known=tuple(properties))
    if not properties:
        return _member(more, root, tuple(rest)) if isinstance(more, Mapping) else Member("unknown")
    return Member("unlisted", known=tuple(properties))


def _may_be_named(schema: Schema, name: str) -> bool:
    names = schema.get("propertyNames", True)
    return names is True or bool(jsonschema_rs.is_valid(names, name))


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


def _scalars(schema: Any, root: Root, path: MemberPath, depth: int) -> Iterator[tuple[MemberPath, str]]:
    choices = plain(schema, root)
    types = {choice.get("type", "") for choice in choices}
    if path and len(types) == 1 and (name := types.pop()) not in ("", "object"):
        yield path, name
    for choice in choices if len(choices) == 1 and depth else ():
        for name, inner in choice.get("properties", {}).items():
            yield from _scalars(inner, root, (*path, name), depth - 1)
