"""Templates: filled whole, they are sound workflows."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from guard.canonical import canonical
from registry.checks import Known, check_workflow
from registry.database import Registry
from registry.documents import SkillNode, Workflow, read_document
from registry.expressions import compile_condition
from registry.loader import event_schemas
from registry.objects import current_documents
from registry.templates import TemplateFault, fill, holes, read_template

LEARNED = {
    "vendors": ["VEND-445", "VEND-992"],
    "tolerance": Decimal("0.041"),
    "condition": 'vendor_id in ["VEND-445", "VEND-992"]',
}


def test_the_filled_variance_template_is_a_sound_workflow(loaded: Registry, now: datetime) -> None:
    """The proposal that comes of it must pass the checks that every workflow passes, in the present registry."""
    received = read_document(Workflow, canonical(fill(read_template("variance_mitigation"), LEARNED)), name="t")
    workflow = received.body
    with loaded.read() as connection:
        skills = {name: skill.body.signature for name, skill in current_documents(connection, SkillNode).items()}
    schemas = {topic: schema for topic, (_, schema) in event_schemas(loaded).items()}
    assert check_workflow(workflow, Known(skills, {"FA-M-001"}, schemas), document="t") == []
    assert (workflow.workflow_id, workflow.workflow_name) == ("WF-FIN-009", "Vendor Variance Mitigation")
    assert workflow.status == "active", "published to the letter, it must run"
    assert [step.step_id for step in workflow.steps] == [f"WF-FIN-009/{number}" for number in range(1, 6)]
    assert {step.skill_id for step in workflow.steps} == {
        "SK-OCR-001",
        "SK-LOGIC-003",
        "SK-COMM-004",
        "SK-ERP-002",
        "SK-COMM-005",
    }
    assert received.value["steps"][1]["parameters"]["tolerance"] == Decimal("0.041")
    condition = compile_condition(workflow.triggers[0].selector.condition or "")
    assert [condition.evaluate({"trigger": {"vendor_id": vendor}}) for vendor in ("VEND-445", "VEND-1")] == [
        True,
        False,
    ]


def test_the_template_says_what_is_to_be_learned() -> None:
    """Nothing of what data decide may be written into the template."""
    assert holes(read_template("variance_mitigation")) == {"vendors", "tolerance", "condition"}


@pytest.mark.parametrize(
    ("learned", "missing", "unknown"),
    [
        ({}, {"vendors", "tolerance", "condition"}, set()),
        ({**LEARNED, "limit": 1}, set(), {"limit"}),
        ({"vendors": [], "tolerance": 1, "conditions": ""}, {"condition"}, {"conditions"}),
    ],
)
def test_a_template_is_filled_whole_or_not(learned: dict[str, Any], missing: set[str], unknown: set[str]) -> None:
    """A hole left open would be published as a parameter."""
    with pytest.raises(TemplateFault) as caught:
        fill(read_template("variance_mitigation"), learned)
    assert (caught.value.missing, caught.value.unknown) == (missing, unknown)
