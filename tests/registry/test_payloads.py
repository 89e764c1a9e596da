"""Avro schemas told as JSON Schema: what is valid is what Avro could have written, as fastavro judges it."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from fastavro.validation import validate

from ingest.envelopes import values
from registry.compatibility import SchemaRefused
from registry.payloads import payload_schema

PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
ABSENT = object()
STRANGE: list[Any] = [
    None,
    True,
    0,
    2**31,
    -(2**31) - 1,
    2**63,
    1.5,
    "no!",
    [],
    {},
    ["no!"],
    {"k": 1},
    {"k": "no!"},
    ABSENT,
]
"""Values that are of one Avro type only when they are told in JSON; text that is neither base64 nor a symbol."""


class Schemas:
    """Draws Avro schemas with a value of each."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.names: dict[str, Any] = {}
        self.open: list[str] = []

    def record(self, depth: int) -> dict[str, Any]:
        name = f"R{len(self.names)}"
        made: dict[str, Any] = {"type": "record", "name": name, "fields": []}
        self.names[name] = made
        self.open.append(name)
        for number in range(self.random.randint(1, 4)):
            field: dict[str, Any] = {"name": f"f{number}", "type": self.type(depth - 1)}
            if field["type"] in ("int", "string", "null") and self.random.random() < 0.4:
                field["default"] = {"int": 1, "string": "s", "null": None}[field["type"]]
            made["fields"].append(field)
        self.open.pop()
        return made

    def type(self, depth: int) -> Any:
        kinds = ["primitive"] * 4 + (
            ["array", "map", "record", "union", "union", "enum", "fixed", "named"] if depth else []
        )
        match self.random.choice(kinds):
            case "array":
                return {"type": "array", "items": self.type(depth - 1)}
            case "map":
                return {"type": "map", "values": self.type(depth - 1)}
            case "record":
                return self.record(depth)
            case "union":
                return self.union(depth)
            case "enum":
                name = f"E{len(self.names)}"
                self.names[name] = {"type": "enum", "name": name, "symbols": ["A", "B"]}
                return self.names[name]
            case "fixed":
                name = f"F{len(self.names)}"
                self.names[name] = {"type": "fixed", "name": name, "size": self.random.randint(1, 5)}
                return self.names[name]
            case "named" if closed := [name for name in self.names if name not in self.open]:
                return self.random.choice(closed)
            case "named" if self.open:
                return ["null", self.random.choice(self.open)]
        return self.random.choice(PRIMITIVES)

    def union(self, depth: int) -> list[Any]:
        branches = self.random.sample(PRIMITIVES, self.random.randint(1, 3))
        if self.random.random() < 0.5:
            branches.append(self.record(depth - 1) if depth > 1 else {"type": "array", "items": "int"})
        return branches

    def value(self, schema: Any, depth: int = 4) -> Any:
        """Return a value of a schema, plain where it could go on for ever."""
        if isinstance(schema, list):
            return self.value("null" if depth < 0 and "null" in schema else self.random.choice(schema), depth - 1)
        form = schema if isinstance(schema, str) else schema["type"]
        if form in self.names:
            return self.value(self.names[form], depth - 1)
        match form:
            case "null":
                return None
            case "boolean":
                return self.random.random() < 0.5
            case "int":
                return self.random.choice([0, 2**31 - 1, -(2**31)])
            case "long":
                return self.random.choice([0, 2**63 - 1, -(2**63)])
            case "float" | "double":
                return self.random.choice([0.5, 3, -1e10])
            case "bytes":
                return self.random.randbytes(self.random.randint(0, 5))
            case "string":
                return self.random.choice(["", "text!", "é🙂"])
            case "fixed":
                return self.random.randbytes(schema["size"])
            case "enum":
                return self.random.choice(schema["symbols"])
            case "array":
                return [
                    self.value(schema["items"], depth - 1) for _ in range(self.random.randint(0, 2) if depth > 0 else 0)
                ]
            case "map":
                return {"k": self.value(schema["values"], depth - 1)} if depth > 0 else {}
        return {
            field["name"]: self.value(field["type"], depth - 1)
            for field in schema["fields"]
            if "default" not in field or self.random.random() < 0.7
        }

    def spoilt(self, value: Any) -> Any:
        """Return a value with a strange one somewhere in it."""
        if isinstance(value, dict) and value and self.random.random() < 0.8:
            name = self.random.choice(list(value))
            inner = self.spoilt(value[name])
            return {
                key: inner if key == name else item for key, item in value.items() if key != name or inner is not ABSENT
            }
        if isinstance(value, list) and value and self.random.random() < 0.8:
            place = self.random.randrange(len(value))
            inner = self.spoilt(value[place])
            return [
                inner if index == place else item
                for index, item in enumerate(value)
                if index != place or inner is not ABSENT
            ]
        return self.random.choice(STRANGE)


