"""The loop as jobs: what a run records, what a second run changes, and what a failed one leaves."""

import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from dagster_project.definitions import defs
from dagster_project.instance import RunFailed, prepare_instance, run_job
from dagster_project.platform import Platform
from lake.home import Home
from lake.spec import MONTH, TableSpec
from lake.store import Lake
from lake.tables import (
    BATCH,
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    LOGS,
    OBJECT_VERSION,
    OPEN_EPISODE,
    OUTBOX,
    PUBLICATION_QUEUE,
    RUN_EPISODE,
    STEP_RUN,
)
from registry.database import Registry
from tests.conftest import EVENTS, demonstrate

ROOT = Path(__file__).parents[2]


def versions(home: Home) -> dict[str, int | None]:
    return {spec.name: Lake(home.lake).version(spec) for spec in LOGS}


def months(home: Home, spec: TableSpec) -> set[str]:
    return {month.isoformat() for month in Lake(home.lake).scan(spec, columns=[MONTH]).collect()[MONTH].unique()}


def served(home: Home, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(home.served_db), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_run_records_a_materialisation_of_every_month_it_touched(world: Home) -> None:
    """The UI would show months as missing whose rows are in the lake."""
    with dg.DagsterInstance.from_config(str(world.dagster)) as instance:
        for spec in (EVENT_BUS, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN):
            recorded = instance.get_materialized_partitions(dg.AssetKey(spec.name))
            clock = f"{Platform(world).now():%Y-%m}-01"
            assert months(world, spec) <= recorded <= months(world, spec) | {clock}, spec.name


def test_the_accounting_of_every_batch_closes_in_registry_lake_and_mart(world: Home) -> None:
    """A record that is neither accepted, refused nor known was lost."""
    lake = Lake(world.lake)
    batches = Registry.open(world.registry_db).frame(BATCH)
    ingested = batches.filter(pl.col("kind") == "ingest")
    delivered = batches.filter(pl.col("kind") == "outbox")
    assert ingested["state"].to_list() == ["done"] * ingested.height
    assert ingested["records_read"].sum() == EVENTS
    accepted = dict(lake.scan(EVENT_BUS).group_by("created_by").len().collect().iter_rows())
    assert accepted == {"ingest": ingested["records_accepted"].sum(), "outbox": delivered["records_accepted"].sum()}
    assert ingested["records_rejected"].sum() == lake.scan(EVENT_DEAD_LETTER).collect().height
    assert served(world, "select count(*) from marts.ingest_accounting where not is_closed") == [(0,)]


def test_a_run_leaves_no_announcement_behind(world: Home) -> None:
    """Whoever asks the warehouse who changed what would get yesterday's answer."""
    registry = Registry.open(world.registry_db)
    assert registry.frame(OUTBOX).is_empty()
    versions = registry.frame(OBJECT_VERSION)
    told = Lake(world.lake).scan(EVENT_BUS).filter(pl.col("topic") == "registry.changed").collect()
    assert told.height == versions.height
    proposed = Lake(world.lake).scan(EVENT_BUS).filter(pl.col("topic") == "reflection.proposed").collect()
    assert proposed.height == registry.frame(PUBLICATION_QUEUE).height


def test_every_invoice_becomes_one_episode_with_all_its_step_runs(world: Home) -> None:
    """An accepted event would be executed twice, or never."""
    lake = Lake(world.lake)
    invoices = lake.scan(EVENT_BUS).filter(pl.col("topic") == "ap.invoice.received").collect()
    episodes = lake.scan(RUN_EPISODE).collect()
    waiting = Registry.open(world.registry_db).frame(OPEN_EPISODE)
    triggered = Counter([*episodes["trigger_event_id"], *waiting["trigger_event_id"]])
    assert triggered == Counter(invoices["event_id"])
    runs = lake.scan(STEP_RUN).group_by("episode_id").len().collect()
    joined = episodes.join(runs, on="episode_id", how="full")
    assert joined.filter(pl.col("steps") != pl.col("len")).height == 0
    assert joined["steps"].null_count() == joined["len"].null_count() == 0


def test_each_retention_limit_has_candidates(world: Home) -> None:
    """The purge of 180, 365 and 400 days would have nothing to show."""
    now = Platform(world).now()
    for spec in (EVENT_BUS, STEP_RUN):
        recorded = Lake(world.lake).scan(spec, columns=["created_at"]).collect()["created_at"]
        for days in (180, 365, 400):
            assert (recorded < now - timedelta(days=days)).any(), (spec.name, days)
        assert (recorded > now - timedelta(days=180)).any()
    assert served(world, "select distinct retention, limit_days from marts.purge_candidates order by 2") == [
        ("pii", 180),
        ("telemetry", 365),
        ("events", 400),
    ]


def test_the_proposals_name_the_vendors_that_over_bill(world: Home) -> None:
    """A person would be asked to decide on nothing, or on the wrong vendors."""
    queue = Registry.open(world.registry_db).frame(PUBLICATION_QUEUE)
    assert sorted(queue["proposal_type"]) == ["step", "workflow"]
    assert set(queue["decision"]) == {"pending"}
    assert served(world, "select count(*) from marts.proposal") == [(2,)]


def test_a_second_run_changes_nothing(copied_world: Home) -> None:
    """Events would be executed, reflected on or proposed again, or the served file replaced for nothing."""
    before, served_before = versions(copied_world), copied_world.served_db.stat().st_mtime_ns
    queue = Registry.open(copied_world.registry_db).frame(PUBLICATION_QUEUE)
    done = demonstrate(copied_world)
    assert versions(copied_world) == before
    assert copied_world.served_db.stat().st_mtime_ns == served_before
    assert Registry.open(copied_world.registry_db).frame(PUBLICATION_QUEUE).equals(queue)
    assert done["event_bus"]["records_read"] == done["run_episode"]["rows_added"] == 0
    assert done["publication_queue"]["proposals_new"] == 0


def test_a_month_that_is_asked_for_is_derived_again(copied_world: Home) -> None:
    """Lost episodes could not be brought back from the events, or would come back under other ids."""
    lake = Lake(copied_world.lake)
    rows = lake.scan(RUN_EPISODE).collect()
    month: date = sorted(rows[MONTH].unique())[3]
    for spec, column in ((RUN_EPISODE, MONTH), (STEP_RUN, "episode_month")):
        DeltaTable(str(lake.path(spec))).delete(f"{column} = DATE '{month}'")
    assert lake.scan(RUN_EPISODE, months=[month]).collect().is_empty()
    result = materialise(copied_world, "run_episode", "step_run", month=month.isoformat())
    assert result.success
    again = lake.scan(RUN_EPISODE).collect()
    order = ["episode_id"]
    assert again.drop("batch_id").sort(order).equals(rows.drop("batch_id").sort(order))


def test_a_failing_check_on_events_stops_the_run_before_anything_is_executed(copied_world: Home) -> None:
    """Workflows would run on events that break their promises."""
    lake = Lake(copied_world.lake)
    row = lake.scan(EVENT_BUS).head(1).collect()
    broken = row.with_columns(
        event_id=pl.lit("broken"), content_hash=pl.lit("no hash"), payload=pl.lit('{"secret":"x1y2"}')
    )
    lake.append(EVENT_BUS, broken.drop(MONTH), batch_id="around the door")
    before = lake.version(RUN_EPISODE)
    with pytest.raises(RunFailed) as failed:
        demonstrate(copied_world)
    assert "content_hash_is_sha256" in str(failed.value)
    assert lake.version(RUN_EPISODE) == before
    with dg.DagsterInstance.from_config(str(copied_world.dagster)) as instance:
        events = instance.all_logs(failed.value.run_id)
    assert not any("x1y2" in str(event) for event in events), "a value of a failing row was reported"
    assert any("broken" in str(event.dagster_event) for event in events), "the key of the failing row was not"


def test_a_failing_test_of_the_marts_leaves_what_is_served(copied_world: Home) -> None:
    """Readers would get marts that their own tests refuse."""
    before = copied_world.served_db.read_bytes()
    registry = Registry.open(copied_world.registry_db)
    with registry.transaction() as connection:
        connection.exec_driver_sql("update batch set records_read = records_read + 1 where kind = 'ingest'")
    with pytest.raises(RunFailed) as failed:
        demonstrate(copied_world)
    assert "accounts_for_all" in str(failed.value)
    assert copied_world.served_db.read_bytes() == before


def test_marts_that_failed_their_tests_are_not_served_by_a_later_run_either(copied_world: Home) -> None:
    """Checks gate within one run: who materialises the warehouse alone would publish what the last build refused."""
    registry = Registry.open(copied_world.registry_db)
    with registry.transaction() as connection:
        connection.exec_driver_sql("update batch set records_read = records_read + 1 where kind = 'ingest'")
    with pytest.raises(RunFailed):
        demonstrate(copied_world)
    before = copied_world.served_db.read_bytes()

    alone = materialise(copied_world, "warehouse")
    assert not alone.success
    assert copied_world.served_db.read_bytes() == before

    with registry.transaction() as connection:
        connection.exec_driver_sql("update batch set records_read = records_read - 1 where kind = 'ingest'")
    demonstrate(copied_world)
    assert materialise(copied_world, "warehouse").success


def materialise(home: Home, *names: str, month: str | None = None) -> dg.ExecuteInProcessResult:
    """Run some assets of the loop alone, as the UI does."""
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        return defs.resolve_job_def("loop").execute_in_process(
            instance=instance,
            partition_key=month or f"{Platform(home).now():%Y-%m}-01",
            asset_selection=[dg.AssetKey(name) for name in names],
            run_config={
                "resources": {"platform": {"config": {"home": str(home.root)}}},
                "loggers": {"progress": {}},
            },
            raise_on_error=False,
        )


def test_the_loop_of_a_new_home_has_nothing_to_do_and_serves_empty_marts(tmp_path: Path) -> None:
    """The first night of a new installation would end in red, and dashboards would find no tables."""
    home = Home(tmp_path / "home").prepare()
    done = run_job(home, "loop", config={})
    assert done["event_bus"]["records_read"] == done["run_episode"]["rows_added"] == 0
    assert done["warehouse"]["published"] is True
    assert served(home, "select count(*) from marts.workflow_kpi_monthly") == [(0,)]


def test_a_warehouse_without_a_build_is_refused(tmp_path: Path) -> None:
    """A new home would fail with a missing file, or serve an empty one."""
    home = Home(tmp_path / "home").prepare()
    prepare_instance(home)
    assert not materialise(home, "warehouse").success
    assert not home.served_db.exists()


def test_metadata_counts_what_the_tables_hold(world: Home) -> None:
    """The UI would show rows that are not there."""
    lake = Lake(world.lake)
    with dg.DagsterInstance.from_config(str(world.dagster)) as instance:
        for spec in (EVENT_BUS, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN):
            held = {month.isoformat(): size.rows for month, size in lake.stats(spec).items() if month}
            key = dg.AssetKey(spec.name)
            records = instance.fetch_materializations(key, limit=1_000).records
            by_month = {record.partition_key: record.asset_materialization for record in reversed(records)}
            clock = f"{Platform(world).now():%Y-%m}-01"
            for month, rows in held.items():
                if month != clock:
                    found = by_month[month].metadata
                    assert found["dagster/partition_row_count"].value == found["rows_added"].value == rows
            latest = by_month[clock].metadata
            assert latest["dagster/row_count"].value == sum(held.values())
            # Ingestion came before the outbox was delivered; of the other tables it is the last to write.
            whole = next(m for m in (r.asset_materialization.metadata for r in records) if "months_touched" in m)
            own = lake.scan(spec).filter(pl.col("created_by") != "outbox").collect()
            assert whole["dagster/row_count"].value == whole["rows_added"].value == own.height
            assert whole["months_touched"].value == [f"{month:%Y-%m}" for month in own[MONTH].unique().sort()]
            if own.height == sum(held.values()):
                assert whole["delta_version"].value == lake.version(spec)
                assert whole["bytes"].value == sum(
                    path.stat().st_size for path in lake.path(spec).rglob("month=*/*.parquet")
                )
        served_counts = instance.fetch_materializations(dg.AssetKey("warehouse"), limit=1).records
        (record,) = served_counts
        for row in record.asset_materialization.metadata["tables"].records:
            assert served(world, f"select count(*) from {row.data['table']}") == [(row.data["rows"],)]


def test_metadata_holds_keys_and_counts_and_no_values(world: Home) -> None:
    """Dagster's database is kept longer and read by more people than the lake."""
    lake = Lake(world.lake)
    payloads = lake.scan(EVENT_BUS, columns=["payload"]).collect()["payload"]
    vendors = set(payloads.str.json_path_match("$.vendor_id").drop_nulls()) | {"billing@", "sim://"}
    with dg.DagsterInstance.from_config(str(world.dagster)) as instance:
        for run in instance.get_runs():
            for entry in instance.all_logs(run.run_id):
                text = str(entry)
                assert not any(vendor in text for vendor in vendors), text[:500]


def test_an_imported_log_is_reflected_on_and_shown(copied_world: Home) -> None:
    """History would be in the lake and in no mart."""
    log = copied_world.root / "orders.csv"
    lines = ["case_id,activity,timestamp"]
    for case in ("NA", "007", "ü"):
        lines += [f"{case},register,2011-03-31T23:59:59Z", f"{case},ship → out,2011-04-01T00:00:00Z"]
    log.write_text("\n".join(lines) + "\n")
    done = run_job(copied_world, "backfill", config={"ops": {"event_log": {"config": {"path": str(log)}}}})
    assert done["event_log"]["records_accepted"] == 6
    found = served(
        copied_world,
        "select episodes, activities from marts.workflow_variant where workflow_id = 'WF-LOG-orders'",
    )
    assert found == [(3, '["register","ship → out"]')]
    assert served(
        copied_world, "select sum(episodes) from marts.workflow_kpi_monthly where workflow_id = 'WF-LOG-orders'"
    ) == [(3,)]
    with dg.DagsterInstance.from_config(str(copied_world.dagster)) as instance:
        assert {"2011-03-01", "2011-04-01"} <= instance.get_materialized_partitions(dg.AssetKey("step_run"))
        assert "2011-04-01" not in instance.get_materialized_partitions(dg.AssetKey("run_episode"))


def test_a_run_that_was_killed_does_not_block_the_next(tmp_path: Path) -> None:
    """The killed run would hold its pool slots for ever, and every later run would wait without a word."""
    home = Home(tmp_path / "home").prepare()
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom lake.home import Home\n"
        "import dagster_project.checks as checks\n"
        "from tests.conftest import demonstrate\n"
        "checks._judge = lambda frame, suite: os.kill(os.getpid(), 9)\n"
        "demonstrate(Home(Path(sys.argv[1])), events=300)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(home.root)], check=False, cwd=ROOT, timeout=120
    )
    assert killed.returncode == -9
    done = demonstrate(home, events=300)
    assert done["run_episode"]["rows_added"]
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        statuses = [run.status.value for run in instance.get_runs()]
    assert statuses == ["SUCCESS", "FAILURE"]
