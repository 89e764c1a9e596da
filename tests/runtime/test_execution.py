"""Execution: each event's episode once, whatever was interrupted, repeated or late."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from guard.identity import name_uuid
from lake.home import PROJECT_ROOT
from lake.store import Lake
from lake.tables import BATCH, EVENT_BUS, OPEN_EPISODE, RUN_EPISODE, STEP_RUN
from registry.database import TABLES, insert
from registry.documents import Workflow, read_document
from registry.loader import PACK
from registry.objects import OBJECT_VERSION, version_row
from runtime.execution import execute_pending
from runtime.skills.simulated import SimulatedSkills
from tests.builders import LATER, NINE, Payables, busy, event

DAY = timedelta(days=1)
JANUARY, FEBRUARY, MARCH = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


def history(payables: Payables) -> tuple[list[Any], list[Any], list[Any]]:
    """Return what ran and what waits, without what names the batch."""
    waiting = payables.registry.frame(OPEN_EPISODE).drop("created_at", "updated_at")
    return payables.table(RUN_EPISODE).rows(), payables.table(STEP_RUN).rows(), waiting.rows()


def batches(payables: Payables) -> list[dict[str, Any]]:
    rows = payables.registry.frame(BATCH).filter(pl.col("kind") == "execute").sort("opened_at", "batch_id")
    return list(rows.iter_rows(named=True))


def steps_of(payables: Payables, event_id: str) -> pl.DataFrame:
    (episode_id,) = (
        payables.lake.scan(RUN_EPISODE).filter(pl.col("trigger_event_id") == event_id).collect()["episode_id"]
    )
    return payables.lake.scan(STEP_RUN).filter(pl.col("episode_id") == episode_id).sort("seq").collect()


# What is run


def test_every_event_that_starts_a_workflow_becomes_an_episode(payables: Payables) -> None:
    """An invoice would lie in the event bus and nobody would look at it."""
    busy(payables)
    done = payables.execute()
    assert dict(done.outcomes) == {"success": 10, "partial": 3, "running": 2}
    assert (done.episodes, done.batches) == (13, 1)
    assert done.step_runs == payables.lake.scan(STEP_RUN).collect().height
    episodes = payables.table(RUN_EPISODE)
    assert episodes["trigger_event_id"].n_unique() == 13
    assert episodes["started_at"].to_list() == sorted(episodes["started_at"])
    assert set(episodes["trigger_id"]) == {"TR-FIN-001"}


def test_a_second_execution_changes_nothing(payables: Payables) -> None:
    """Every run of the loop would add a version to every table, and months would be rebuilt for nothing."""
    busy(payables)
    payables.execute()
    before, versions, named = history(payables), payables.versions(), batches(payables)

    done = payables.execute()
    assert (done.episodes, done.step_runs, done.batches, dict(done.outcomes)) == (0, 0, 0, {})
    payables.execute(months=[JANUARY, FEBRUARY, MARCH, date(2024, 1, 1)])

    assert history(payables) == before
    assert payables.versions() == versions
    assert batches(payables) == named


def test_a_late_event_adds_to_its_own_month_only(payables: Payables) -> None:
    """One late invoice would cost a rerun of everything, or be left out because its month is over."""
    busy(payables)
    payables.execute()
    known = payables.lake.fingerprints(RUN_EPISODE)
    payables.invoice("late", at=datetime(2025, 1, 31, 8, tzinfo=UTC))

    done = payables.execute()

    assert done.rows[RUN_EPISODE.name] == {JANUARY: 1}
    assert done.rows[STEP_RUN.name] == {JANUARY: 4}
    now = payables.lake.fingerprints(RUN_EPISODE)
    assert {month for month in now if now[month] != known.get(month)} == {JANUARY}
    assert [row["records_read"] for row in batches(payables)] == [15, 1]


def test_months_are_only_a_hint(payables: Payables) -> None:
    """A lost cursor would make the engine run everything a second time."""
    busy(payables)
    payables.execute()
    before = history(payables)
    with payables.registry.transaction() as connection:
        connection.execute(TABLES["cursor"].delete())
    assert payables.execute().episodes == 0
    assert history(payables) == before


def test_an_event_of_another_topic_starts_nothing(payables: Payables) -> None:
    """A decision would be processed as an invoice."""
    payables.decide("EV-1", "approved", NINE)
    assert payables.execute().episodes == 0


def test_a_condition_of_the_trigger_filters_events(tmp_path: Path) -> None:
    """The workflow for two vendors would run for all, or one odd payload would stop the month."""
    pack = shutil.copytree(PACK, tmp_path / "pack")
    path = pack / "workflows/WF-FIN-001.json"
    document = json.loads(path.read_text())
    document["triggers"][0]["selector"]["condition"] = 'vendor_id in ["VEND-2"] && sender != ""'
    path.write_text(json.dumps(document))
    payables = Payables(tmp_path / "home", pack=pack)
    payload = payables.document("2", vendor="VEND-2")
    payables.arrive(
        event("EV-1", "ap.invoice.received", payables.document("1") | {"sender": "a"}, NINE),
        event("EV-2", "ap.invoice.received", payload | {"sender": "a"}, NINE),
        event("EV-3", "ap.invoice.received", payload, NINE),
    )

    assert payables.execute().episodes == 1

    assert payables.table(RUN_EPISODE)["trigger_event_id"].to_list() == ["EV-2"]
    assert payables.execute(months=[MARCH]).episodes == 0


def test_drafts_are_not_executed(tmp_path: Path) -> None:
    """A proposal would run before anybody agreed to it."""
    pack = shutil.copytree(PACK, tmp_path / "pack")
    path = pack / "workflows/WF-FIN-001.json"
    path.write_text(path.read_text().replace('"status": "active"', '"status": "draft"'))
    payables = Payables(tmp_path / "home", pack=pack)
    payables.invoice("1")
    assert payables.execute().episodes == 0


def test_small_batches_give_the_same_rows_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger machine would tell another history."""
    one, many = Payables(tmp_path / "one"), Payables(tmp_path / "many")
    busy(one)
    busy(many)
    one.execute()
    monkeypatch.setattr("runtime.execution.BATCH_EPISODES", 2)
    done = many.execute()
    assert done.batches >= 6
    assert history(many) == history(one)


