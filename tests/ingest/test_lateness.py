"""Lateness: counted by hand from arrivals and times that were chosen."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ingest.lateness import LABELS, TopicLateness, lateness
from lake.store import Lake
from lake.tables import EVENT_BUS

ARRIVAL = datetime(2025, 3, 31, 12, tzinfo=UTC)
MARCH = date(2025, 3, 1)
INSTANT = timedelta(microseconds=1)


def arrived(lake: Lake, *late: tuple[str, timedelta]) -> None:
    row: dict[str, Any] = {c.name: c.default or ("x" if c.length else 1) for c in EVENT_BUS.columns}
    rows = [
        row
        | {
            "event_id": f"{topic}/{number}",
            "topic": topic,
            "payload": "{}",
            "produced_at": ARRIVAL - by,
            "created_at": ARRIVAL,
        }
        for number, (topic, by) in enumerate(late)
    ]
    schema = {name: kind for name, kind in EVENT_BUS.polars_schema().items() if name != "month"}
    lake.append(EVENT_BUS, pl.DataFrame(rows, schema=schema), batch_id="B-1")


def test_an_event_counts_for_the_first_limit_that_it_keeps(tmp_path: Path) -> None:
    """An event on a boundary would count twice, or for none; the shares would not be of all."""
    lake = Lake(tmp_path)
    minute, hour, day, week = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
    late = [-hour, minute - INSTANT, minute, hour - INSTANT, hour, day, week, timedelta(days=30)]
    arrived(lake, *(("a", by) for by in late))
    (found,) = lateness(lake, [MARCH])
    assert dict(zip(LABELS, found.events, strict=True)) == {
        "within a minute": 2,
        "within an hour": 2,
        "within a day": 1,
        "within a week": 1,
        "within 30 days": 1,
        "later": 1,
    }
    assert found.watermark == ARRIVAL + hour


def test_topics_stand_apart_and_other_months_are_not_looked_at(tmp_path: Path) -> None:
    """A slow producer would hide behind a fast one, and every run would read all of history."""
    lake = Lake(tmp_path)
    arrived(lake, ("a", timedelta(seconds=1)), ("a", timedelta(seconds=3)), ("b", timedelta(days=2)))
    arrived(lake, ("c", timedelta(days=100)))
    assert lateness(lake, [MARCH]) == [
        TopicLateness("a", ARRIVAL - timedelta(seconds=1), 2.0, (2, 0, 0, 0, 0, 0)),
        TopicLateness("b", ARRIVAL - timedelta(days=2), 172_800.0, (0, 0, 0, 1, 0, 0)),
    ]


def test_a_table_that_is_not_there_has_no_lateness(tmp_path: Path) -> None:
    """The first run of a home would fail."""
    assert lateness(Lake(tmp_path), [MARCH]) == []
