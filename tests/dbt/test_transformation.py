"""Months are rebuilt when, and only when, the lake would give them otherwise; whatever happens in between."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from filelock import FileLock

import lake.transform
from lake.spec import Kind
from lake.tables import BATCH, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN, WORKFLOW
from lake.transform import MONTHLY, PROJECT, BuildBusy, TransformFailed, ensure_manifest
from lake.warehouse import publish, read

JANUARY, FEBRUARY, MARCH = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)
MONTHLY_MODELS = ("mv_step_telemetry", "int_episode_variant", "workflow_kpi_monthly")


def at(month: int, day: int = 1, *clock: int, year: int = 2025) -> datetime:
    return datetime(year, month, day, *clock, tzinfo=UTC)


def batches(events: list[dict[str, Any]]) -> list[str]:
    """Return what dbt says of each month it built."""
    return [event["data"]["description"] for event in events if event["info"]["name"] == "LogBatchResult"]


# What counts as changed


def test_an_empty_lake_builds_empty_marts(world: Any) -> None:
    """A new installation would have no dashboard until the first episode ends."""
    assert not world.transformation.is_current()

    result = world.build()

    assert result.months == ()
    sizes = "select table_name, estimated_size from duckdb_tables() where schema_name = 'marts' order by 1"
    assert world.query(sizes) == [
        (name, 0)
        for name in (
            "audit_trail",
            "dead_letter_reason",
            "ingest_accounting",
            "mv_step_telemetry",
            "proposal",
            "purge_candidates",
            "schema_consumer_matrix",
            "trigger_refusal_reason",
            "workflow_kpi_monthly",
            "workflow_variant",
        )
    ]
    assert world.transformation.is_current()
    assert world.changed() == []


def test_a_row_on_the_boundary_belongs_to_one_month(world: Any) -> None:
    """An episode at midnight would be counted in two months, or in none."""
    world.run("last", at(1, 31, 23, 59, 59, 999999), "a")
    world.run("first", at(2), "a")
    assert world.changed() == [JANUARY, FEBRUARY]

    result = world.build()

    assert result.months == (JANUARY, FEBRUARY)
    assert set(result.models) >= {*MONTHLY_MODELS, "workflow_variant"}
    kpis = "select month, episodes from marts.workflow_kpi_monthly order by 1"
    assert world.query(kpis) == [(JANUARY, 1), (FEBRUARY, 1)]
    assert world.query("select episode_id, episode_month from marts.mv_step_telemetry order by 2") == [
        ("last", JANUARY),
        ("first", FEBRUARY),
    ]


def test_a_late_step_rebuilds_the_month_of_its_episode_and_no_other(world: Any) -> None:
    """Every late row would rebuild the history, or leave the month it belongs to as it was."""
    world.run("E-1", at(1, 31), "a")
    world.run("E-2", at(2, 10), "a")
    world.run("E-3", at(3, 10), "a")
    world.build()
    for table in ("marts.mv_step_telemetry", "marts.workflow_kpi_monthly", "intermediate.int_episode_variant"):
        world.alter(f"update {table} set workflow_id = 'untouched'")

    world.append(STEP_RUN, world.step("E-1", at(1, 31), 1, "b", at(3, 1), workflow_id="WF-1"))
    assert world.changed() == [JANUARY]
    world.build()

    steps = "select episode_id, workflow_id, count(*) from marts.mv_step_telemetry group by all order by 1"
    assert world.query(steps) == [("E-1", "WF-1", 2), ("E-2", "untouched", 1), ("E-3", "untouched", 1)]
    variants = "select episode_id, workflow_id, activities from intermediate.int_episode_variant order by 1"
    assert world.query(variants) == [
        ("E-1", "WF-1", '["a","b"]'),
        ("E-2", "untouched", '["a"]'),
        ("E-3", "untouched", '["a"]'),
    ]
    kpis = "select month, workflow_id from marts.workflow_kpi_monthly order by 1"
    assert world.query(kpis) == [(JANUARY, "WF-1"), (FEBRUARY, "untouched"), (MARCH, "untouched")]


def test_an_episode_that_crosses_a_month_stays_whole(world: Any) -> None:
    """Its second half would be another variant, in another month."""
    world.run("E-1", at(1, 31), "a", "b", "c", every=timedelta(days=1))

    assert world.build().months == (JANUARY,)

    assert world.query("select activities, steps from intermediate.int_episode_variant") == [('["a","b","c"]', 3)]
    steps = "select activity, episode_month, month from marts.mv_step_telemetry order by seq"
    assert world.query(steps) == [("a", JANUARY, JANUARY), ("b", JANUARY, FEBRUARY), ("c", JANUARY, FEBRUARY)]


def test_years_between_two_logs_are_never_visited(world: Any) -> None:
    """A log of 2011 beside the events of today would cost 180 empty months at every first build."""
    world.run("old", at(5, year=2011), "a")
    world.run("new", at(2, year=2026), "a")
    events: list[dict[str, Any]] = []

    world.build(on_event=events.append)

    assert sorted(batches(events)) == sorted(
        f"batch {month} of {schema}.{model}"
        for month in ("2011-05", "2026-02")
        for schema, model in zip(("marts", "intermediate", "marts"), MONTHLY_MODELS, strict=True)
    )
    assert world.query("select sum(episodes) from marts.workflow_variant") == [(2,)]


def test_a_month_that_left_the_lake_leaves_the_warehouse(world: Any) -> None:
    """Purged rows would live on in the marts."""
    world.run("E-1", at(1), "a")
    world.run("E-2", at(2), "a")
    world.build()

    for spec in (RUN_EPISODE, STEP_RUN):
        DeltaTable(str(world.lake.path(spec))).delete("month = '2025-01-01'")
    assert world.changed() == [JANUARY]
    world.build()

    assert world.query("select episode_month from marts.mv_step_telemetry") == [(FEBRUARY,)]
    assert world.query("select episode_month from intermediate.int_episode_variant") == [(FEBRUARY,)]
    assert world.query("select month from marts.workflow_kpi_monthly") == [(FEBRUARY,)]
    assert world.query("select episodes from marts.workflow_variant") == [(1,)]
    assert world.changed() == []


def test_a_changed_objective_rebuilds_the_months_of_its_workflow(world: Any) -> None:
    """A month would be held against another objective than its neighbour, depending on when it was last built."""
    world.mirror(WORKFLOW, world.workflow("WF-1", '{"latency_ms": 100}'), world.workflow("WF-2"))
    world.run("E-1", at(1), workflow_id="WF-1", latency_ms=150)
    world.run("E-2", at(2), workflow_id="WF-2", latency_ms=150)
    world.build()

    changed = world.workflow("WF-1", '{"latency_ms": 200}')
    world.mirror(WORKFLOW, changed, world.workflow("WF-2"), world.workflow("WF-3", '{"latency_ms": 1}'))

    assert world.changed() == [JANUARY]
    world.build()
    assert world.query("select month, slo_adherence from marts.workflow_kpi_monthly order by 1") == [
        (JANUARY, 1.0),
        (FEBRUARY, None),
    ]


def test_rollups_follow_their_own_tables(world: Any) -> None:
    """A new dead letter changes no month, and would wait for the next episode to be seen."""
    world.run("E-1", at(1), "a")
    world.build()
    assert world.transformation.is_current()

    world.append(EVENT_DEAD_LETTER, world.row(EVENT_DEAD_LETTER, dead_letter_id="D", rule="not_json"))

    assert world.changed() == []
    assert not world.transformation.is_current()
    world.build()
    assert world.transformation.is_current()
    assert world.query("select month, topic, rule, records from marts.dead_letter_reason") == [
        (JANUARY, None, "not_json", 1)
    ]


def test_a_narrowed_build_does_not_count_as_one(world: Any) -> None:
    """One model built by hand would hide from the next build that the others are old."""
    world.run("E-1", at(1), "a")
    world.build()
    world.run("E-2", at(1, 2), "a")

    world.build(select="workflow_kpi_monthly")
    assert world.changed() == [JANUARY]
    assert world.query("select episodes from marts.workflow_kpi_monthly") == [(2,)]
    assert world.query("select count(*) from marts.mv_step_telemetry") == [(1,)]

    world.build(select=MONTHLY)
    assert world.changed() == []
    assert not world.transformation.is_current()
    assert world.query("select count(*) from marts.mv_step_telemetry") == [(2,)]


def test_another_state_of_the_project_builds_a_new_file(world: Any) -> None:
    """A model with a new column would fail on the old table, or mix months of two definitions."""
    world.run("E-1", at(1), "a")
    world.run("E-2", at(2), "a")
    world.build()
    state = world.home.build_db.with_name("months.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"project": "another"}))
    world.alter("alter table marts.workflow_kpi_monthly drop column cost_micros")

    assert world.changed() == [JANUARY, FEBRUARY]
    result = world.transformation.build([FEBRUARY])

    assert result.months == (JANUARY, FEBRUARY)
    assert world.query("select count(cost_micros), count(*) from marts.workflow_kpi_monthly") == [(0, 2)]
    assert world.transformation.is_current()


# What may happen meanwhile


def test_a_failed_build_names_the_test_and_is_built_again(world: Any) -> None:
    """A month that failed would count as built, and the failure would have no name."""
    world.run("E-1", at(1), "a")
    world.build()
    read_and_accepted = {"records_read": 3, "records_accepted": 1, "records_rejected": 1}
    batch = world.row(BATCH, batch_id="B", state="done", **read_and_accepted)
    world.mirror(BATCH, batch)
    world.run("E-2", at(2), "a")

    with pytest.raises(TransformFailed) as failed:
        world.build()

    assert list(failed.value.failures) == ["an_ended_batch_accounts_for_all_it_read"]
    assert "Got 1 result" in str(failed.value)
    assert world.is_unlocked(), "while the exception is held"
    assert world.changed() == [FEBRUARY]

    world.mirror(BATCH, batch | {"records_duplicate": 1}, batch | {"batch_id": "open", "state": "open"})
    world.build()
    assert world.transformation.is_current()


def test_a_month_that_cannot_be_built_says_why(world: Any) -> None:
    """dbt's result of a monthly model says `ERROR` and nothing else."""
    world.run("E-1", at(1), "a")
    world.build()
    world.alter("alter table marts.mv_step_telemetry add column surplus integer")
    world.run("E-2", at(2), "a")

    with pytest.raises(TransformFailed) as failed:
        world.build()

    assert set(failed.value.failures) == {"mv_step_telemetry"}
    assert "surplus" in failed.value.failures["mv_step_telemetry"]
    assert world.is_unlocked()


