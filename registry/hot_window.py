"""The hot window: the last 90 days of the logs in the registry database, by whole months, for point lookups.

It is a copy of what the lake holds, and is made equal to it as often as one likes: rows that are missing are added,
rows that the lake took back go. A month that is past is dropped once the lake is seen to hold every row of it, values
included. A step run leaves with its episode.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from lake.months import Month, month_of
from lake.spec import MONTH, Kind, TableSpec
from lake.store import Lake
from lake.tables import HOT_WINDOW, RUN_EPISODE, STEP_RUN
from registry import postgresql
from registry.cursors import changed_months, remember_months
from registry.database import TABLES, Registry, fetch, insert_missing
from registry.tables import database_of

KEPT = timedelta(days=90)
CHUNK_ROWS = 5_000
"""Rows per transaction: whoever else writes gets a turn between two of them."""
_KEYS_AT_ONCE = 500
_STAGE = "hot_window."


class NotInLake(RuntimeError):
    """A month that is past cannot be dropped: the lake does not hold all of it. Nothing was dropped."""

    def __init__(self, table: str, month: Month, rows: int) -> None:
        super().__init__(
            f"{table} {month:%Y-%m} stays in the hot window: {rows:,} of its rows are not the lake's; "
            f"repair the lake's month, or delete the rows if the lake is right"
        )
        self.table = table
        self.month = month
        self.rows = rows


@dataclass
class Refreshed:
    """What a refresh did, in rows by table, and the months that the window now begins and went without."""

    first: Month
    added: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    dropped: list[Month] = field(default_factory=list)


def refresh(registry: Registry, lake: Lake, *, now: datetime) -> Refreshed:
    """Make the window hold what the lake holds of the last 90 days, and drop the months before.

    Only months whose files changed since the last time are compared.

    Raises:
        NotInLake: a month that is past holds rows that the lake does not; those after it are filled all the same.
    """
    done = Refreshed(month_of(now - KEPT))
    marks = {spec.name: lake.fingerprints(spec) for spec in HOT_WINDOW}
    months: dict[str, set[Month]] = {}
    for spec in HOT_WINDOW:
        changed = changed_months(registry, _STAGE + spec.name, marks[spec.name])
        months[spec.name] = {month for month in changed if month >= done.first}
    # Step runs go before their episodes, and come after them.
    for spec in reversed(HOT_WINDOW):
        done.removed[spec.name] = sum(_remove(registry, lake, spec, month) for month in sorted(months[spec.name]))
    for spec in HOT_WINDOW:
        done.added[spec.name] = sum(
            _add(registry, lake, spec, month, done.first) for month in sorted(months[spec.name])
        )
        remember_months(registry, _STAGE + spec.name, marks[spec.name], months[spec.name], now=now)
    done.dropped = drop_before(registry, lake, done.first)
    return done


def ensure_months(connection: sa.Connection, spec: TableSpec, months: Iterable[Month]) -> None:
    """Make room for rows of `months`: PostgreSQL keeps each in a partition of its own."""
    if database_of(connection) == "postgresql":
        postgresql.ensure_partitions(connection, spec.name, months)


def months_held(connection: sa.Connection, spec: TableSpec) -> list[Month]:
    """Return the months that the window has of a table, in order."""
    if database_of(connection) == "postgresql":
        return sorted(postgresql.partitions(connection, spec.name))
    month = TABLES[spec.name].c[MONTH]
    return list(connection.scalars(sa.select(month).distinct().order_by(month)))


def drop_before(registry: Registry, lake: Lake, first: Month) -> list[Month]:
    """Drop the months before `first`, oldest first, each from all tables at once; return them.

    Raises:
        NotInLake: the lake does not hold all of a month; that one and those after it stay.
    """
    with registry.read() as connection:
        past = sorted({m for spec in HOT_WINDOW for m in months_held(connection, spec) if m < first})
    for month in past:
        for spec in HOT_WINDOW:
            if missing := _missing_in_lake(registry, lake, spec, month):
                raise NotInLake(spec.name, month, missing)
        with registry.transaction() as connection:
            for spec in reversed(HOT_WINDOW):
                if database_of(connection) == "postgresql":
                    postgresql.drop_partition(connection, spec.name, month)
                connection.execute(sa.delete(TABLES[spec.name]).where(_leaves_with(spec, month)))
    return past


def _leaves_with(spec: TableSpec, month: Month) -> sa.ColumnElement[bool]:
    """Return the condition on rows that go with a month: step runs go with that of their episode, too."""
    table = TABLES[spec.name]
    of_month = table.c[MONTH] == month
    return sa.or_(of_month, table.c.episode_month == month) if spec is STEP_RUN else of_month


def _held(registry: Registry, spec: TableSpec, rows_of: sa.ColumnElement[bool], names: Iterable[str]) -> pl.DataFrame:
    table = TABLES[spec.name]
    chosen = list(names)
    with registry.read() as connection:
        rows = fetch(connection, sa.select(*(table.c[name] for name in chosen)).where(rows_of))
    schema = spec.polars_schema()
    return pl.DataFrame(rows, schema={name: schema[name] for name in chosen}, orient="row")


def _remove(registry: Registry, lake: Lake, spec: TableSpec, month: Month) -> int:
    """Remove the rows of a month that the lake does not hold any more; return how many."""
    key = list(spec.key)
    held = _held(registry, spec, TABLES[spec.name].c[MONTH] == month, key)
    if held.is_empty():
        return 0
    gone = held.join(lake.scan(spec, months=[month], columns=key).collect(), on=key, how="anti")
    for chunk in gone.iter_slices(_KEYS_AT_ONCE):
        rows = chunk.rows()
        with registry.transaction() as connection:
            if spec is RUN_EPISODE:
                steps = TABLES[STEP_RUN.name]
                connection.execute(sa.delete(steps).where(steps.c.episode_id.in_([row[0] for row in rows])))
            table = TABLES[spec.name]
            named = sa.tuple_(*(table.c[name] for name in key)).in_(rows)
            connection.execute(sa.delete(table).where(named, table.c[MONTH] == month))
    return gone.height


def _add(registry: Registry, lake: Lake, spec: TableSpec, month: Month, first: Month) -> int:
    """Add the rows of a month that the window lacks; return how many."""
    key = list(spec.key)
    rows = lake.scan(spec, months=[month])
    if spec is STEP_RUN:
        rows = rows.filter(pl.col("episode_month") >= first)
    held = _held(registry, spec, TABLES[spec.name].c[MONTH] == month, key)
    missing = rows.join(held.lazy(), on=key, how="anti").collect()
    if missing.height:
        with registry.transaction() as connection:
            ensure_months(connection, spec, [month])
    added = 0
    for chunk in missing.iter_slices(CHUNK_ROWS):
        with registry.transaction() as connection:
            added += insert_missing(connection, spec, chunk.to_dicts())
    return added


def _missing_in_lake(registry: Registry, lake: Lake, spec: TableSpec, month: Month) -> int:
    """Return how many rows that would go with a month the lake does not hold with the same values.

    Ratios are left out: the database rounds them up.
    """
    names = [column.name for column in spec.columns if column.kind is not Kind.RATIO] + [MONTH]
    held = _held(registry, spec, _leaves_with(spec, month), names)
    if held.is_empty():
        return 0
    kept = lake.scan(spec, months=held[MONTH].unique().to_list(), columns=names).collect()
    return held.join(kept, on=names, how="anti", nulls_equal=True).height


def counts(registry: Registry) -> Mapping[str, Any]:
    """Return the rows and months of the window, by table."""
    found = {}
    with registry.read() as connection:
        for spec in HOT_WINDOW:
            rows = connection.scalar(sa.select(sa.func.count()).select_from(TABLES[spec.name]))
            found[spec.name] = {"rows": rows, "months": [f"{m:%Y-%m}" for m in months_held(connection, spec)]}
    return found
