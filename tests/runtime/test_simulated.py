"""The simulated adapters by the column: the same as one row at a time would give."""

import json
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.skills.simulated import _compare, _compare_plain

AMOUNTS = st.one_of(
    st.decimals("-999999999", "999999999", places=2).map(str),
    st.decimals("0", "2", places=2).map(str),
    st.integers(-100, 100).map(str),
    st.sampled_from(["null", '"12.50"', "1e3", "12.345", "[1]", "0", "-0.00", "true"]),
)
SHARES = st.one_of(st.decimals("0", "1", places=4).map(str), st.sampled_from(["0.05", "0", "1", "-0.1", "0.00001"]))


@settings(max_examples=300)
@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, SHARES), min_size=1, max_size=8))
def test_amounts_compared_in_whole_cents_are_compared_exactly(sides: list[tuple[str, str, str]]) -> None:
    """An invoice one cent beyond the tolerance would be booked, or a variance rounded the other way."""
    frame = pl.DataFrame(sides, schema=["lhs", "rhs", "allowed"], orient="row")
    for (left, right, allowed), output in zip(sides, _compare_plain(frame)["output"], strict=True):
        if output is None:
            continue  # is compared one at a time
        expected: dict[str, Any] = _compare(*(json.loads(text, parse_float=Decimal) for text in (left, right, allowed)))
        assert json.loads(output, parse_float=Decimal) == json.loads(expected["output"], parse_float=Decimal)


def test_usual_amounts_are_compared_by_the_column() -> None:
    """All rows would take the slow way, and nobody would see it."""
    frame = pl.DataFrame({"lhs": ["104.99", "-3", "1e3"], "rhs": ["100.00", "7.5", "2"], "allowed": ["0.05"] * 3})
    assert _compare_plain(frame)["output"].is_not_null().to_list() == [True, True, False]
