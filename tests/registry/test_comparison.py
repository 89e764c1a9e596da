"""What comparing two documents says: each row is what an API designer would say of the change."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from registry.comparison import Change, Comparison, Surroundings, compare, next_semver
from registry.comparison.skills import is_wider
from registry.documents import (
    Agent,
    Document,
    EventSchema,
    OntologyNode,
    Policy,
    Received,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
    read_document,
)
from registry.loader import PACK

Edit = Callable[[Any], object]


def shipped(name: str) -> Any:
    return json.loads((PACK / name).read_text())


def received(kind: type[Document], document: Any) -> Received[Any]:
    return read_document(kind, json.dumps(document), name="test")


SKILLS = {
    path.stem: received(SkillNode, json.loads(path.read_text())).body for path in (PACK / "skills").glob("*.json")
}


def compared(kind: type[Document], document: Any, edit: Edit, **around: Any) -> Comparison:
    """Compare a document with itself after an edit."""
    changed = json.loads(json.dumps(document))
    edit(changed)
    return compare(received(kind, document), received(kind, changed), Surroundings(skill=SKILLS.get, **around))


def step(workflow: Any, step_id: str) -> Any:
    return next(item for item in workflow["steps"] if item["step_id"] == step_id)


def argument(skill: Any, name: str) -> Any:
    return next(item for item in skill["signature"]["args"] if item["name"] == name)


OCR: list[tuple[str, Edit, str]] = [
    ("another description", lambda s: s.update(description="Reads."), "patch"),
    ("another name", lambda s: s.update(skill_name="Reader"), "patch"),
    ("another endpoint", lambda s: s["runtime_binding"].update(endpoint="https://ocr.example"), "patch"),
    ("another time limit of the binding", lambda s: s["runtime_binding"].update(timeouts_ms=1), "patch"),
    ("another adapter", lambda s: s["runtime_binding"].update(adapter="textract"), "patch"),
    ("another owner", lambda s: s.update(owner_role_id="DA-M-001"), "minor"),
    ("a further optional argument", lambda s: s["signature"]["args"].append({"name": "x", "type": "any"}), "minor"),
    (
        "a further argument with a default",
        lambda s: s["signature"]["args"].append({"name": "x", "type": "any", "required": True, "default": 1}),
        "minor",
    ),
    (
        "a further required argument",
        lambda s: s["signature"]["args"].append({"name": "x", "type": "any", "required": True}),
        "major",
    ),
    ("an argument gone", lambda s: s["signature"]["args"].pop(2), "major"),
    ("an argument that takes more", lambda s: argument(s, "entities").update(type="array<any>"), "minor"),
    ("an argument that takes less", lambda s: argument(s, "min_confidence").update(type="integer"), "major"),
    ("an argument of another type", lambda s: argument(s, "file_uri").update(type="object"), "major"),
    ("a required argument made optional", lambda s: argument(s, "entities").update(required=False), "minor"),
    ("another default of an argument", lambda s: argument(s, "min_confidence").update(default=0.9), "major"),
    ("a default gone", lambda s: argument(s, "min_confidence").pop("default"), "major"),
    ("one more alias", lambda s: argument(s, "file_uri").update(aliases=["uri"]), "minor"),
    ("an alias gone", lambda s: argument(s, "min_confidence").pop("aliases"), "major"),
    ("renamed, old name kept", lambda s: argument(s, "file_uri").update(name="uri", aliases=["file_uri"]), "minor"),
    ("renamed", lambda s: argument(s, "file_uri").update(name="uri"), "major"),
    ("only ids of roles are taken", lambda s: argument(s, "file_uri").update(references="role"), "major"),
    ("the arguments in another order", lambda s: s["signature"]["args"].reverse(), "patch"),
    ("returns more", lambda s: s["signature"]["returns"]["properties"].update(pages="integer"), "minor"),
    ("returns less", lambda s: s["signature"]["returns"]["properties"].pop("confidence"), "major"),
    (
        "returns a narrower type",
        lambda s: s["signature"]["returns"]["properties"].update(confidence="integer"),
        "minor",
    ),
    ("returns a wider type", lambda s: s["signature"]["returns"]["properties"].update(confidence="any"), "major"),
    ("one more error", lambda s: s["signature"]["errors"].append("TIMEOUT"), "minor"),
    ("an error gone", lambda s: s["signature"]["errors"].remove("LOW_CONFIDENCE"), "major"),
    ("a call of another name", lambda s: s["signature"].update(name="read"), "major"),
    ("a new effect", lambda s: s["runtime_binding"].update(effects={"extract": "data.write"}), "major"),
    ("less settled", lambda s: s.update(stability_tier="beta"), "major"),
    ("may synthesise", lambda s: s.update(is_generator=True), "major"),
]


@pytest.mark.parametrize(("edit", "change"), [case[1:] for case in OCR], ids=[case[0] for case in OCR])
def test_a_change_of_a_skill_is_judged_by_its_callers(edit: Edit, change: str) -> None:
    """A workflow that called the old version must not fail under one that claims to be compatible."""
    assert compared(SkillNode, shipped("skills/SK-OCR-001.json"), edit).change == change


ERP: list[tuple[str, Edit, str]] = [
    ("one more action of a known effect", lambda e: e.update(Post_Accrual="ledger.write"), "minor"),
    ("one more action of a new effect", lambda e: e.update(Hire="hr.write"), "major"),
    ("an action with another effect", lambda e: e.update(Issue_PO="payments.write"), "major"),
    ("an action no longer declared", lambda e: e.pop("Pay_Invoice"), "major"),
]


@pytest.mark.parametrize(("edit", "change"), [case[1:] for case in ERP], ids=[case[0] for case in ERP])
def test_effects_are_contract_though_the_binding_is_not(edit: Edit, change: str) -> None:
    """An action that pays would pass as a patch of the binding, past every gate that asks for effects."""
    found = compared(SkillNode, shipped("skills/SK-ERP-002.json"), lambda s: edit(s["runtime_binding"]["effects"]))
    assert found.change == change


def _without_notification(workflow: Any) -> None:
    workflow["steps"].pop(4)
    step(workflow, "F-04")["next_step_logic"] = "END"


def _with_second_check(workflow: Any) -> None:
    workflow["steps"].append({**step(workflow, "F-02"), "step_id": "F-06", "sequence": 6})
    step(workflow, "F-01")["next_step_logic"]["on_error"] = ["F-03", "F-06"]


def _insert(workflow: Any) -> None:
    step(workflow, "F-05")["next_step_logic"] = "→ F-06"
    workflow["steps"].append({**step(workflow, "F-05"), "step_id": "F-06", "sequence": 6, "next_step_logic": "END"})


def _insert_a_way_out(workflow: Any) -> None:
    _insert(workflow)
    step(workflow, "F-04")["next_step_logic"] = "→ F-06"


def _insert_before_all(workflow: Any) -> None:
    first = {**step(workflow, "F-01"), "step_id": "F-00", "next_step_logic": {"goto": "F-01"}}
    for number, item in enumerate(workflow["steps"], 2):
        item["sequence"] = number
    workflow["steps"].append(first)


def _logic(step_id: str, **members: Any) -> Edit:
    return lambda w: step(w, step_id)["next_step_logic"].update(members)


INVOICES: list[tuple[str, Edit, str]] = [
    ("another objective", lambda w: w.update(objective="Pay"), "patch"),
    ("another name", lambda w: w.update(workflow_name="Invoices"), "patch"),
    ("another lineage", lambda w: w.update(lineage={"derived_from": ["X"]}), "patch"),
    ("another genome", lambda w: w["genome"].update(goals=[]), "minor"),
    ("the same logic, spelled otherwise", lambda w: step(w, "F-05").update(next_step_logic="END"), "patch"),
    ("a default written out", lambda w: step(w, "F-01").update(retries=2), "patch"),
    ("a tighter tolerance", lambda w: step(w, "F-02")["parameters"].update(tolerance=0.04), "minor"),
    ("a parameter more", lambda w: step(w, "F-01")["parameters"].update(min_conf=0.5), "minor"),
    ("steps numbered otherwise", lambda w: step(w, "F-05").update(sequence=9), "patch"),
    ("begins elsewhere", lambda w: step(w, "F-01").update(sequence=9), "major"),
    ("more time", lambda w: step(w, "F-02").update(timeout_ms=30_000), "minor"),
    ("less time", lambda w: step(w, "F-02").update(timeout_ms=10_000), "major"),
    ("another skill", lambda w: step(w, "F-02").update(skill_id="SK-HCM-006"), "major"),
    ("a step more", _with_second_check, "minor"),
    ("a step put between", _insert, "minor"),
    ("a step put before all", _insert_before_all, "minor"),
    ("a step put in the way of another", _insert_a_way_out, "major"),
    ("a step less", _without_notification, "major"),
    ("another condition", lambda w: step(w, "F-02")["next_step_logic"]["if"][0].update(expr="pass!=false"), "minor"),
    ("another target", lambda w: step(w, "F-02")["next_step_logic"]["if"][0].update(goto="F-05"), "major"),
    ("an else more", _logic("F-02", **{"else": "F-03"}), "minor"),
    ("errors handled elsewhere", _logic("F-02", on_error="F-05"), "major"),
    ("errors no longer handled", lambda w: step(w, "F-02")["next_step_logic"].pop("on_error"), "major"),
    ("something that undoes a step", _logic("F-04", compensate="F-03"), "minor"),
    ("waits longer", lambda w: step(w, "F-03")["next_step_logic"]["await"].update(timeout_h=96), "minor"),
    ("waits shorter", lambda w: step(w, "F-03")["next_step_logic"]["await"].update(timeout_h=24), "major"),
    ("waits for another event", lambda w: step(w, "F-03")["next_step_logic"]["await"].update(event="x"), "major"),
    ("no longer waits", lambda w: step(w, "F-03")["next_step_logic"].pop("await"), "major"),
    ("promises more", lambda w: w["constraints"].update(latency_ms=1000), "minor"),
    ("promises less", lambda w: w["constraints"].update(max_error_rate=0.1), "major"),
    ("a promise gone", lambda w: w["constraints"].pop("latency_ms"), "major"),
    ("one more guard", lambda w: w["constraints"]["policy_tags"].append("gdpr"), "minor"),
    ("a guard less", lambda w: w["constraints"]["policy_tags"].remove("sox"), "major"),
    ("one more trigger", lambda w: w["triggers"].append({**w["triggers"][0], "trigger_id": "TR-2"}), "minor"),
    ("no trigger", lambda w: w.update(triggers=[]), "major"),
    ("a trigger on less", lambda w: w["triggers"][0]["selector"].update(condition="vendor_id == 'V'"), "major"),
    ("a trigger on another topic", lambda w: w["triggers"][0]["selector"].update(topic="x"), "major"),
    ("no longer active", lambda w: w.update(status="paused"), "major"),
    ("pays instead of booking", lambda w: step(w, "F-04")["parameters"].update(action="Pay_Invoice"), "major"),
    ("does what no skill declares", lambda w: step(w, "F-04")["parameters"].update(action="Shred"), "major"),
]


@pytest.mark.parametrize(("edit", "change"), [case[1:] for case in INVOICES], ids=[case[0] for case in INVOICES])
def test_a_change_of_a_workflow_is_judged_from_outside(edit: Edit, change: str) -> None:
    """Its contract is what starts it, the ways through it, whom it waits for, its effects and its promises."""
    assert compared(Workflow, shipped("workflows/WF-FIN-001.json"), edit).change == change


def test_the_effects_of_a_called_workflow_count() -> None:
    """A workflow that starts to call one that pays does pay."""
    paying = shipped("workflows/WF-FIN-001.json")
    step(paying, "F-04")["parameters"]["action"] = "Pay_Invoice"
    child = received(Workflow, paying).body

    def call(workflow: Any) -> None:
        calling = {"step_id": "F-06", "sequence": 6, "action_type": "generate", "skill_id": "SK-API-007"}
        parameters = {"target_workflow_id": "WF-FIN-001"}
        workflow["steps"].append({**calling, "parameters": parameters, "next_step_logic": "END"})

    found = compared(Workflow, shipped("workflows/WF-FIN-001.json"), call, workflow=lambda _: child)
    assert {("/effects", d.new) for d in found.differences if d.change is Change.MAJOR} == {
        ("/effects", "payments.write"),
        ("/effects", "workflow.start"),
    }


def test_a_difference_names_place_values_and_reason() -> None:
    """A reviewer reads this line and nothing else."""
    edited = lambda w: step(w, "F-02")["parameters"].update(tolerance=0.04)  # noqa: E731
    (found,) = compared(Workflow, shipped("workflows/WF-FIN-001.json"), edited).differences
    assert (found.path, str(found.old), str(found.new)) == ("/steps/F-02/parameters/tolerance", "0.05", "0.04")
    assert found.reason == "the same step, set differently"


def test_the_heaviest_difference_comes_first() -> None:
    """A long list of texts must not bury the step that is gone."""

    def edit(workflow: Any) -> None:
        workflow["objective"] = "Pay"
        _without_notification(workflow)

    changes = [d.change for d in compared(Workflow, shipped("workflows/WF-FIN-001.json"), edit).differences]
    assert changes == sorted(changes, key=lambda change: -change.rank)
    assert {Change.MAJOR, Change.PATCH} <= set(changes)


def test_the_number_that_a_document_states_is_no_difference() -> None:
    """The number follows from the comparison, so it cannot be part of it."""
    found = compared(Workflow, shipped("workflows/WF-FIN-001.json"), lambda w: w.update(version="7.0.0"))
    assert (found.change, found.differences) == (None, ())


PUBLISHING = {
    "policy_id": "P",
    "scope": "publishing",
    "spec": {
        "risk_threshold": 0.4,
        "min_confidence": 0.85,
        "mandatory_reviewers": ["A", "B"],
        "allowed_models": ["m"],
        "require_tests": True,
    },
}
SIMPLE: list[tuple[type[Document], Any, Edit, str]] = [
    (Policy, PUBLISHING, lambda p: p["spec"].update(risk_threshold=0.3), "major"),
    (Policy, PUBLISHING, lambda p: p["spec"].update(risk_threshold=0.5), "minor"),
    (Policy, PUBLISHING, lambda p: p["spec"].update(min_confidence=0.9), "major"),
    (Policy, PUBLISHING, lambda p: p["spec"].update(min_confidence=0.8), "minor"),
    (Policy, PUBLISHING, lambda p: p["spec"]["mandatory_reviewers"].append("C"), "major"),
    (Policy, PUBLISHING, lambda p: p["spec"]["mandatory_reviewers"].pop(), "minor"),
    (Policy, PUBLISHING, lambda p: p["spec"]["allowed_models"].append("n"), "minor"),
    (Policy, PUBLISHING, lambda p: p["spec"]["allowed_models"].pop(), "major"),
    (Policy, PUBLISHING, lambda p: p["spec"].update(require_tests=False), "minor"),
    (Policy, PUBLISHING, lambda p: p["spec"].update(blocked_categories=["x.y"]), "major"),
    (Policy, PUBLISHING, lambda p: p["spec"].update(colour="red"), "major"),
    (Policy, PUBLISHING, lambda p: p.update(policy_name="Publishing"), "patch"),
    (Policy, PUBLISHING, lambda p: p.update(effective_from="2026-01-01T00:00:00Z"), "major"),
    (Policy, PUBLISHING, lambda p: p.update(precedence="statutory"), "major"),
]
ROLE = {"role_id": "R", "role_title": "t", "department": "d", "hierarchy_level": "V"}
SIMPLE += [
    (Role, ROLE, lambda r: r.update(role_title="u"), "patch"),
    (Role, ROLE, lambda r: r.update(supervises_role_id="S"), "minor"),
    (Role, ROLE, lambda r: r.update(role_type="agent"), "major"),
]
AGENT = {"agent_id": "A", "agent_name": "a", "agent_type": "evaluator", "role_id": "R"}
RUNNING = {**AGENT, "policy_profile": {"skills": ["S"]}}
SIMPLE += [
    (Agent, RUNNING, lambda a: a.update(agent_name="b"), "patch"),
    (Agent, RUNNING, lambda a: a["policy_profile"]["skills"].append("T"), "minor"),
    (Agent, RUNNING, lambda a: a["policy_profile"]["skills"].clear(), "major"),
    (Agent, RUNNING, lambda a: a.update(organisation="partner"), "major"),
]
TAG = {"node_id": "N", "node_type": "policy_tag", "label": "sox"}
SIMPLE += [
    (OntologyNode, TAG, lambda n: n.update(label="sarbanes"), "major"),
    (OntologyNode, {**TAG, "node_type": "entity"}, lambda n: n.update(label="Invoices"), "patch"),
    (OntologyNode, TAG, lambda n: n.update(attributes={"domain": "finance"}), "minor"),
    (OntologyNode, TAG, lambda n: n.update(parent_id="M"), "major"),
]
GRANT = {"role_id": "R", "skill_id": "S", "permission": "maintain"}
SIMPLE += [
    (RoleSkill, GRANT, lambda g: g.update(permission="publish"), "minor"),
    (RoleSkill, GRANT, lambda g: g.update(permission="use"), "major"),
]
TOPIC = {
    "subject": "t",
    "version": 1,
    "semver": "1.0.0",
    "format": "json",
    "schema": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
}
LENIENT_TOPIC = {**TOPIC, "content_model": "lenient"}
SIMPLE += [
    (EventSchema, TOPIC, lambda t: t["schema"].update(description="d"), "patch"),
    (EventSchema, TOPIC, lambda t: t["schema"]["properties"].update(note={"type": "string"}), "major"),
    (EventSchema, LENIENT_TOPIC, lambda t: t["schema"]["properties"].update(note={"type": "string"}), "minor"),
    (EventSchema, TOPIC, lambda t: t.update(compatibility="full_transitive"), "minor"),
    (EventSchema, TOPIC, lambda t: t["schema"]["properties"]["title"].update(type="integer"), "major"),
    (EventSchema, TOPIC, lambda t: t["schema"].update(properties={}), "minor"),
    (EventSchema, TOPIC, lambda t: t["schema"].update(additionalProperties=False), "major"),
]


@pytest.mark.parametrize(("kind", "document", "edit", "change"), SIMPLE)
def test_every_kind_has_its_contract(kind: type[Document], document: Any, edit: Edit, change: str) -> None:
    """What forbids more, or promises less, than before is breaking; texts never are."""
    assert compared(kind, document, edit).change == change


@pytest.mark.parametrize(
    ("wide", "narrow", "holds"),
    [
        ("any", "array<string>", True),
        ("number", "integer", True),
        ("integer", "number", False),
        ("array<number>", "array<integer>", True),
        ("array<integer>", "array<number>", False),
        ("object", "map<string,any>", True),
        ("map<string,any>", "object", False),
        ("array<any>", "map<string,any>", False),
        ("map<string,any>", "map<string, integer>", True),
    ],
)
def test_a_type_is_wider_if_it_takes_every_value_of_the_other(wide: str, narrow: str, holds: bool) -> None:
    """Whether a retyped argument breaks its callers hangs on this alone."""
    assert is_wider(wide, narrow) is holds


@pytest.mark.parametrize(
    ("version", "change", "following"),
    [
        ("1.3.0", "patch", "1.3.1"),
        ("1.3.4", "minor", "1.4.0"),
        ("1.3.4", "major", "2.0.0"),
        ("1.9.9", "minor", "1.10.0"),
        ("2.0.0-rc.1", "patch", "2.0.0"),
        ("0.1.0+build.7", "patch", "0.1.1"),
    ],
)
def test_numbers_follow_semantic_versioning(version: str, change: str, following: str) -> None:
    """semver.org, items 6 to 8, 9 and 10."""
    assert next_semver(version, Change(change)) == following
