"""Compatibility of Avro schemas: Avro's own labelled pairs, pairs by hand, and fastavro reading real bytes."""

import io
import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.compatibility import Kind, SchemaRefused, check, schema_change

LABELLED = Path(__file__).parents[3] / "shared/data/schemas/avro_compatibility.json"


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def member(name: str, of: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": of, **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def decimal(precision: int, scale: int, of: Any = "bytes") -> dict[str, Any]:
    said = {"logicalType": "decimal", "precision": precision, "scale": scale}
    return {**of, **said} if isinstance(of, dict) else {"type": of, **said}


def logical(of: str, name: str) -> dict[str, Any]:
    return {"type": of, "logicalType": name}


@pytest.mark.skipif(not LABELLED.exists(), reason=f"labelled pairs are not in this checkout: {LABELLED}")
def test_every_labelled_pair_agrees_with_its_reasons() -> None:
    """Readers are Avro's: what its own checker calls incompatible fails in production, for the reason it names."""
    pairs = json.loads(LABELLED.read_text())
    differing = []
    for pair in pairs:
        found = Counter(str(reason.kind).lower() for reason in check(pair["reader"], pair["writer"], format="avro"))
        if found != Counter(pair["incompatibilities"]) or bool(found) == pair["compatible"]:
            differing.append((pair["reader"], pair["writer"], found))
    assert len(pairs) >= 137
    assert not differing


LIST = record(member("value", "int"), member("next", ["null", "List"]), name="List")
LONG_LIST = record(member("value", "long"), member("next", ["null", "List"]), name="List")
TREE = record(member("children", {"type": "array", "items": "Tree"}), name="Tree")

COMPATIBLE: dict[str, tuple[Any, Any]] = {
    "int to long": ("long", "int"),
    "int to double": ("double", "int"),
    "float to double": ("double", "float"),
    "long to float": ("float", "long"),
    "text to bytes": ("bytes", "string"),
    "bytes to text": ("string", "bytes"),
    "a type in an object": ("string", {"type": "string"}),
    "a type in two objects": ({"type": {"type": "long"}}, "int"),
    "a type becomes optional": (["null", "string"], "string"),
    "branches in another order": (["string", "null"], ["null", "string"]),
    "a branch joins": (["null", "int", "string"], ["null", "int"]),
    "a branch is promoted": (["null", "double"], ["null", "int"]),
    "a union of one": ("long", ["int"]),
    "a field is dropped": (record(member("a", "int")), record(member("a", "int"), member("b", "int"))),
    "a field with a default joins": (
        record(member("a", "int"), member("b", "string", default="")),
        record(member("a", "int")),
    ),
    "a default of null": (record(member("a", ["null", "int"], default=None)), record()),
    "fields in another order": (
        record(member("b", "int"), member("a", "int")),
        record(member("a", "int"), member("b", "int")),
    ),
    "a field is renamed with an alias": (record(member("b", "int", aliases=["a"])), record(member("a", "int"))),
    "a record is renamed with an alias": (record(name="New", aliases=["R"]), record()),
    "an alias in the namespace of the type": (
        record(name="New", namespace="n", aliases=["R"]),
        record(namespace="n"),
    ),
    "a namespace changes": (record(namespace="n.m"), record(namespace="n")),
    "a documentation changes": (record(doc="new"), record(doc="old")),
    "a symbol joins": (enum("A", "B", "C"), enum("A", "B")),
    "a symbol leaves, with a default": (enum("A", default="A"), enum("A", "B")),
    "an enum is renamed with an alias": (enum("A", name="New", aliases=["E"]), enum("A")),
    "a fixed of the same size": (fixed(8), fixed(8)),
    "items are promoted": ({"type": "array", "items": "double"}, {"type": "array", "items": "int"}),
    "values become optional": ({"type": "map", "values": ["null", "int"]}, {"type": "map", "values": "int"}),
    "a recursive record": (LONG_LIST, LIST),
    "a recursive record through an array": (TREE, TREE),
    "a recursive record gets a field": (
        record(*TREE["fields"], member("label", "string", default=""), name="Tree"),
        TREE,
    ),
    "a decimal as it was": (decimal(9, 2), decimal(9, 2)),
    "a scale of zero is the default": (decimal(9, 0), {"type": "bytes", "logicalType": "decimal", "precision": 9}),
    "a logical type is added": (logical("string", "uuid"), "string"),
    "a logical type that is not known": (logical("int", "colour"), logical("int", "taste")),
    "a type is used by its name": (
        record(member("a", enum("A")), member("b", "E")),
        record(member("a", enum("A")), member("b", "E")),
    ),
    "a decimal that is none is bytes": (decimal(2, 5), decimal(2, 4)),
    "a moment is read as a plain number": ("long", logical("int", "date")),
    "an alias is met before a default": (record(member("c", "long", aliases=["b", "a"])), record(member("a", "int"))),
    "two fields read one": (
        record(member("x", "int", aliases=["a"]), member("y", "int", aliases=["a"])),
        record(member("a", "int")),
    ),
    "all branches promote": ("double", ["int", "long", "float"]),
    "a record in a union is met by alias": (
        ["null", record(member("a", "long"), name="New", aliases=["R"])],
        ["null", record(member("a", "int"))],
    ),
    "an enum in a union falls back to its default": (["null", enum("A", default="A")], ["null", enum("A", "B")]),
    "an error is a record": (record(member("a", "int")), {**record(member("a", "int")), "type": "error"}),
    "an empty union wrote nothing": (["int"], []),
    "an enum within a union": (["null", enum("A", "B")], ["null", enum("A")]),
}
INCOMPATIBLE: dict[str, tuple[Any, Any, list[tuple[Kind, str]]]] = {
    "long to int": ("int", "long", [(Kind.TYPE_MISMATCH, "")]),
    "double to float": ("float", "double", [(Kind.TYPE_MISMATCH, "")]),
    "int to text": ("string", "int", [(Kind.TYPE_MISMATCH, "")]),
    "bytes to fixed": (fixed(4), "bytes", [(Kind.TYPE_MISMATCH, "")]),
    "an enum is no text": ("string", enum("A"), [(Kind.TYPE_MISMATCH, "")]),
    "a map is no record": (record(), {"type": "map", "values": "int"}, [(Kind.TYPE_MISMATCH, "")]),
    "a type is no longer optional": ("string", ["null", "string"], [(Kind.TYPE_MISMATCH, "")]),
    "a branch leaves": (["null", "int"], ["null", "int", "string"], [(Kind.MISSING_UNION_BRANCH, "")]),
    "no branch takes it": (["null", "int"], "string", [(Kind.MISSING_UNION_BRANCH, "")]),
    "a branch narrows": (["null", "int"], ["null", "long"], [(Kind.MISSING_UNION_BRANCH, "")]),
    "a record of another name in a union": (
        ["null", record(name="A")],
        ["null", record(name="B")],
        [(Kind.MISSING_UNION_BRANCH, "")],
    ),
    "a field without a default joins": (
        record(member("a", "int"), member("b", "int")),
        record(member("a", "int")),
        [(Kind.READER_FIELD_MISSING_DEFAULT_VALUE, "/fields/1")],
    ),
    "a field is renamed without an alias": (
        record(member("b", "int")),
        record(member("a", "int")),
        [(Kind.READER_FIELD_MISSING_DEFAULT_VALUE, "/fields/0")],
    ),
    "a default does not help a field that was written": (
        record(member("a", "int", default=0)),
        record(member("a", "string")),
        [(Kind.TYPE_MISMATCH, "/fields/0/type")],
    ),
    "all reasons at once": (
        record(member("a", "int"), member("b", "int"), member("c", enum("A"))),
        record(member("a", "string"), member("c", enum("A", "B"))),
        [
            (Kind.TYPE_MISMATCH, "/fields/0/type"),
            (Kind.READER_FIELD_MISSING_DEFAULT_VALUE, "/fields/1"),
            (Kind.MISSING_ENUM_SYMBOLS, "/fields/2/type/symbols"),
        ],
    ),
    "a record is renamed": (record(name="New"), record(), [(Kind.NAME_MISMATCH, "/name")]),
    "an alias of the writer does not help": (
        record(),
        record(name="Old", aliases=["R"]),
        [(Kind.NAME_MISMATCH, "/name")],
    ),
    "a symbol leaves": (enum("A"), enum("A", "B"), [(Kind.MISSING_ENUM_SYMBOLS, "/symbols")]),
    "the writer's default does not help": (
        enum("A"),
        enum("A", "B", default="A"),
        [(Kind.MISSING_ENUM_SYMBOLS, "/symbols")],
    ),
    "an enum is renamed": (enum("A", name="New"), enum("A"), [(Kind.NAME_MISMATCH, "/name")]),
    "a fixed of another size": (fixed(8), fixed(4), [(Kind.FIXED_SIZE_MISMATCH, "/size")]),
    "items narrow": (
        {"type": "array", "items": "int"},
        {"type": "array", "items": "long"},
        [(Kind.TYPE_MISMATCH, "/items")],
    ),
    "values narrow": (
        {"type": "map", "values": "string"},
        {"type": "map", "values": ["null", "string"]},
        [(Kind.TYPE_MISMATCH, "/values")],
    ),
    "a recursive record narrows": (LIST, LONG_LIST, [(Kind.TYPE_MISMATCH, "/fields/0/type")]),
    "deep in nested records": (
        record(member("x", record(member("y", record(member("z", "int"), name="C")), name="B"))),
        record(member("x", record(member("y", record(member("z", "long"), name="C")), name="B"))),
        [(Kind.TYPE_MISMATCH, "/fields/0/type/fields/0/type/fields/0/type")],
    ),
    "a decimal of another scale": (decimal(9, 3), decimal(9, 2), [(Kind.LOGICAL_TYPE_MISMATCH, "/scale")]),
    "a decimal of another precision": (
        decimal(12, 2, fixed(8)),
        decimal(9, 2, fixed(8)),
        [(Kind.LOGICAL_TYPE_MISMATCH, "/precision")],
    ),
    "a decimal in other bytes": (decimal(9, 2, fixed(8)), decimal(9, 2), [(Kind.TYPE_MISMATCH, "")]),
    "another unit of time, promoted": (
        logical("long", "time-micros"),
        logical("int", "time-millis"),
        [(Kind.LOGICAL_TYPE_MISMATCH, "/logicalType")],
    ),
    "days as milliseconds": (
        logical("long", "timestamp-millis"),
        logical("int", "date"),
        [(Kind.LOGICAL_TYPE_MISMATCH, "/logicalType")],
    ),
    "a default of an enum that is none of its symbols": (
        enum("A", default="Z"),
        enum("A", "B"),
        [(Kind.MISSING_ENUM_SYMBOLS, "/symbols")],
    ),
    "an alias of another namespace": (
        record(name="n.New", aliases=["Old"]),
        record(name="o.Old"),
        [(Kind.NAME_MISMATCH, "/name")],
    ),
    "a null in a list": (
        {"type": "array", "items": "int"},
        {"type": "array", "items": ["null", "int"]},
        [(Kind.TYPE_MISMATCH, "/items")],
    ),
    "another unit of time": (
        logical("long", "timestamp-micros"),
        logical("long", "timestamp-millis"),
        [(Kind.LOGICAL_TYPE_MISMATCH, "/logicalType")],
    ),
}


@pytest.mark.parametrize(("new", "old"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_what_resolves_is_compatible(new: Any, old: Any) -> None:
    """A false alarm keeps a good change out."""
    assert [str(reason) for reason in check(new, old, format="avro")] == []


@pytest.mark.parametrize(("new", "old", "expected"), INCOMPATIBLE.values(), ids=INCOMPATIBLE)
def test_what_does_not_resolve_is_told_by_kind_and_place(new: Any, old: Any, expected: list[tuple[Kind, str]]) -> None:
    """An unreadable file is found by the consumer, long after it was written."""
    assert [(reason.kind, reason.path) for reason in check(new, old, format="avro")] == expected


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("text", ""),
        (record(member("a", "Absent")), "/fields/0/type"),
        ({"type": "array"}, ""),
        ({"type": "enum", "symbols": ["A"]}, ""),
        (record(member("a", enum("A")), member("b", enum("B"))), "/fields/1/type"),
        ({"type": "record", "name": "R", "fields": [{"name": "a"}]}, "/fields/0"),
    ],
)
def test_what_is_no_avro_is_refused_with_its_place(schema: Any, path: str) -> None:
    """A schema that no reader can take must not become a version."""
    with pytest.raises(SchemaRefused) as refused:
        check(schema, schema, format="avro")
    assert refused.value.path == path


def test_an_avro_change_is_named_by_comparing() -> None:
    """Only documentation is a patch; a default that comes or goes changes what readers get."""
    old = record(member("a", "int"))
    assert schema_change(old, record(member("a", "int"), doc="more"), "avro").change == "patch"
    assert schema_change(old, record(member("a", "int", default=0)), "avro").change == "minor"
    assert schema_change(old, record(member("a", "string")), "avro").change == "major"


class SmallAvro:
    """Draws Avro schemas, changes to them, and values of them, at random."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.count = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def schema(self, depth: int) -> Any:
        simple = ["null", "boolean", "int", "long", "float", "double", "string", "bytes"]
        kind = self.random.choice([*simple, "enum", "fixed", *(["record", "array", "map", "union"] if depth else [])])
        if kind == "enum":
            return enum(*self.random.sample("ABCD", self.random.randint(1, 3)), name=self.name("E"))
        if kind == "fixed":
            return fixed(self.random.randint(1, 3), name=self.name("F"))
        if kind == "record":
            names = self.random.sample("abc", self.random.randint(0, 3))
            return record(*(member(name, self.schema(depth - 1)) for name in names), name=self.name("R"))
        if kind == "array":
            return {"type": "array", "items": self.schema(depth - 1)}
        if kind == "map":
            return {"type": "map", "values": self.schema(depth - 1)}
        if kind == "union":
            return self.random.sample(simple, self.random.randint(1, 3))
        return kind

    def changed(self, schema: Any) -> Any:
        fate = self.random.random()
        if isinstance(schema, list):
            return self.random.sample(schema, self.random.randint(1, len(schema))) if fate < 0.3 else [*schema]
        if isinstance(schema, str):
            return self.random.choice(
                ["long", "double", "string", ["null", schema] if schema != "null" else schema, schema]
            )
        if schema["type"] == "record" and schema["fields"]:
            fields = [
                {**one, "type": self.changed(one["type"])} if self.random.random() < 0.4 else one
                for one in schema["fields"]
            ]
            if fate < 0.3:
                fields.append(member("new", "int", **({"default": 1} if fate < 0.2 else {})))
            elif fate < 0.5:
                fields.pop()
            elif fate < 0.6:
                fields[0] = {**fields[0], "name": "other", "aliases": [fields[0]["name"]] if fate < 0.56 else []}
            return {**schema, "fields": fields}
        if schema["type"] == "enum":
            symbols = self.random.sample("ABCD", self.random.randint(1, 4))
            return {**schema, "symbols": symbols, **({"default": symbols[0]} if fate < 0.3 else {})}
        if schema["type"] == "fixed":
            return {**schema, "size": self.random.randint(1, 3)}
        inner = "items" if schema["type"] == "array" else "values"
        return {**schema, inner: self.changed(schema[inner])} if inner in schema else schema

    def value(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return self.value(self.random.choice(schema))
        if isinstance(schema, str):
            return {
                "null": None,
                "boolean": True,
                "int": self.random.randint(-(2**31), 2**31 - 1),
                "long": self.random.choice([2**40, 5]),
                "float": 1.5,
                "double": math.pi,
                "string": "text",
                "bytes": b"bytes",
            }[schema]
        if schema["type"] == "record":
            return {one["name"]: self.value(one["type"]) for one in schema["fields"]}
        if schema["type"] == "enum":
            return self.random.choice(schema["symbols"])
        if schema["type"] == "fixed":
            return bytes(schema["size"])
        if schema["type"] == "array":
            return [self.value(schema["items"]) for _ in range(2)]
        return {"key": self.value(schema["values"])}


@settings(max_examples=400)
@given(st.integers(0, 2**32))
def test_compatible_means_that_the_new_schema_reads_what_the_old_wrote(seed: int) -> None:
    """fastavro reads real bytes: what the check calls compatible must not fail there."""
    small = SmallAvro(seed)
    old = record(member("payload", small.schema(2)))
    new = small.changed(old)
    if check(new, old, format="avro"):
        return
    writer, reader = fastavro.parse_schema(old), fastavro.parse_schema(new)
    for _ in range(5):
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, writer, small.value(old))
        stream.seek(0)
        fastavro.schemaless_reader(stream, writer, reader)


@settings(max_examples=400)
@given(st.integers(0, 2**32))
def test_avro_s_own_checker_says_the_same(seed: int) -> None:
    """The reference implementation decides what resolves; where we say otherwise, we are wrong."""
    compatibility = pytest.importorskip("avro.compatibility")
    schema = pytest.importorskip("avro.schema")
    small = SmallAvro(seed)
    old = record(member("payload", small.schema(2)))
    new = small.changed(old)
    reader, writer = (schema.parse(json.dumps(one)) for one in (new, old))
    peer = compatibility.ReaderWriterCompatibilityChecker().get_compatibility(reader, writer).compatibility
    agrees = peer is compatibility.SchemaCompatibilityType.compatible
    assert (not check(new, old, format="avro")) == agrees