def test_a_broken_contract_names_the_model_and_the_column(world: Any) -> None:
    """A mart would change its types under the BI tools that read it."""
    drifted = replace(
        BATCH,
        columns=tuple(replace(c, kind=Kind.INT) if c.name == "records_read" else c for c in BATCH.columns),
    )
    world.mirror(drifted, world.row(drifted, batch_id="B"))

    with pytest.raises(TransformFailed) as failed:
        world.build()

    assert list(failed.value.failures) == ["ingest_accounting"]
    assert "contract" in str(failed.value)
    assert "records_read" in str(failed.value)


def test_a_crash_leaves_its_months_changed(world: Any) -> None:
    """Half a month would count as built once the lake is back at what it was."""
    world.run("E-1", at(1), "a")
    world.run("E-2", at(2), "a")
    world.build()

    class Crash(Exception):
        pass

    def crash(event: dict[str, Any]) -> None:
        if event["info"]["name"] == "LogBatchResult":
            raise Crash

    with pytest.raises(Crash):
        world.transformation.build([FEBRUARY], on_event=crash)

    assert world.changed() == [FEBRUARY]
    assert not world.transformation.is_current()
    assert world.is_unlocked()
    world.build()
    assert world.transformation.is_current()


def test_an_interrupt_stays_an_interrupt(world: Any) -> None:
    """dbt hands an interrupt back like an error: Ctrl-C would read as a failed build, and the caller would go on."""

    def interrupt(event: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.build(on_event=interrupt)
    assert world.is_unlocked() or not world.home.build_db.exists()


def test_all_models_of_a_build_see_the_same_lake(world: Any) -> None:
    """An append between two models would show steps in one mart whose episode another does not know."""
    world.run("E-1", at(1), "a")

    def append(event: dict[str, Any]) -> None:
        if event["info"]["name"] == "LogBatchResult":
            world.run(f"after {event['data']['description']}", at(1, 2), "a")

    world.build(on_event=append)

    for table in ("marts.mv_step_telemetry", "intermediate.int_episode_variant"):
        assert world.query(f"select episode_id from {table}") == [("E-1",)], table
    assert world.query("select episodes from marts.workflow_kpi_monthly") == [(1,)]
    assert world.changed() == [JANUARY]


def test_two_builders_of_a_home_take_turns(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second would meet DuckDB's lock halfway, or delete the file that the first is writing."""
    monkeypatch.setattr(lake.transform, "LOCK_TIMEOUT_S", 0.05)
    with FileLock(world.home.warehouse / ".build.lock"), pytest.raises(BuildBusy, match="try again"):
        world.build()
    assert not world.home.build_db.exists()


def test_a_reader_of_the_published_file_and_a_build_never_meet(world: Any) -> None:
    """A dashboard left open over night would stop the nightly build."""
    world.run("E-1", at(1), "a")
    world.build()
    publish(world.home.build_db, world.home.served_db, schemas=["marts"])
    script = f"""
import sys; from pathlib import Path; from lake.warehouse import read
connection = read(Path({str(world.home.served_db)!r}))
count = "select sum(episodes) from marts.workflow_variant"
for _ in sys.stdin:
    print(connection.execute(count).fetchone()[0], flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True, cwd=PROJECT.parent) as reader:

        def ask() -> str:
            reader.stdin.write("\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert ask() == "1"
        world.run("E-2", at(2), "a")
        during: list[str] = []
        world.build(on_event=lambda event: during.append(ask()) if event["info"]["name"] == "LogBatchResult" else None)
        publish(world.home.build_db, world.home.served_db, schemas=["marts"])
        assert set(during) == {"1"}
        assert ask() == "1", "an open connection keeps the file it opened"
        reader.stdin.close()

    with read(world.home.served_db) as connection:
        assert connection.execute("select sum(episodes) from marts.workflow_variant").fetchall() == [(2,)]


def test_two_homes_share_one_manifest(make_world: Callable[[str], Any]) -> None:
    """A path baked into the manifest would show one installation the rows of another."""
    worlds = [make_world("it's"), make_world("two")]
    for number, world in enumerate(worlds, 1):
        for month in range(number):
            world.run(f"E-{month}", at(month + 1), "a", workflow_id=f"of {number}")
    manifest = ensure_manifest().read_bytes()

    threads = [threading.Thread(target=world.build) for world in worlds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, world in enumerate(worlds, 1):
        kpis = world.query("select workflow_id, sum(episodes) from marts.workflow_kpi_monthly group by 1")
        assert kpis == [(f"of {number}", number)]
        assert world.transformation.is_current()
    assert ensure_manifest().read_bytes() == manifest
    assert not any(str(world.home.root).encode() in manifest for world in worlds)


# What dbt leaves behind


def test_a_build_leaves_the_process_as_it_was(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """dbt sets up loggers, reads the environment and writes where it stands; a server would inherit all of it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    environment, handlers = dict(os.environ), list(logging.getLogger().handlers)
    world.run("E-1", at(1), "a")

    world.build()

    assert dict(os.environ) == environment
    assert Path.cwd() == elsewhere
    assert list(elsewhere.iterdir()) == []
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    assert world.is_unlocked()


def test_importing_the_transformation_does_not_import_dbt() -> None:
    """Every command would wait two seconds for it."""
    script = "import sys, lake.transform; sys.exit(any(name.split('.')[0] == 'dbt' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], cwd=PROJECT.parent, check=False).returncode == 0


def test_events_tell_of_every_model_and_test_as_dagster_reads_them(world: Any) -> None:
    """The asset graph would stay grey although all was built."""
    world.run("E-1", at(1), "a")
    events: list[dict[str, Any]] = []

    result = world.build(on_event=events.append)

    told = {
        name: [e["data"]["node_info"]["node_name"] for e in events if e["info"]["name"] == name]
        for name in ("LogModelResult", "LogTestResult")
    }
    assert sorted(told["LogModelResult"]) == sorted(result.models)
    assert len(told["LogTestResult"]) == result.tests + len(result.warnings)
    assert all(json.loads(json.dumps(event)) == event for event in events)
    assert {event["info"]["level"] for event in events} <= {"info", "warn", "error"}


def test_a_workflow_that_the_registry_does_not_know_is_a_warning(world: Any) -> None:
    """The mirror lags behind an import: failing would hold all marts back, silence would hide a lost definition."""
    world.run("E-1", at(1), "a", workflow_id="WF-LOST")

    result = world.build()

    assert list(result.warnings) == ["relationships_workflow_variant_workflow_id__workflow_id__ref_stg_workflow_"]


# The manifest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that a test may edit."""
    copy = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns(".parse.lock", "tmp*"))
    monkeypatch.setattr(lake.transform, "PROJECT", copy)
    monkeypatch.setattr(lake.transform, "_TARGET", copy / "target")
    monkeypatch.setattr(lake.transform, "_STAMP", copy / "target" / "project.sha256")
    return copy


def test_the_manifest_is_parsed_again_when_a_file_changes_and_only_then(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start would take three seconds longer, or a changed model would go unnoticed."""
    ensure_manifest()
    parsed: list[str] = []

    def parse(stamp: str) -> None:
        parsed.append(stamp)
        lake.transform._STAMP.write_text(stamp)

    monkeypatch.setattr(lake.transform, "_parse", parse)
    model = project / "models" / "marts" / "proposal.sql"

    ensure_manifest()
    os.utime(model)
    ensure_manifest()
    assert parsed == []

    model.write_text(model.read_text() + "\n-- changed\n")
    ensure_manifest()
    (project / "models" / "_exposures.yml").unlink()
    ensure_manifest()
    (project / "target" / "partial_parse.msgpack").unlink()
    ensure_manifest()
    assert len(parsed) == 3


def test_a_project_that_cannot_be_parsed_keeps_the_last_manifest(project: Path) -> None:
    """A typing error would take the manifest away from everybody who reads it."""
    before = ensure_manifest().read_bytes()
    (project / "models" / "marts" / "proposal.sql").write_text("select * from {{ ref('nowhere') }}")

    with pytest.raises(TransformFailed, match="nowhere"):
        ensure_manifest()

    assert (project / "target" / "manifest.json").read_bytes() == before
