"""A schema as a type: never laxer than the schema, and canonical when written."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.canonical import canonical, parse
from ingest.decoding import write
from ingest.schema_types import schema_type

NAMES = st.sampled_from(["a", "b", "B", "a_b", "a-b", "_", "class", "m0", "z.9"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.just(10**20) | st.floats(-2, 2) | st.text("aé😀", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
) | st.sampled_from(["2024-02-29", "2023-02-29", "2100-02-29", "2025-04-31", "2025-01-01T23:59:59Z"])
LEAVES = (
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", ["string", "null"], ["null", "string"]])},
        optional={"minLength": st.integers(0, 2), "maxLength": st.integers(0, 3), "title": st.just("t")},
    )
    | st.fixed_dictionaries({"type": st.just("string"), "format": st.sampled_from(["date", "date-time"])})
    | st.fixed_dictionaries({"type": st.just("string"), "enum": st.just(["a", "é"])})
    | st.fixed_dictionaries(
        {"type": st.just("integer")}, optional={"minimum": st.integers(-2, 1), "maximum": st.integers(-1, 2)}
    )
    | st.sampled_from([{"type": "boolean"}, {"type": "object"}])
)


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, values, min_size=1, max_size=3).flatmap(
        lambda properties: st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.just(properties)},
            optional={
                "required": st.lists(st.sampled_from(sorted(properties)), unique=True),
                "additionalProperties": st.booleans(),
            },
        )
    )


SCHEMAS = objects(
    st.recursive(
        LEAVES,
        lambda inner: (
            objects(inner)
            | st.fixed_dictionaries(
                {"type": st.just("array"), "items": inner},
                optional={"minItems": st.integers(0, 1), "maxItems": st.integers(0, 2)},
            )
        ),
        max_leaves=4,
    )
)


def decoded(schema: dict[str, Any], text: str) -> Any:
    made = schema_type(schema)
    assert made is not None
    return msgspec.json.decode(text, type=made.type)


@st.composite
def fitting(draw: st.DrawFn, schema: Any) -> Any:
    """Return a value that may fit a schema: at random hardly any would."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        return {
            name: draw(fitting(part))
            for name, part in properties.items()
            if name in schema.get("required", []) or draw(st.booleans())
        }
    if kind == "array":
        return draw(st.lists(fitting(schema["items"]), max_size=2))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "format" in schema:
        return draw(st.sampled_from(["2024-02-29", "2025-12-31T00:00:00.5Z", "2025-12-32"]))
    return draw({"integer": st.integers(-2, 2), "boolean": st.booleans()}.get(str(kind), st.text("aé", max_size=3)))


CHECKER = jsonschema.FormatChecker(["date"])


@settings(max_examples=400)
@given(SCHEMAS.flatmap(lambda schema: st.tuples(st.just(schema), fitting(schema))))
def test_what_decodes_keeps_the_schema_and_is_written_canonically(given: tuple[dict[str, Any], Any]) -> None:
    """A type that is laxer than its schema lets in what the schema refuses; the peer library decides."""
    schema, value = given
    text = json.dumps(value)
    validator = jsonschema.Draft202012Validator(schema, format_checker=CHECKER)
    try:
        payload = decoded(schema, text)
    except msgspec.MsgspecError:
        return
    assert validator.is_valid(value)
    if "." not in text and "e" not in text:  # other numbers are for the decoder that the caller brings
        assert write(payload) == canonical(parse(text)).encode()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^a"}}},
        {"type": "object", "properties": {"a": {"type": "number"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string", "format": "email"}}},
        {"type": "object", "properties": {"a": {"type": "string", "const": "a"}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": ["string", "integer"]}}},
        {"type": "object", "properties": {"a": {"type": "integer", "x-pii": True}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "x-pii": True}}}},
        {"type": "object", "properties": {"a": {"type": "object", "x-pii": True}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "x-pii": True},
        {"type": "object", "properties": {"a b": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}]},
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 1.5}}},
        {"properties": {"a": {"type": "string"}}},
        {"type": "string"},
    ],
    ids=json.dumps,
)
def test_a_schema_that_says_more_than_a_type_can_has_none(schema: dict[str, Any]) -> None:
    """A word that is passed over is a promise that nobody keeps."""
    assert schema_type(schema) is None


def test_an_integer_that_readers_of_json_disagree_on_does_not_decode() -> None:
    """Beyond 2^53 some read another number; what it is written as is for `guard.canonical` to say."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert decoded(schema, '{"n":1000000000000000}').m0 == 10**15
    for text in ('{"n":1000000000000001}', '{"n":1.0}', '{"n":1e3}', '{"n":true}'):
        with pytest.raises(msgspec.ValidationError):
            decoded(schema, text)
