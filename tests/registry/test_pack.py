"""The shipped pack holds what the blueprint says, and nothing that its own rules forbid."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from lake.tables import GOVERNED
from registry.database import Registry
from registry.loader import PACK, event_schemas
from registry.outbox import AUDIT_TOPICS
from registry.plans import load_plan
from registry.steps import END

BLUEPRINT_ROLES = """
FA-IC-001 Accounts Payable Specialist Finance V FA-M-001
FA-M-001 Finance Manager Finance III FA-D-001
HR-IC-001 HR Coordinator HR V HR-M-001
HR-M-001 Talent Acquisition Manager HR III HR-D-001
IT-IC-001 IT Support Technician IT V IT-M-001
IT-M-001 IT Operations Manager IT III IT-D-001
SAL-IC-001 Sales Representative Sales V SAL-M-001
SAL-M-001 Sales Manager Sales III SAL-D-001
MKT-M-001 Marketing Manager Marketing III MKT-D-001
LGL-M-001 Corporate Counsel Legal III LGL-D-001
SEC-M-001 Security & Compliance Manager Compliance III SEC-D-001
"""
BLUEPRINT_SKILLS = """
SK-OCR-001 Document_Entity_Extractor ingestion extract(file_uri, entities, min_conf)
SK-ERP-002 System_Record_Writeback tool write(system, action, data_payload)
SK-LOGIC-003 Compliance_Variance_Check logic check(lhs, rhs, policy, tolerance)
SK-COMM-004 Human_Handoff_Protocol comm handoff(reason_code, owner_id, context)
SK-COMM-005 Standard_Notification comm send(channel, recipient, template_id, data)
SK-HCM-006 HCM_System_Interface tool query(system, object_id)
SK-API-007 Inter_Agent_API_Caller api call(target_workflow_id, payload)
SK-IT-008 Identity_Access_Manager tool provision(system, user_id, access_group)
SK-GEN-009 Workflow_Synthesizer generator synthesize(genome, episodes, constraints)
SK-GEN-010 Skill_Induction generator induce(capability_gap, traces, io_pairs)
SK-ETL-011 Tabular_ETL etl transform(sql_or_dag, inputs, outputs)
SK-ML-012 Model_Retrainer ml retrain(dataset_id, objective, hyperparams)
SK-NLP-013 Redaction_Filter logic redact(text, policies)
SK-VIZ-014 Metrics_Dashboard viz render(view_id, params)
"""
ALIASES_IN_USE = {
    "SK-COMM-004": {"reason": "reason_code", "owner": "owner_id"},
    "SK-COMM-005": {"recipients": "recipient", "template": "template_id"},
    "SK-OCR-001": {"min_conf": "min_confidence"},
}


def documents(folder: str) -> Iterator[dict[str, Any]]:
    for path in sorted((PACK / folder).glob("*.json")):
        yield json.loads(path.read_text())


def test_the_blueprints_roles_are_shipped_as_written() -> None:
    """Section 13; the column it heads "Supervises" holds the role that supervises this one."""
    roles = {role["role_id"]: role for role in json.loads((PACK / "roles.json").read_text())}
    shipped = [
        " ".join(
            (
                role["role_id"],
                role["role_title"],
                role["department"],
                role["hierarchy_level"],
                role.get("supervises_role_id", ""),
            )
        )
        for role in roles.values()
    ]
    assert set(BLUEPRINT_ROLES.strip().splitlines()) <= set(shipped)


def test_every_role_that_the_design_adds_is_there_and_supervised() -> None:
    """A reviewer who proposed the change is replaced by the role above, so a manager without one blocks a review."""
    roles = {role["role_id"]: role for role in json.loads((PACK / "roles.json").read_text())}
    directors = ["FA-D-001", "HR-D-001", "IT-D-001", "SAL-D-001", "MKT-D-001", "LGL-D-001", "SEC-D-001"]
    assert {roles[role]["hierarchy_level"] for role in directors} == {"II"}
    assert roles["QA-M-001"]["role_title"] == "Quality Assurance Manager"
    for manager in ("QA-M-001", "PROC-M-001", "SC-M-001", "CS-M-001", "DA-M-001"):
        assert roles[roles[manager]["supervises_role_id"]]["hierarchy_level"] == "II"


def test_the_blueprints_skills_are_shipped_under_their_signatures() -> None:
    """Section 4: every argument it names is accepted, by name or by alias."""
    skills = {skill["skill_id"]: skill for skill in documents("skills")}
    for line in BLUEPRINT_SKILLS.strip().splitlines():
        skill_id, name, category, call = line.split(" ", 3)
        function, _, arguments = call.rstrip(")").partition("(")
        skill = skills.pop(skill_id)
        accepted = {name for arg in skill["signature"]["args"] for name in (arg["name"], *arg.get("aliases", []))}
        assert (skill["skill_name"], skill["category"], skill["signature"]["name"]) == (name, category, function)
        assert set(arguments.split(", ")) <= accepted
        assert skill["is_generator"] is (category == "generator")
    assert list(skills) == ["SK-EXT-000"]


def test_the_aliases_of_the_blueprints_steps_are_declared() -> None:
    """Sections 3.3, 9 and 17.2 call arguments by other names than section 4; their steps load unchanged."""
    skills = {skill["skill_id"]: skill for skill in documents("skills")}
    for skill_id, aliases in ALIASES_IN_USE.items():
        declared = {
            alias: argument["name"]
            for argument in skills[skill_id]["signature"]["args"]
            for alias in argument.get("aliases", [])
        }
        assert declared == aliases


def test_every_writing_action_declares_its_effect() -> None:
    """An undeclared action counts as every category, and the publishing policy blocks `payments.write`."""
    skills = {skill["skill_id"]: skill["runtime_binding"] for skill in documents("skills")}
    assert skills["SK-ERP-002"]["effects"]["Book_Invoice"] == "ledger.write"
    assert skills["SK-ERP-002"]["effects"]["Pay_Invoice"] == "payments.write"
    assert {name for name, binding in skills.items() if binding["adapter"] != "simulated"} == {
        "SK-EXT-000",
        "SK-API-007",
    }


def test_the_data_policy_keeps_the_blueprints_periods() -> None:
    """Section 18.3, in days."""
    (policy,) = (policy for policy in documents("policies") if policy["scope"] == "data")
    assert policy["spec"]["retention_days"] == {"pii": 180, "telemetry": 365, "events": 400}


def test_the_publishing_policy_is_the_blueprints() -> None:
    """Section 5.2."""
    policy = {policy["policy_id"]: policy for policy in documents("policies")}["POL-PUBLISH-001"]
    assert policy["spec"] == {
        "require_tests": True,
        "min_confidence": 0.85,
        "risk_threshold": 0.40,
        "mandatory_reviewers": ["QA-M-001", "SEC-M-001"],
        "blocked_categories": ["payments.write"],
        "audit_trail": True,
    }


def test_there_is_a_policy_of_every_precedence() -> None:
    """Section 17.3 orders five levels; each has an example."""
    levels = {policy.get("precedence") for policy in documents("policies")}
    assert levels == {"statutory", "contractual", "corporate", "domain", "workflow-local"}


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (
            "ap.invoice.received",
            {"invoice_uri": "s3://i/1", "vendor_id": "V", "po_id": "P", "received_at": "2024-03-01T00:00:00Z"},
        ),
        ("hr.offer.signed", {"candidate_id": "C", "role_id": "HR-IC-001", "start_date": "2024-03-01"}),
        ("it.provision.complete", {"user_id": "U", "accounts": ["ad"], "dt": "2024-03-01T00:00:00Z"}),
        ("reflection.proposed", {"source_id": "S", "proposal_type": "workflow", "body": {}}),
        ("policy.updated", {"policy_id": "POL", "spec": {}}),
        ("handoff.decided", {"subject_id": "E", "decision": "approved", "decided_by": "U"}),
        (
            "registry.changed",
            {
                "object_type": "workflow",
                "object_id": "WF-1",
                "version": "1.0.0",
                "change": "minor",
                "document_hash": "0" * 64,
                "actor": "u-1",
                "publication_id": None,
                "reason": "bootstrap",
            },
        ),
        (
            "access.denied",
            {
                "subject_id": "u-1",
                "subject_type": "person",
                "role_id": None,
                "action": "publish",
                "object_type": "role",
                "object_id": "R",
                "reason": "it may not",
            },
        ),
        (
            "access.token",
            {
                "change": "issued",
                "token_id": "TK-1",
                "subject_id": "u-1",
                "subject_type": "agent",
                "role_id": "R",
                "expires_at": "2025-01-01T00:00:00+00:00",
                "actor": "operator:root",
            },
        ),
    ],
)
def test_payloads_of_the_blueprint_are_valid_and_all_else_is_not(
    loaded: Registry, topic: str, payload: dict[str, Any]
) -> None:
    """Section 6: each payload as written passes; without a member, or with one more, it does not."""
    version, schema = event_schemas(loaded)[topic]
    validator = jsonschema_rs.validator_for(schema)
    assert version == 1
    assert validator.is_valid(payload)
    assert not validator.is_valid(payload | {"surprise": 1})
    for member in payload:
        assert not validator.is_valid({name: value for name, value in payload.items() if name != member})


def test_the_sender_of_an_invoice_is_marked_personal(loaded: Registry) -> None:
    """Redaction follows the mark; without it an address stands in the lake."""
    _, schema = event_schemas(loaded)["ap.invoice.received"]
    assert schema["properties"]["sender"]["x-pii"] is True
    assert "sender" not in schema["required"]


def test_the_invoice_workflow_runs_as_the_blueprint_draws_it(loaded: Registry) -> None:
    """Sections 3.2, 3.3 and 9, with the way out of F-03 that the design adds."""
    plan = load_plan(loaded, "WF-FIN-001")
    assert (plan.version, plan.status, plan.constraints.latency_ms) == ("1.3.0", "active", 600_000)
    assert [trigger.topic for trigger in plan.triggers] == ["ap.invoice.received"]
    assert [(step.step_id, step.action_type, step.skill.skill_id) for step in plan.steps] == [
        ("F-01", "data_extraction", "SK-OCR-001"),
        ("F-02", "logic_check", "SK-LOGIC-003"),
        ("F-03", "handoff", "SK-COMM-004"),
        ("F-04", "tool_call", "SK-ERP-002"),
        ("F-05", "notify", "SK-COMM-005"),
    ]
    by_output = {
        passed: [b.goto for b in plan.step("F-02").logic.branches if b.condition.evaluate({"output": {"pass": passed}})]
        for passed in (True, False)
    }
    assert by_output == {True: [("F-04",)], False: [("F-03",)]}
    by_decision = {
        word: [b.goto for b in plan.step("F-03").logic.branches if b.condition.evaluate({"event": {"decision": word}})]
        for word in ("approved", "rejected")
    }
    assert by_decision == {"approved": [("F-04",)], "rejected": [(END,)]}
    awaits = plan.step("F-03").logic.awaits
    assert (awaits.event, awaits.timeout_h, awaits.on_timeout) == ("handoff.decided", 72, (END,))
    assert plan.step("F-01").logic.on_error == plan.step("F-02").logic.on_error == ("F-03",)
    assert (plan.step("F-04").logic.goto, plan.step("F-05").logic.goto) == (("F-05",), (END,))


def test_every_agent_may_use_the_skills_it_runs() -> None:
    """Permissions hang on the role; an agent without them would be refused in its first run."""
    allowed = {(entry["role_id"], entry["skill_id"]) for entry in json.loads((PACK / "role_skills.json").read_text())}
    for agent in json.loads((PACK / "agents.json").read_text()):
        for skill_id in agent["policy_profile"]["skills"]:
            assert (agent["role_id"], skill_id) in allowed, agent["agent_id"]


def test_there_is_an_agent_of_every_type() -> None:
    """Section 2 names four."""
    types = {agent["agent_type"] for agent in json.loads((PACK / "agents.json").read_text())}
    assert types == {"l2_orchestrator", "skill_agent", "human_proxy", "evaluator"}


def test_every_kind_has_publishers_and_every_topic_a_term(loaded: Registry) -> None:
    """A kind that the policy forgets could never be published; a role that it mistypes neither."""
    (policy,) = (policy for policy in documents("policies") if "publishers" in policy["spec"])
    roles = {role["role_id"] for role in json.loads((PACK / "roles.json").read_text())}
    kinds = {spec.name for spec in GOVERNED} - {"step_action", "trigger_def", "publication_queue", "object_version"}
    assert kinds == policy["spec"]["publishers"].keys()
    for publishers in policy["spec"]["publishers"].values():
        assert publishers and set(publishers) <= roles
    terms = {node["label"] for node in json.loads((PACK / "ontology.json").read_text())}
    assert set(AUDIT_TOPICS) <= event_schemas(loaded).keys() & terms


def terms(node_type: str) -> set[str]:
    """Return the labels of the ontology's terms of a type."""
    return {
        node["label"] for node in json.loads((PACK / "ontology.json").read_text()) if node["node_type"] == node_type
    }


