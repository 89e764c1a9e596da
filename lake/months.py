"""Months: the unit in which the lake is partitioned, rebuilt and purged.

A month is the `datetime.date` of its first day, in UTC. Every window is half-open, `[start, end)`, so a row on the
boundary belongs to exactly one month.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import TypeAlias

Month: TypeAlias = date
"""The first day of a calendar month in UTC."""

_MONTH = re.compile(r"\d{4}-\d\d(-\d\d)?", re.ASCII)


def month_of(moment: datetime | date) -> Month:
    """Return the month that holds `moment`; a time with a zone is taken to UTC first."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{moment.isoformat()} has no zone; a month is a month of UTC")
        moment = moment.astimezone(UTC)
    return date(moment.year, moment.month, 1)


def next_month(month: Month) -> Month:
    """Return the month after `month`, which is also the exclusive end of its window."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def month_range(first: Month, last: Month) -> Iterator[Month]:
    """Yield the months from `first` to `last`, both included."""
    month = first
    while month < last:
        yield month
        month = next_month(month)
    if month == last:
        yield month  # without a look at the month after, which December 9999 has not


def add_months(month: Month, count: int) -> Month:
    """Return the month `count` months after `month`; a negative count goes back."""
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def contiguous(months: Iterable[Month]) -> list[tuple[Month, Month]]:
    """Return `months` as the fewest `(first, last)` runs without a gap, in order.

    A log of 2011 and events of today are two runs: whoever walks a run month by month never visits the years between.
    """
    runs: list[tuple[Month, Month]] = []
    for month in sorted(set(months)):
        if runs and next_month(runs[-1][1]) == month:
            runs[-1] = (runs[-1][0], month)
        else:
            runs.append((month, month))
    return runs


def parse_month(text: str) -> Month:
    """Return the month written as `YYYY-MM` or `YYYY-MM-DD`.

    Raises:
        ValueError: the text is neither.
    """
    try:
        if not _MONTH.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text if len(text) == len("YYYY-MM-DD") else f"{text}-01").replace(day=1)
    except ValueError:
        raise ValueError(f"{text!r} is no month; write it as 2025-03") from None
