"""Awaited events: what the event bus holds for those who wait, by the value that they correlate by."""

from collections.abc import Sequence

import polars as pl

from lake.store import Lake
from lake.tables import EVENT_BUS
from registry.steps import Await
from runtime.documents import Documents
from runtime.engine import AWAITED, await_keys

CARRYING = pl.Schema({**AWAITED, "event_id": pl.String(), "schema_version": pl.Int32()})


class AwaitedEvents:
    """The events of awaited topics; each topic is read once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._topics: dict[tuple[str, ...], pl.DataFrame] = {}

    def carrying(self, wait: Await, keys: Sequence[str]) -> pl.DataFrame:
        """Return the events of the await's topic (`CARRYING`) that carry one of `keys`."""
        members = tuple(wait.correlate)
        if (wait.event, *members) not in self._topics:
            self._topics[wait.event, *members] = self._read(wait.event, members)
        wanted = pl.DataFrame({"key": keys}, schema={"key": pl.String}).unique()
        return self._topics[wait.event, *members].join(wanted, on="key", how="semi")

    def _read(self, topic: str, members: Sequence[str]) -> pl.DataFrame:
        columns = ["topic", "event_id", "payload", "produced_at", "schema_version"]
        events = self._lake.scan(EVENT_BUS, columns=columns).filter(pl.col("topic") == topic).collect()
        documents = Documents(events["payload"])
        keys = await_keys([documents.member([member]) for member in members])
        return (
            events.select(keys.alias("key"), "event_id", "schema_version", "payload", at="produced_at")
            .select(CARRYING.names())
            .drop_nulls("key")
        )
