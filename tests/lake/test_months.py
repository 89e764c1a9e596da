"""A month is a half-open window of UTC: every moment belongs to exactly one."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.months import add_months, contiguous, month_of, month_range, next_month, parse_month

MONTHS = st.dates(date(1, 1, 1), date(9999, 11, 30)).map(lambda day: day.replace(day=1))


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2025, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC), date(2025, 3, 1)),
        (datetime(2025, 4, 1, tzinfo=UTC), date(2025, 4, 1)),
        (datetime(2025, 4, 1, 1, 59, 59, tzinfo=timezone(timedelta(hours=2))), date(2025, 3, 1)),
        (datetime(2025, 4, 1, 2, tzinfo=timezone(timedelta(hours=2))), date(2025, 4, 1)),
        (datetime(2024, 12, 31, 20, tzinfo=timezone(timedelta(hours=-5))), date(2025, 1, 1)),
        (datetime(1948, 5, 9, tzinfo=UTC), date(1948, 5, 1)),
        (date(2025, 2, 28), date(2025, 2, 1)),
    ],
)
def test_a_moment_belongs_to_its_month_of_utc(moment: datetime | date, month: date) -> None:
    """A row on the boundary would be in two partitions, or in none that is rebuilt."""
    assert month_of(moment) == month


def test_a_time_without_a_zone_has_no_month() -> None:
    """Guessing one would move rows between months with the machine's settings."""
    with pytest.raises(ValueError, match="no zone"):
        month_of(datetime(2025, 3, 1))


@given(st.datetimes(datetime(1, 2, 1), datetime(9999, 11, 30), timezones=st.just(UTC)))
def test_a_moment_lies_in_the_window_of_its_month(moment: datetime) -> None:
    """The window of a month is what is rebuilt; a row outside of it would stay as it was."""
    month = month_of(moment)
    assert month.day == 1
    assert month <= moment.date() < next_month(month)


def test_the_year_turns_after_december() -> None:
    """The thirteenth month would stop every job each January."""
    assert next_month(date(2024, 12, 1)) == date(2025, 1, 1)
    assert add_months(date(2025, 1, 1), -1) == date(2024, 12, 1)
    assert add_months(date(2025, 1, 1), -25) == date(2022, 12, 1)
    assert add_months(date(2024, 11, 1), 18) == date(2026, 5, 1)


@given(MONTHS, st.integers(-100, 100))
def test_adding_months_is_stepping_from_month_to_month(month: date, count: int) -> None:
    """Retention counts in months; an error of one purges what must still be kept."""
    if not 1 < month.year + count // 12 < 9999:
        return
    there = add_months(month, count)
    first, last = sorted([month, there])
    assert len(list(month_range(first, last))) == abs(count) + 1
    assert add_months(there, -count) == month


def test_a_range_holds_both_ends_and_nothing_if_they_are_reversed() -> None:
    """Partitions are listed from it."""
    assert list(month_range(date(2024, 11, 1), date(2025, 1, 1))) == [
        date(2024, 11, 1),
        date(2024, 12, 1),
        date(2025, 1, 1),
    ]
    assert list(month_range(date(2025, 1, 1), date(2025, 1, 1))) == [date(2025, 1, 1)]
    assert list(month_range(date(2025, 2, 1), date(2025, 1, 1))) == []
    assert list(month_range(date(9999, 11, 1), date(9999, 12, 1))) == [date(9999, 11, 1), date(9999, 12, 1)]


def test_runs_of_months_break_where_a_month_is_missing() -> None:
    """A log of 2011 beside the events of today must not make anybody walk the years between."""
    months = [date(2025, 1, 1), date(2011, 10, 1), date(2024, 12, 1), date(2025, 3, 1), date(2025, 1, 1)]
    assert contiguous(months) == [
        (date(2011, 10, 1), date(2011, 10, 1)),
        (date(2024, 12, 1), date(2025, 1, 1)),
        (date(2025, 3, 1), date(2025, 3, 1)),
    ]
    assert contiguous([]) == []


@given(st.sets(st.integers(0, 60)))
def test_runs_hold_every_month_once_and_no_other(offsets: set[int]) -> None:
    """A month left out of the runs would never be built."""
    months = {add_months(date(2020, 1, 1), offset) for offset in offsets}
    runs = contiguous(months)
    listed = [month for first, last in runs for month in month_range(first, last)]
    assert listed == sorted(months)
    assert all(next_month(last) < first for (_, last), (first, _) in pairwise(runs))


@pytest.mark.parametrize("text", ["2025-03", "2025-03-01", "2025-03-31"])
def test_a_month_is_read_from_a_month_or_a_day(text: str) -> None:
    """RWCM_FIRST_MONTH and partition keys are written either way."""
    assert parse_month(text) == date(2025, 3, 1)


@pytest.mark.parametrize(
    "text",
    ["", "2025", "2025-13", "2025-3", "2025-03-99", "2025-02-29", "2025-03-01-01", "march", "2025-03-x", " 2025-03"],
)
def test_anything_else_is_no_month_and_the_message_says_how_to_write_one(text: str) -> None:
    """A typing error would silently become another month."""
    with pytest.raises(ValueError, match="write it as 2025-03"):
        parse_month(text)
