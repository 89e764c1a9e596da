"""The purge as a job: dry unless told, complete to the last byte, and nothing comes back after it."""

import json
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from dagster_project.instance import RunFailed, run_job
from dagster_project.platform import Platform
from dagster_project.purging import planned
from dagster_project.schedules import SWITCH, UnknownSwitch, daily_purge
from ingest.demonstration import MONTHS
from lake.home import Home
from lake.months import add_months, month_of
from lake.retention import Decision
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import (
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    LOGS,
    PUBLICATION_QUEUE,
    PURGE_RECEIPT,
    REFLECTION_LOG,
    RUN_EPISODE,
    STEP_RUN,
)
from registry.access import Principal
from registry.database import Registry
from registry.retention import set_hold

MARK = "zx-marked-zx"
LAWYER = Principal("u-law", "person", "LGL-M-001")


def purge(home: Home, **config: Any) -> dict[str, Any]:
    done = run_job(home, "purge", config={"ops": {"purge_receipt": {"config": config}}} if config else {})
    return dict(done["purge_receipt"])


def served(home: Home, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home.served_db), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def land_marked(home: Home) -> None:
    """Land an invoice and a record that is refused, both marked, in the demonstration's first month."""
    first = add_months(month_of(Platform(home).now()), -MONTHS)
    at = datetime(first.year, first.month, 20, 8, tzinfo=UTC)
    payload = {"invoice_uri": f"s3://{MARK}/1", "vendor_id": "VEND-1", "po_id": f"PO-{MARK}"}
    event = {"event_id": "marked", "topic": "ap.invoice.received", "produced_at": at.isoformat(), "producer_id": "m"}
    good = json.dumps(event | {"payload": payload | {"received_at": at.isoformat()}})
    bad = json.dumps(event | {"event_id": "refused", "payload": payload | {"vendor_id": 7}})
    # Under its own name a file is removed when all its records were accepted: this one is kept for its dead letter.
    Platform(home).landing.put("marked.ndjson", f"{good}\n{bad}\n".encode(), received_at=at)


def contents(home: Home) -> Iterator[tuple[Path, bytes]]:
    """Yield what every file of a home holds: as it lies on disk, and unpacked."""
    for folder, _, names in os.walk(home.root):
        if Path(folder).is_relative_to(home.simulated):
            continue  # what other systems hold
        for path in (Path(folder, name) for name in names):
            if path.is_symlink():
                continue
            raw = path.read_bytes()
            yield path, raw
            if raw.startswith(b"\x1f\x8b"):
                yield path, zlib.decompressobj(31).decompress(raw)  # as far as it goes: the stream has broken files
            elif path.suffix == ".parquet":
                yield path, str(pl.read_parquet(path, glob=False, hive_partitioning=False).to_dicts()).encode()
            elif path.suffix == ".duckdb":
                with duckdb.connect(str(path), read_only=True) as connection:
                    tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
                    for schema, table in tables:
                        yield path, str(connection.execute(f'from "{schema}"."{table}"').fetchall()).encode()


def marked(home: Home) -> set[str]:
    """Return the parts of a home in which the mark is found."""
    return {path.relative_to(home.root).parts[0] for path, held in contents(home) if MARK.encode() in held}


def test_a_mark_in_what_was_purged_is_found_nowhere_in_the_home(copied_world: Home) -> None:
    """Erased data would live on in an old file, a log, a free page, a copy or a raw file."""
    land_marked(copied_world)
    run_job(copied_world, "loop", config={})
    assert marked(copied_world) >= {"lake", "landing"}, "or nothing would be shown by its absence"

    purge(copied_world, dry_run=False)

    assert marked(copied_world) == set()


def test_a_purged_event_that_is_sent_again_is_refused_and_runs_nothing_again(copied_world: Home) -> None:
    """An invoice would be paid twice, because nobody remembers the first time."""
    land_marked(copied_world)
    run_job(copied_world, "loop", config={})
    purge(copied_world, dry_run=False)
    before = {spec.name: Lake(copied_world.lake).scan(spec).collect().height for spec in (EVENT_BUS, RUN_EPISODE)}

    land_marked(copied_world)
    done = run_job(copied_world, "loop", config={})

    records = done["event_bus"]
    assert (records["records_read"], records["records_accepted"], records["records_rejected"]) == (2, 0, 2)
    assert done["event_dead_letter"]["rules"] == {"month_purged": 1, "payload_schema": 1}
    announced = done["outbox"]["records_accepted"]
    after = {spec.name: Lake(copied_world.lake).scan(spec).collect().height for spec in (EVENT_BUS, RUN_EPISODE)}
    assert after == {EVENT_BUS.name: before[EVENT_BUS.name] + announced, RUN_EPISODE.name: before[RUN_EPISODE.name]}


