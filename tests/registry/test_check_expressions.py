"""Expressions against schemas: what can fail in an episode is refused, what cannot is let through."""

import itertools
import json
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.redaction import Redactor
from registry.checks.expressions import condition_problems, uncovered, value_problems
from registry.checks.samples import MAX_VALUES
from registry.checks.shapes import Shape, returned_shape, shape_of
from registry.expressions import compile_expression

TRIGGER = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "lines": {"type": "integer", "minimum": 0, "maximum": 99},
        "vendor": {"type": "string", "minLength": 1},
        "urgent": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
        "currency": {"type": "string", "enum": ["EUR", "USD"]},
        "due": {"type": "string", "format": "date-time"},
        "code": {"type": "string", "pattern": "^[0-9]{4}$"},
        "sender": {"type": "string", "format": "date-time", "x-pii": True},
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip": {"type": "string"}},
            "required": ["city"],
        },
        "parent": {"type": ["string", "null"]},
        "rates": {"type": "object", "additionalProperties": {"type": "number"}},
        "extra": {},
        "party": {"oneOf": [{"$ref": "#/$defs/person"}, {"$ref": "#/$defs/firm"}]},
    },
    "required": ["amount", "lines", "vendor", "urgent", "tags", "currency", "due", "code", "sender", "parent", "rates"],
    "additionalProperties": False,
    "$defs": {
        "person": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "firm": {"type": "object", "properties": {"vat": {"type": "string"}}, "required": ["vat"]},
    },
}
SCOPE = (
    ("trigger", shape_of(TRIGGER)),
    ("output", returned_shape({"properties": {"pass": "boolean", "variance": "number", "found": "map<string,any>"}})),
    ("input", None),
)

SOUND = [
    "trigger.amount > 100",
    "trigger.amount > 0.5 && trigger.amount < 100",
    "trigger.amount == 1 || trigger.amount == 1.0",
    "double(trigger.amount) * 1.05 > 3.0",
    "trigger.lines + 1 > 2 && trigger.lines / 2 < 99",
    "trigger.lines > 0 && 100 / trigger.lines > 3",
    "trigger.vendor == 'V-1' || trigger.vendor in ['V-2', 'V-3']",
    "trigger.vendor.startsWith('V-') && size(trigger.vendor) > 2",
    "trigger.urgent",
    "!trigger.urgent && trigger.currency == 'EUR'",
    "has(trigger.note) && trigger.note != ''",
    "trigger.?note.orValue('') == ''",
    "trigger.tags.exists(tag, tag == 'late')",
    "size(trigger.tags) > 0 && trigger.tags[0] == 'late'",
    "timestamp(trigger.due) < timestamp('2030-01-01T00:00:00Z')",
    "int(trigger.code) > 10",
    "has(trigger.address) && trigger.address.city == 'Köln'",
    "has(trigger.address) && has(trigger.address.zip) && trigger.address.zip == '1'",
    "trigger.parent == null || trigger.parent != ''",
    "trigger.rates.EUR > 1.0",
    "has(trigger.party) && has(trigger.party.name) && trigger.party.name == 'x'",
    "pass == true",
    "variance > 0.05 || pass",
    "output.found.vendor_id == 'V-1' || trigger.extra.deep == 2",  # nothing is stated, so nothing is refused
    "input.anything == 1",
    "cel.bind(a, double(trigger.amount), a > 1.0 && a < 2.0)",
]

