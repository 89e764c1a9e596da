"""Permission at run time: a step that its agent may not run fails as a row, and everything else goes on."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from guard.canonical import parse
from lake.tables import OUTBOX, RUN_EPISODE, STEP_RUN
from registry.access import Denied, Principal
from tests.builders import LATER, Payables, always, episodes, outcome, path, plan, run, step

DENIED = Denied(Principal("AG-TEST", "agent", "IT-M-001"), "run", "skill_node", "SK-TEST-001", "it needs more")


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


def test_a_denied_step_is_recorded_and_its_skill_is_never_called() -> None:
    """A refusal that calls the skill first, or leaves no row, is none."""
    skill = always({})
    planned = plan(replace(step("S-1", "END"), denial=DENIED))
    done = run(planned, episodes({}, {}), {"SK-TEST-001": skill})
    assert skill.calls == []
    for name in ("E-1", "E-2"):
        assert path(done, name) == [("S-1", "failed", "PERMISSION_DENIED")]
        assert outcome(done, name) == "failed"
    assert set(done.step_runs["error_message"]) == {str(DENIED)}
    assert set(done.step_runs["attempt"]) == {1}, "a refusal was tried again"


def test_a_denied_step_goes_where_errors_go() -> None:
    """A workflow may hand over to a person what its agent may not do."""
    denied = replace(step("S-1", {"goto": "END", "on_error": "S-2"}, retries=3), denial=DENIED)
    done = run(plan(denied, step("S-2", "END")), episodes({}), {"SK-TEST-001": always({})})
    assert path(done) == [("S-1", "failed", "PERMISSION_DENIED"), ("S-2", "success", None)]
    assert outcome(done) == "success"


def denials(payables: Payables) -> list[dict[str, object]]:
    rows = payables.registry.frame(OUTBOX).iter_rows(named=True)
    return [parse(row["payload"]) for row in rows if row["topic"] == "access.denied"]


def test_a_permission_that_is_taken_away_ends_the_step_for_all_but_those_who_never_reach_it(
    payables: Payables,
) -> None:
    """Booking is denied; what is handed to a person and rejected never gets there and is not touched."""
    for number in range(3):
        payables.invoice(f"good-{number}")
    payables.invoice("wrong", billed="150.00")
    payables.decide("EV-wrong", "rejected", LATER)
    with payables.registry.transaction() as connection:
        connection.exec_driver_sql("delete from role_skill_map where skill_id = 'SK-ERP-002'")
    payables.execute()
    runs = payables.table(STEP_RUN)
    booked = runs.filter(pl.col("step_id") == "F-04")
    assert set(booked["error_code"]) == {"PERMISSION_DENIED"}
    assert booked.height == 3
    assert set(payables.table(RUN_EPISODE)["outcome"]) == {"failed", "partial"}
    assert runs.filter(pl.col("error_code") == "PERMISSION_DENIED")["agent_id"].unique().to_list() == ["AG-ERP-001"]


def test_a_denial_at_run_time_is_audited_once_per_batch_and_step(payables: Payables) -> None:
    """An auditor reads that it happened; the step runs say how often. A repeated execution adds nothing."""
    for number in range(5):
        payables.invoice(f"{number}")
    with payables.registry.transaction() as connection:
        connection.exec_driver_sql("delete from role_skill_map where skill_id = 'SK-ERP-002'")
    payables.execute()
    payables.execute()
    (event,) = denials(payables)
    assert (event["subject_id"], event["subject_type"], event["role_id"]) == ("AG-ERP-001", "agent", "FA-IC-001")
    assert (event["action"], event["object_type"], event["object_id"]) == ("run", "skill_node", "SK-ERP-002")


def test_who_is_denied_is_part_of_what_decides_the_path(payables: Payables, tmp_path: Path) -> None:
    """Two episodes with one context hash must take the same path."""
    free = Payables(tmp_path / "free")
    for world in (free, payables):
        world.invoice("1")
    with payables.registry.transaction() as connection:
        connection.exec_driver_sql("delete from role_skill_map where skill_id = 'SK-ERP-002'")
    hashes = []
    for world in (free, payables):
        world.execute()
        hashes += world.table(RUN_EPISODE)["context_hash"].to_list()
    assert len(set(hashes)) == 2
    assert denials(free) == []
