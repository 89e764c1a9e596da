"""An identifier follows from what it names: the same twice, another for anything else."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.identity import NAMESPACE, name_uuid, name_uuids, time_ordered_uuid

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))
NAMES = st.text(st.characters(exclude_categories=["Cs"]))


def test_the_namespace_never_changes() -> None:
    """Every id ever stored would be another one, and every import a duplicate under a new name."""
    assert uuid.UUID("6f1d3d0e-5a3b-5a0c-9a4e-2b6f0c7e7d11") == NAMESPACE


def test_a_name_is_a_version_5_uuid_over_lengths_and_parts() -> None:
    """The rule is public: others compute the same id, as the standard library does here."""
    assert name_uuid("WF-LOG-a", "NA") == str(uuid.uuid5(NAMESPACE, "8:WF-LOG-a2:NA"))
    assert uuid.UUID(name_uuid("x")).version == 5


@given(st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=4))
def test_different_parts_have_different_names(one: list[str], other: list[str]) -> None:
    """("ab", "c") and ("a", "bc") as one name would make two cases one episode."""
    assert (name_uuid(*one) == name_uuid(*other)) == (one == other)


def test_a_column_of_names_is_named_one_by_one_in_order() -> None:
    """Ids shifted by a row would give every case the events of its neighbour."""
    names = ["b", "a", "NA", "b", ""]
    assert name_uuids("scope", names) == [name_uuid("scope", name) for name in names]
    assert name_uuids("scope", []) == []


@given(MOMENTS, NAMES)
@example(datetime(2038, 4, 27, 17, 14, 57, 246_000, tzinfo=UTC), "a float of it is too small")
def test_a_time_ordered_id_is_a_version_7_uuid_of_its_millisecond(moment: datetime, name: str) -> None:
    """Readers take the time from the id; a rounding error would put an episode into the millisecond before."""
    named = uuid.UUID(time_ordered_uuid(moment, name))
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert named.int >> 80 == since_epoch // timedelta(milliseconds=1)
    assert (named.version, named.variant) == (7, uuid.RFC_4122)


@given(MOMENTS, MOMENTS)
def test_ids_sort_by_time(one: datetime, other: datetime) -> None:
    """Tables sorted by id would not be sorted by time."""
    earlier, later = sorted([one, other])
    if later - earlier >= timedelta(milliseconds=1):
        assert time_ordered_uuid(earlier, "z") < time_ordered_uuid(later, "a")


@given(MOMENTS, st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=3))
def test_ids_of_one_moment_differ_by_what_they_name(moment: datetime, one: list[str], other: list[str]) -> None:
    """Two events of one millisecond would start one episode."""
    assert (time_ordered_uuid(moment, *one) == time_ordered_uuid(moment, *other)) == (one == other)


def test_a_moment_is_the_same_in_every_zone() -> None:
    """The id of an episode would depend on how its producer writes the time."""
    utc = datetime(2025, 3, 1, 9, 30, tzinfo=UTC)
    assert time_ordered_uuid(utc, "x") == time_ordered_uuid(utc.astimezone(timezone(timedelta(hours=2))), "x")


def test_a_time_without_a_zone_is_refused() -> None:
    """It would be taken for local time, and the id would depend on the machine."""
    with pytest.raises(TypeError, match="naive"):
        time_ordered_uuid(datetime(2025, 3, 1), "x")