def test_every_topic_has_a_term(loaded: Registry) -> None:
    """Overlaps of policies and reviewers of a proposal are found through terms; a topic without one is overlooked."""
    section_6 = {
        "ap.invoice.received",
        "hr.offer.signed",
        "it.provision.complete",
        "reflection.proposed",
        "policy.updated",
    }
    assert section_6 | event_schemas(loaded).keys() <= terms("event")


def test_every_policy_tag_in_use_has_a_term() -> None:
    """A policy that applies to a tag which no term names applies to nothing that anybody finds."""
    used: set[str] = set()
    for workflow in (*documents("workflows"), *documents("templates")):
        used |= set(workflow["constraints"]["policy_tags"])
    for policy in documents("policies"):
        used |= set(policy["spec"].get("applies_to_tags", []))
    assert {"sox", "pii_redaction", "finance", "vendor"} <= used <= terms("policy_tag")


def test_the_kpis_of_the_runbook_have_terms() -> None:
    """Section 24 names them, section 11 the others; savings that are no metric cannot be asked for."""
    kpis = {"Proposal lead time", "Publish rate", "Rollback rate", "SLO adherence", "Savings"}
    assert kpis | {"Latency", "Success rate", "Error rate", "Cost"} <= terms("metric")


def test_every_skill_has_somebody_who_maintains_it() -> None:
    """A skill that only its owner's supervisor may change waits for them; who owns it holds at least maintain."""
    held = {
        (entry["role_id"], entry["skill_id"]): entry.get("permission", "use")
        for entry in json.loads((PACK / "role_skills.json").read_text())
    }
    assert set(held.values()) == {"use", "maintain", "publish"}
    for skill in documents("skills"):
        if skill["skill_id"] != "SK-EXT-000":  # a placeholder that nobody changes
            assert held[skill["owner_role_id"], skill["skill_id"]] in ("maintain", "publish"), skill["skill_id"]