# What a row says


def test_typed_columns_and_documents_say_the_same(payables: Payables) -> None:
    """The marts read the columns, auditors the JSON: two truths about one run."""
    busy(payables)
    payables.execute()
    steps = payables.lake.scan(STEP_RUN).sort("episode_id", "seq").collect()
    for row in steps.iter_rows(named=True):
        assert json.loads(row["telemetry"]) == {
            "latency_ms": row["latency_ms"],
            "waited_ms": json.loads(row["telemetry"])["waited_ms"],
            "cost_micros": row["cost_micros"],
            "tokens": {"in": row["token_in"], "out": row["token_out"]},
            "model": row["model"],
            "system": row["system"],
            "attempt": row["attempt"],
        }
        assert row["latency_ms"] == (row["ended_at"] - row["started_at"]) // timedelta(milliseconds=1)
        assert (row["error"] is None) == (row["error_code"] is None) == (row["status"] != "failed")
        if row["error"]:
            assert json.loads(row["error"])["code"] == row["error_code"]
        assert row["step_run_id"] == name_uuid(row["episode_id"], str(row["seq"]))
        assert row["created_at"] == row["ended_at"]
    for run in payables.lake.scan(RUN_EPISODE).collect().iter_rows(named=True):
        mine = [row for row in steps.iter_rows(named=True) if row["episode_id"] == run["episode_id"]]
        waited = sum(json.loads(row["telemetry"])["waited_ms"] for row in mine)
        assert json.loads(run["metrics"]) == {
            "cost_ms": run["latency_ms"] - waited,
            "latency_ms": run["latency_ms"],
            "tokens": {
                "in": sum(row["token_in"] or 0 for row in mine),
                "out": sum(row["token_out"] or 0 for row in mine),
            },
            "error_rate": round(sum(row["status"] == "failed" for row in mine) / len(mine), 4),
        }
        assert run["latency_ms"] == sum(row["latency_ms"] for row in mine)
        assert run["cost_micros"] == sum(row["cost_micros"] for row in mine)
        assert (run["steps"], run["started_at"]) == (len(mine), mine[0]["started_at"])
        assert (run["ended_at"], run["now_at"]) == (mine[-1]["ended_at"], run["started_at"])


