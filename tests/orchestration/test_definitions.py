"""The code location: it loads, says what it is, and does nothing until a step runs."""

import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import build_definitions, defs
from dagster_project.instance import prepare_instance
from dagster_project.partitions import MONTHLY
from lake.home import Home
from lake.tables import LOGS, ROLE
from registry.database import Registry

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("asset_keys.txt")


def specs() -> list[dg.AssetSpec]:
    return list(defs.resolve_all_asset_specs())


def in_fresh_process(code: str, *arguments: str) -> str:
    """Run `code` in an interpreter of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_definitions_are_loadable() -> None:
    """`dagster dev` would show a broken code location."""
    dg.Definitions.validate_loadable(build_definitions())


def test_the_assets_are_those_of_the_golden_file() -> None:
    """An asset would come, go or be renamed without anybody deciding so: history in Dagster hangs on the key."""
    found = sorted(spec.key.to_user_string() for spec in specs())
    assert found == GOLDEN.read_text().split()


def test_every_asset_says_what_it_is_and_whose() -> None:
    """The reader of the catalogue could not tell what an asset is for, or whom to ask."""
    for spec in specs():
        if not spec.skippable:
            assert spec.description, spec.key
            assert spec.group_name not in (None, "default"), spec.key
            assert spec.owners, spec.key
            assert spec.kinds, spec.key


def test_the_log_tables_and_their_monthly_marts_are_partitioned_and_nothing_else_is() -> None:
    """A backfill of a month would be impossible, or an asset without months would demand one."""
    monthly = {spec.key.to_user_string() for spec in specs() if spec.partitions_def == MONTHLY}
    marts = {"int_episode_variant", "mv_step_telemetry", "workflow_kpi_monthly"}
    assert monthly == {spec.name for spec in LOGS} | marts | {"telemetry_lake"}
    assert all(spec.partitions_def is None for spec in specs() if spec.key.to_user_string() not in monthly)


def test_the_current_month_has_a_partition() -> None:
    """Today's events would have no partition until the month is over."""
    assert MONTHLY.has_partition_key(f"{datetime.now(UTC):%Y-%m}-01")


def test_importing_the_definitions_does_not_import_great_expectations() -> None:
    """Every process that loads the code location would pay seconds for it."""
    printed = in_fresh_process(
        """
        import sys
        import dagster_project.definitions
        print("great_expectations" in sys.modules)
        """
    )
    assert printed.split() == ["False"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_child_forked_after_the_import_can_write_and_read_a_table(tmp_path: Path) -> None:
    """A forkserver child would hang for ever if the import had started Polars' threads, and panic after delta-rs'."""
    printed = in_fresh_process(
        """
        import os, sys
        from pathlib import Path
        import dagster_project.definitions

        child = os.fork()
        if child == 0:
            from datetime import UTC, datetime
            import polars as pl
            from lake.store import Lake
            from lake.tables import EVENT_DEAD_LETTER
            now = datetime(2025, 1, 1, tzinfo=UTC)
            row = {c.name: None if c.nullable else "x" for c in EVENT_DEAD_LETTER.columns}
            row |= {"file_offset": 1, "received_at": now, "created_at": now}
            lake = Lake(Path(sys.argv[1]))
            frame = pl.DataFrame([row], schema_overrides={"schema_version": pl.Int32})
            lake.append(EVENT_DEAD_LETTER, frame, batch_id="b")
            print(lake.scan(EVENT_DEAD_LETTER).collect().height, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("exit", os.waitstatus_to_exitcode(status))
        """,
        str(tmp_path),
    )
    assert printed.split() == ["1", "exit", "0"]


def test_a_step_runs_under_the_forkserver_executor(tmp_path: Path) -> None:
    """Materialising an asset in the UI, which uses the default executor, would hang or fail."""
    home = Home(tmp_path / "home").prepare()
    selection = ["--select", "registry_pack", "-m", "dagster_project.definitions"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dagster", "asset", "materialize", *selection],
        env={**os.environ, "RWCM_HOME": str(home.root), "DAGSTER_HOME": str(prepare_instance(home))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        events = instance.all_logs(instance.get_runs(limit=1)[0].run_id)
    assert "STEP_WORKER_STARTED" in {event.dagster_event_type.value for event in events if event.dagster_event_type}
    assert Registry.open(home.registry_db).frame(ROLE).height > 20
