"""Lateness and watermarks: how far behind the world the events of a topic are."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from lake.months import Month
from lake.store import Lake
from lake.tables import EVENT_BUS

BUCKETS: tuple[tuple[str, timedelta], ...] = (
    ("within a minute", timedelta(minutes=1)),
    ("within an hour", timedelta(hours=1)),
    ("within a day", timedelta(days=1)),
    ("within a week", timedelta(weeks=1)),
    ("within 30 days", timedelta(days=30)),
)
"""How late an event may be to count for a bucket: less than its limit, and no less than the one before."""
LATER = "later"
LABELS = (*(label for label, _ in BUCKETS), LATER)


@dataclass(frozen=True)
class TopicLateness:
    """The events of a topic in some months, by how long after they happened they arrived.

    Attributes:
        watermark: the latest `produced_at` of the topic.
        median_s: median lateness in seconds; negative where a producer's clock is ahead.
        events: number of events per label of `LABELS`, in their order.
    """

    topic: str
    watermark: datetime
    median_s: float
    events: tuple[int, ...]


def lateness(lake: Lake, months: Collection[Month]) -> list[TopicLateness]:
    """Return the lateness of the events of `months` by topic; arrival is when their file landed."""
    late = (pl.col("created_at") - pl.col("produced_at")).alias("late")
    bucket = pl.lit(len(BUCKETS), dtype=pl.Int8)
    for index in range(len(BUCKETS) - 1, -1, -1):
        bucket = pl.when(pl.col("late") < BUCKETS[index][1]).then(pl.lit(index, dtype=pl.Int8)).otherwise(bucket)
    counts = [(pl.col("bucket") == index).sum().alias(label) for index, label in enumerate(LABELS)]
    found = (
        lake.scan(EVENT_BUS, months=months, columns=["topic", "produced_at", "created_at"])
        .with_columns(late)
        .with_columns(bucket.alias("bucket"))
        .group_by("topic")
        .agg(
            pl.col("produced_at").max().alias("watermark"),
            (pl.col("late").median().dt.total_microseconds() / 1_000_000).alias("median_s"),
            *counts,
        )
        .sort("topic")
        .collect(engine="streaming")
    )
    return [
        TopicLateness(topic, watermark, median_s, tuple(events))
        for topic, watermark, median_s, *events in found.iter_rows()
    ]