@pytest.mark.parametrize(
    ("cost_micros", "cents"), [(0, 0), (4_999, 0), (5_000, 0), (5_001, 1), (15_000, 2), (25_000, 2), (1_234_567, 123)]
)
def test_cents_are_rounded_half_even(tmp_path: Path, cost_micros: int, cents: int) -> None:
    """Half cents would add up to a bias over a million runs."""
    pack = shutil.copytree(PACK, tmp_path / "pack")
    path = pack / "skills/SK-COMM-005.json"
    document = json.loads(path.read_text())
    document["runtime_binding"]["simulation"]["cost_micros"] = cost_micros
    path.write_text(json.dumps(document))
    payables = Payables(tmp_path / "home", pack=pack)
    payables.invoice("1")
    payables.execute()
    assert steps_of(payables, "EV-1")["cost_cents"].to_list()[-1] == cents


def test_rewards_tell_success_from_failure_and_slow_from_fast(payables: Payables) -> None:
    """Learning would prefer what fails quickly."""
    payables.invoice("good")
    payables.invoice("blurred", legible=False)
    payables.execute()
    for row in steps_of(payables, "EV-good").iter_rows(named=True):
        assert row["reward"] == pytest.approx(1 - row["latency_ms"] / 600_000)
    failed, timed_out = steps_of(payables, "EV-blurred").iter_rows(named=True)
    assert (failed["reward"], timed_out["reward"]) == (-1.0, 0.0)


def test_an_episode_that_crosses_a_month_belongs_to_the_month_it_began_in(payables: Payables) -> None:
    """Its second half would be counted in a month that has no such episode."""
    payables.invoice("1", billed="120.00", at=datetime(2025, 1, 31, 23, 59, 59, 500_000, tzinfo=UTC))
    payables.decide("EV-1", "approved", datetime(2025, 2, 2, tzinfo=UTC))
    payables.execute()
    steps = steps_of(payables, "EV-1")
    assert steps["episode_month"].unique().to_list() == [JANUARY]
    assert steps["month"].to_list()[0] == JANUARY
    assert steps["month"].to_list()[-2:] == [FEBRUARY, FEBRUARY]
    assert payables.table(RUN_EPISODE)["month"].to_list() == [JANUARY]


def test_ids_follow_from_what_they_name(tmp_path: Path) -> None:
    """A second home with the same events would not be comparable with the first."""
    homes = [Payables(tmp_path / name) for name in ("one", "two")]
    for payables in homes:
        busy(payables)
        payables.execute()
    assert history(homes[0]) == history(homes[1])
    episodes = homes[0].table(RUN_EPISODE)
    assert episodes["episode_id"].to_list() == sorted(episodes["episode_id"])  # ids sort by time


def test_the_context_hash_covers_what_decides_the_path(tmp_path: Path) -> None:
    """Two runs under different rules would claim to be the same."""

    def context(name: str, change: Callable[[Path], None], **invoice: Any) -> str:
        pack = shutil.copytree(PACK, tmp_path / f"pack {name}")
        change(pack)
        payables = Payables(tmp_path / name, pack=pack)
        payables.invoice("1", **invoice)
        payables.execute()
        return payables.table(RUN_EPISODE)["context_hash"][0]

    def respell(path: str, old: str, new: str) -> Callable[[Path], None]:
        def change(pack: Path) -> None:
            text = (pack / path).read_text()
            assert old in text
            (pack / path).write_text(text.replace(old, new))

        return change

    workflow, skill, policy = "workflows/WF-FIN-001.json", "skills/SK-OCR-001.json", "policies/POL-FINANCE-001.json"
    hashes = [
        context("shipped", lambda pack: None),
        context("body", respell(workflow, '"tolerance": 0.05', '"tolerance": 0.06')),
        context("skill", respell(skill, '"median": 900', '"median": 901')),
        context("policy", respell(policy, '"max_tolerance": 0.05', '"max_tolerance": 0.06')),
        context("payload", lambda pack: None, vendor="VEND-2"),
    ]
    assert len(set(hashes)) == 5
    assert context("spelling", respell(workflow, '"tolerance": 0.05', '"tolerance": 0.050')) == hashes[0]


# Waits


def waiting(payables: Payables) -> list[dict[str, Any]]:
    return list(payables.registry.frame(OPEN_EPISODE).iter_rows(named=True))


def test_an_open_episode_waits_in_the_registry_and_is_run_once(payables: Payables) -> None:
    """A restart would forget it, or begin it again from the first step."""
    payables.invoice("1", billed="150.00")
    soon = NINE + timedelta(hours=1)
    first = payables.execute(now=soon)
    assert (dict(first.outcomes), first.episodes, payables.table(STEP_RUN).height) == ({"running": 1}, 0, 0)
    (row,) = waiting(payables)
    assert (row["step_id"], row["await_topic"], row["await_key"]) == ("F-03", "handoff.decided", '["EV-1"]')
    assert (row["workflow_version"], row["episode_month"]) == ("1.3.0", MARCH)

    again = payables.execute(now=soon, months=[MARCH])
    assert (again.batches, dict(again.outcomes)) == (0, {})
    assert waiting(payables) == [row]