REFUSED = [
    # expression, what the message must say, what the way out must say
    ("trigger.amounts > 1", "no such payload", "amount"),
    ("trigger.vendor > 5", "no matching overload", "one type"),
    ("trigger.vendor == 5", "never holds", "string"),
    ("trigger.amount == '5'", "never holds", "number"),
    ("trigger.amount.startsWith('1')", "No matching overloads", ""),
    ("size(trigger.amount) > 1", "No matching overloads", ""),
    ("trigger.amount * 1.05 > 3.0", "trigger.amount is 1", "double(x)"),
    ("trigger.lines + 0.5 > 3.0", "int64, double", "double(x)"),
    ("trigger.lines == 1.5", "never holds", "integer"),
    ("100 / trigger.lines > 3", "trigger.lines is 0", "!= 0"),
    ("trigger.note != ''", "without trigger.note", "has(trigger.note)"),
    ("trigger.address.city == 'Köln'", "without trigger.address", "has(trigger.address"),
    ("has(trigger.address) && trigger.address.zip == '1'", "Key not found", "has("),
    ("has(trigger.party) && trigger.party.name == 'x'", "may be absent", "has("),
    ("trigger.currency == 'GBP'", "never holds", '"EUR", "USD"'),
    ("trigger.currency in ['EUR', 'GBP']", '"GBP" never holds', '"EUR", "USD"'),
    ("trigger.currency != 'GBP'", "always holds", '"EUR", "USD"'),
    ("trigger.vendor", "no condition", "true or false"),
    ("trigger.amount + 1", "no condition", "true or false"),
    ("trigger.urgent ? 'a' : 'b'", "no condition", "true or false"),
    ("trigger.vendor || trigger.urgent", "no matching overload", "one type"),
    ("trigger.tags[0] == 'late'", "trigger.tags is []", "guard"),
    ("trigger.tags == 'late'", "never holds", "array"),
    ("timestamp(trigger.vendor) < timestamp('2030-01-01T00:00:00Z')", "Timestamp conversion", "guard"),
    ("timestamp(trigger.sender) < timestamp('2030-01-01T00:00:00Z')", "pii:", "guard"),  # a token by then
    ("int(trigger.vendor) > 10", "cannot convert", "guard"),
    ("trigger.parent.startsWith('a')", "trigger.parent is null", "guard"),
    ("trigger.urgent == 'yes'", "never holds", "boolean"),
    ("pass == 'true'", "never holds", "boolean"),
    ("variance + 1 > 2", "variance is 0.5", "double(x)"),
    ("passed == true", "no such payload", "pass"),
    ("event.decision == 'yes'", "is not there", "event"),
]


@pytest.mark.parametrize("text", SOUND)
def test_what_has_a_value_for_every_payload_is_let_through(text: str) -> None:
    """A check that refuses sound conditions gets switched off."""
    assert condition_problems(compile_expression(text), SCOPE) == ()


@pytest.mark.parametrize(("text", "problem", "fix"), REFUSED)
def test_what_can_fail_is_refused_with_the_case_and_the_way_out(text: str, problem: str, fix: str) -> None:
    """Found here it costs a minute, found in an episode it costs the episode."""
    (found,) = condition_problems(compile_expression(text), SCOPE)
    assert problem in found.text
    assert fix in found.fix


PERSONAL = (("trigger", shape_of(TRIGGER, is_personal=True)),)


def test_texts_of_a_personal_topic_are_tokens_when_an_expression_sees_them() -> None:
    """A condition that compares one with a word would never hold, and nobody would know why."""
    for text, problem in [
        ("timestamp(trigger.vendor) < timestamp('2030-01-01T00:00:00Z')", "pii:"),
        ("int(trigger.code) > 10", "pii:"),
        ("trigger.rates.eur > 1.0", "no such payload"),
    ]:
        (found,) = condition_problems(compile_expression(text), PERSONAL)
        assert problem in found.text
    for text in [
        "trigger.amount > 100",
        "trigger.currency == 'EUR'",
        "timestamp(trigger.due) < timestamp('2030-01-01T00:00:00Z')",
        "trigger.vendor.startsWith('pii:')",
        "trigger.code.startsWith('pii:')",
    ]:
        assert condition_problems(compile_expression(text), PERSONAL) == ()


