"""Children: a workflow that starts another one, across executions, crashes and versions."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.store import Lake
from lake.tables import OPEN_EPISODE, RUN_EPISODE, STEP_RUN
from registry.loader import PACK
from runtime.replay import replay
from tests.builders import LATER, NINE, Payables

PARENT: dict[str, Any] = {
    "workflow_id": "WF-TST-001",
    "workflow_name": "Invoice by another workflow",
    "objective": "Let another workflow do it",
    "responsible_role_id": "FA-IC-001",
    "status": "active",
    "version": "1.0.0",
    "steps": [
        {
            "step_id": "T-01",
            "sequence": 1,
            "action_type": "tool_call",
            "skill_id": "SK-API-007",
            "parameters": {"target_workflow_id": "WF-FIN-001", "payload": "${trigger}"},
            "next_step_logic": {"goto": "T-02"},
            "timeout_ms": 10_000_000,
        },
        {
            "step_id": "T-02",
            "sequence": 2,
            "action_type": "notify",
            "skill_id": "SK-COMM-005",
            "parameters": {"channel": "email", "recipient": "vendor", "template": "${output.outcome}"},
            "next_step_logic": "END",
        },
    ],
    "triggers": [{"trigger_id": "TR-TST-001", "trigger_type": "event", "selector": {"topic": "ap.invoice.received"}}],
}


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    pack = shutil.copytree(PACK, tmp_path / "pack")
    (pack / "workflows/WF-TST-001.json").write_text(json.dumps(PARENT))
    started = pack / "workflows/WF-FIN-001.json"  # by the parent only
    started.write_text(json.dumps({**json.loads(started.read_text()), "triggers": []}))
    return Payables(tmp_path / "home", pack=pack)


def by_workflow(payables: Payables) -> dict[str, dict[str, Any]]:
    return {row["workflow_id"]: row for row in payables.table(RUN_EPISODE).iter_rows(named=True)}


def result_of(payables: Payables) -> dict[str, Any]:
    """Return what the parent's first step was given back."""
    step = payables.lake.scan(STEP_RUN).filter(pl.col("step_id") == "T-01").collect()
    return json.loads(step["output"][0])


def test_a_child_runs_in_the_same_execution_and_its_parent_goes_on(payables: Payables) -> None:
    """The parent would wait for the next tick, or for ever."""
    payables.invoice("1")
    payables.execute()
    runs = by_workflow(payables)
    assert {name: run["outcome"] for name, run in runs.items()} == {"WF-TST-001": "success", "WF-FIN-001": "success"}
    child = runs["WF-FIN-001"]
    result = result_of(payables)
    assert (result["episode_id"], result["outcome"]) == (child["episode_id"], "success")
    assert result["output"]["status"] == "queued"  # what its last step returned
    assert child["trigger_id"] is None
    assert child["trigger_event_id"] == "EV-1"
    assert runs["WF-TST-001"]["ended_at"] > child["ended_at"]
    assert payables.registry.frame(OPEN_EPISODE).is_empty()
    assert payables.execute(months=[NINE.date().replace(day=1)]).batches == 0


def test_a_parent_waits_as_long_as_its_child_does(payables: Payables) -> None:
    """A child that waits for a person would hold a process, be started again at each tick, or be left behind."""
    payables.invoice("1", billed="150.00")
    for hours in (1, 2):
        payables.execute(now=NINE + timedelta(hours=hours))
        waiting = payables.registry.frame(OPEN_EPISODE).sort("workflow_id")
        assert waiting["workflow_id"].to_list() == ["WF-FIN-001", "WF-TST-001"]
    payables.decide("EV-1", "approved", NINE + timedelta(hours=2, minutes=1))
    payables.execute(now=NINE + timedelta(hours=3))
    assert {run["outcome"] for run in by_workflow(payables).values()} == {"success"}
    assert payables.registry.frame(OPEN_EPISODE).is_empty()


class Died(BaseException):
    """What an interruption looks like from within."""


@pytest.mark.parametrize("appends", range(4))
def test_a_crash_neither_loses_nor_doubles_a_child(
    payables: Payables, monkeypatch: pytest.MonkeyPatch, appends: int
) -> None:
    """The parent would wait for a child that was never started, or an invoice would be booked twice."""
    payables.invoice("1")
    append, done = Lake.append, 0

    def dying(lake: Lake, spec: Any, frame: pl.DataFrame, *, batch_id: str) -> Any:
        nonlocal done
        if done == appends:
            raise Died
        done += 1
        return append(lake, spec, frame, batch_id=batch_id)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(Lake, "append", dying)
        payables.execute()
    payables.execute()

    assert payables.table(RUN_EPISODE)["workflow_id"].sort().to_list() == ["WF-FIN-001", "WF-TST-001"]
    assert payables.table(STEP_RUN).height == 4 + 2
    assert payables.registry.frame(OPEN_EPISODE).is_empty()


def test_a_child_that_cannot_be_started_fails_its_step(payables: Payables) -> None:
    """The parent of a workflow that was retired would wait until its time is over, or stop the batch."""
    with payables.registry.transaction() as connection:
        connection.exec_driver_sql("update workflow set status = 'retired' where workflow_id = 'WF-FIN-001'")
    payables.invoice("1")
    payables.execute(now=LATER)
    step = payables.lake.scan(STEP_RUN).collect()
    assert step.select("step_id", "error_code").rows() == [("T-01", "UNKNOWN_WORKFLOW")]
    assert by_workflow(payables)["WF-TST-001"]["outcome"] == "failed"


def test_a_paused_workflow_keeps_its_episodes_where_they_are(payables: Payables) -> None:
    """What was stopped in a hurry would go on as soon as somebody decides."""
    payables.invoice("2", billed="150.00")
    payables.execute(now=NINE + timedelta(hours=1))
    payables.decide("EV-2", "approved", NINE + timedelta(hours=2))

    def become(status: str) -> None:
        with payables.registry.transaction() as connection:
            connection.exec_driver_sql(f"update workflow set status = '{status}' where workflow_id = 'WF-FIN-001'")

    become("paused")
    payables.execute()
    assert set(payables.registry.frame(OPEN_EPISODE)["workflow_id"]) >= {"WF-FIN-001"}
    become("retired")
    payables.execute()
    assert by_workflow(payables)["WF-FIN-001"]["outcome"] == "success"


def test_a_parent_is_replayed_with_what_became_of_its_child(payables: Payables) -> None:
    """Every episode that starts another would be called different, or start it again."""
    payables.invoice("1")
    payables.invoice("2", billed="150.00", at=NINE + timedelta(days=1))
    payables.execute(now=NINE + timedelta(days=90))
    outcomes = {row["workflow_id"] for row in payables.table(RUN_EPISODE).iter_rows(named=True)}
    assert outcomes == {"WF-FIN-001", "WF-TST-001"}
    before = payables.versions()
    found = replay(payables.lake, payables.registry, "WF-TST-001", skills=payables.skills)
    assert (found.replayed, found.divergences.to_dicts()) == (2, [])
    children = replay(payables.lake, payables.registry, "WF-FIN-001", skills=payables.skills)
    assert dict(children.not_replayable) == {"child": 2}
    assert payables.versions() == before
