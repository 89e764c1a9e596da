"""Documents: JSON text is the truth, and what is not asked for is not decoded."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import canonical, parse
from runtime.documents import Documents, encode

NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=6)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('aé"\\\n€ ', max_size=3), inner, max_size=4),
    max_leaves=12,
)


def test_a_member_is_found_by_its_path() -> None:
    """A parameter would be bound to nothing."""
    documents = Documents(['{"entities": {"amount": 10.50}}', "{}", None])
    assert documents.member(0, ["entities", "amount"]) == (True, Decimal("10.50"))
    assert documents.member(0, []) == (True, {"entities": {"amount": Decimal("10.50")}})
    assert documents.member(1, ["entities", "amount"]) == (False, None)
    assert documents.member(2, ["entities"]) == (False, None)
    assert documents.value(2) is None
    assert len(documents) == 3


def test_null_and_absent_are_told_apart() -> None:
    """A condition on an absent member has no value; one on null has."""
    documents = Documents(['{"a": null}'])
    assert documents.member(0, ["a"]) == (True, None)
    assert documents.member(0, ["b"]) == (False, None)
    assert documents.member(0, ["a", "b"]) == (False, None)


def test_a_path_ends_at_what_is_no_object() -> None:
    """`output.items.0` of a list, or a letter of a text, would be taken for a member."""
    documents = Documents(['{"items": ["x"], "text": "abc"}'])
    assert documents.member(0, ["items", "0"]) == (False, None)
    assert documents.member(0, ["text", "a"]) == (False, None)


def test_numbers_keep_every_digit() -> None:
    """An order of 9,007,199,254,740,993 would be compared as another number, 0.1 as a little more."""
    (value,) = [Documents(['{"big": 9007199254740993, "long": 0.12345678901234567890}']).value(0)]
    assert value == {"big": 9007199254740993, "long": Decimal("0.12345678901234567890")}
    assert encode(value) == '{"big":9007199254740993,"long":0.12345678901234567890}'


def test_a_new_text_replaces_what_was_decoded() -> None:
    """A step would be routed by the output of the step before."""
    documents = Documents(['{"pass": false}', None])
    assert documents.member(0, ["pass"]) == (True, False)
    documents.put(0, '{"pass": true}')
    documents.put(1, '{"pass": 1}')
    assert documents.member(0, ["pass"]) == (True, True)
    assert documents.member(1, ["pass"]) == (True, 1)
    assert documents.text(0) == '{"pass": true}'


def test_what_nobody_asks_for_is_not_decoded() -> None:
    """A million payloads would be parsed to route by one member of an output."""
    documents = Documents(["this is no JSON", '{"a": 1}'])
    assert documents.member(1, ["a"]) == (True, 1)
    assert documents.text(0) == "this is no JSON"


@given(VALUES)
def test_what_is_encoded_is_the_same_value(value: Any) -> None:
    """An output that was put down with a waiting episode would come back as another."""
    assert canonical(parse(encode(value))) == canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_what_json_has_no_word_for_is_refused(value: Any) -> None:
    """A table's JSON column would hold text that no parser takes."""
    with pytest.raises(ValueError, match="JSON"):
        encode({"amount": [value]})
