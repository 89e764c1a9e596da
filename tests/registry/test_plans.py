"""Plans: what the engine runs is the version it asked for, bound under the signature's names."""

import json
import shutil
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from registry.database import TABLES, Registry, insert
from registry.documents import Workflow, read_document
from registry.loader import PACK, load_pack, register_log_workflow
from registry.objects import OBJECT_VERSION, NotRegistered, current_hashes, version_row
from registry.plans import load_active_plans, load_plan


def test_parameters_come_under_the_signatures_names(loaded: Registry) -> None:
    """A skill reads `reason_code`; the blueprint's step says `reason`."""
    plan = load_plan(loaded, "WF-FIN-001")
    assert plan.step("F-03").parameters.evaluate({}) == {"reason_code": "PO_MISMATCH", "owner_id": "FA-M-001"}
    assert plan.step("F-05").parameters.evaluate({})["template_id"] == "invoice_booked"
    assert plan.step("F-01").parameters.evaluate({"trigger": {"invoice_uri": "s3://i"}}) == {
        "file_uri": "s3://i",
        "entities": ["vendor_id", "amount", "po_id"],
    }


def test_defaults_fill_what_a_step_leaves_out(loaded: Registry) -> None:
    """`min_confidence` has a value, `data` is what came out so far, and what the step gives is no default."""
    plan = load_plan(loaded, "WF-FIN-001")
    assert plan.step("F-01").defaults.evaluate({}) == {"min_confidence": Decimal("0.85")}
    outputs = {"episode": {"outputs": {"F-01": {"entities": {}}}}}
    assert plan.step("F-05").defaults.evaluate(outputs) == {"data": {"F-01": {"entities": {}}}}
    assert "tolerance" not in plan.step("F-02").defaults.evaluate(outputs)


def test_every_step_names_who_runs_it(loaded: Registry) -> None:
    """`step_run.agent_id` is not null and must exist."""
    plan = load_plan(loaded, "WF-FIN-001")
    agents = {step.step_id: step.agent_id for step in plan.steps}
    assert agents["F-03"] == "AG-HUMAN-001"
    with loaded.read() as connection:
        known = set(connection.scalars(sa.select(TABLES["agent"].c.agent_id)))
    assert {plan.agent_id, *agents.values()} <= known


def test_steps_are_in_sequence_whatever_the_document_says(registry: Registry, now: datetime, tmp_path: Path) -> None:
    """The entry is the lowest sequence."""
    pack = shutil.copytree(PACK, tmp_path / "pack")
    path = pack / "workflows/WF-FIN-001.json"
    document = json.loads(path.read_text())
    document["steps"].reverse()
    path.write_text(json.dumps(document))
    load_pack(registry, pack, actor="test", now=now)
    plan = load_plan(registry, "WF-FIN-001")
    assert [step.step_id for step in plan.steps] == ["F-01", "F-02", "F-03", "F-04", "F-05"]
    assert plan.entry.step_id == "F-01"


def test_an_episode_finds_the_version_it_started_under(loaded: Registry, now: datetime) -> None:
    """An episode that waits for 72 hours ends under its own version, though another one is current by then."""
    old = load_plan(loaded, "WF-FIN-001")
    text = (PACK / "workflows/WF-FIN-001.json").read_text().replace("1.3.0", "1.4.0").replace("0.05}", "0.04}")
    received = read_document(Workflow, text, name="new")
    with loaded.transaction() as connection:
        row = version_row(received, reason="publication", source="P", actor="x", now=now)
        insert(connection, OBJECT_VERSION, [row])
        connection.execute(sa.update(TABLES["workflow"]).values(version="1.4.0"))
    new = load_plan(loaded, "WF-FIN-001")
    assert (new.version, new.step("F-02").parameters.evaluate({})["tolerance"]) == ("1.4.0", Decimal("0.04"))
    pinned = load_plan(loaded, "WF-FIN-001", "1.3.0")
    assert (pinned.body_hash, pinned.step("F-02").parameters.evaluate({})["tolerance"]) == (
        old.body_hash,
        Decimal("0.05"),
    )
    assert new.body_hash != old.body_hash


