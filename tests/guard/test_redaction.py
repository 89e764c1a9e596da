"""What a schema marks as personal leaves as a token, wherever in the value it stands."""

import hmac
import json
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import canonical
from guard.redaction import Redactor, shape

SECRET = "jane.doe@example.com"
MARKED = {"type": "string", "x-pii": True}
REDACTOR = Redactor(b"a key of sixteen bytes or more")


def redact(schema: dict[str, Any], value: Any) -> Any:
    redactor = REDACTOR.for_schema(schema)
    assert redactor is not None
    return redactor(value)


def test_a_token_is_keyed_and_stable() -> None:
    """Joins need the same token for the same value; without a key anybody could hash a list of addresses."""
    token = REDACTOR.token(SECRET)
    assert token == Redactor(b"a key of sixteen bytes or more").token(SECRET)
    assert token != Redactor(b"another key of sixteen bytes").token(SECRET)
    assert token != REDACTOR.token(SECRET + " ")
    assert len(token) == len("pii:") + 32


def test_a_short_key_is_refused() -> None:
    """A file emptied by an accident would make every token guessable."""
    with pytest.raises(ValueError, match="16 bytes"):
        Redactor(b"short")


@pytest.mark.parametrize(
    ("schema", "value", "redacted"),
    [
        (MARKED, SECRET, "T"),
        ({"properties": {"a": MARKED}}, {"a": SECRET, "b": 1}, {"a": "T", "b": 1}),
        ({"items": MARKED}, [SECRET, SECRET], ["T", "T"]),
        ({"items": {"properties": {"a": MARKED}}}, [{"a": SECRET}, {"b": 1}], [{"a": "T"}, {"b": 1}]),
        ({"additionalProperties": MARKED}, {"x": SECRET}, {"x": "T"}),
        (
            {"properties": {"known": {}}, "additionalProperties": MARKED},
            {"known": 1, "x": SECRET},
            {"known": 1, "x": "T"},
        ),
        ({"patternProperties": {"^m": MARKED}}, {"mail": SECRET, "age": 1}, {"mail": "T", "age": 1}),
        ({"prefixItems": [{}, MARKED]}, [1, SECRET, 2], [1, "T", 2]),
        ({"prefixItems": [{}], "items": MARKED}, [1, SECRET], [1, "T"]),
        ({"contains": MARKED}, [SECRET], ["T"]),
        ({"allOf": [{"properties": {"a": MARKED}}]}, {"a": SECRET}, {"a": "T"}),
        ({"anyOf": [{"type": "integer"}, MARKED]}, SECRET, "T"),
        ({"properties": {"a": {"oneOf": [MARKED, {"type": "null"}]}}}, {"a": SECRET}, {"a": "T"}),
        ({"if": {}, "then": {"properties": {"a": MARKED}}}, {"a": SECRET}, {"a": "T"}),
        ({"if": {}, "else": {"properties": {"a": MARKED}}}, {"a": SECRET}, {"a": "T"}),
        ({"dependentSchemas": {"b": {"properties": {"a": MARKED}}}}, {"a": SECRET, "b": 1}, {"a": "T", "b": 1}),
        ({"$ref": "#/$defs/mail", "$defs": {"mail": MARKED}}, SECRET, "T"),
        (
            {"properties": {"a/b": {"$ref": "#/$defs/x~1y"}}, "$defs": {"x/y": MARKED}},
            {"a/b": SECRET},
            {"a/b": "T"},
        ),
        (
            {"properties": {"mail": MARKED, "sub": {"$ref": "#"}}},
            {"mail": SECRET, "sub": {"sub": {"mail": SECRET}}},
            {"mail": "T", "sub": {"sub": {"mail": "T"}}},
        ),
        ({"unevaluatedProperties": MARKED}, {"x": SECRET}, {"x": "T"}),
        (
            {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": MARKED},
            {"a": 1, "x": SECRET},
            {"a": 1, "x": "T"},
        ),
        ({"propertyNames": MARKED}, {SECRET: 1}, {"T": 1}),
        ({"properties": {"a": MARKED}}, {"a": None}, {"a": None}),
    ],
)
def test_a_mark_is_found_wherever_a_schema_may_say_it(schema: dict[str, Any], value: Any, redacted: Any) -> None:
    """A mark behind `$ref` or `allOf` that nobody follows is an address in the lake for ever."""
    assert json.loads(json.dumps(redact(schema, value)).replace(REDACTOR.token(SECRET), "T")) == redacted


def test_a_marked_object_loses_all_that_it_holds() -> None:
    """A name within a marked person must go with the person; only names that the schema itself states may stay."""
    schema = {"properties": {"who": {"type": "object", "x-pii": True, "properties": {"mail": {"type": "string"}}}}}
    value = {"who": {"mail": SECRET, "ages": [41, Decimal("1.5"), True, None], SECRET: {SECRET: SECRET}}, "sum": 7}
    redacted = redact(schema, value)
    assert SECRET not in canonical(redacted)
    assert redacted["sum"] == 7
    assert redacted["who"]["mail"] == REDACTOR.token(SECRET)
    assert [str(age)[:4] for age in next(v for v in redacted["who"].values() if isinstance(v, list))] == [
        "pii:",
        "pii:",
        "pii:",
        "None",
    ]


def test_equal_numbers_have_equal_tokens() -> None:
    """1 and 1.0 are one value of JSON; the same event sent twice would conflict with itself."""
    assert redact(MARKED, 1) == redact(MARKED, Decimal("1.0")) == redact(MARKED, Decimal("1.00"))


def test_a_schema_without_marks_needs_no_redaction() -> None:
    """Its payloads are kept verbatim; a walk over each of them would cost for nothing."""
    assert REDACTOR.for_schema({"properties": {"a": {"type": "string"}, "b": {"x-pii": False}}}) is None


def test_a_mark_behind_a_reference_that_cannot_be_followed_is_refused() -> None:
    """Passing the payload through as if nothing were marked would be a leak nobody notices."""
    with pytest.raises(ValueError, match="elsewhere"):
        REDACTOR.for_schema({"properties": {"a": {"$ref": "https://elsewhere.example/schema"}}})
    with pytest.raises(ValueError, match="nothing"):
        REDACTOR.for_schema({"properties": {"a": {"$ref": "#/$defs/nothing"}, "b": MARKED}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_redaction_keeps_the_form_of_what_is_not_marked(value: Any) -> None:
    """A payload that is redacted must still be what its schema promises."""
    redacted = redact({"properties": {"mail": MARKED, "open": {}}}, {"mail": "m", "open": value})
    assert redacted == {"mail": REDACTOR.token("m"), "open": value}


def test_processes_that_start_together_make_one_key(tmp_path: Path) -> None:
    """Two keys would give one person two tokens for ever."""
    path = tmp_path / "redaction.key"
    script = (
        "import sys; from pathlib import Path; from guard.redaction import Redactor; "
        "print(Redactor.from_file(Path(sys.argv[1])).token('x'))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    tokens = {process.communicate(timeout=60)[0].strip() for process in started}
    assert tokens == {Redactor.from_file(path).token("x")}
    assert [entry.name for entry in tmp_path.iterdir()] == ["redaction.key"]


def test_only_its_owner_can_read_the_key(tmp_path: Path) -> None:
    """Whoever has the key can test who is behind a token."""
    Redactor.from_file(tmp_path / "redaction.key")
    assert (tmp_path / "redaction.key").stat().st_mode & 0o777 == 0o600


def test_a_shape_tells_types_and_sizes_and_no_value() -> None:
    """Evidence is read by people who may not see the record."""
    value = {"mail": SECRET, "sums": [1, Decimal("2.5"), None, True], "deep": {"a": {"b": {"c": {"d": 1}}}}}
    assert shape(value) == {
        "mail": "string of 20",
        "sums": ["number", "number", "null", "boolean"],
        "deep": {"a": {"b": {"c": "object of 1"}}},
    }


def test_a_shape_takes_an_odd_name_for_a_value() -> None:
    """A map from addresses to anything would spread the addresses over the dead letters."""
    told = shape({SECRET: 1, "+49 170 1234567": 2, "invoice_uri": 3, "größe": 4, "": 5, "x" * 65: 6})
    assert told == {
        "name of 20": "number",
        "name of 15": "number",
        "invoice_uri": "number",
        "größe": "number",
        "name of 0": "number",
        "name of 65": "number",
    }


def test_a_shape_is_small_however_large_the_value() -> None:
    """A hostile record of a million members would become a dead letter of megabytes."""
    wide = {f"key {number} {'x' * 1_000}": ["x"] * 1_000 for number in range(1_000)}
    told = shape(wide)
    assert told["..."] == "980 more"
    assert shape([0] * 1_000)[-1] == "980 more"
    assert len(canonical(told)) < 20_000


@pytest.mark.parametrize("length", [16, 63, 64, 65, 200])
@pytest.mark.parametrize("value", ["", SECRET, "ü🙂", "x" * 1_000])
def test_a_token_is_the_hmac_of_its_value(length: int, value: str) -> None:
    """It is computed here for speed; tokens that another version, or another program, made must stay the same."""
    key = bytes(range(length))
    expected = hmac.new(key, value.encode(), "sha256").hexdigest()[:32]
    assert Redactor(key).token(value) == f"pii:{expected}"


def test_a_redactor_sent_to_another_process_makes_the_same_tokens() -> None:
    """Records are judged by several processes; two tokens for one value would break every join."""
    assert pickle.loads(pickle.dumps(REDACTOR)).token(SECRET) == REDACTOR.token(SECRET)


@pytest.mark.parametrize(
    ("schema", "value", "redacted"),
    [
        ({}, {SECRET: [SECRET, 7, True, None]}, {"T": ["T", 7, True, None]}),
        ({"properties": {"a": {"type": "string"}}}, {"a": SECRET}, {"a": "T"}),
        ({"properties": {"a": {"items": {"properties": {"b": {}}}}}}, {"a": [{"b": SECRET}]}, {"a": [{"b": "T"}]}),
        ({"properties": {"a": {"enum": ["x"]}}}, {"a": "x"}, {"a": "x"}),
        ({"properties": {"a": {"const": "x"}}}, {"a": "x"}, {"a": "x"}),
        ({"properties": {"a": {"format": "date"}}}, {"a": "2025-03-01"}, {"a": "2025-03-01"}),
        ({"properties": {"a": {"format": "date-time"}}}, {"a": "2025-03-01T00:00:00Z"}, {"a": "2025-03-01T00:00:00Z"}),
        ({"properties": {"a": {"format": "email"}}}, {"a": SECRET}, {"a": "T"}),
        ({"properties": {"a": {"x-pii": False}}}, {"a": "PO-1"}, {"a": "PO-1"}),
        (
            {"properties": {"a": {"x-pii": False, "properties": {"c": MARKED}}}},
            {"a": {"b": "x", "c": SECRET}},
            {"a": {"b": "x", "c": "T"}},
        ),
        ({"properties": {"a": {"items": {"enum": ["x"]}}}}, {"a": ["x"]}, {"a": ["x"]}),
        ({"properties": {"a": {"$ref": "#/$defs/k"}}, "$defs": {"k": {"enum": ["x"]}}}, {"a": "x"}, {"a": "x"}),
        ({"allOf": [{"properties": {"a": {"enum": ["x"]}}}]}, {"a": "x"}, {"a": "x"}),
        ({"properties": {"a": {"anyOf": [{"enum": ["x"]}, {"type": "string"}]}}}, {"a": SECRET}, {"a": "T"}),
        ({"anyOf": [{"properties": {"a": {"enum": ["x"]}}}, {}]}, {"a": SECRET}, {"a": "T"}),
        ({"if": {"properties": {"a": {"enum": ["x"]}}}}, {"a": SECRET}, {"a": "T"}),
        ({"x-pii": False, "properties": {"a": {}}}, {"a": SECRET}, {"a": "T"}),
        ({"properties": {"a": {"x-pii": False, "allOf": [MARKED]}}}, {"a": SECRET}, {"a": "T"}),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "properties": {"a": {"$ref": "#/definitions/k", "enum": ["x"]}},
                "definitions": {"k": {}},
            },
            {"a": SECRET},
            {"a": "T"},
        ),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"const": "x"}}},
            {"a": SECRET},
            {"a": "T"},
        ),
        (
            {"properties": {"a": {"prefixItems": [{"enum": ["x"]}], "items": {"enum": ["x"]}}}},
            {"a": ["x"]},
            {"a": ["X"]},
        ),
    ],
)
def test_of_a_payload_that_is_personal_as_a_whole_only_what_surely_is_not_stays_readable(
    schema: dict[str, Any], value: Any, redacted: Any
) -> None:
    """An enumeration that holds in one alternative only would let the words of the other through."""
    hide = REDACTOR.for_schema(schema, is_personal=True)
    assert hide is not None
    text = json.dumps(hide(value)).replace(REDACTOR.token(SECRET), "T").replace(REDACTOR.token("x"), "X")
    assert json.loads(text) == redacted
