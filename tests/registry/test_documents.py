"""Documents: the blueprint's own examples are taken as they stand, and what is wrong is named, all of it."""

from decimal import Decimal
from typing import Any

import pytest

from registry.documents import (
    Agent,
    Document,
    DocumentRefused,
    EventSchema,
    OntologyNode,
    Policy,
    Role,
    RoleSkill,
    SkillNode,
    StepAction,
    Trigger,
    Workflow,
    fits,
    read_document,
)

SKILL_3_1 = """{
  "skill_id": "SK-OCR-001",
  "skill_name": "Document_Entity_Extractor",
  "category": "ingestion",
  "signature": {
    "name": "extract",
    "args": [
      {"name": "file_uri", "type": "string", "required": true},
      {"name": "entities", "type": "array<string>", "required": true},
      {"name": "min_confidence", "type": "number", "default": 0.85}
    ],
    "returns": {"type": "object", "properties": {"entities": "map<string,any>", "confidence": "number"}},
    "errors": ["CONNECTIVITY", "SCHEMA_MISMATCH", "LOW_CONFIDENCE"]
  },
  "runtime_binding": {
    "adapter": "aws_textract_v2",
    "endpoint": "arn:aws:textract:...",
    "auth": "role/iam/textract-exec",
    "timeouts_ms": 30000
  },
  "version": "2.1.0",
  "stability_tier": "ga",
  "owner_role_id": "IT-M-001",
  "is_generator": false
}"""
WORKFLOW_3_2 = """{
  "workflow_id": "WF-FIN-001",
  "workflow_name": "Automated Invoice Processing",
  "objective": "Record invoices to GL with compliant PO matching and notifications",
  "constraints": {"latency_ms": 600000, "max_error_rate": 0.005, "policy_tags": ["sox", "pii_redaction"]},
  "responsible_role_id": "FA-IC-001",
  "genome": {
    "goals": ["capture_invoice", "validate_po", "book_entry", "notify_vendor"],
    "resources": ["sap", "ap_inbox", "vendor_master"],
    "predicates": ["amount_within_tolerance", "vendor_active"]
  },
  "version": "1.3.0",
  "lineage": {"derived_from": [], "proposal_reason": "initial_enterprise_pack"}
}"""
STEP_3_3 = """{
  "step_id": "F-02",
  "workflow_id": "WF-FIN-001",
  "sequence": 2,
  "action_type": "logic_check",
  "skill_id": "SK-LOGIC-003",
  "parameters": {"check": "po_match", "tolerance": 0.05},
  "next_step_logic": {
    "if": [{"expr": "pass==true", "goto": "F-04"}, {"expr": "pass==false", "goto": "F-03"}],
    "on_error": "F-03"
  },
  "timeout_ms": 20000,
  "retries": 1,
  "idempotency_key": "wf_fin_001_f02_v1"
}"""
POLICY_5_2 = """{
  "policy_id": "POL-PUBLISH-001",
  "scope": "publishing",
  "spec": {
    "require_tests": true,
    "min_confidence": 0.85,
    "risk_threshold": 0.40,
    "mandatory_reviewers": ["QA-M-001","SEC-M-001"],
    "blocked_categories": ["payments.write"],
    "audit_trail": true
  }
}"""


def refusals(kind: type[Document], text: str | bytes) -> dict[str, str]:
    with pytest.raises(DocumentRefused) as caught:
        read_document(kind, text, name="doc.json")
    assert all(fault.document == "doc.json" and fault.fix for fault in caught.value.faults)
    return {fault.path: fault.problem for fault in caught.value.faults}


def test_the_blueprints_skill_is_taken_as_it_stands() -> None:
    """Section 3.1: the users' own skills look like this, `auth` and `returns` as plain strings included."""
    received = read_document(SkillNode, SKILL_3_1, name="3.1")
    assert received.text == SKILL_3_1
    assert received.body.signature.argument("entities").type == "array<string>"
    assert received.body.signature.argument("min_confidence").default == Decimal("0.85")
    assert received.body.runtime_binding.auth == "role/iam/textract-exec"
    assert received.body.description == ""


def test_the_blueprints_workflow_is_taken_as_it_stands() -> None:
    """Section 3.2: without status it is a draft, whatever it may become."""
    received = read_document(Workflow, WORKFLOW_3_2, name="3.2")
    assert received.body.status == "draft"
    assert received.body.constraints.max_error_rate == Decimal("0.005")
    assert received.body.constraints.policy_tags == ("sox", "pii_redaction")
    assert (received.body.steps, received.body.triggers) == ((), ())


def test_the_blueprints_step_is_taken_as_it_stands() -> None:
    """Section 3.3."""
    body = read_document(StepAction, STEP_3_3, name="3.3").body
    assert (body.timeout_ms, body.retries, body.idempotency_key) == (20000, 1, "wf_fin_001_f02_v1")


def test_the_blueprints_policy_is_taken_as_it_stands() -> None:
    """Section 5.2 states neither name, owner nor precedence."""
    body = read_document(Policy, POLICY_5_2, name="5.2").body
    assert (body.owner_role_id, body.precedence) == ("SEC-M-001", "corporate")


def test_a_document_is_kept_as_it_came_with_every_digit() -> None:
    """JSON in equals JSON out: 0.40 is not 0.4 to the one who wrote it, and 2^53 + 1 is not 2^53."""
    text = POLICY_5_2.replace("0.85", "9007199254740993.10")
    received = read_document(Policy, text.encode(), name="p")
    assert received.text == text
    assert received.value["spec"]["min_confidence"] == Decimal("9007199254740993.10")


