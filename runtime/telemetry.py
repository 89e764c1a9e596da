"""The telemetry lake: what every attempt of a step measured, verbatim, as JSON by day for tools that read no Delta.

    telemetry/yyyy=2025/mm=03/dd=01/step_run.ndjson.gz

One line is one row of `step_run`, and its shape is the registered subject `telemetry.step_run`. The files are derived
from the table and can be deleted: a month whose rows changed is written again, a day that lost its rows goes. A row
whose telemetry was purged is in no file.
"""

import gzip
import logging
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from lake.months import Month
from lake.retention import ERASED
from lake.store import Lake
from lake.tables import STEP_RUN
from registry.cursors import changed_months, remember_months
from registry.database import Registry

log = logging.getLogger("rwcm.runtime")

SUBJECT = "telemetry.step_run"
STAGE = "telemetry"
FILE = "step_run.ndjson.gz"
ROWS_TOGETHER = 100_000
_COLUMNS = (
    "step_run_id",
    "episode_id",
    "workflow_id",
    "workflow_version",
    "step_id",
    "agent_id",
    "seq",
    "attempt",
    "status",
    "started_at",
    "ended_at",
    "error_code",
)
_TIMES = ("started_at", "ended_at")


@dataclass
class TelemetryExport:
    """What an export wrote: rows per month that was looked at, and the days that hold some."""

    rows: dict[Month, int] = field(default_factory=dict)
    days: int = 0


def export_telemetry(
    lake: Lake, registry: Registry, folder: Path, *, now: datetime, months: Iterable[Month] = ()
) -> TelemetryExport:
    """Write the days of every month whose step runs changed, and of `months`, to `folder`.

    The same rows give the same bytes, and a reader sees a day's file whole or not at all.
    """
    marks = lake.fingerprints(STEP_RUN)
    changed = changed_months(registry, STAGE, marks) | set(months)
    done = TelemetryExport()
    for month in sorted(changed):
        days = _days(lake, month) if month in marks else {}
        for day in days:
            _write_day(lake, month, day, folder)
        _drop_other_days(folder, month, days)
        done.rows[month] = sum(days.values())
        done.days += len(days)
        log.info("telemetry of %s: %s step runs on %d days", f"{month:%Y-%m}", f"{done.rows[month]:,}", len(days))
    remember_months(registry, STAGE, marks, changed, now=now)
    return done


def day_folder(folder: Path, day: date) -> Path:
    """Return the folder of a day."""
    return folder / f"yyyy={day:%Y}" / f"mm={day:%m}" / f"dd={day:%d}"


def _days(lake: Lake, month: Month) -> dict[date, int]:
    """Return the days of a month that hold step runs, with their number."""
    counted = (
        lake.scan(STEP_RUN, months=[month], columns=["started_at", "telemetry"])
        .filter(pl.col("telemetry") != ERASED)
        .group_by(pl.col("started_at").dt.date().alias("day"))
        .len()
        .sort("day")
        .collect(engine="streaming")
    )
    return dict(counted.iter_rows())


def _write_day(lake: Lake, month: Month, day: date, folder: Path) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = (
        lake.scan(STEP_RUN, months=[month], columns=[*_COLUMNS, "telemetry"])
        .filter(
            pl.col("started_at").is_between(start, start + timedelta(days=1), closed="left"),
            pl.col("telemetry") != ERASED,
        )
        .sort("started_at", "episode_id", "seq", "attempt")
        .collect(engine="streaming")
    )
    place = day_folder(folder, day) / FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        # No name and no time in the header: the same rows give the same bytes.
        with partial.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            for part in rows.iter_slices(ROWS_TOGETHER):
                file.write(("\n".join(_lines(part)) + "\n").encode())
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _lines(rows: pl.DataFrame) -> Sequence[str]:
    """Return a JSON text per row. Telemetry is put in as it stands, since a parser would round what it measured."""
    times = [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in _TIMES]
    named = rows.with_columns(times).select(pl.struct(_COLUMNS).struct.json_encode()).to_series()
    closed = named.str.head(-1) + ',"telemetry":' + rows["telemetry"] + "}"
    return closed.to_list()


def _drop_other_days(folder: Path, month: Month, days: Iterable[date]) -> None:
    """Delete the days of a month that hold no step run any more."""
    kept = {day_folder(folder, day).name for day in days}
    for place in day_folder(folder, month).parent.glob("dd=*"):
        if place.name not in kept:
            shutil.rmtree(place)
