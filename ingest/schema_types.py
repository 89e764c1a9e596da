"""A schema as a type: a payload that decodes as it keeps the schema, and encodes to its canonical JSON.

Decoding checks as it goes, in C, where a validator walks the finished value. A type may be stricter than its schema,
since what does not decode is held against the schema itself, but never laxer: a word that is not known here makes a
schema one without a type.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from guard.redaction import PII_MARK

_DAY = (
    r"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))|[0-9]{2}(?:0[48]|[2468][048]|[13579][26])-02-29)"
)
"""Days of the calendar but 29 February of the years that end a century."""

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_FORMATS = {"date": rf"\A{_DAY}\Z", "date-time": rf"\A{_DAY}T{_CLOCK}(?:\.[0-9]{{1,9}})?Z\Z"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_ANNOTATIONS = frozenset({"$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated"})
_WORDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "format", "enum"}),
    "integer": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
}
_MOST = 10**15
"""Integers up to here have one form for every reader of JSON: their digits."""

_MOST_LENGTH = 2**31 - 1

Steps: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class SchemaType:
    """The type of a schema.

    Attributes:
        type: what `msgspec` decodes.
        marked: the attributes that lead to each text that is marked as personal; any on the way may be absent.
        is_closed: whether it says of every part what it is; else there are objects in it that hold what they may.
    """

    type: Any
    marked: tuple[Steps, ...]
    is_closed: bool

    def redact(self, payload: Any, token: Callable[[str], str]) -> None:
        """Replace what is personal in a payload of the type."""
        for steps in self.marked:
            owner = payload
            for step in steps[:-1]:
                owner = getattr(owner, step, None)
            text = getattr(owner, steps[-1], None)
            if type(text) is str:
                setattr(owner, steps[-1], token(text))


def schema_type(schema: Mapping[str, Any]) -> SchemaType | None:
    """Return the type of a schema of objects, None if it says what no type here does."""
    try:
        return _object(schema)
    except _NoType:
        return None


class _NoType(Exception):
    """A schema that says what no type here does."""


def _object(schema: Mapping[str, Any]) -> SchemaType:
    _know_words(schema, "object")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, Mapping) or not isinstance(required, list) or schema.get(PII_MARK):
        raise _NoType
    if schema.get("additionalProperties", True) not in (True, False) or set(required) - set(properties):
        raise _NoType
    if not properties and schema.get("additionalProperties") is not False:
        return SchemaType(dict[str, Any], (), is_closed=False)
    if not all(map(_NAME.fullmatch, properties)):
        raise _NoType
    fields: list[Any] = []
    marked: list[Steps] = []
    attributes = {name: f"m{number}" for number, name in enumerate(sorted(properties))}  # their order when canonical
    members = {name: _value(properties[name]) for name in attributes}
    for name, member in members.items():
        attribute = attributes[name]
        fields.append((attribute, member.type) if name in required else (attribute, member.type | UnsetType, UNSET))
        marked += [(attribute, *steps) for steps in member.marked]
    made = msgspec.defstruct(
        "Payload",
        fields,
        rename={attribute: name for name, attribute in attributes.items()},
        kw_only=True,  # so that optional ones may stand before required ones
        # A member more is nothing wrong to a schema that is open, but the type has no place for it.
        forbid_unknown_fields=True,
        gc=False,
    )
    return SchemaType(made, tuple(marked), all(member.is_closed for member in members.values()))


def _value(schema: Any) -> SchemaType:
    if not isinstance(schema, Mapping):
        raise _NoType
    stated = schema.get("type")
    kinds = [kind for kind in (stated if isinstance(stated, list) else [stated]) if kind != "null"]
    if len(kinds) != 1 or kinds[0] not in _WORDS:
        raise _NoType
    made = _KINDS[kinds[0]](schema)
    return replace(made, type=made.type | None) if isinstance(stated, list) and "null" in stated else made


def _string(schema: Mapping[str, Any]) -> SchemaType:
    _know_words(schema, "string")
    least, most = _bounds(schema, "minLength", "maxLength", 0, _MOST_LENGTH)
    made: Any
    if "enum" in schema:
        values = schema["enum"]
        if (
            not values
            or not all(isinstance(value, str) for value in values)
            or len(_said(schema)) > len(("type", "enum"))
        ):
            raise _NoType
        made = Literal[tuple(dict.fromkeys(values))]
    elif "format" in schema:
        if schema["format"] not in _FORMATS:
            raise _NoType
        made = Annotated[str, Meta(min_length=least, max_length=most, pattern=_FORMATS[schema["format"]])]
    else:
        made = Annotated[str, Meta(min_length=least, max_length=most)]
    return SchemaType(made, ((),) if schema.get(PII_MARK) else (), is_closed=True)


def _integer(schema: Mapping[str, Any]) -> SchemaType:
    _know_words(schema, "integer")
    least, most = _bounds(schema, "minimum", "maximum", -_MOST, _MOST)
    return _unmarked(schema, Annotated[int, Meta(ge=least, le=most)])


def _boolean(schema: Mapping[str, Any]) -> SchemaType:
    _know_words(schema, "boolean")
    return _unmarked(schema, bool)


def _array(schema: Mapping[str, Any]) -> SchemaType:
    _know_words(schema, "array")
    least, most = _bounds(schema, "minItems", "maxItems", 0, _MOST_LENGTH)
    item = _value(schema.get("items"))
    if item.marked:
        raise _NoType
    return _unmarked(schema, Annotated[list[item.type], Meta(min_length=least, max_length=most)], item.is_closed)  # type: ignore[name-defined]


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], SchemaType]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "array": _array,
    "object": _object,
}


def _unmarked(schema: Mapping[str, Any], made: Any, is_closed: bool = True) -> SchemaType:
    if schema.get(PII_MARK):
        raise _NoType  # what is no text becomes one, and what holds values loses them all
    return SchemaType(made, (), is_closed)


def _bounds(schema: Mapping[str, Any], lower: str, upper: str, least: int, most: int) -> tuple[int, int]:
    stated = schema.get(lower, least), schema.get(upper, most)
    if not all(type(bound) is int for bound in stated):
        raise _NoType
    return max(stated[0], least), min(stated[1], most)


def _know_words(schema: Mapping[str, Any], kind: str) -> None:
    if schema.get("type") not in (kind, [kind, "null"], ["null", kind]) or _said(schema) - {"type"} - _WORDS[kind]:
        raise _NoType


def _said(schema: Mapping[str, Any]) -> set[str]:
    return {word for word in schema if word not in _ANNOTATIONS and not word.startswith("x-")}
