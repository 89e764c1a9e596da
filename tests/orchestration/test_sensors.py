"""Sensors: the loop driven by Dagster's own evaluation of them, against an instance that stays."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import polars as pl
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import freeze_time, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration

import dagster_project.definitions
from app.approval import ran_since
from dagster_project.platform import Platform
from dagster_project.sensors import MAX_TRIES, STAGE
from dagster_project.stages import PATIENCE, STAGES
from governance.gates import standings
from governance.review import decide
from ingest.demonstration import FURTHER, land_further
from lake.home import Home
from lake.spec import TableSpec
from lake.store import Lake
from lake.tables import BATCH, EVENT_BUS, LOGS, OPEN_EPISODE, PUBLICATION_QUEUE, RUN_EPISODE, STEP_RUN
from registry.access import Principal
from registry.database import Registry
from registry.outbox import AUDIT_TOPICS
from tests.conftest import EVENTS

SENSORS = [*(f"{stage.name}_sensor" for stage in STAGES), "reconcile_sensor"]


class Daemon:
    """Dagster's sensor daemon over a home, one round at a time; runs are done when a round ends."""

    def __init__(self, home: Home, stack: ExitStack) -> None:
        self.home = home
        self.instance = stack.enter_context(
            instance_for_test(
                overrides={
                    "run_launcher": {
                        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
                        "class": "SyncInMemoryRunLauncher",
                    },
                    "run_coordinator": {
                        "module": "dagster._core.run_coordinator",
                        "class": "DefaultRunCoordinator",
                    },
                }
            )
        )
        origin = LoadableTargetOrigin(python_file=dagster_project.definitions.__file__, attribute="defs")
        target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin, location_name="rwcm"))
        self.workspace = stack.enter_context(WorkspaceProcessContext(self.instance, target))
        self.at = datetime.now(UTC)

    def round(self, *, after: timedelta = timedelta(minutes=2)) -> list[tuple[str, str]]:
        """Evaluate every sensor once, some time after the round before; return stage and status of the new runs."""
        before = {run.run_id for run in self.instance.get_runs()}
        self.at += after
        with freeze_time(self.at), patch("dagster_project.sensors.clock", lambda: self.at):
            list(execute_sensor_iteration(self.workspace, logging.getLogger("daemon"), None, None))
        new = [run for run in self.instance.get_runs() if run.run_id not in before]
        return [(run.tags[STAGE], run.status.value) for run in reversed(new)]

    def until_quiet(self, limit: int = 12) -> list[tuple[str, str]]:
        """Go round until no sensor asks for anything twice in a row."""
        asked, quiet = [], 0
        for _ in range(limit):
            new = self.round()
            asked += new
            quiet = 0 if new else quiet + 1
            if quiet == 2:
                return asked
        pytest.fail(f"the loop does not come to rest: {asked}")


