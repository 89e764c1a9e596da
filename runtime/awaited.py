"""Awaited events: what the event bus holds for those who wait, by the value that they correlate by."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from lake.months import Month
from lake.store import Lake
from lake.tables import EVENT_BUS
from registry.steps import Await
from runtime.documents import Documents
from runtime.engine import AWAITED, await_keys

CARRYING = pl.Schema({**AWAITED, "event_id": pl.String(), "schema_version": pl.Int32()})


class AwaitedEvents:
    """The events of awaited topics; each topic is read once, from the first month that can matter."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._topics: dict[tuple[str, ...], tuple[Month, pl.DataFrame]] = {}

    def carrying(self, wait: Await, keys: Sequence[str], *, since: Month = date.min) -> pl.DataFrame:
        """Return the events of the await's topic (`CARRYING`) that carry one of `keys`.

        Args:
            since: month in which the first of the episodes began; what happened before is about something else.
        """
        members = tuple(wait.correlate)
        known = self._topics.get((wait.event, *members))
        if known is None or known[0] > since:
            known = self._topics[wait.event, *members] = since, self._read(wait.event, members, since)
        wanted = pl.DataFrame({"key": keys}, schema={"key": pl.String}).unique()
        return known[1].join(wanted, on="key", how="semi")

    def _read(self, topic: str, members: Sequence[str], since: Month) -> pl.DataFrame:
        columns = ["topic", "event_id", "payload", "produced_at", "schema_version"]
        months = [month for month in self._lake.fingerprints(EVENT_BUS) if month >= since]
        events = self._lake.scan(EVENT_BUS, months=months, columns=columns).filter(pl.col("topic") == topic).collect()
        documents = Documents(events["payload"])
        keys = await_keys([documents.member([member]) for member in members])
        return (
            events.select(keys.alias("key"), "event_id", "schema_version", "payload", at="produced_at")
            .select(CARRYING.names())
            .drop_nulls("key")
        )