def test_only_active_workflows_are_planned(loaded: Registry, now: datetime) -> None:
    """A draft, an imported log and a paused workflow must not run."""
    register_log_workflow(loaded, workflow_id="WF-LOG-a", name="a", activities=["A"], now=now, source="s")
    assert [plan.workflow_id for plan in load_active_plans(loaded)] == ["WF-FIN-001"]
    with loaded.transaction() as connection:
        # Who only asks whether anything changed gets the same hashes without the plans.
        assert current_hashes(connection, Workflow, status="active") == [load_active_plans(loaded)[0].body_hash]
        connection.execute(sa.update(TABLES["workflow"]).values(status="paused"))
        assert current_hashes(connection, Workflow, status="active") == []
    assert load_active_plans(loaded) == ()


@pytest.mark.parametrize("version", [None, "1.3.0"])
def test_an_unknown_workflow_is_named(loaded: Registry, version: str | None) -> None:
    """The message says what is missing, not which query found nothing."""
    with pytest.raises(NotRegistered, match="WF-NONE"):
        load_plan(loaded, "WF-NONE", version)


def test_an_unknown_version_is_named(loaded: Registry) -> None:
    """A pinned version that is gone would otherwise run as another one."""
    with pytest.raises(NotRegistered, match=r"7\.0\.0"):
        load_plan(loaded, "WF-FIN-001", "7.0.0")


def test_an_unknown_step_is_named(loaded: Registry) -> None:
    """An open episode may stand on a step of another version."""
    with pytest.raises(NotRegistered, match="F-99"):
        load_plan(loaded, "WF-FIN-001").step("F-99")


def test_every_step_of_every_shipped_workflow_is_permitted(loaded: Registry) -> None:
    """The pack must pass its own rules, or the first run of an installation is a row of refusals."""
    with loaded.read() as connection:
        workflows = list(connection.scalars(sa.select(TABLES["workflow"].c.workflow_id)))
    denied = [step.denial for workflow in workflows for step in load_plan(loaded, workflow).steps if step.denial]
    assert workflows
    assert denied == []


def test_a_skill_is_run_by_the_first_agent_that_lists_it_and_may(loaded: Registry, now: datetime) -> None:
    """An agent that lists a skill without its role's permission must not stand in the way of one that may."""
    columns = "agent_id, agent_name, agent_type, role_id, policy_profile, organisation"
    with loaded.transaction() as connection:
        connection.exec_driver_sql(
            f"insert into agent ({columns}, created_at, created_by, updated_at, updated_by) "
            "select 'AG-AAA', 'Eager', 'skill_agent', 'HR-IC-001', policy_profile, 'internal', "
            "created_at, created_by, updated_at, updated_by from agent where agent_id = 'AG-ERP-001'"
        )
    step = load_plan(loaded, "WF-FIN-001").step("F-04")
    assert (step.agent_id, step.denial) == ("AG-ERP-001", None)
    with loaded.transaction() as connection:
        connection.exec_driver_sql("update agent set policy_profile = '{}' where agent_id = 'AG-ERP-001'")
    step = load_plan(loaded, "WF-FIN-001").step("F-04")
    assert step.agent_id == "AG-AAA"
    assert step.denial is not None
    assert "permission use on SK-ERP-002" in str(step.denial)


def test_a_skill_that_no_agent_lists_is_denied_to_the_orchestrator(loaded: Registry) -> None:
    """Whoever orchestrates is no way around the profiles."""
    with loaded.transaction() as connection:
        connection.exec_driver_sql("update agent set policy_profile = '{}' where agent_id = 'AG-COMM-001'")
    step = load_plan(loaded, "WF-FIN-001").step("F-05")
    assert step.agent_id == "AG-ORCH-001"
    assert step.denial is not None
    assert "does not list SK-COMM-005" in step.denial.reason