@pytest.fixture
def raw(world: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home into which the demonstration's records landed and nothing else happened."""
    from ingest.demonstration import land_demonstration

    home = Home(tmp_path / "home").prepare()
    monkeypatch.setenv("RWCM_HOME", str(home.root))
    shutil.copy(world.redaction_key, home.redaction_key)  # the same key gives the same tokens
    fixed = world.demonstration()
    assert fixed is not None
    platform = Platform(home)
    home.fix(as_of=fixed.as_of, seed=fixed.seed, events=fixed.events)
    land_demonstration(home, platform.landing, fixed)
    platform.close()
    return home


@pytest.fixture
def daemon(raw: Home) -> Iterator[Daemon]:
    with ExitStack() as stack:
        yield Daemon(raw, stack)


def content(home: Home) -> dict[str, pl.DataFrame]:
    """Return every log table but for what differs between two ways to the same rows: the batch that wrote them.

    Nor what the platform says of itself, which happened when it happened.
    """
    lake = Lake(home.lake)
    varying = ("batch_id", "created_at")
    own = pl.col("topic").is_in([*AUDIT_TOPICS, "reflection.proposed"])
    tables = {
        spec.name: lake.scan(spec).drop(varying).sort(list(spec.key)) for spec in LOGS if spec.name != "reflection_log"
    }
    tables[EVENT_BUS.name] = tables[EVENT_BUS.name].filter(~own)
    return {name: rows.collect() for name, rows in tables.items()}


def proposals(home: Home) -> set[str]:
    return set(Registry.open(home.registry).frame(PUBLICATION_QUEUE)["proposal_hash"])


def test_the_sensors_drive_the_whole_loop_to_what_one_run_gives(daemon: Daemon, world: Home) -> None:
    """Unattended, the loop would stop half way, or make other episodes than a person who runs it."""
    asked = daemon.until_quiet()
    assert {stage for stage, _ in asked} == {stage.name for stage in STAGES} - {"publication"}
    assert {status for _, status in asked} == {"SUCCESS"}
    found, expected = content(daemon.home), content(world)
    for name, rows in expected.items():
        assert found[name].equals(rows), name
    assert proposals(daemon.home) == proposals(world)
    with duckdb.connect(str(daemon.home.served_db), read_only=True) as served:
        assert served.execute("select count(*) from marts.proposal").fetchone() == (len(proposals(world)),)
    batches = Registry.open(daemon.home.registry).frame(BATCH).filter(pl.col("kind") == "ingest")
    assert batches["records_read"].sum() == EVENTS


@pytest.fixture
def settled(copied_world: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A home after its first run, with one file that landed since: an invoice and a record that is none."""
    monkeypatch.setenv("RWCM_HOME", str(copied_world.root))
    platform = Platform(copied_world)
    (known,) = Lake(copied_world.lake).scan(EVENT_BUS).filter(topic="ap.invoice.received").head(1).collect().to_dicts()
    record = {name: known[name] for name in ("topic", "producer_id")}
    record |= {
        "event_id": "late-1",
        "payload": json.loads(known["payload"]),
        "produced_at": platform.now().isoformat(),
    }
    content = f'{json.dumps(record)}\n{{"event_id": "no event"}}\n'.encode()
    platform.landing.put("late.ndjson", content, received_at=platform.now())
    platform.close()
    with ExitStack() as stack:
        yield Daemon(copied_world, stack)


def test_work_that_keeps_failing_is_given_up_with_a_word(settled: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken stage would be run every minute for ever, or be left without anybody knowing."""
    monkeypatch.setattr(
        "dagster_project.assets.events.ingest_landing", lambda *_, **__: (_ for _ in ()).throw(OSError("no disk"))
    )
    asked = [new for _ in range(MAX_TRIES + 2) for new in settled.round(after=timedelta(hours=1))]
    assert [status for stage, status in asked if stage == "landing"] == ["FAILURE"] * MAX_TRIES
    ticks = settled.instance.get_ticks(*selector(settled, "reconcile_sensor"), limit=1)
    assert "landing" in (ticks[0].skip_reason or "")


def test_a_run_that_fails_in_the_middle_is_tried_again_and_loses_and_repeats_nothing(
    settled: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at night would leave events that nobody executes, or execute them twice."""
    lake = Lake(settled.home.lake)
    steps_before = lake.scan(STEP_RUN).collect().height
    append, failed = Lake.append, []

    def fail_once(self: Lake, spec: TableSpec, *args: Any, **options: Any) -> Any:
        if spec is RUN_EPISODE and len(failed) < 3:  # the step's own retries included
            failed.append(spec)
            raise OSError("no space left on device")
        return append(self, spec, *args, **options)

    monkeypatch.setattr(Lake, "append", fail_once)
    asked = settled.until_quiet()
    assert ("execution", "FAILURE") in asked
    episodes = lake.scan(RUN_EPISODE).filter(trigger_event_id="late-1").collect()
    waiting = Registry.open(settled.home.registry).frame(OPEN_EPISODE).filter(trigger_event_id="late-1")
    assert episodes.height + waiting.height == 1
    assert lake.scan(STEP_RUN).collect().height - steps_before == episodes["steps"].sum()


def test_what_lands_later_goes_through_every_stage_once(settled: Daemon) -> None:
    """A record that lands while nobody looks would wait for the next one, or be executed twice."""
    asked = settled.until_quiet()
    episodes = Lake(settled.home.lake).scan(RUN_EPISODE).filter(trigger_event_id="late-1").collect()
    waiting = Registry.open(settled.home.registry).frame(OPEN_EPISODE).filter(trigger_event_id="late-1")
    assert episodes.height + waiting.height == 1
    # The record's time is today's, and chance follows from it: an episode that waits for a person is not reflected on,
    # and only what is newly proposed goes through the gates.
    certain = {"landing", "execution", "serving"} | ({"reflection"} if episodes.height else set())
    assert {(name, "SUCCESS") for name in certain} <= set(asked)
    assert set(asked) <= {(stage.name, "SUCCESS") for stage in STAGES if stage.name != "delivery"}


def test_a_stage_that_is_switched_off_rests_and_the_others_go_on(settled: Daemon) -> None:
    """People pause one stage while they look into it; nothing may start it behind their back."""
    (location,) = settled.workspace.create_request_context().code_locations
    (repository,) = location.get_repositories().values()
    sensor = repository.get_sensor("execution_sensor")
    settled.instance.stop_sensor(sensor.get_remote_origin().get_id(), sensor.selector_id, sensor)
    assert {stage for stage, _ in settled.until_quiet()} == {"landing", "serving"}


def selector(daemon: Daemon, name: str) -> tuple[str, str]:
    location = daemon.workspace.create_request_context().code_locations[0]
    (repository,) = location.get_repositories().values()
    sensor = repository.get_sensor(name)
    return sensor.get_remote_origin().get_id(), sensor.selector_id


def test_a_small_file_waits_for_company_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record would cost a run of its own, or a lone record would never be ingested."""
    platform = Platform(Home(tmp_path / "home"))
    platform.landing.put("a.ndjson", b"{}\n", received_at=datetime(2025, 3, 1, tzinfo=UTC))
    (landing,) = [stage for stage in STAGES if stage.name == "landing"]
    landed = datetime(2025, 3, 1, tzinfo=UTC)
    assert not isinstance(landing.look(platform, landed + PATIENCE - timedelta(microseconds=1)), str)
    name = landing.look(platform, landed + PATIENCE)
    assert isinstance(name, str)
    platform.landing.put("b.ndjson", b"{}\n", received_at=landed)
    assert landing.look(platform, landed + PATIENCE) != name


def test_a_home_at_rest_asks_for_nothing(copied_world: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every half minute a run would start that finds nothing to do."""
    monkeypatch.setenv("RWCM_HOME", str(copied_world.root))
    with ExitStack() as stack:
        daemon = Daemon(copied_world, stack)
        daemon.until_quiet()
        assert [daemon.round() for _ in range(3)] == [[], [], []]


def test_an_approval_starts_publication_and_the_next_events_run_what_is_new(daemon: Daemon, world: Home) -> None:
    """The loop would end with a proposal that two people approved and nobody made current."""
    daemon.until_quiet()
    platform = Platform(daemon.home)
    with platform.registry.read() as connection:
        waiting = [one.proposal for one in standings(connection, now=platform.now()) if one.has_passed]
    (proposal,) = waiting
    for subject, role in (("ada", "QA-M-001"), ("sam", "SEC-M-001")):
        reviewer = Principal(subject, "person", role)
        decide(
            platform.registry,
            proposal.publication_id,
            decision="approved",
            reason="looked at it",
            principal=reviewer,
            now=platform.now(),
        )
    asked = daemon.until_quiet()
    assert ("publication", "SUCCESS") in asked
    assert {status for _, status in asked} == {"SUCCESS"}
    published = platform.now()
    land_further(daemon.home, platform.landing, daemon.home.go_on(published + timedelta(minutes=10)))
    assert ("execution", "SUCCESS") in daemon.until_quiet()
    found = ran_since(platform, published)
    ran = {name: ended + waits for name, ended, waits in found.by_workflow}
    assert sum(ran.values()) == FURTHER
    assert ran["WF-FIN-009"] > 0
    assert found.shared == 0
    platform.close()