@pytest.mark.parametrize("decision", ["approved", "rejected", None])
def test_what_waited_ends_as_if_it_had_never_been_put_down(tmp_path: Path, decision: str | None) -> None:
    """The history would depend on when the loop happened to run."""
    waited, undisturbed = Payables(tmp_path / "waited"), Payables(tmp_path / "undisturbed")
    for payables in (waited, undisturbed):
        payables.invoice("1", billed="150.00")
        if payables is waited:
            payables.execute(now=NINE + timedelta(hours=1))
            payables.execute(now=NINE + timedelta(hours=2))
        if decision:
            payables.decide("EV-1", decision, NINE + timedelta(hours=3))
        payables.execute()
    assert history(waited) == history(undisturbed)
    assert waiting(waited) == []


@pytest.mark.parametrize(
    ("decision", "path"),
    [
        ("approved", [("F-03", "success"), ("F-04", "success"), ("F-05", "success")]),
        ("rejected", [("F-03", "success")]),
        (None, [("F-03", "timeout")]),
    ],
)
def test_what_release_0_1_put_down_goes_on(payables: Payables, decision: str | None, path: list[Any]) -> None:
    """An upgrade would lose the invoices that wait for somebody, or begin them again."""
    kept = json.loads((Path(__file__).parent / "data/open_episode_0_1_0.json").read_text())  # that release wrote it
    payables.invoice("old", billed="150.00")
    at = {name: datetime.fromisoformat(kept[name]) for name in ("waiting_since", "due_at")}
    audit = {f"{what}_{how}": value for what in ("created", "updated") for how, value in (("at", NINE), ("by", "e"))}
    row = {**kept, **at, **audit, "episode_month": MARCH, "state": json.dumps(kept["state"])}
    with payables.registry.transaction() as connection:
        insert(connection, OPEN_EPISODE, [row])

    payables.execute(now=NINE + timedelta(hours=2))
    assert waiting(payables) == [row]
    if decision:
        payables.decide("EV-old", decision, NINE + timedelta(hours=3))
    payables.execute(now=NINE + 10 * DAY)

    assert waiting(payables) == []
    steps = steps_of(payables, "EV-old")
    before = [(run[1], run[5], run[6], run[7]) for run in kept["state"]["step_runs"]]
    assert steps.select("step_id", "status", "input", "output").rows()[:2] == before
    assert steps.select("step_id", "status").rows()[2:] == path
    handoff = steps.row(2, named=True)
    assert (handoff["input"], handoff["seq"]) == (kept["state"]["input"], 2)
    assert handoff["started_at"] == NINE + timedelta(milliseconds=510 + 4)
    assert handoff["ended_at"] == (NINE + timedelta(hours=3) if decision else at["due_at"])
    assert json.loads(handoff["output"])["handoff_id"] == "HO-322e1806613c50b6"
    (episode,) = payables.table(RUN_EPISODE).iter_rows(named=True)
    assert (episode["episode_id"], episode["seed"]) == (kept["episode_id"], kept["state"]["episode"]["seed"])


def test_a_wait_ends_under_the_version_it_began_with(payables: Payables) -> None:
    """A half-run invoice would go on in a workflow that it never entered."""
    payables.invoice("1", billed="104.00")  # within 5 %: booked at once
    payables.invoice("2", billed="150.00")
    payables.execute(now=NINE + timedelta(hours=1))
    publish(payables, version="1.4.0", tolerance="0.03", notify="never")
    payables.decide("EV-2", "approved", NINE + timedelta(hours=2))
    payables.invoice("3", billed="104.00", at=NINE + DAY)

    payables.execute()

    episodes = payables.table(RUN_EPISODE).select("trigger_event_id", "workflow_version", "outcome")
    assert sorted(episodes.rows()) == [
        ("EV-1", "1.3.0", "success"),
        ("EV-2", "1.3.0", "success"),
        ("EV-3", "1.4.0", "partial"),
    ]
    assert set(steps_of(payables, "EV-2")["workflow_version"]) == {"1.3.0"}
    assert steps_of(payables, "EV-2")["step_id"].to_list()[-1] == "F-05"