def test_a_purge_is_dry_unless_told_and_shows_what_would_go(copied_world: Home) -> None:
    """A click in the UI would delete."""
    before = {spec.name: Lake(copied_world.lake).version(spec) for spec in LOGS}
    done = purge(copied_world)
    assert done["is_dry"] is True
    assert {spec.name: Lake(copied_world.lake).version(spec) for spec in LOGS} == before
    platform = Platform(copied_world)
    plan = planned(platform)
    assert {(c.table_name, c.retention) for c in plan} == {
        ("event_bus", "events"),
        ("event_dead_letter", "events"),
        ("step_run", "telemetry"),
        ("landing", "pii"),
    }
    shown = [record.data for record in done["candidates"].records]
    assert sorted((r["table"], r["month"], r["class"], r["rows"], r["became"]) for r in shown) == [
        (c.table_name, f"{c.month:%Y-%m}", c.retention, c.rows, "would go") for c in plan
    ]
    assert (done["months"], done["rows"]) == (len(plan), sum(c.rows for c in plan))
    receipts = Lake(copied_world.lake).scan(PURGE_RECEIPT).collect()
    assert receipts.height == done["dagster/row_count"] == len(plan)
    assert receipts["is_dry"].all()
    assert purge(copied_world)["dagster/row_count"] == len(plan), "the same plan leaves no second receipt"


def test_the_plan_is_what_the_limits_leave_of_the_rows(copied_world: Home) -> None:
    """A month would go that is not over, or stay although it is: counted from the rows, by day."""
    lake, today = Lake(copied_world.lake), Platform(copied_world).now().date()
    expected = {}
    for spec, days in ((EVENT_BUS, 400), (EVENT_DEAD_LETTER, 400), (STEP_RUN, 365)):
        for month, rows in lake.scan(spec, columns=[MONTH, "created_at"]).collect().group_by(MONTH):
            newest = rows["created_at"].max()
            assert isinstance(newest, datetime)
            if newest.date() + timedelta(days=days) < today:
                expected[spec.name, month[0]] = (rows.height, newest.date())
    plan = [c for c in planned(Platform(copied_world)) if c.table_name != "landing"]
    assert {(c.table_name, c.month): (c.rows, c.through_on) for c in plan} == expected
    assert {c.decision for c in plan} == {Decision.PURGE}
    raw = [c for c in planned(Platform(copied_world)) if c.table_name == "landing"]
    kept = [
        path
        for path in (copied_world.landing / "claimed").rglob("*")
        if path.is_file() and datetime.fromtimestamp(path.stat().st_mtime, UTC).date() + timedelta(days=180) < today
    ]
    assert sum(c.rows for c in raw) == len(kept) > 0


def test_a_held_month_survives_whole_and_what_is_past_beside_it_goes(copied_world: Home) -> None:
    """Evidence would be deleted while a court waits for it."""
    lake, registry = Lake(copied_world.lake), Registry.open(copied_world.registry_db)
    plan = planned(Platform(copied_world))
    held = next(c.month for c in plan if c.table_name == "event_bus" and c.month > min(x.month for x in plan))
    month = f"{held:%Y-%m}"
    set_hold(registry, lake, LAWYER, table_name="*", first=month, last=month, reason="C-1", now=datetime.now(UTC))
    before = {spec.name: lake.scan(spec, months=[held]).collect() for spec in (EVENT_BUS, STEP_RUN)}

    done = purge(copied_world, dry_run=False)

    assert done["held"] == sum(c.month == held for c in plan) > 0
    for spec in (EVENT_BUS, STEP_RUN):
        assert lake.scan(spec, months=[held]).collect().equals(before[spec.name]), spec.name
    assert list(copied_world.telemetry.glob(f"yyyy={held:%Y}/mm={held:%m}/dd=*/*.gz"))
    left = served(copied_world, "select distinct month, decision from marts.purge_candidates")
    assert left == [(held, "held")]
    months = {m for m in lake.stats(EVENT_BUS) if m}
    assert {c.month for c in plan if c.table_name == "event_bus"} & months == {held}