def told(value: Any) -> Any:
    """Return a value as the door is told it, with its nulls."""
    if isinstance(value, dict):
        return {name: told(item) for name, item in value.items()}
    if isinstance(value, list):
        return [told(item) for item in value]
    return values._json(value)


def is_avro(value: Any, schema: Any) -> bool:
    try:
        return bool(validate(value, schema, raise_errors=False, disable_tuple_notation=True))
    except (ValueError, TypeError, AttributeError):
        return False


@pytest.mark.parametrize("seed", range(150))
def test_a_document_is_valid_where_fastavro_says_so(seed: int) -> None:
    """A door that is wider than Avro lets in what no reader takes; a narrower one refuses what was written rightly."""
    draw = Schemas(seed)
    schema = draw.record(3)
    translated = payload_schema(schema, "avro")
    validator = jsonschema_rs.validator_for(translated, validate_formats=True)
    # fastavro passes over members that a record does not name; here they are told of, as another test shows.
    opened = json.dumps(translated).replace('"additionalProperties": false', '"additionalProperties": true')
    open_validator = jsonschema_rs.validator_for(opened)
    seen = set()
    for _ in range(40):
        value = draw.value(schema)
        assert is_avro(value, schema)
        assert validator.is_valid(told(value)), (schema, value)
        if isinstance(other := draw.spoilt(value), dict):
            expected = is_avro(other, schema)
            seen.add(expected)
            assert open_validator.is_valid(told(other)) == expected, (schema, other)
    assert seen


LOGICAL: list[tuple[Any, list[Any], list[Any]]] = [
    ({"type": "int", "logicalType": "date"}, [date(2025, 2, 28), date.max], [datetime(2025, 2, 28, tzinfo=UTC), "x"]),
    (
        {"type": "long", "logicalType": "timestamp-millis"},
        [datetime(2025, 2, 28, 1, tzinfo=UTC)],
        [date(2025, 2, 28), "x"],
    ),
    ({"type": "long", "logicalType": "timestamp-micros"}, [datetime(2025, 2, 28, 1, 2, 3, 4, UTC)], [time(1), True]),
    ({"type": "long", "logicalType": "local-timestamp-micros"}, [datetime(2025, 2, 28, 1, 2, 3, 4)], [time(1), "x"]),
    ({"type": "int", "logicalType": "time-millis"}, [time(23, 59, 59, 999000)], [date(2025, 2, 28), "x"]),
    ({"type": "long", "logicalType": "time-micros"}, [time(0), time(1, 2, 3, 4)], [datetime(2025, 2, 28, tzinfo=UTC)]),
    ({"type": "string", "logicalType": "uuid"}, [UUID(int=5)], [5, b"5"]),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
        [Decimal("99.99"), Decimal("-0.01"), Decimal("5")],
        [Decimal("100.00"), Decimal("0.001"), "5", True],
    ),
    (
        {"type": "fixed", "size": 9, "name": "F", "logicalType": "decimal", "precision": 20, "scale": 2},
        [Decimal("999999999999999999.99"), Decimal("-999999999999999999.99")],
        [Decimal("1000000000000000000.00"), Decimal("0.001")],
    ),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 3},
        [Decimal(999), Decimal(-999)],
        [Decimal(1000), Decimal("0.5")],
    ),
    # What a reader does not know is read as the type beneath.
    ({"type": "long", "logicalType": "timestamp-nanos"}, [5], ["x"]),
    ({"type": "fixed", "size": 12, "name": "D", "logicalType": "duration"}, [b"x" * 12], [b"x" * 11, b"x" * 13]),
    ({"type": "string", "logicalType": "date"}, ["x"], [5]),
]


