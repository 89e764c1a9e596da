"""What a workflow's subscription lets through: events of other versions start nothing, and that is recorded.

An event that is refused stays in `event_bus`. Once the subscription lists its version, the next execution runs it and
the refusal is gone.
"""

from collections.abc import Collection
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from lake.months import Month
from lake.tables import TRIGGER_REFUSAL
from registry.database import TABLES, Registry, insert_missing
from registry.plans import Plan, PlannedTrigger

VERSION_NOT_ALLOWED = "version_not_allowed"
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
    is_allowed = pl.lit(True) if allowed is None else pl.col("schema_version").is_in(sorted(allowed))
    refused = events.filter(~is_allowed)
    table = TABLES[TRIGGER_REFUSAL.name]
    of_month = (table.c.trigger_id == trigger.trigger_id, table.c.event_month == month)
    with registry.read() as connection:
        recorded: set[str] = set(connection.execute(sa.select(table.c.event_id).where(*of_month)).scalars())
    settled = sorted(recorded - set(refused["event_id"]))
    rows = [
        {
            "trigger_id": trigger.trigger_id,
            "event_id": event_id,
            "workflow_id": plan.workflow_id,
            "topic": trigger.topic,
            "schema_version": version,
            "event_month": month,
            "rule": VERSION_NOT_ALLOWED,
            "message": f"{plan.workflow_id} takes of {trigger.topic} the versions {_listed(allowed)}, not {version}; "
            f"when it can read it, run rwcm schemas subscribe",
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


def _listed(allowed: Collection[int] | None) -> str:
    return ", ".join(map(str, sorted(allowed or ()))) or "none"
