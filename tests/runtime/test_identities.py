"""Identifiers by the column: what is stored must be found again by what computes one at a time."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.canonical import canonical, digest, digest_text
from guard.identity import name_uuid, time_ordered_uuid
from runtime.documents import encode
from runtime.identities import canonical_digests, digests_under, hexadecimal, name_uuids, seeds_of, time_ordered_uuids

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-100, 100),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.decimals(-100, 100, places=2),
    st.from_regex(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).map(Decimal),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.tuples(MOMENTS, NAMES, NAMES), max_size=5))
def test_ids_of_columns_are_those_of_single_names(rows: list[tuple[datetime, str, str]]) -> None:
    """An episode that runs again after a crash would have another id, and be recorded twice."""
    frame = pl.DataFrame(rows, schema={"at": pl.Datetime("us", "UTC"), "a": pl.String, "b": pl.String}, orient="row")
    assert name_uuids(frame["a"], frame["b"]).to_list() == [name_uuid(a, b) for _, a, b in rows]
    expected = [time_ordered_uuid(at, a, b) for at, a, b in rows]
    assert time_ordered_uuids(frame["at"], frame["a"], frame["b"]).to_list() == expected
    assert seeds_of(frame["a"]).to_list() == [int(digest_text(a)[:15], 16) for _, a, _ in rows]


@settings(max_examples=400)
@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=4), st.booleans())
def test_hashes_of_payloads_are_those_of_their_canonical_form(payloads: list[dict[str, object]], spaced: bool) -> None:
    """Two episodes with one context would differ in their hash, by how a producer spells a number or a name."""
    texts = pl.Series([encode(payload) for payload in payloads], dtype=pl.String)
    if spaced:
        texts = pl.Series([f" {text} " for text in texts], dtype=pl.String)
    assert canonical_digests(texts) == [digest(payload) for payload in payloads]
    expected = [digest_text(f"under\n{digest_text(canonical(payload))}") for payload in payloads]
    assert digests_under("under\n", texts).to_list() == expected


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_numbers_are_written_with_sixteen_digits(numbers: list[int]) -> None:
    """A record's name would change its length, or its digits their order."""
    assert hexadecimal(pl.Series(numbers, dtype=pl.UInt64)).to_list() == [f"{number:016x}" for number in numbers]