@pytest.mark.parametrize("is_personal", [True, False])
def test_what_redaction_leaves_of_a_value_is_a_value_of_the_shape(is_personal: bool) -> None:
    """The shape stands for what expressions see: what it leaves out is never tried, and fails in an episode."""
    kinds: dict[str, Any] = {
        "text": {"type": "string", "pattern": "^[A-Z]+$", "maxLength": 3},
        "marked": {"type": ["number", "null"], "x-pii": True},
        "readable": {"type": "object", "properties": {"t": {"type": "string"}}, "x-pii": False},
        "either": {"oneOf": [{"type": "string", "enum": ["A", "B"]}, {"type": "integer"}]},
        "both": {"allOf": [{"type": "string"}, {"enum": ["A", "B"]}]},
        "mixed": {"enum": ["A", 1, None]},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "list": {"type": "array", "items": {"type": ["string", "boolean"]}, "minItems": 1},
        "referred": {"$ref": "#/$defs/code"},
        "alternative": {"anyOf": [{"$ref": "#/$defs/code"}, {"type": "boolean"}]},
        "date": {"type": ["string", "null"], "format": "date"},
    }
    redactor, tried = Redactor(b"0123456789abcdef"), 0
    for name, kind in kinds.items():
        schema = {
            "type": "object",
            "properties": {name: kind, "beside": {"type": "integer"}},
            "$defs": {"code": {"enum": ["X", "Y"]}},
        }
        plain = json.loads(json.dumps(schema).replace('"x-pii"', '"x-none"'))
        redact = redactor.for_schema(schema, is_personal=is_personal) or (lambda value: value)
        seen = jsonschema_rs.validator_for(shape_of(schema, is_personal=is_personal).schema)
        for value in shape_of(plain).values([(name,)]) or ():
            tried += 1
            assert seen.is_valid(redact(value)), (schema, value, redact(value))
    assert tried > 2 * len(kinds)


def test_a_value_need_not_be_true_or_false() -> None:
    """Parameters take any value, but must have one."""
    assert value_problems(compile_expression("trigger.vendor"), SCOPE) == ()
    assert value_problems(compile_expression("trigger.note"), SCOPE)


def test_an_open_schema_states_only_what_it_lists() -> None:
    """A member that no schema lists may be absent; behind a has() it may be anything."""
    scope = (("trigger", shape_of({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})),)
    (problem,) = condition_problems(compile_expression("trigger.b == 1"), scope)
    assert "does not list it" in problem.text
    assert condition_problems(compile_expression("has(trigger.b) && trigger.b == 1"), scope) == ()


def test_a_schema_that_depends_on_itself_makes_only_values_that_can_come() -> None:
    """`if type is card then number is required`: a condition that relies on it is sound."""
    schema = {
        "type": "object",
        "properties": {"type": {"enum": ["card", "cash"]}, "number": {"type": "string"}},
        "required": ["type"],
        "if": {"properties": {"type": {"const": "card"}}},
        "then": {"required": ["number"]},
    }
    scope = (("trigger", shape_of(schema)),)
    assert condition_problems(compile_expression("trigger.type == 'card' && trigger.number != ''"), scope) == ()
    assert condition_problems(compile_expression("trigger.type == 'cash' && trigger.number != ''"), scope)


def test_what_is_no_json_schema_states_nothing() -> None:
    """An Avro record, or a schema that another check refuses, must not end the check."""
    for schema in ({"type": "record", "fields": []}, {"type": 7}, {"$ref": "#/nowhere"}, True, {}):
        assert condition_problems(compile_expression("trigger.a == 1"), (("trigger", shape_of(schema)),)) == ()


def test_a_schema_that_refers_to_itself_in_many_ways_is_not_followed_for_ever() -> None:
    """Whoever registers a schema must not be able to stop the check of every workflow that reads it."""
    members = {f"m{number}": {"$ref": "#/$defs/x"} for number in range(40)}
    tangled = {"anyOf": [{"$ref": "#/$defs/x"}, *({"$ref": "#/$defs/y"} for _ in range(40))]}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/y"}},
        "$defs": {"x": {"type": "object", "properties": members}, "y": tangled},
    }
    scope = (("trigger", shape_of(schema)),)
    for text in ("has(trigger.a.m1.m2.m3) && trigger.a == trigger.a", "has(trigger.b) && trigger.b == trigger.b"):
        assert condition_problems(compile_expression(text), scope) == ()


# Values

