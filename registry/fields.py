"""What a member of a document may hold: each rule as the check that is made and as the JSON Schema that says it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lake.spec import TableSpec

INT_MAX = 2**31 - 1
"""What an INT column holds."""

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


@dataclass(frozen=True, eq=False)
class Rule:
    """A check, with the JSON Schema of what it lets pass.

    Attributes:
        check: returns the value, or raises `ValueError`.
        schema: keywords that JSON Schema adds, or what makes the schema of the type into that of the rule.
        comes_first: whether the check sees the parsed JSON before its type is looked at.
    """

    check: Callable[[Any], Any]
    schema: Mapping[str, Any] | Callable[[dict[str, Any]], dict[str, Any]] = field(default_factory=dict)
    comes_first: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if self.comes_first:
            return core_schema.no_info_before_validator_function(self.check, handler(source))
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        stated = handler(core)
        return self.schema(stated) if callable(self.schema) else {**stated, **self.schema}


def of(spec: TableSpec, name: str) -> Rule:
    """Hold a member to the enum and length of its column."""
    column = spec.column(name)

    def check(value: str) -> str:
        if column.enum and value not in column.enum:
            raise ValueError(f"must be one of {', '.join(column.enum)}")
        if column.length and len(value) > column.length:
            raise ValueError(f"must have at most {column.length} characters")
        return value

    if column.enum:
        return Rule(check, {"enum": list(column.enum)})
    return Rule(check, {"maxLength": column.length} if column.length else {})


def default(spec: TableSpec, name: str) -> Any:
    """Return what an absent member stands for, as its column states it."""
    return spec.column(name).default


def matching(pattern: re.Pattern[str], what: str) -> Rule:
    """Hold a text to a pattern."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"must be {what}")
        return value

    return Rule(check, {"pattern": anchored(pattern)})


def anchored(pattern: re.Pattern[str]) -> str:
    """Return `pattern` as JSON Schema writes it: ECMA 262, unanchored, its digits no others than 0 to 9."""
    return f"^(?:{pattern.pattern})$".replace(r"\d", "[0-9]")


def _integral(value: Any) -> Any:
    """JSON has one kind of number: 2 and 2.0 are the same to a hash and to JSON Schema, and so to us."""
    if isinstance(value, Decimal) and value.adjusted() < 32 and value == value.to_integral_value():
        return int(value)
    return value


def _moment(value: Any) -> datetime:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("must be a text with a zone such as 2026-01-31T00:00:00Z (RFC 3339)")
    moment = datetime.fromisoformat(value)
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from None
    return moment


Id = Annotated[str, Field(max_length=64), matching(_IDENTIFIER, "an id of letters, digits and . _ / : -")]
Version = Annotated[str, Field(max_length=24), matching(_SEMVER, "a semantic version such as 1.0.0")]
INTEGRAL = Rule(_integral, comes_first=True)
"""Stands after the bounds of an `int`."""
Json = Mapping[str, Any]
Many = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""JSON arrays become tuples: a document is frozen."""
Texts = Annotated[tuple[str, ...], Many]
Moment = Annotated[
    datetime, Rule(_moment, {"pattern": anchored(_MOMENT), "description": "RFC 3339, with a zone"}, comes_first=True)
]
Share = Annotated[
    Decimal | int,
    Field(ge=0, le=1),
    Rule(lambda value: value, lambda _: {"type": "number", "minimum": 0, "maximum": 1}),
]
"""A number in 0..1 with every digit."""