def test_the_hash_names_the_content_not_the_spelling() -> None:
    """White space and key order make no new version."""
    role = '{"role_id": "A", "role_title": "T", "department": "D", "hierarchy_level": "I"}'
    other = '{"department":"D",\n"hierarchy_level":"I","role_title":"T","role_id":"\\u0041"}'
    assert read_document(Role, role, name="a").hash == read_document(Role, other, name="b").hash


def test_all_that_is_wrong_is_said_at_once() -> None:
    """An author who learns one fault per attempt gives up before the last."""
    text = """{
      "skill_id": "S 1", "skill_name": "%s", "category": "magic", "version": "1", "owner": "X",
      "signature": {"name": "f", "args": [{"name": "a", "type": "strin"}, {"name": "b", "type": "array<text>"}]},
      "runtime_binding": {"adapter": "x", "auth": "hunter2", "effects": {"f": "write"}, "timeouts_ms": 0}
    }""" % ("x" * 129)
    problems = refusals(SkillNode, text)
    assert set(problems) == {
        "/skill_id",
        "/skill_name",
        "/category",
        "/version",
        "/owner",
        "/owner_role_id",
        "/signature/args/0/type",
        "/signature/args/1/type",
        "/runtime_binding/auth",
        "/runtime_binding/effects/f",
        "/runtime_binding/timeouts_ms",
    }
    assert "ingestion, tool, logic" in problems["/category"]


def test_a_secret_in_a_document_is_refused_and_not_repeated() -> None:
    """A token in `auth` would be stored for ever, and a message that repeats it leaks it to the log."""
    text = SKILL_3_1.replace("role/iam/textract-exec", "AKIA-very-secret")
    with pytest.raises(DocumentRefused) as caught:
        read_document(SkillNode, text, name="s")
    assert "very-secret" not in str(caught.value)
    by_reference = SKILL_3_1.replace('"role/iam/textract-exec"', '{"secret_ref": "vault:kv/prod/x#token"}')
    assert read_document(SkillNode, by_reference, name="s").body.runtime_binding.auth.secret_ref.startswith("vault:")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b'{"role_id": "A", "role_id": "B"}', "/role_id"),
        (b'{"role_id": "\xff"}', ""),
        (b"\xff\xfe{}", ""),
        (b"", ""),
        (b"{", ""),
        (b'{"role_id": NaN}', ""),
        (b"[]", ""),
        (b"null", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_what_is_no_document_is_refused(text: bytes, path: str) -> None:
    """Duplicate keys above all: parsers disagree on which value holds."""
    assert path in refusals(Role, text)


@pytest.mark.parametrize(
    ("kind", "text", "path"),
    [
        (Role, '{"role_id": 1, "role_title": "T", "department": "D", "hierarchy_level": "I"}', "/role_id"),
        (Role, '{"role_id": "", "role_title": "T", "department": "D", "hierarchy_level": "I"}', "/role_id"),
        (Role, '{"role_id": "A", "role_title": "T", "department": "D", "hierarchy_level": "0"}', "/hierarchy_level"),
        (RoleSkill, '{"role_id": "A", "skill_id": "S", "permission": "own"}', "/permission"),
        (Agent, '{"agent_id": "A", "agent_name": "N", "agent_type": "bot", "role_id": "R"}', "/agent_type"),
        (OntologyNode, '{"node_id": "A", "node_type": "thing", "label": "L"}', "/node_type"),
        (StepAction, STEP_3_3.replace("20000", "true"), "/timeout_ms"),
        (StepAction, STEP_3_3.replace("20000", '"20000"'), "/timeout_ms"),
        (StepAction, STEP_3_3.replace("logic_check", "think"), "/action_type"),
        (Trigger, '{"trigger_id": "T", "trigger_type": "event", "selector": {"subject": "x"}}', "/selector/subject"),
        (Workflow, WORKFLOW_3_2.replace("0.005", "1.5"), "/constraints/max_error_rate"),
        (Workflow, WORKFLOW_3_2.replace("1.3.0", "v1.3"), "/version"),
        (Policy, POLICY_5_2.replace("publishing", "everything"), "/scope"),
        (EventSchema, '{"subject": "a", "version": 0, "semver": "1.0.0", "format": "json", "schema": {}}', "/version"),
    ],
)
def test_a_wrong_value_is_located(kind: type[Document], text: str, path: str) -> None:
    """A document of a hundred lines needs more than "invalid"."""
    assert any(found.startswith(path) for found in refusals(kind, text))


def test_an_alias_cannot_mean_two_arguments() -> None:
    """A step that uses it would bind one of them by chance."""
    text = SKILL_3_1.replace('"type": "number"', '"type": "number", "aliases": ["entities"]')
    assert "entities" in refusals(SkillNode, text)["/signature"]


@pytest.mark.parametrize(
    ("value", "type_name", "is_fitting"),
    [
        ("a", "string", True),
        (1, "string", False),
        (1, "number", True),
        (Decimal("1.5"), "number", True),
        (True, "number", False),
        (1, "integer", True),
        (Decimal("1.0"), "integer", True),
        (Decimal("1.5"), "integer", False),
        (False, "boolean", True),
        (0, "boolean", False),
        ({}, "object", True),
        ([], "object", False),
        (["a"], "array<string>", True),
        (["a", 1], "array<string>", False),
        ([["a"]], "array<array<string>>", True),
        ({"a": 1}, "map<string,number>", True),
        ({"a": "b"}, "map<string, number>", False),
        ({"a": [1, None]}, "map<string,any>", True),
        (None, "any", True),
        (None, "string", False),
    ],
)
def test_values_are_held_to_signature_types(value: Any, type_name: str, is_fitting: bool) -> None:
    """true is no number and 1.0 is an integer: JSON knows one kind of number."""
    assert fits(value, type_name) is is_fitting