@pytest.mark.parametrize(
    ("schema", "sound", "unsound"), LOGICAL, ids=lambda value: value["logicalType"] if isinstance(value, dict) else ""
)
@pytest.mark.parametrize("is_nullable", [False, True])
def test_a_logical_type_is_told_in_its_own_form(
    schema: Any, sound: list[Any], unsound: list[Any], is_nullable: bool
) -> None:
    """A moment as a number of unknown unit, or an amount of three decimals, is another value to its reader."""
    record = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "x", "type": ["null", schema] if is_nullable else schema}],
    }
    validator = jsonschema_rs.validator_for(payload_schema(record, "avro"), validate_formats=True)
    for value in sound:
        assert is_avro({"x": value}, record), value
        assert validator.is_valid(told({"x": value})), value
    for value in unsound:
        assert not is_avro({"x": value}, record) or isinstance(value, datetime | date), value
        assert not validator.is_valid(told({"x": value})), value
    assert validator.is_valid({"x": None}) == is_nullable == validator.is_valid({})


def test_an_amount_keeps_more_digits_than_a_double() -> None:
    """The largest amount of 38 digits rounds to the bound itself."""
    schema = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}
    record = {"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]}
    validator = jsonschema_rs.validator_for(payload_schema(record, "avro"))
    assert validator.is_valid({"x": Decimal("9" * 36 + ".99")})
    assert not validator.is_valid({"x": Decimal("1" + "0" * 37)})


def test_an_avro_record_is_closed() -> None:
    """Avro has no place for a member that the schema does not name: it would be lost at the next writer."""
    record = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int", "default": 1, "aliases": ["y"]}]}
    validator = jsonschema_rs.validator_for(payload_schema(record, "avro"))
    assert [validator.is_valid(value) for value in ({}, {"x": 2}, {"y": 2}, {"x": 2, "z": 3})] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("string", ""),
        (["null", {"type": "record", "name": "R", "fields": []}], ""),
        ({"type": "map", "values": "int"}, ""),
        ({"type": "record", "name": "R", "fields": [{"name": "x", "type": "S"}]}, "/fields/0/type"),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "x", "type": {"type": "enum", "name": "E", "symbols": [1]}}],
            },
            "/fields/0/type/symbols",
        ),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "x", "type": {"type": "fixed", "name": "F", "size": -1}}],
            },
            "/fields/0/type/size",
        ),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [
                    {"name": "x", "type": {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}}
                ],
            },
            "/fields/0/type",
        ),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_no_payload_could_be_valid_under_is_refused(schema: Any, path: str) -> None:
    """Otherwise every record of the topic is a dead letter, and nobody knows why."""
    with pytest.raises(SchemaRefused) as refused:
        payload_schema(schema, "avro")
    assert refused.value.path == path


def test_the_same_name_in_two_namespaces_is_two_types() -> None:
    """A name stands for the type of the namespace it is used in."""
    inner = {"type": "record", "name": "b.T", "fields": [{"name": "y", "type": "string"}]}
    record = {
        "type": "record",
        "name": "a.R",
        "fields": [
            {"name": "one", "type": {"type": "fixed", "name": "T", "size": 3}},
            {"name": "two", "type": inner},
            {"name": "three", "type": "T"},
            {"name": "four", "type": "b.T"},
        ],
    }
    value = {"one": b"abc", "two": {"y": "s"}, "three": b"abc", "four": {"y": "s"}}
    assert is_avro(value, record)
    validator = jsonschema_rs.validator_for(payload_schema(record, "avro"))
    assert validator.is_valid(told(value))
    assert not validator.is_valid(told({**value, "three": {"y": "s"}}))