def test_an_episode_that_waits_does_not_hold_back_another_trigger_of_its_event(payables: Payables) -> None:
    """The second trigger's episode would be skipped while the first one waits, and never be looked at again."""
    payables.invoice("1", billed="150.00")
    soon = NINE + timedelta(hours=1)
    payables.execute(now=soon)
    second = (
        '"triggers": [{"trigger_id": "TR-2", "trigger_type": "event", "selector": {"topic": "ap.invoice.received"}},'
    )
    publish(payables, version="1.4.0", tolerance="0.05", notify="both", triggers=second)

    assert dict(payables.execute(now=soon).outcomes) == {"running": 1}
    assert payables.execute(now=soon).batches == 0
    payables.execute()

    episodes = payables.table(RUN_EPISODE).select("trigger_id", "trigger_event_id", "workflow_version")
    assert sorted(episodes.rows()) == [("TR-2", "EV-1", "1.4.0"), ("TR-FIN-001", "EV-1", "1.3.0")]


def publish(payables: Payables, *, version: str, tolerance: str, notify: str, triggers: str = '"triggers": [') -> None:
    """Make another version of WF-FIN-001 the current one, as publication will."""
    text = (PACK / "workflows/WF-FIN-001.json").read_text()
    text = text.replace('"version": "1.3.0"', f'"version": "{version}"').replace(
        '"tolerance": 0.05', f'"tolerance": {tolerance}'
    )
    text = text.replace("invoice_booked", notify).replace('"triggers": [', triggers)
    received = read_document(Workflow, text, name="WF-FIN-001")
    with payables.registry.transaction() as connection:
        row = version_row(received, reason="test", source="test", actor="test", now=NINE)
        insert(connection, OBJECT_VERSION, [row])
        workflow = TABLES["workflow"]
        connection.execute(workflow.update().where(workflow.c.workflow_id == "WF-FIN-001").values(version=version))


def test_an_event_without_the_correlating_member_wakes_nobody(payables: Payables) -> None:
    """A malformed decision would wake whoever waits for null."""
    payables.invoice("1", billed="150.00")
    payables.arrive(event("DE-1", "handoff.decided", {"decision": "approved"}, NINE + timedelta(hours=1)))
    assert dict(payables.execute(now=NINE + timedelta(hours=2)).outcomes) == {"running": 1}


# Interruptions


class Died(BaseException):
    """What an interruption looks like from within."""


def die_at(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Make the next execution stop at a moment of its first batch's commit."""
    append = Lake.append

    def appended(lake: Lake, spec: Any, frame: pl.DataFrame, *, batch_id: str) -> Any:
        if moment == "before step runs" and spec is STEP_RUN:
            raise Died
        done = append(lake, spec, frame, batch_id=batch_id)
        if (moment, spec) in (("before episodes", STEP_RUN), ("before the batch is closed", RUN_EPISODE)):
            raise Died
        return done

    monkeypatch.setattr(Lake, "append", appended)


@pytest.mark.parametrize("moment", ["before step runs", "before episodes", "before the batch is closed"])
@pytest.mark.parametrize("arrives", [False, True], ids=["nothing new", "something new"])
def test_an_interrupted_execution_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, arrives: bool
) -> None:
    """A crash would leave episodes without steps, rows twice, or a batch that stays open for ever."""
    disturbed, undisturbed = Payables(tmp_path / "disturbed"), Payables(tmp_path / "undisturbed")
    for payables in (disturbed, undisturbed):
        busy(payables)
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, moment)
        disturbed.execute()
    for payables in (disturbed, undisturbed):
        if arrives:
            payables.invoice("new", at=LATER - timedelta(minutes=5))
        payables.execute()

    assert history(disturbed) == history(undisturbed)
    for row in batches(disturbed):
        assert (row["state"], row["records_accepted"]) == ("done", row["records_read"]), row
    counted = sum(row["records_read"] for row in batches(disturbed))
    assert counted == sum(row["records_read"] for row in batches(undisturbed))
    rows = payables_rows(disturbed)
    assert disturbed.execute().batches == 0
    assert payables_rows(disturbed) == rows