SCALARS = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 3)}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["number", "integer"])},
        optional={"minimum": st.integers(-5, 0), "exclusiveMaximum": st.integers(2, 9)},
    ),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["a", 1, None, True]), min_size=1, unique_by=repr)}),
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(
            lambda members, optional, is_open: {
                "type": "object",
                "properties": members,
                "required": [name for name in members if name not in optional],
                "additionalProperties": is_open,
            },
            st.dictionaries(st.sampled_from("abcd"), inner, min_size=1),
            st.sets(st.sampled_from("abcd")),
            st.booleans(),
        )
        | st.builds(lambda items: {"type": "array", "items": items, "maxItems": 3}, inner)
        | st.builds(lambda some: {"anyOf": some}, st.lists(inner, min_size=1, max_size=2))
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(SCHEMAS)
def test_every_value_that_is_made_is_one_of_its_schema(schema: Any) -> None:
    """An expression refused for a value that cannot come is refused for nothing."""
    values = shape_of(schema).values([()])
    assert values is not None and 0 < len(values) <= MAX_VALUES
    validator = jsonschema_rs.validator_for(json.dumps(schema))
    assert all(validator.is_valid(value) for value in values)


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"type": "boolean"}, [True, False]),
        ({"enum": ["a", "b", None]}, ["a", "b", None]),
        ({"const": 7}, [7]),
        ({"type": "integer", "minimum": 3, "maximum": 5}, [3, 4, 5]),
        ({"type": "string", "maxLength": 0}, [""]),
        ({"type": "string", "pattern": "^[0-9]{3}$"}, ["123"]),
        ({"type": "array", "items": {"const": 1}, "maxItems": 1}, [[1], []]),
    ],
)
def test_the_values_of_a_schema_are_its_bounds(schema: Any, values: list[Any]) -> None:
    """What an expression fails on is rarely in the middle."""
    made = shape_of({"properties": {"x": schema}, "required": ["x"]}).values([("x",)])
    assert made is not None
    assert sorted(map(repr, (value["x"] for value in made))) == sorted(map(repr, values))


def test_numbers_come_integral_and_fractional_and_members_absent() -> None:
    """The three that trip conditions up."""
    made = shape_of(TRIGGER).values([("amount",), ("note",)])
    assert made is not None
    assert {type(value["amount"]) for value in made} == {int, float}
    assert {"note" in value for value in made} == {True, False}
    assert "" in {value.get("note") for value in made}


# Branches that cover everything

DECISION = shape_of(
    {
        "type": "object",
        "properties": {"d": {"enum": ["yes", "no", "later"]}, "n": {"enum": ["a", "b"]}, "p": {"type": "boolean"}},
        "required": ["d", "p"],
        "additionalProperties": False,
    }
)
CONDITIONS = {
    "event.d == 'yes'": lambda d, n, p: d == "yes",
    "event.d != 'yes'": lambda d, n, p: d != "yes",
    "event.d in ['no', 'later']": lambda d, n, p: d in ("no", "later"),
    "event.p": lambda d, n, p: p,
    "!event.p": lambda d, n, p: not p,
    "has(event.n)": lambda d, n, p: n is not None,
    "has(event.n) && event.n == 'a'": lambda d, n, p: n == "a",
    "event.n == 'b'": lambda d, n, p: n == "b",  # fails where it is absent, so it does not hold
    "!has(event.n) || event.n == 'b'": lambda d, n, p: n in (None, "b"),
    "event.d == 'no' && event.p": lambda d, n, p: d == "no" and p,
}


@given(st.lists(st.sampled_from(list(CONDITIONS)), min_size=1, max_size=5, unique=True))
def test_branches_cover_everything_exactly_if_trying_all_says_so(texts: list[str]) -> None:
    """An episode for which no branch holds fails; an "else" that nothing needs is noise."""
    everything = itertools.product(["yes", "no", "later"], ["a", "b", None], [True, False])
    covered = all(any(CONDITIONS[text](*case) for text in texts) for case in everything)
    left = uncovered([compile_expression(text) for text in texts], (("event", DECISION),))
    assert (left == "") is covered
    assert left is not None


def test_numbers_are_never_proven_to_be_covered() -> None:
    """Trying some numbers proves nothing about the others."""
    scope = (("trigger", shape_of(TRIGGER)),)
    assert (
        uncovered([compile_expression("trigger.amount >= 0"), compile_expression("trigger.amount < 0")], scope) is None
    )


def test_one_schema_is_one_shape() -> None:
    """Ten thousand workflows on one topic must not make its values ten thousand times."""
    assert shape_of({"type": "number", "minimum": Decimal("0.5")}) is shape_of({"minimum": 0.5, "type": "number"})
    assert isinstance(shape_of({}), Shape)
