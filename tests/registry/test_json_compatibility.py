"""Compatibility of JSON Schemas: against labelled pairs of another registry, by hand, and against brute force."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.compatibility import Kind, Mode, SchemaRefused, check, check_versions, schema_change
from tests.small_schemas import DOCUMENTS, SmallSchemas

LABELLED = Path(__file__).parents[3] / "shared/data/schemas/json_schema_compatibility.json"

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
INTEGER, NUMBER, STRING, NULL = ({"type": name} for name in ("integer", "number", "string", "null"))


def closed(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return opened(required, **properties) | {"additionalProperties": False}


def opened(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def listed(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def positions(*items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "prefixItems": list(items), **more}


def kinds(new: Any, old: Any, **options: Any) -> set[str]:
    return {str(reason.kind) for reason in check(new, old, format="json", **options)}


@pytest.mark.skipif(not LABELLED.exists(), reason=f"labelled pairs are not in this checkout: {LABELLED}")
def test_every_labelled_pair_agrees() -> None:
    """Whoever comes from Karapace or Confluent would get other verdicts for the schemas they have."""
    pairs = json.loads(LABELLED.read_text())
    differing = [
        (pair["reader_name"], pair["writer_name"], pair["why"])
        for pair in pairs
        if (not check(pair["reader"], pair["writer"], format="json")) != pair["compatible"]
    ]
    assert len(pairs) >= 153
    assert not differing


NODE = {
    "type": "object",
    "properties": {"value": INTEGER, "next": {"$ref": "#/$defs/node"}},
    "additionalProperties": False,
}
WIDER_NODE = {**NODE, "properties": {"value": NUMBER, "next": {"anyOf": [NULL, {"$ref": "#/$defs/node"}]}}}


def linked(node: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def by_kind(value: str, **properties: Any) -> dict[str, Any]:
    return closed(["kind"], kind={"const": value}, **properties)


COMPATIBLE: dict[str, tuple[Any, Any]] = {
    "an integer is a number": (NUMBER, INTEGER),
    "a type joins a list": ({"type": ["string", "null"]}, STRING),
    "a list of types in another order": ({"type": ["null", "string"]}, {"type": ["string", "null"]}),
    "a constant joins others": ({"enum": ["a", "b"]}, {"const": "a"}),
    "an enum is lifted": (STRING, {"type": "string", "enum": ["a"]}),
    "1 and 1.0 are one constant": ({"enum": [1]}, {"const": 1.0}),
    "a limit is lifted": (NUMBER, {"type": "number", "multipleOf": 5}),
    "a multiple of a multiple": ({"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 6}),
    "an exclusive limit keeps an inclusive one": (
        {"type": "integer", "minimum": 1},
        {"type": "integer", "exclusiveMinimum": 0},
    ),
    "draft 4 writes an exclusive limit as a flag": (
        {"type": "number", "exclusiveMinimum": 0},
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "type": "number",
            "minimum": 0,
            "exclusiveMinimum": True,
        },
    ),
    "a length is widened": ({"type": "string", "maxLength": 9}, {"type": "string", "minLength": 2, "maxLength": 8}),
    "an annotation changes": ({"type": "string", "title": "A"}, {"type": "string", "description": "B"}),
    "an optional property joins a closed object": (closed(a=INTEGER, b=STRING), closed(a=INTEGER)),
    "a required property becomes optional": (closed(a=INTEGER), closed(["a"], a=INTEGER)),
    "a property of an open object is dropped": (opened(a=INTEGER), opened(a=INTEGER, b=STRING)),
    "a property falls to additional ones that cover it": (
        {"type": "object", "additionalProperties": NUMBER},
        {"type": "object", "properties": {"a": INTEGER}, "additionalProperties": False},
    ),
    "a property falls to a pattern that covers it": (
        {"type": "object", "patternProperties": {"^a": NUMBER}, "additionalProperties": False},
        closed(ab=INTEGER),
    ),
    "a property that additional ones covered is named": (
        {"type": "object", "properties": {"a": NUMBER}, "additionalProperties": NUMBER},
        {"type": "object", "additionalProperties": INTEGER},
    ),
    "a closed object is opened": (opened(a=INTEGER), closed(a=INTEGER)),
    "fewer properties may be left": (
        {"type": "object", "minProperties": 1},
        {"type": "object", "required": ["a", "b"]},
    ),
    "a dependency follows from what is required": (
        {"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}},
        {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]},
    ),
    "dependencies of draft 7 are those of 2020-12": (
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "dependencies": {"a": ["b"]}},
    ),
    "names that were all allowed": (
        {"type": "object", "propertyNames": {"maxLength": 3}},
        {"type": "object", "propertyNames": {"enum": ["a", "ab"]}},
    ),
    "a tuple of draft 7 is one of 2020-12": (
        positions(INTEGER, items=STRING),
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "array",
            "items": [INTEGER],
            "additionalItems": STRING,
        },
    ),
    "items are widened": (listed(NUMBER), listed(INTEGER)),
    "items need no longer differ": (listed(INTEGER), listed(INTEGER, uniqueItems=True)),
    "few items always differ": (
        listed(INTEGER, maxItems=1, uniqueItems=True),
        listed(INTEGER, maxItems=1),
    ),
    "a position beyond an open tuple": (positions(INTEGER), positions(INTEGER, STRING)),
    "what is contained is widened": (
        {"type": "array", "contains": NUMBER},
        {"type": "array", "contains": INTEGER, "minContains": 2},
    ),
    "an alternative joins": ({"anyOf": [STRING, INTEGER, NULL]}, {"anyOf": [INTEGER, STRING]}),
    "alternatives in another order": ({"oneOf": [INTEGER, STRING]}, {"oneOf": [STRING, INTEGER]}),
    "oneOf becomes anyOf": ({"anyOf": [INTEGER, STRING]}, {"oneOf": [INTEGER, STRING]}),
    "a union of one is its member": ({"allOf": [{"anyOf": [STRING]}]}, STRING),
    "a plain schema becomes one of two": ({"oneOf": [STRING, NULL]}, STRING),
    "types become alternatives": ({"anyOf": [STRING, NULL]}, {"type": ["string", "null"]}),
    "a kind of object joins": (
        {"oneOf": [by_kind("a"), by_kind("b", x=STRING), by_kind("c")]},
        {"oneOf": [by_kind("b", x=STRING), by_kind("a")]},
    ),
    "allOf says what stood side by side": (
        {"allOf": [STRING, {"minLength": 2}]},
        {"type": "string", "minLength": 3},
    ),
    "less is excluded": ({"not": INTEGER}, {"not": NUMBER}),
    "a condition is met already": (
        {"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"type": "object", "required": ["b"]},
    ),
    "a definition is renamed": (
        {"$ref": "#/$defs/x", "$defs": {"x": STRING}},
        {"$ref": "#/definitions/y", "definitions": {"y": STRING}},
    ),
    "a recursive type is widened": (linked(WIDER_NODE), linked(NODE)),
    "an anchor is a name": ({"$ref": "#it", "$defs": {"x": {"$anchor": "it", "type": "number"}}}, NUMBER),
    "false follows false": (False, False),
    "a property joins an object that closes what is unevaluated": (
        {"allOf": [opened(a=NUMBER)], "properties": {"b": STRING, "c": STRING}, "unevaluatedProperties": False},
        {"allOf": [opened(a=INTEGER)], "properties": {"b": STRING}, "unevaluatedProperties": False},
    ),
    "a property that the unevaluated ones covered is named": (
        {**opened(a=INTEGER, b=NUMBER), "unevaluatedProperties": NUMBER},
        {**opened(a=INTEGER), "unevaluatedProperties": NUMBER},
    ),
    "a condition that demands less": (
        {"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b", "c"]}},
    ),
    "nothing need be contained": (listed(INTEGER, contains={"minimum": 5}, minContains=0), listed(INTEGER)),
    "a dependency of what is never there": (
        closed(b=INTEGER) | {"dependentRequired": {"a": ["b"]}},
        closed(b=INTEGER),
    ),
    "a reference of draft 7 hides what stands beside it": (
        {"$schema": DRAFT_7, "definitions": {"x": INTEGER}, "$ref": "#/definitions/x", "minimum": 5},
        INTEGER,
    ),
    "a recursion by the anchor that is met last": (
        {"$dynamicRef": "#t", "$defs": {"x": {"$dynamicAnchor": "t", "type": "number"}}},
        NUMBER,
    ),
    "what is required in one of more ways": (
        {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"type": "object", "required": ["a"]},
    ),
    "no value of before can be lost": ({"not": True}, {"not": {}}),
}
INCOMPATIBLE: dict[str, tuple[Any, Any, set[Kind]]] = {
    "another type": (STRING, INTEGER, {Kind.TYPE_CHANGED}),
    "a number is no integer": (INTEGER, NUMBER, {Kind.TYPE_NARROWED}),
    "a type leaves a list": (STRING, {"type": ["string", "null"]}, {Kind.TYPE_NARROWED}),
    "a type is stated": (STRING, {}, {Kind.TYPE_NARROWED}),
    "any is another shape than a string": ({}, STRING, {Kind.TYPE_CHANGED}),
    "no value is left": (False, STRING, {Kind.TYPE_CHANGED}),
    "an enum is added": ({"type": "string", "enum": ["a"]}, STRING, {Kind.ENUM_ARRAY_ADDED}),
    "a constant changes": ({"const": "b"}, {"const": "a"}, {Kind.ENUM_ARRAY_NARROWED}),
    "true is not 1": ({"enum": [True]}, {"enum": [1]}, {Kind.ENUM_ARRAY_NARROWED}),
    "a format is added": ({"type": "string", "format": "date"}, STRING, {Kind.FORMAT_ADDED}),
    "a format changes": (
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {Kind.FORMAT_CHANGED},
    ),
    "a pattern is added": ({"type": "string", "pattern": "^a"}, STRING, {Kind.PATTERN_ADDED}),
    "a pattern changes": (
        {"type": "string", "pattern": "^a"},
        {"type": "string", "pattern": "a"},
        {Kind.PATTERN_CHANGED},
    ),
    "a longer text was allowed": (
        {"type": "string", "maxLength": 2},
        {"type": "string", "maxLength": 3},
        {Kind.MAX_LENGTH_DECREASED},
    ),
    "two limits at once": (
        {"type": "string", "minLength": 2, "maxLength": 5},
        {"type": "string", "minLength": 1},
        {Kind.MIN_LENGTH_INCREASED, Kind.MAX_LENGTH_ADDED},
    ),
    "an inclusive limit becomes exclusive": (
        {"type": "number", "exclusiveMaximum": 5},
        {"type": "number", "maximum": 5},
        {Kind.MAXIMUM_EXCLUSIVE_ADDED},
    ),
    "multiples of another number": (
        {"type": "integer", "multipleOf": 4},
        {"type": "integer", "multipleOf": 6},
        {Kind.MULTIPLE_CHANGED},
    ),
    "multiples are demanded": ({"type": "number", "multipleOf": 0.5}, NUMBER, {Kind.MULTIPLE_ADDED}),
    "a property is required": (closed(["a"], a=INTEGER), closed(a=INTEGER), {Kind.REQUIRED_PROPERTY_ADDED}),
    "a new property is required": (
        closed(["b"], a=INTEGER, b=STRING),
        closed(a=INTEGER),
        {Kind.REQUIRED_PROPERTY_ADDED},
    ),
    "a property of another type": (opened(a=STRING), opened(a=INTEGER), {Kind.TYPE_CHANGED}),
    "a property joins an open object": (
        opened(a=INTEGER, b=STRING),
        opened(a=INTEGER),
        {Kind.PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL},
    ),
    "even one that may hold anything": (
        opened(a=INTEGER, b={}),
        opened(a=INTEGER),
        {Kind.PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL},
    ),
    "a property that additional ones did not cover": (
        {"type": "object", "properties": {"a": STRING}, "additionalProperties": NUMBER},
        {"type": "object", "additionalProperties": NUMBER},
        {Kind.PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL, Kind.TYPE_CHANGED},
    ),
    "a property leaves a closed object": (
        closed(a=INTEGER),
        closed(a=INTEGER, b=STRING),
        {Kind.PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL},
    ),
    "a property leaves for additional ones that do not cover it": (
        {"type": "object", "additionalProperties": STRING},
        closed(a=INTEGER),
        {Kind.PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL, Kind.TYPE_CHANGED},
    ),
    "an open object is closed": (closed(a=INTEGER), opened(a=INTEGER), {Kind.ADDITIONAL_PROPERTIES_REMOVED}),
    "additional properties narrow": (
        {"type": "object", "additionalProperties": INTEGER},
        {"type": "object", "additionalProperties": NUMBER},
        {Kind.ADDITIONAL_PROPERTIES_NARROWED, Kind.TYPE_NARROWED},
    ),
    "a pattern of names narrows": (
        {"type": "object", "patternProperties": {"^a": INTEGER}},
        {"type": "object", "patternProperties": {"^a": NUMBER}},
        {Kind.PATTERN_PROPERTY_NARROWED, Kind.TYPE_NARROWED},
    ),
    "a pattern of names is added": (
        {"type": "object", "patternProperties": {"^a": INTEGER}},
        {"type": "object"},
        {Kind.PATTERN_PROPERTY_NARROWED, Kind.TYPE_NARROWED},
    ),
    "names are limited": (
        {"type": "object", "propertyNames": {"pattern": "^a"}},
        {"type": "object"},
        {Kind.PROPERTY_NAMES_NARROWED},
    ),
    "fewer properties are allowed": (
        {"type": "object", "maxProperties": 2},
        {"type": "object", "maxProperties": 3},
        {Kind.MAX_PROPERTIES_DECREASED},
    ),
    "a dependency is added": (
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        {"type": "object"},
        {Kind.DEPENDENCY_ARRAY_ADDED},
    ),
    "a dependency demands more": (
        {"type": "object", "dependentRequired": {"a": ["b", "c"]}},
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        {Kind.DEPENDENCY_ARRAY_EXTENDED},
    ),
    "a conditional schema is added": (
        {"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}},
        {"type": "object"},
        {Kind.DEPENDENCY_SCHEMA_ADDED},
    ),
    "a conditional schema changes": (
        {"type": "object", "dependentSchemas": {"a": {"required": ["b", "c"]}}},
        {"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}},
        {Kind.DEPENDENCY_SCHEMA_CHANGED},
    ),
    "items narrow": (listed(INTEGER), listed(NUMBER), {Kind.TYPE_NARROWED}),
    "items get a schema": (listed(INTEGER), {"type": "array"}, {Kind.TYPE_NARROWED}),
    "items lose their schema": ({"type": "array"}, listed(INTEGER), {Kind.ITEMS_DROPPED}),
    "a tuple becomes a list": (listed(INTEGER), positions(INTEGER, items=False), {Kind.ARRAY_FORM_CHANGED}),
    "a tuple is closed": (
        positions(INTEGER, items=False),
        positions(INTEGER),
        {Kind.ADDITIONAL_ITEMS_REMOVED},
    ),
    "a tuple grows": (positions(INTEGER, STRING), positions(INTEGER), {Kind.ITEM_ADDED, Kind.TYPE_NARROWED}),
    "a position leaves a closed tuple": (
        positions(INTEGER, items=False),
        positions(INTEGER, STRING, items=False),
        {Kind.ITEM_REMOVED, Kind.TYPE_CHANGED},
    ),
    "a position changes": (positions(STRING), positions(INTEGER), {Kind.TYPE_CHANGED}),
    "fewer items are allowed": (
        {"type": "array", "maxItems": 2},
        {"type": "array", "maxItems": 3},
        {Kind.MAX_ITEMS_DECREASED},
    ),
    "items must differ": (listed(INTEGER, uniqueItems=True), listed(INTEGER), {Kind.UNIQUE_ITEMS_ADDED}),
    "something must be contained": ({"type": "array", "contains": NULL}, {"type": "array"}, {Kind.CONTAINS_ADDED}),
    "one must be contained where none had to be": (
        {"type": ["object", "array"], "contains": NULL, "properties": {"a": NUMBER}},
        {"type": ["object", "array"], "contains": NULL, "minContains": 0, "properties": {"a": INTEGER}},
        {Kind.CONTAINS_CHANGED},
    ),
    "more must be contained": (
        {"type": "array", "contains": NULL, "minContains": 2},
        {"type": "array", "contains": NULL},
        {Kind.CONTAINS_CHANGED},
    ),
    "an alternative leaves": ({"anyOf": [STRING, NULL]}, {"anyOf": [STRING, INTEGER, NULL]}, {Kind.SUM_TYPE_NARROWED}),
    "an alternative changes": (
        {"oneOf": [STRING, {"type": "boolean"}]},
        {"oneOf": [STRING, INTEGER]},
        {Kind.COMBINED_TYPE_SUBSCHEMAS_CHANGED, Kind.TYPE_CHANGED},
    ),
    "anyOf becomes oneOf": (
        {"oneOf": [STRING, INTEGER]},
        {"anyOf": [STRING, INTEGER]},
        {Kind.COMBINED_TYPE_CHANGED},
    ),
    "an integer is both": ({"oneOf": [INTEGER, NUMBER]}, INTEGER, {Kind.COMBINED_TYPE_SUBSCHEMAS_CHANGED}),
    "a new alternative catches what another had": (
        {"oneOf": [STRING, {"minLength": 3}]},
        STRING,
        {Kind.COMBINED_TYPE_SUBSCHEMAS_CHANGED},
    ),
    "a union becomes one of its members": (
        STRING,
        {"oneOf": [STRING, INTEGER]},
        {Kind.TYPE_CHANGED},
    ),
    "allOf demands more": (
        {"allOf": [STRING, {"minLength": 2}, {"pattern": "a"}]},
        {"allOf": [STRING, {"minLength": 2}]},
        {Kind.PATTERN_ADDED},
    ),
    "more is excluded": ({"not": NUMBER}, {"not": INTEGER}, {Kind.NOT_TYPE_EXTENDED}),
    "a condition is added": (
        {"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"type": "object"},
        {Kind.CONDITION_CHANGED},
    ),
    "a definition narrows": (
        {"$ref": "#/$defs/x", "$defs": {"x": INTEGER}},
        {"$ref": "#/$defs/x", "$defs": {"x": NUMBER}},
        {Kind.TYPE_NARROWED},
    ),
    "a recursive type narrows": (
        linked(NODE),
        linked(WIDER_NODE),
        {Kind.TYPE_NARROWED, Kind.TYPE_CHANGED},
    ),
    "deep within a recursive type": (
        linked({**NODE, "required": ["value"]}),
        linked(NODE),
        {Kind.REQUIRED_PROPERTY_ADDED},
    ),
}


@pytest.mark.parametrize(("new", "old"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_what_takes_every_old_value_in_its_shape_is_compatible(new: Any, old: Any) -> None:
    """A false alarm makes people switch the check off."""
    assert [str(reason) for reason in check(new, old, format="json")] == []


@pytest.mark.parametrize(("new", "old", "expected"), INCOMPATIBLE.values(), ids=INCOMPATIBLE)
def test_what_refuses_an_old_value_is_told_by_kind(new: Any, old: Any, expected: set[Kind]) -> None:
    """A break that goes unseen stops a consumer in production; one under the wrong name sends people astray."""
    assert kinds(new, old) == set(expected)


def test_all_reasons_are_told_with_their_places() -> None:
    """People mend one reason at a time when they are told one at a time."""
    old = opened(["a"], a=STRING, b=closed(c=NUMBER), d=listed(STRING))
    new = opened(["a", "b"], a={"type": "string", "maxLength": 5}, b=closed(c=INTEGER), d=listed(INTEGER))
    told = {(reason.kind, reason.path): (reason.old, reason.new) for reason in check(new, old, format="json")}
    assert told == {
        (Kind.REQUIRED_PROPERTY_ADDED, "/required"): (["a"], "b"),
        (Kind.MAX_LENGTH_ADDED, "/properties/a/maxLength"): (None, 5),
        (Kind.TYPE_NARROWED, "/properties/b/properties/c/type"): (["number"], ["integer"]),
        (Kind.TYPE_CHANGED, "/properties/d/items/type"): (["string"], ["integer"]),
    }


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (opened(a=INTEGER, b=STRING), opened(a=INTEGER)),
        (opened(x=opened(a=INTEGER, b=STRING)), opened(x=opened(a=INTEGER))),
        ({}, STRING),
        (listed(NUMBER), positions(INTEGER, items=False)),
        (NUMBER, {"anyOf": [INTEGER, NUMBER]}),
        ({"type": "string", "pattern": "^.*$"}, STRING),
    ],
    ids=["an optional property", "one further down", "another shape", "a tuple as a list", "a union", "any text"],
)
def test_lenient_lets_shapes_change_and_optional_properties_join(new: Any, old: Any) -> None:
    """Adding an optional property to an open model is the change that users ask registries for most."""
    assert kinds(new, old) != set()
    assert kinds(new, old, lenient=True) == set()


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (opened(["b"], a=INTEGER, b=STRING), opened(a=INTEGER), {Kind.REQUIRED_PROPERTY_ADDED}),
        (opened(a=STRING), opened(a=INTEGER), {Kind.TYPE_CHANGED}),
        (closed(a=INTEGER), opened(a=INTEGER), {Kind.ADDITIONAL_PROPERTIES_REMOVED}),
    ],
    ids=["a required property", "another type", "a closed model"],
)
def test_lenient_still_refuses_what_breaks_values(new: Any, old: Any, expected: set[Kind]) -> None:
    """A lenient subject is lenient about additions, not about changes."""
    assert kinds(new, old, lenient=True) == set(expected)


def test_modes_ask_who_reads_whom() -> None:
    """A producer that upgrades first needs forward, a consumer that does needs backward."""
    narrow, wide = closed(a=INTEGER), closed(a=NUMBER)
    found = {mode: bool(check(wide, narrow, format="json", mode=mode)) for mode in Mode}
    assert found == {
        Mode.NONE: False,
        Mode.BACKWARD: False,
        Mode.FORWARD: True,
        Mode.FULL: True,
        Mode.BACKWARD_TRANSITIVE: False,
        Mode.FORWARD_TRANSITIVE: True,
        Mode.FULL_TRANSITIVE: True,
    }
    (reason,) = check(wide, narrow, format="json", mode="forward")
    assert (reason.direction, reason.kind, reason.old, reason.new) == (
        "forward",
        Kind.TYPE_NARROWED,
        ["number"],
        ["integer"],
    )


def test_a_transitive_mode_looks_at_every_version() -> None:
    """Steps that are each compatible can add up to one that is not, for a consumer that skipped some."""
    versions = [(1, opened(a=STRING, b=STRING)), (2, opened(a=STRING))]
    third = closed(a=STRING, b=INTEGER) | {"additionalProperties": True}
    assert [c.version for c in check_versions(third, versions, format="json", mode="backward", lenient=True)] == []
    (conflict,) = check_versions(third, versions, format="json", mode="backward_transitive", lenient=True)
    assert (conflict.version, [reason.kind for reason in conflict.reasons]) == (1, [Kind.TYPE_CHANGED])


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (closed(a=INTEGER), "none"),
        (closed(a=INTEGER) | {"title": "of an account"}, "patch"),
        (closed(a=INTEGER | {"x-pii": True}), "minor"),
        (closed(a=NUMBER), "minor"),
        (closed(a=STRING), "major"),
    ],
)
def test_a_change_is_named_by_comparing(new: Any, expected: str) -> None:
    """A version number that people choose promises what they hope."""
    change = schema_change(closed(a=INTEGER), new, "json")
    assert change.change == expected
    assert bool(change.reasons) == (expected == "major")


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "text"}, "/type"),
        ({"properties": {"a": {"$ref": "#/$defs/absent"}}}, "/properties/a/$ref"),
        ({"$ref": "https://example.com/elsewhere.json"}, "/$ref"),
        ({"$schema": "https://example.com/dialect"}, "/$schema"),
        ([], ""),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(schema: Any, path: str) -> None:
    """A schema that cannot be compared must not enter the registry, where the next one would be compared with it."""
    with pytest.raises(SchemaRefused) as refused:
        check(schema, {}, format="json")
    assert refused.value.path == path


def test_definitions_that_double_at_every_level_are_compared() -> None:
    """A schema of a few lines can unfold to millions: whoever may propose could stop the registry."""
    definitions: dict[str, Any] = {"d0": INTEGER}
    for level in range(1, 40):
        inner = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = opened(a=inner, b=inner)
    old = {"$ref": "#/$defs/d39", "$defs": definitions}
    new = {"$ref": "#/$defs/d39", "$defs": definitions | {"d0": NUMBER}}
    assert check(new, old, format="json") == []
    assert kinds(old, new) == {Kind.TYPE_NARROWED}


@settings(max_examples=800)
@given(st.integers(0, 2**32))
def test_compatible_means_that_every_old_document_is_valid(seed: int) -> None:
    """One counterexample is an event that was fine when it was sent and is a dead letter on replay."""
    new, old = SmallSchemas(seed).pair()
    if check(new, old, format="json"):
        return
    accepts_old = jsonschema_rs.validator_for(old, validate_formats=True).is_valid
    accepts_new = jsonschema_rs.validator_for(new, validate_formats=True).is_valid
    lost = [document for document in DOCUMENTS if accepts_old(document) and not accepts_new(document)]
    assert not lost, (new, old)


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_every_schema_follows_itself(seed: int) -> None:
    """A version that changes a word of its description must never be refused."""
    _, schema = SmallSchemas(seed).pair()
    assert check({**schema, "description": "the same"}, schema, format="json", mode="full") == []


UNEVALUATED: dict[str, tuple[Any, Any, Any]] = {
    "a property leaves a part": (
        {"allOf": [opened()], "properties": {"b": STRING}, "unevaluatedProperties": False},
        {"allOf": [opened(a=INTEGER)], "properties": {"b": STRING}, "unevaluatedProperties": False},
        {"a": 1},
    ),
    "an alternative narrows what it evaluates": (
        {"anyOf": [{}, {"properties": {"b": INTEGER}}], "unevaluatedProperties": False},
        {"anyOf": [{"properties": {"b": {}}}, {}], "unevaluatedProperties": False},
        {"b": "a"},
    ),
    "a condition evaluates less often": (
        {"if": {"properties": {"a": {"const": 1}}}, "else": {"required": ["a"]}, "unevaluatedProperties": INTEGER},
        {"if": {"properties": {"a": STRING}}, "else": {"required": ["a"]}, "unevaluatedProperties": INTEGER},
        {"a": "a"},
    ),
    "a dependency forbids": (
        {
            "dependentSchemas": {"a": {"properties": {"b": False}}},
            "anyOf": [{"properties": {"a": STRING}, "additionalProperties": STRING}, {"required": ["c"]}],
            "unevaluatedProperties": False,
        },
        {
            "dependentSchemas": {"a": {"properties": {"b": True}}},
            "anyOf": [{"properties": {"a": STRING}, "additionalProperties": STRING}, {"required": ["c"]}],
            "unevaluatedProperties": False,
        },
        {"a": "a", "b": "a"},
    ),
}


@pytest.mark.parametrize(("new", "old", "document"), UNEVALUATED.values(), ids=UNEVALUATED)
def test_what_is_unevaluated_depends_on_all_that_stands_beside_it(new: Any, old: Any, document: Any) -> None:
    """The keyword says the same in both versions, and means another thing."""
    assert jsonschema_rs.is_valid(old, document)
    assert not jsonschema_rs.is_valid(new, document)
    assert check(new, old, format="json")
    assert check(new, old, format="json", lenient=True)


def test_a_keyword_of_another_form_than_its_dialect_knows_is_refused() -> None:
    """A draft that does not know a keyword takes anything for it; a comparison cannot."""
    with pytest.raises(SchemaRefused, match="dependentRequired"):
        check({"type": "object", "dependentRequired": {"a": False}}, {"type": "object"}, format="json")


def test_a_wide_schema_is_compared_without_looking_at_all_of_it_for_each_part() -> None:
    """A thousand members took minutes when each was proven against the whole."""
    wide = closed(**{f"p{number}": {"type": "string", "maxLength": number + 1} for number in range(1_000)})
    narrower = {**wide, "properties": {**wide["properties"], "p7": {"type": "string", "maxLength": 3}}}
    assert check(wide, narrower, format="json") == []
    assert [(r.kind, r.path) for r in check(narrower, wide, format="json")] == [
        (Kind.MAX_LENGTH_DECREASED, "/properties/p7/maxLength")
    ]


def test_work_is_bounded_and_what_was_not_decided_is_incompatible() -> None:
    """Whoever may propose a schema could otherwise stop the registry with a few lines."""
    new, old = NUMBER, INTEGER
    for _ in range(90):
        new, old = ({"anyOf": [schema, NULL]} for schema in (new, old))
    assert check(new, old, format="json") == []
    assert check(old, new, format="json") != []
