"""Erasure: what goes from the lake goes from its files. Delete or overwrite, then `vacuum(full=True)` at once.

A light vacuum leaves what failed commits orphaned, and a later one leaves what is purged readable for a week by its
version. Everything runs under the table's lock, so that no writer has files that no commit names yet. Whoever reads an
older version of the table, as a build of the marts does, must be kept away by the caller.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
from deltalake import CommitProperties, DeltaTable

from lake.months import Month
from lake.retention import ERASED, Candidate, Holding, Retained
from lake.spec import MONTH, Kind, Retention
from lake.store import Lake, writer
from lake.tables import STEP_RUN

_NEWEST, _OLDEST = "max.created_at", "min.created_at"
_IMPORTED = "time_source <> 'event'"


@dataclass(frozen=True)
class DataFile:
    """A file that held what goes."""

    path: str
    bytes: int
    sha256: str


def files_of(lake: Lake, holding: Holding, month: Month) -> list[DataFile]:
    """Return the data files of a month with the hash of what is in them."""
    found = []
    for path, size in (
        lake.files(holding.spec).filter(pl.col(MONTH) == month).sort("path").select("path", "size_bytes").rows()
    ):
        with (lake.path(holding.spec) / path).open("rb") as file:
            found.append(DataFile(path, size, hashlib.file_digest(file, "sha256").hexdigest()))
    return found


def remove(lake: Lake, holding: Holding, candidate: Candidate, *, reasons: Mapping[str, str]) -> None:
    """Delete the candidate's rows, or overwrite their columns; a second time changes nothing.

    Args:
        reasons: what the Delta commit says of why and by whom.
    """
    with lake.lock(holding.spec):
        table = DeltaTable(str(lake.path(holding.spec)))
        because = CommitProperties(custom_metadata=dict(reasons))
        of_month = f"{MONTH} = DATE '{candidate.month.isoformat()}'"
        if holding.action == "delete":
            table.delete(of_month, commit_properties=because)
        else:
            # The cast, because Delta compares only times of one unit.
            end = f"{end_of(candidate.through_on):%Y-%m-%dT%H:%M:%SZ}"
            is_past = f"created_at < arrow_cast('{end}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
            table.update(
                updates=_erased(holding),
                predicate=f"{of_month} AND {is_past} AND ({_holds(holding)})",
                writer_properties=writer(holding.spec),
                commit_properties=because,
            )


def vacuum(lake: Lake, holding: Holding) -> int:
    """Delete every file of the table that its latest version does not name; return how many went."""
    with lake.lock(holding.spec):
        table = DeltaTable(str(lake.path(holding.spec)))
        return len(table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True))


def measure(
    lake: Lake, holdings: Iterable[Holding], *, before: Iterable[Retained], erased: Mapping[Month, date]
) -> list[Retained]:
    """Return what the lake holds of each of `holdings`, by month and, of personal data, by day of recording.

    Whole months are read from the Delta log. Of personal data a month is read again only when its files changed.

    Args:
        before: what was measured last time.
        erased: per month of `step_run`, the day through which its telemetry was erased by a receipt; only there is it
            looked for what is left.
    """
    known: dict[tuple[str, str, Month], list[Retained]] = {}
    for row in before:
        known.setdefault((row.table_name, row.retention, row.month), []).append(row)
    found: list[Retained] = []
    for holding in holdings:
        marks = lake.fingerprints(holding.spec)
        bounds = _bounds(lake, holding) if not holding.is_daily else {}
        for month, fingerprint in sorted(marks.items()):
            name, retention = holding.spec.name, holding.retention.value
            if not holding.is_daily and not (holding.retention is Retention.TELEMETRY and month in erased):
                rows, oldest, newest = bounds[month]
                found.append(Retained(name, retention, month, newest, oldest, rows, fingerprint))
                continue
            last = known.get((name, retention, month), [])
            if last and last[0].fingerprint == fingerprint:
                found += last
            else:
                found += _counted(lake, holding, month, fingerprint)
    return found


def _bounds(lake: Lake, holding: Holding) -> dict[Month, tuple[int, date, date]]:
    """Return rows, oldest and newest day of recording of each month."""
    by_month = (
        lake.files(holding.spec)
        .group_by(MONTH)
        .agg(pl.col("num_records").sum(), pl.col(_OLDEST).min().dt.date(), pl.col(_NEWEST).max().dt.date())
    )
    return {month: (rows, oldest, newest) for month, rows, oldest, newest in by_month.iter_rows()}


def _counted(lake: Lake, holding: Holding, month: Month, fingerprint: str) -> list[Retained]:
    """Return the rows of a month that hold something to erase: by day of recording, or together for a whole month.

    A month that holds nothing is told with no rows, so that it is known the next time.
    """
    condition = pl.sql_expr(_holds(holding))
    recorded = (
        lake.scan(holding.spec, months=[month])
        .filter(condition)
        .select(pl.col("created_at").dt.date().alias("day"))
        .group_by("day")
        .len()
        .sort("day")
        .collect(engine="streaming")
    )
    name, retention = holding.spec.name, holding.retention.value
    if recorded.is_empty():
        return [Retained(name, retention, month, month, month, 0, fingerprint)]
    days: list[date] = recorded["day"].to_list()
    if holding.is_daily:
        return [Retained(name, retention, month, on, on, rows, fingerprint) for on, rows in recorded.iter_rows()]
    return [Retained(name, retention, month, days[-1], days[0], int(recorded["len"].sum()), fingerprint)]


def _holds(holding: Holding) -> str:
    """Return the condition on rows that hold something to erase, in the SQL that Delta and Polars share."""
    conditions = []
    for column in holding.columns:
        if column.kind is not Kind.JSON:
            conditions.append(f"{column.name} IS NOT NULL")
        else:
            present = f"({column.name} IS NOT NULL AND {column.name} <> '{ERASED}')"
            conditions.append(f"({_IMPORTED} AND {present})" if is_of_imports(holding, column.name) else present)
    return " OR ".join(conditions)


def _erased(holding: Holding) -> dict[str, str]:
    """Return what each column becomes. A JSON text says that it was erased, one that was absent stays so."""
    updates = {}
    for column in holding.columns:
        if column.kind is not Kind.JSON:
            updates[column.name] = "NULL"
            continue
        stays = f"{column.name} IS NULL"
        if is_of_imports(holding, column.name):
            stays += f" OR NOT ({_IMPORTED})"
        updates[column.name] = f"CASE WHEN {stays} THEN {column.name} ELSE '{ERASED}' END"
    return updates


def is_of_imports(holding: Holding, column: str) -> bool:
    """Return whether the column is personal in imported rows alone.

    What a step was given is redacted at the door; what a log says of its event never passed it.
    """
    return holding.retention is Retention.PII and (holding.spec.name, column) == (STEP_RUN.name, "input")


def end_of(day: date) -> datetime:
    """Return the first moment after a day."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)