def test_nothing_comes_back_after_a_purge(copied_world: Home) -> None:
    """Purged rows would live on in the marts, be derived again, or be learned from as if they had changed."""
    lake, registry = Lake(copied_world.lake), Registry.open(copied_world.registry_db)
    plan = planned(Platform(copied_world))
    episodes, queue = lake.scan(RUN_EPISODE).collect(), registry.frame(PUBLICATION_QUEUE)
    insights = lake.scan(REFLECTION_LOG).collect()
    kpis = served(copied_world, "from marts.workflow_kpi_monthly order by all")
    steps = served(copied_world, "select count(*) from marts.mv_step_telemetry")

    purge(copied_world, dry_run=False)

    letters = served(copied_world, "select sum(records) from marts.dead_letter_reason")
    assert letters == [(lake.scan(EVENT_DEAD_LETTER).collect().height,)]
    assert served(copied_world, "from marts.workflow_kpi_monthly order by all") == kpis, "figures are a record"
    assert served(copied_world, "select count(*) from marts.mv_step_telemetry") == steps
    gone = {c.month for c in plan if c.table_name == "step_run"}
    for month in gone:
        assert not list(copied_world.telemetry.glob(f"yyyy={month:%Y}/mm={month:%m}/dd=*"))
    assert list(copied_world.telemetry.rglob("*.gz"))

    done = run_job(copied_world, "loop", config={})
    assert done["run_episode"]["rows_added"] == done["publication_queue"]["proposals_new"] == 0
    assert done["reflection_log"]["rows_added"] == 0
    assert lake.scan(RUN_EPISODE).collect().sort("episode_id").equals(episodes.sort("episode_id"))
    assert lake.scan(REFLECTION_LOG).collect().height == insights.height
    assert registry.frame(PUBLICATION_QUEUE).equals(queue)
    receipts = lake.scan(PURGE_RECEIPT).collect()
    assert receipts.height == len(plan)
    again = purge(copied_world, dry_run=False)
    assert (again["months"], again["marts_made_anew"]) == (0, False)
    assert lake.scan(PURGE_RECEIPT).collect().equals(receipts)
    told = served(copied_world, "select count(*) from marts.audit_trail where topic = 'retention.purged'")
    assert told == [(len(plan),)]


def test_a_purge_by_a_stale_plan_fails_with_the_way_out(copied_world: Home) -> None:
    """Rows that nobody saw in the plan would go with it."""
    lake = Lake(copied_world.lake)
    (month,) = [m for m in lake.stats(EVENT_BUS) if m == min(x for x in lake.stats(EVENT_BUS) if x)]
    late = lake.scan(EVENT_BUS, months=[month]).head(1).collect().drop(MONTH).with_columns(event_id=pl.lit("late"))
    lake.append(EVENT_BUS, late, batch_id="B")
    with pytest.raises(RunFailed, match=r"the plan for event_bus is stale.*run the job serve"):
        purge(copied_world, dry_run=False)
    assert lake.scan(PURGE_RECEIPT).collect().is_empty()


def test_a_home_without_a_plan_has_nothing_to_purge(tmp_path: Path) -> None:
    """The first night of a new installation would end in red."""
    assert purge(Home(tmp_path / "home").prepare(), dry_run=False)["months"] == 0


def test_the_schedule_is_dry_until_the_installation_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade would begin to delete at night."""

    def asked() -> tuple[str | None, bool]:
        context = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 12, 31, 2, 30, tzinfo=UTC))
        request = daily_purge(context)
        assert isinstance(request, dg.RunRequest)
        return request.run_key, request.run_config["ops"]["purge_receipt"]["config"]["dry_run"]

    for setting, is_dry in ((None, True), ("", True), ("dry", True), ("apply", False)):
        if setting is None:
            monkeypatch.delenv(SWITCH, raising=False)
        else:
            monkeypatch.setenv(SWITCH, setting)
        assert asked() == ("purge:2025-12-31", is_dry)
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(UnknownSwitch, match="set it to apply or dry"):
        asked()
