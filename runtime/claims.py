"""Which trigger takes an event: what it listens to, from when on, and which of several comes first.

A trigger whose selector says `supersedes` takes over the events of the triggers that it names, as far as its own
condition holds: an event starts one of them, never both. Whichever has run an event keeps it, also when the narrower
workflow was published meanwhile or is retired later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa

from guard.canonical import parse
from guard.identity import time_ordered_uuid
from lake.months import Month
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import OPEN_EPISODE, RUN_EPISODE, TRIGGER_DEF
from registry.database import TABLES, Registry, fetch
from registry.expressions import Expression, ExpressionFault
from registry.plans import Plan, PlannedTrigger
from runtime.triggers import FIRED, webhook_producer


def listens_to(trigger: PlannedTrigger) -> pl.Expr:
    """Return which rows of `event_bus` start what the trigger names, its condition apart.

    One that was published listens from then on: what happened before was nobody's reason to approve it.
    """
    match trigger.trigger_type:
        case "event":
            listens = pl.col("topic") == trigger.topic
        case "webhook":
            listens = (pl.col("topic") == trigger.topic) & (
                pl.col("producer_id") == webhook_producer(trigger.trigger_id)
            )
        case _:
            is_its_own = pl.col("payload").str.json_path_match("$.trigger_id") == trigger.trigger_id
            listens = (pl.col("topic") == FIRED) & is_its_own
    return listens if trigger.since is None else listens & (pl.col("produced_at") >= trigger.since)


def takes(condition: Expression | None, payloads: pl.Series) -> pl.Series:
    """Return which payloads meet the condition; one that it has no value for does not."""
    if condition is None:
        return pl.repeat(value=True, n=len(payloads), dtype=pl.Boolean, eager=True)

    def holds(payload: str) -> bool:
        try:
            return condition.evaluate({"trigger": parse(payload)}) is True
        except ExpressionFault:
            return False

    return pl.Series([holds(payload) for payload in payloads], dtype=pl.Boolean)


@dataclass(frozen=True)
class Claims:
    """Who comes first among the triggers of the workflows that run, and among those that ran.

    Attributes:
        superseding: trigger -> active triggers that take its events over.
        rivals: trigger -> (trigger, workflow) of every trigger, of whatever version, that supersedes it or that it
            supersedes: an event that one of them has run is settled.
    """

    superseding: Mapping[str, tuple[PlannedTrigger, ...]]
    rivals: Mapping[str, frozenset[tuple[str, str]]]

    @classmethod
    def of(cls, registry: Registry, plans: Sequence[Plan]) -> "Claims":
        table = TABLES[TRIGGER_DEF.name]
        with registry.read() as connection:
            rows = fetch(connection, sa.select(table.c.trigger_id, table.c.workflow_id, table.c.selector))
        workflows = {trigger_id: workflow_id for trigger_id, workflow_id, _ in rows}
        rivals: dict[str, set[tuple[str, str]]] = {}
        for trigger_id, workflow_id, selector in rows:
            for superseded in parse(selector).get("supersedes", ()):
                rivals.setdefault(superseded, set()).add((trigger_id, workflow_id))
                if superseded in workflows:
                    rivals.setdefault(trigger_id, set()).add((superseded, workflows[superseded]))
        superseding: dict[str, list[PlannedTrigger]] = {}
        for plan in plans:
            for trigger in plan.triggers:
                for superseded in trigger.supersedes:
                    superseding.setdefault(superseded, []).append(trigger)
        return cls(
            {name: tuple(found) for name, found in superseding.items()},
            {name: frozenset(found) for name, found in rivals.items()},
        )

    def left_to(
        self, trigger: PlannedTrigger, events: pl.DataFrame, month: Month, *, lake: Lake, registry: Registry
    ) -> pl.DataFrame:
        """Return those of a month's `events`, which the trigger takes, that no other has run and none comes before."""
        rivals = self.rivals.get(trigger.trigger_id)
        if not rivals or events.is_empty():
            return events
        run = (
            lake.scan(RUN_EPISODE, months=[month], columns=["trigger_id", "trigger_event_id", MONTH])
            .filter(pl.col("trigger_id").is_in([name for name, _ in rivals]))
            .collect()
        )
        left = events.join(run, left_on="event_id", right_on="trigger_event_id", how="anti", maintain_order="left")
        table = TABLES[OPEN_EPISODE.name]
        query = sa.select(table.c.episode_id).where(
            table.c.workflow_id.in_({workflow_id for _, workflow_id in rivals}), table.c.episode_month == month
        )
        with registry.read() as connection:
            waiting = {episode_id for (episode_id,) in fetch(connection, query)}
        is_left = [
            not any(time_ordered_uuid(at, name, event_id) in waiting for name, _ in rivals)
            for event_id, at in left.select("event_id", "produced_at").iter_rows()
        ]
        left = left.filter(pl.Series(is_left, dtype=pl.Boolean))
        for first in self.superseding.get(trigger.trigger_id, ()):
            is_its = takes(first.condition, left["payload"])
            if first.since is not None:
                is_its &= left["produced_at"] >= first.since
            left = left.filter(~is_its)
        return left
