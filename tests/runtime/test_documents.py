"""Documents: JSON text is the truth, and what is not asked for is not decoded."""

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import canonical, parse
from runtime.documents import Column, Documents, are_objects, codes_of, encode

NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=6)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('aé"\\\n€ ', max_size=3), inner, max_size=4),
    max_leaves=12,
)


def column(*texts: str | None) -> Documents:
    return Documents(pl.Series(texts, dtype=pl.String))


def test_a_member_is_found_by_its_path() -> None:
    """A parameter would be bound to nothing."""
    documents = column('{"entities": {"amount": 10.50}}', "{}", None)
    assert documents.member(["entities", "amount"]).to_list() == ["10.50", None, None]
    assert documents.member([]).to_list() == ['{"entities": {"amount": 10.50}}', "{}", None]
    assert len(documents) == 3


def test_null_and_absent_are_told_apart() -> None:
    """A condition on an absent member has no value; one on null has."""
    documents = column('{"a": null}', "{}")
    assert documents.member(["a"]).to_list() == ["null", None]
    assert documents.member(["a", "b"]).to_list() == [None, None]


def test_a_path_ends_at_what_is_no_object() -> None:
    """`output.items.0` of a list, or a letter of a text, would be taken for a member."""
    documents = column('{"items": ["x"], "text": "abc", "n": 1}')
    for path in (["items", "0"], ["text", "a"], ["n", "a"]):
        assert documents.member(path).to_list() == [None]


def test_numbers_keep_every_digit() -> None:
    """An order of 9,007,199,254,740,993 would be compared as another number, 0.1 as a little more."""
    documents = column('{"big": 9007199254740993, "long": 0.12345678901234567890, "wide": 1e400}')
    found = [Column(documents.member([name])).values for name in ("big", "long", "wide")]
    assert found == [[9007199254740993], [Decimal("0.12345678901234567890")], [Decimal("1e400")]]


def test_one_odd_text_does_not_hide_the_others() -> None:
    """A pretty-printed payload, or one with an odd name, would cost its whole batch the member."""
    documents = column('{"a":\n  1}', '{"\\u0061": 2, "b\\"": 3}', '  {"b\\"": {"a" : 4 }}\n', '{"a": {}}')
    assert documents.member(["a"]).to_list() == ["1", "2", None, "{}"]
    assert documents.member(['b"']).to_list() == [None, "3", '{"a" : 4 }', None]
    assert documents.member(['b"', "a"]).to_list() == [None, None, "4", None]


@given(st.lists(st.none() | st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), max_size=6))
def test_a_column_says_what_each_text_says_alone(objects: list[dict[str, Any] | None]) -> None:
    """Who shares a batch would change what a step reads."""
    texts = [None if item is None else encode(item) for item in objects]
    for path in (["a"], ["a", "b"], ["c", "", "a"]):
        found = Column(column(*texts).member(path)).values
        assert list(map(canonical, found)) == [canonical(_at(item, path)) for item in objects]


def _at(value: Any, path: list[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@pytest.mark.parametrize(
    "text",
    ["", " ", "[1]", "1", "{}{}", "{} {}", '{"a":', '{"a":NaN}', '{"a":1,}', '{"a":[{}', "{]}", '{"a":"\\x"}', "{}x"],
)
def test_what_is_no_object_is_told_from_its_neighbours(text: str) -> None:
    """Half an answer would be stored as one, or fail everybody in its batch."""
    neighbours = ["{}", '{"a": 1}', text, ' {"b":\n2}\n', "{} {}", text, '{"c": {}}']
    assert are_objects(pl.Series(neighbours)).to_list() == [True, True, False, True, False, False, True]


def test_distinct_rows_are_told_by_their_texts() -> None:
    """A condition would be evaluated for one row and answered for another."""
    columns = [pl.Series(["a", None, "a", "b", None, "a"]), pl.Series(["1", "1", "1", "1", "1", None])]
    firsts, codes = codes_of(columns)
    assert (firsts.to_list(), codes.to_list()) == ([0, 1, 3, 5], [0, 1, 0, 2, 1, 3])


def test_a_column_is_a_list_of_values() -> None:
    """A skill that goes row by row would need to know how the engine keeps them."""
    given = Column(pl.Series(['"x"', None, "1.50", "null"]))
    assert given == ["x", None, Decimal("1.50"), None]
    assert (given[2], len(given), list(given.take([2, 0]))) == (Decimal("1.50"), 4, [Decimal("1.50"), "x"])
    assert Column.repeat(["a"], 2) == [["a"], ["a"]]
    values, codes = Column(pl.Series(["1", "2", "1"])).distinct()
    assert (values, codes.to_list()) == ([1, 2], [0, 1, 0])


@given(VALUES)
def test_what_is_encoded_is_the_same_value(value: Any) -> None:
    """An output that was put down with a waiting episode would come back as another."""
    assert canonical(parse(encode(value))) == canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_what_json_has_no_word_for_is_refused(value: Any) -> None:
    """A table's JSON column would hold text that no parser takes."""
    with pytest.raises(ValueError, match="JSON"):
        encode({"amount": [value]})
