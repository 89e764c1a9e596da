"""The loop as jobs: what a run records, what a second run changes, and what a failed one leaves."""

from collections import Counter
from datetime import date, timedelta

import dagster as dg
import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from dagster_project.definitions import defs
from dagster_project.instance import RunFailed, run_job
from dagster_project.platform import Platform
from lake.home import Home
from lake.spec import MONTH, TableSpec
from lake.store import Lake
from lake.tables import (
    BATCH,
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    LOGS,
    OPEN_EPISODE,
    PUBLICATION_QUEUE,
    RUN_EPISODE,
    STEP_RUN,
)
from registry.database import Registry
from tests.conftest import EVENTS, demonstrate


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
    assert ingested["state"].to_list() == ["done"] * ingested.height
    assert ingested["records_read"].sum() == EVENTS
    assert ingested["records_accepted"].sum() == lake.scan(EVENT_BUS).collect().height
    assert ingested["records_rejected"].sum() == lake.scan(EVENT_DEAD_LETTER).collect().height
    assert served(world, "select count(*) from marts.ingest_accounting where not is_closed") == [(0,)]


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
    with dg.DagsterInstance.from_config(str(copied_world.dagster)) as instance:
        result = defs.resolve_job_def("loop").execute_in_process(
            instance=instance,
            partition_key=month.isoformat(),
            asset_selection=[dg.AssetKey("run_episode"), dg.AssetKey("step_run")],
            run_config={
                "resources": {"platform": {"config": {"home": str(copied_world.root)}}},
                "loggers": {"progress": {}},
            },
        )
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
