"""Cursors: what a stage saw when it last came by, so that it looks only at what changed.

A cursor is a hint. What is done is read from where it is kept; without cursors everything is looked at again.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from lake.months import Month, parse_month
from lake.tables import CURSOR
from registry.database import TABLES, Registry, upsert


def changed_months(registry: Registry, stage: str, marks: Mapping[Month, str]) -> set[Month]:
    """Return the months whose mark is not the one that the stage remembered; months that vanished included."""
    table = TABLES[CURSOR.name]
    with registry.read() as connection:
        rows = connection.execute(sa.select(table.c.position, table.c.state).where(table.c.stage == stage)).all()
    known = {parse_month(str(position)): state for position, state in rows}
    return {month for month in known.keys() | marks.keys() if known.get(month) != marks.get(month)}


def remember_months(
    registry: Registry, stage: str, marks: Mapping[Month, str], months: Collection[Month], *, now: datetime
) -> None:
    """Remember the marks of `months`; a month without one is forgotten."""
    audit = {"created_at": now, "created_by": stage, "updated_at": now, "updated_by": stage}
    table = TABLES[CURSOR.name]
    with registry.transaction() as connection:
        rows = [
            {"stage": stage, "position": month.isoformat(), "state": marks[month], **audit}
            for month in sorted(months)
            if month in marks
        ]
        upsert(connection, CURSOR, rows)
        for month in set(months) - marks.keys():
            connection.execute(sa.delete(table).where(table.c.stage == stage, table.c.position == month.isoformat()))


WHOLE = "whole"
"""The position of a stage that looks at everything at once."""


def recall(registry: Registry, stage: str) -> str | None:
    """Return what a stage that has no months saw when it last came by, None where it never did."""
    table = TABLES[CURSOR.name]
    with registry.read() as connection:
        return connection.scalar(sa.select(table.c.state).filter_by(stage=stage, position=WHOLE))


def remember(registry: Registry, stage: str, state: str, *, now: datetime) -> None:
    """Remember what a stage that has no months saw, as at most 128 characters."""
    audit = {"created_at": now, "created_by": stage, "updated_at": now, "updated_by": stage}
    with registry.transaction() as connection:
        upsert(connection, CURSOR, [{"stage": stage, "position": WHOLE, "state": state, **audit}])
