"""What a workflow's subscription lets through: events of other versions start and resume nothing, and that is recorded.

An event that is refused stays in `event_bus`. Once the subscription lists its version, the next execution takes it and
the refusal is gone. An episode whose wait ended meanwhile went on without it; then the refusal says why.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from lake.months import Month
from lake.tables import TRIGGER_REFUSAL
from registry.consumers import Allowlists
from registry.database import TABLES, Registry, fetch, insert_missing
from registry.plans import Plan, PlannedTrigger
from registry.steps import Await

VERSION_NOT_ALLOWED = "version_not_allowed"
AWAIT_VERSION_NOT_ALLOWED = "await_version_not_allowed"
_AT_ONCE = 500


def let_through(
    registry: Registry,
    plan: Plan,
    trigger: PlannedTrigger,
    month: Month,
    events: pl.DataFrame,
    allowed: Collection[int] | None,
    *,
    now: datetime,
    created_by: str,
) -> pl.DataFrame:
    """Return the events of the versions that the workflow takes; the others are what `trigger_refusal` holds now.

    Args:
        events: all events of the month that the trigger takes and that have no episode yet, with `schema_version`.
        allowed: versions that the workflow's subscription lists; None if it declares none and takes all.
    """
    is_allowed = _is_listed(allowed)
    refused = events.filter(~is_allowed)
    table = TABLES[TRIGGER_REFUSAL.name]
    of_month = (table.c.trigger_id == trigger.trigger_id, table.c.event_month == month)
    with registry.read() as connection:
        recorded: set[str] = set(connection.execute(sa.select(table.c.event_id).where(*of_month)).scalars())
    settled = sorted(recorded - set(refused["event_id"]))
    rows = [
        {
            **_refusal(plan, trigger.topic, version, allowed, VERSION_NOT_ALLOWED),
            "trigger_id": trigger.trigger_id,
            "event_id": event_id,
            "event_month": month,
            "created_at": now,
            "created_by": created_by,
        }
        for event_id, version in refused.select("event_id", "schema_version").iter_rows()
        if event_id not in recorded
    ]
    if rows or settled:
        with registry.transaction() as connection:
            for start in range(0, len(settled), _AT_ONCE):
                gone = table.c.event_id.in_(settled[start : start + _AT_ONCE])
                connection.execute(sa.delete(table).where(*of_month, gone))
            insert_missing(connection, TRIGGER_REFUSAL, rows)
    return events.filter(is_allowed)


def _is_listed(allowed: Collection[int] | None) -> pl.Expr:
    """Return which events a workflow takes, by `schema_version`."""
    return pl.lit(True) if allowed is None else pl.col("schema_version").is_in(sorted(allowed))


class AwaitRefusals:
    """Events that an episode waits for and must not have, gathered during an execution and recorded at its end."""

    def __init__(self, allowed: Allowlists) -> None:
        self._allowed = allowed
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}

    def let_through(self, plan: Plan, wait: Await, events: pl.DataFrame) -> pl.DataFrame:
        """Return the events that the workflow takes of those that an episode of it waits for.

        Args:
            events: with `event_id`, `at` and `schema_version`.
        """
        allowed = self._allowed.get((plan.workflow_id, wait.event))
        step_id = next(step.step_id for step in plan.steps if step.logic.awaits == wait)
        for event_id, at, version in (
            events.filter(~_is_listed(allowed)).select("event_id", "at", "schema_version").rows()
        ):
            self._rows[step_id, event_id] = {
                **_refusal(plan, wait.event, version, allowed, AWAIT_VERSION_NOT_ALLOWED),
                "trigger_id": step_id,
                "event_id": event_id,
                "event_month": at.date().replace(day=1),
            }
        return events.filter(_is_listed(allowed))

    def record(self, registry: Registry, *, now: datetime, created_by: str) -> None:
        """Record what was refused; what was refused before and would be taken now is a refusal no more."""
        table = TABLES[TRIGGER_REFUSAL.name]
        names = ("trigger_id", "event_id", "workflow_id", "topic", "schema_version")
        query = sa.select(*(table.c[name] for name in names)).where(table.c.rule == AWAIT_VERSION_NOT_ALLOWED)
        with registry.read() as connection:
            recorded = fetch(connection, query)
        settled = [
            (step_id, event_id)
            for step_id, event_id, workflow_id, topic, version in recorded
            if version in self._allowed.get((workflow_id, topic), (version,))
        ]
        new = self._rows.keys() - {(step_id, event_id) for step_id, event_id, *_ in recorded}
        rows = [{**self._rows[key], "created_at": now, "created_by": created_by} for key in sorted(new)]
        if rows or settled:
            with registry.transaction() as connection:
                for step_id, event_id in settled:
                    connection.execute(sa.delete(table).filter_by(trigger_id=step_id, event_id=event_id))
                insert_missing(connection, TRIGGER_REFUSAL, rows)


def _refusal(plan: Plan, topic: str | None, version: int, allowed: Collection[int] | None, rule: str) -> dict[str, Any]:
    return {
        "workflow_id": plan.workflow_id,
        "topic": topic,
        "schema_version": version,
        "rule": rule,
        "message": f"{plan.workflow_id} takes of {topic} the versions {_listed(allowed)}, not {version}; "
        f"when it can read it, run rwcm schemas subscribe",
    }


def _listed(allowed: Collection[int] | None) -> str:
    return ", ".join(map(str, sorted(allowed or ()))) or "none"