@pytest.mark.parametrize("moment", ["before episodes", "before the batch is closed"])
def test_what_changed_while_an_execution_lay_interrupted_does_not_split_an_episode(
    payables: Payables, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """After a crash and a repair an episode would have the first steps of one path and the last of another."""
    payables.invoice("1", billed="150.00")
    payables.invoice("2", billed="104.00")
    payables.execute(now=NINE + timedelta(hours=1))
    payables.invoice("3", billed="104.00", at=NINE + DAY)
    with monkeypatch.context() as patch, pytest.raises(Died):
        die_at(patch, moment)
        payables.execute()  # what waited for a decision on EV-1 times out
    payables.decide("EV-1", "approved", NINE + timedelta(hours=2))
    publish(payables, version="1.4.0", tolerance="0.03", notify="never")

    payables.execute()

    runs = sorted(payables.table(RUN_EPISODE).iter_rows(named=True), key=lambda run: run["trigger_event_id"])
    assert [run["trigger_event_id"] for run in runs] == ["EV-1", "EV-2", "EV-3"]
    assert runs[0]["outcome"] == ("partial" if moment == "before the batch is closed" else "success")
    for run in runs:
        steps = steps_of(payables, run["trigger_event_id"])
        assert (run["steps"], run["ended_at"]) == (steps.height, steps["ended_at"].max())
        assert set(steps["workflow_version"]) == {run["workflow_version"]}
        assert steps["seq"].to_list() == list(range(steps.height))
    assert waiting(payables) == []
    assert payables.execute().batches == 0


def payables_rows(payables: Payables) -> tuple[int, ...]:
    return tuple(payables.lake.scan(spec).collect().height for spec in (RUN_EPISODE, STEP_RUN))


@pytest.mark.parametrize("moment", ["before episodes", "before the batch is closed"])
def test_a_killed_process_leaves_nothing_that_the_next_one_cannot_mend(tmp_path: Path, moment: str) -> None:
    """An exception runs its `finally`; a power cut does not: locks and half-written files would stay."""
    disturbed, undisturbed = Payables(tmp_path / "disturbed"), Payables(tmp_path / "undisturbed")
    for payables in (disturbed, undisturbed):
        busy(payables)
    spec = {"before episodes": "step_run", "before the batch is closed": "run_episode"}[moment]
    script = f"""
import os, signal
from pathlib import Path
from lake.home import Home
from lake.store import Lake
from registry.database import Registry
from runtime.execution import execute_pending
from runtime.skills.simulated import SimulatedSkills
from tests.builders import LATER

append = Lake.append
def dying(lake, spec, frame, *, batch_id):
    append(lake, spec, frame, batch_id=batch_id)
    if spec.name == {spec!r}:
        os.kill(os.getpid(), signal.SIGKILL)
Lake.append = dying
home = Home(Path({str(disturbed.home.root)!r}))
registry = Registry.open(home.registry_db)
execute_pending(Lake(home.lake), registry, skills=SimulatedSkills(home.simulated), now=LATER)
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    killed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL

    for payables in (disturbed, undisturbed):
        payables.execute()

    assert history(disturbed) == history(undisturbed)
    assert all(row["state"] == "done" for row in batches(disturbed))


def test_two_executions_at_once_run_everything_once(payables: Payables) -> None:
    """The command line and the UI would book every invoice twice."""
    busy(payables)
    script = f"""
from pathlib import Path
from lake.home import Home
from lake.store import Lake
from registry.database import Registry
from runtime.execution import execute_pending
from runtime.skills.simulated import SimulatedSkills
from tests.builders import LATER
home = Home(Path({str(payables.home.root)!r}))
registry, skills = Registry.open(home.registry_db), SimulatedSkills(home.simulated)
print(execute_pending(Lake(home.lake), registry, skills=skills, now=LATER).episodes)
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]

    episodes, steps = payables.lake.scan(RUN_EPISODE).collect(), payables.lake.scan(STEP_RUN).collect()
    assert (episodes.height, episodes["episode_id"].n_unique()) == (13, 13)
    assert steps["step_run_id"].n_unique() == steps.height
    assert sorted(int(count) for count in told) == [0, 13]
    assert payables.execute().batches == 0


def test_only_this_workflows_events_are_read_from_a_shared_month(payables: Payables) -> None:
    """Ten thousand events of another topic must not become anything, nor slow the month down."""
    other = pl.DataFrame([event(f"X-{n}", "hr.offer.signed", {"n": n}, NINE) for n in range(1_000)])
    payables.lake.append(EVENT_BUS, other, batch_id="B-2")
    payables.invoice("1")
    done = execute_pending(payables.lake, payables.registry, skills=SimulatedSkills(payables.home.simulated), now=LATER)
    assert (done.episodes, done.batches) == (1, 1)
