"""Purging a home: each table in turn, then everything that was derived from what went.

It knows no orchestrator: the assets and `rwcm retention apply` call the same functions.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import polars as pl
from filelock import FileLock

from dagster_project.platform import Platform
from ingest.expiry import KEY as RAW_FILES
from ingest.expiry import RawFiles
from lake.months import Month
from lake.retention import HOLDABLE, Candidate
from lake.spec import TableSpec
from lake.tables import DERIVED, EVENT_BUS, MIRRORED, RETAINED_DATA, SCHEMA_CONSUMER, STEP_RUN
from lake.transform import Transformation, build_lock
from lake.warehouse import mart_rows, publish
from registry.purging import Outcome, Store, candidate_of, lake_stores, purge, retained_frame
from registry.retention import holds_in_force
from registry.schema_check import standings_frame
from runtime.telemetry import export_telemetry
from synthesis.learning import carry_marks, marks_of

log = logging.getLogger("rwcm.retention")

MART = "purge_candidates"
SERVED_SCHEMAS = ("marts",)
TABLES = HOLDABLE
"""What is purged, in order: events before what they led to."""
GONE = frozenset({"purged", "gone before"})
"""What a purge says of a candidate that is no more."""


def mirrored_frames(platform: Platform) -> dict[TableSpec, pl.DataFrame]:
    """Return the rows of every table that the lake holds beside the logs, for the marts."""
    frames = {spec: platform.registry.frame(spec) for spec in MIRRORED}
    frames[SCHEMA_CONSUMER] = standings_frame(platform.registry)
    frames[RETAINED_DATA] = retained_frame(platform.lake, platform.registry)
    assert frames.keys() == {*MIRRORED, *DERIVED}
    return frames


def planned(platform: Platform) -> list[Candidate]:
    """Return the plan that everybody can read: the rows of the served mart, in order, under the holds of this moment.

    Raises:
        WarehouseMissing: nothing was published yet, so that there is no plan.
    """
    with platform.registry.read() as connection:
        holds = holds_in_force(connection)
    found = [candidate_of(row).under(holds) for row in mart_rows(platform.home.served_db, MART)]
    return sorted(found, key=lambda candidate: candidate.key)


@contextmanager
def _alone(platform: Platform) -> Iterator[None]:
    """Keep out another purge of the home, and builds of the marts: they read versions that a vacuum ends."""
    with FileLock(platform.home.root / ".purge.lock"), build_lock(platform.home):
        yield


def purge_table(
    platform: Platform, table_name: str, candidates: Sequence[Candidate], *, is_dry: bool, actor: str
) -> list[Outcome]:
    """Purge what the plan says of one table; return what became of each candidate.

    Raises:
        StalePlan: the plan is not about what is there now; nothing of the table went.
    """
    stores: dict[tuple[str, str], Store] = lake_stores(platform.lake, platform.registry)
    stores[RAW_FILES] = RawFiles(platform.landing, platform.registry, now=platform.now())
    with _alone(platform):
        before = marks_of(platform.lake)
        # No batch is under way while events go: it judges by what was purged when it began.
        with platform.landing.lock() if table_name == EVENT_BUS.name and not is_dry else nullcontext():
            outcomes = purge(
                candidates,
                table_name=table_name,
                stores=stores,
                lake=platform.lake,
                registry=platform.registry,
                is_dry=is_dry,
                actor=actor,
                now=platform.now(),
            )
        if not is_dry:
            carry_marks(platform.lake, platform.registry, before, now=platform.now())
    for outcome in outcomes:
        log.info("%s %s: %s", table_name, f"{outcome.candidate.month:%Y-%m}", outcome.became)
    return outcomes


def purge_home(platform: Platform, *, is_dry: bool, actor: str) -> list[Outcome]:
    """Purge every table by the plan and derive anew what was derived from it; return what became of each candidate.

    Raises:
        StalePlan: of a table. Those before it are purged, and what was derived from them is made anew all the same.
        WarehouseMissing: there is no plan.
    """
    candidates = planned(platform)
    outcomes: list[Outcome] = []
    try:
        for table_name in TABLES:
            outcomes += purge_table(platform, table_name, candidates, is_dry=is_dry, actor=actor)
    finally:
        if not is_dry:
            derive_anew(platform, [(o.candidate.table_name, o.candidate.month) for o in outcomes if o.became in GONE])
    return outcomes


def derive_anew(platform: Platform, gone: Sequence[tuple[str, Month]]) -> bool:
    """Make telemetry files, mirror, marts, what is served and the dashboard forget what went; return whether needed.

    The build file is made anew: rows that a model no longer holds stay in a DuckDB file's free pages.

    Args:
        gone: table and month of everything that went, now or in a run that was interrupted.
    """
    if not gone:
        return False
    months = {month for table_name, month in gone if table_name == STEP_RUN.name}
    export_telemetry(
        platform.lake, platform.registry, platform.home.telemetry, now=platform.now(), months=sorted(months)
    )
    for spec, rows in mirrored_frames(platform).items():
        platform.lake.mirror(spec, rows)
    transformation = Transformation(platform.home)
    transformation.forget()
    transformation.build([])
    with build_lock(platform.home):
        publish(platform.home.build_db, platform.home.served_db, schemas=SERVED_SCHEMAS)
    if platform.home.dashboard.exists():
        from dashboard.page import write  # the drawing library takes a second to import

        write(platform.home.served_db, platform.home.dashboard)
    return True
