"""From a draft to the current version and back: what is checked, what is written, what is never lost."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from guard.canonical import canonical, digest, parse
from lake.tables import (
    OBJECT_VERSION,
    OUTBOX,
    POLICY,
    PUBLICATION_QUEUE,
    ROLE,
    SCHEMA_REGISTRY,
    SKILL_NODE,
    STEP_ACTION,
    TRIGGER_DEF,
    WORKFLOW,
)
from registry.access import Denied, Principal
from registry.database import TABLES, Registry
from registry.documents import (
    Document,
    DocumentRefused,
    EventSchema,
    Policy,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
    read_document,
)
from registry.loader import PACK, event_schemas
from registry.objects import NotRegistered
from registry.plans import load_active_plans, load_plan
from registry.proposals import Proposal, ProposalClosed, decide, queue
from registry.publication import (
    Published,
    Submitted,
    propose_document,
    publish,
    publish_all,
    retire,
    rollback,
    submit,
    submit_all,
)
from registry.versions import NewVersion, currents, history, write_versions
from tests.approvals import approve

QA = Principal("ada", "person", "QA-M-001")
SECURITY = Principal("sam", "person", "SEC-D-001")
DATA = Principal("dana", "person", "IT-D-001")
CLERK = Principal("carl", "person", "SAL-IC-001")
MANAGER = Principal("mia", "person", "FA-D-001")
PROPOSERS: dict[type[Document], Principal] = {Workflow: MANAGER, SkillNode: DATA}


PUBLISHERS = {
    "policy_id": "POL-TEST",
    "scope": "security",
    "precedence": "statutory",
    "spec": {
        "publishers": {
            "workflow": ["QA-M-001"],
            "skill_node": ["QA-M-001"],
            "policy": ["SEC-M-001"],
            "role": ["SEC-M-001"],
            "schema_registry": ["DA-M-001"],
        }
    },
}


@pytest.fixture
def loaded(loaded: Registry, now: datetime) -> Registry:
    """The shipped pack, and who may publish as these tests want it."""
    policy = read_document(Policy, json.dumps(PUBLISHERS), name="publishers")
    with loaded.transaction() as connection:
        write_versions(connection, [NewVersion(policy, "1", "initial", "bootstrap", "test")], actor="test", now=now)
    return loaded


def shipped(name: str, **changes: Any) -> dict[str, Any]:
    return {**json.loads((PACK / name).read_text()), **changes}


def invoices(**changes: Any) -> dict[str, Any]:
    return shipped("workflows/WF-FIN-001.json", **changes)


def tolerance(value: float, **changes: Any) -> dict[str, Any]:
    document = invoices(**changes)
    document["steps"][1]["parameters"]["tolerance"] = value
    return document


def draft(
    registry: Registry,
    document: Mapping[str, Any],
    now: datetime,
    *,
    kind: type[Document] = Workflow,
    by: Principal = MANAGER,
) -> Submitted:
    return submit(registry, kind, json.dumps(document), name="file.json", principal=by, now=now)


def bring(
    registry: Registry,
    document: Mapping[str, Any],
    now: datetime,
    *,
    kind: type[Document] = Workflow,
    by: Principal = QA,
) -> Published:
    """Submit, approve and publish a document."""
    submitted = draft(registry, document, now, kind=kind, by=PROPOSERS.get(kind, by))
    return publish(registry, approve(registry, submitted.publication_id, now), principal=by, now=now)


def announced(registry: Registry, topic: str) -> list[Any]:
    frame = registry.frame(OUTBOX).filter(topic=topic).sort("produced_at", maintain_order=True)
    return [parse(payload) for payload in frame["payload"]]


def row(registry: Registry, publication_id: str) -> dict[str, Any]:
    return registry.frame(PUBLICATION_QUEUE).filter(publication_id=publication_id).row(0, named=True)


# -- Submitting ---------------------------------------------------------------------------------------------------


def test_what_is_submitted_waits_as_a_draft(loaded: Registry, now: datetime) -> None:
    """A file that claims to be active and generally available must not become so by claiming it."""
    before = {spec.name: loaded.frame(spec) for spec in (WORKFLOW, STEP_ACTION, OBJECT_VERSION)}
    submitted = draft(loaded, tolerance(0.04, status="active"), now)
    assert (submitted.version, submitted.change, submitted.is_new) == ("1.4.0", "minor", True)
    queued = row(loaded, submitted.publication_id)
    assert (queued["decision"], queued["proposal_type"], queued["risk_score"]) == ("pending", "workflow", 1.0)
    assert parse(queued["proposal_body"])["status"] == "active"
    assert all(loaded.frame(spec).equals(before[spec.name]) for spec in (WORKFLOW, STEP_ACTION, OBJECT_VERSION))


def test_a_draft_is_announced_with_its_body(loaded: Registry, now: datetime) -> None:
    """WF-GOV-001 starts on this event and assigns reviewers; its payload has a schema."""
    submitted = draft(loaded, tolerance(0.04), now)
    (payload,) = announced(loaded, "reflection.proposed")
    assert payload["source_id"] == submitted.publication_id
    assert payload["body"]["version"] == "1.4.0"
    schema = event_schemas(loaded)["reflection.proposed"][1]
    assert set(payload) == set(schema["required"])
    assert payload["proposal_type"] in schema["properties"]["proposal_type"]["enum"]


def test_the_same_document_is_one_proposal(loaded: Registry, now: datetime) -> None:
    """A script that submits each night must not fill the queue, nor announce again."""
    first = draft(loaded, tolerance(0.04), now)
    spelled = json.dumps(tolerance(0.04), indent=3)
    again = submit(loaded, Workflow, spelled, name="other.json", principal=MANAGER, now=now + timedelta(days=1))
    assert (again.publication_id, again.is_new) == (first.publication_id, False)
    assert loaded.frame(PUBLICATION_QUEUE).height == 1
    assert len(announced(loaded, "reflection.proposed")) == 1


@pytest.mark.parametrize("stated", [None, "1.3.0", "1.4.0"])
def test_an_absent_or_current_number_becomes_the_right_one(loaded: Registry, now: datetime, stated: str | None) -> None:
    """Whoever edits a file that was exported does not compute versions."""
    document = tolerance(0.04)
    document.pop("version") if stated is None else document.update(version=stated)
    submitted = draft(loaded, document, now)
    assert submitted.version == "1.4.0"
    assert parse(row(loaded, submitted.publication_id)["proposal_body"])["version"] == "1.4.0"


@pytest.mark.parametrize("stated", ["1.3.1", "2.0.0", "1.4.1", "1.2.0"])
def test_a_number_that_the_change_does_not_call_for_is_refused(loaded: Registry, now: datetime, stated: str) -> None:
    """A breaking change under a patch number is how consumers break; the right number is in the message."""
    with pytest.raises(DocumentRefused, match=r"write 1\.4\.0") as caught:
        draft(loaded, tolerance(0.04, version=stated), now)
    assert [fault.path for fault in caught.value.faults] == ["/version"]


def test_what_changes_nothing_is_refused(loaded: Registry, now: datetime) -> None:
    """A reviewer would be asked about nothing."""
    with pytest.raises(DocumentRefused, match=r"says what version 1\.3\.0"):
        draft(loaded, invoices(), now)


def test_every_fault_of_a_draft_is_named_at_once(loaded: Registry, now: datetime) -> None:
    """One attempt, one list; and nothing is queued."""
    document = tolerance(0.04, responsible_role_id="X")
    document["steps"][0]["skill_id"] = "SK-NONE"
    with pytest.raises(DocumentRefused) as caught:
        draft(loaded, document, now)
    assert {fault.path for fault in caught.value.faults} >= {"/responsible_role_id", "/steps/0/skill_id"}
    assert loaded.frame(PUBLICATION_QUEUE).height == 0


def test_who_may_not_propose_is_refused_and_audited(loaded: Registry, now: datetime) -> None:
    """A sales representative does not touch accounts payable."""
    with pytest.raises(Denied):
        draft(loaded, tolerance(0.04), now, by=CLERK)
    assert loaded.frame(PUBLICATION_QUEUE).height == 0
    (denied,) = announced(loaded, "access.denied")
    assert (denied["subject_id"], denied["action"], denied["object_id"]) == ("carl", "propose", "WF-FIN-001")


# -- Publishing ---------------------------------------------------------------------------------------------------


def test_publishing_makes_a_version_current_with_its_lineage(loaded: Registry, now: datetime) -> None:
    """Version, rows, lineage, queue and announcement say the same, since they commit together."""
    later = now + timedelta(hours=1)
    submitted = draft(loaded, tolerance(0.04), now)
    published = publish(loaded, approve(loaded, submitted.publication_id, now), principal=QA, now=later)
    assert (published.version, published.change, published.replaces) == ("1.4.0", "minor", "1.3.0")
    assert load_plan(loaded, "WF-FIN-001").version == "1.4.0"
    frame = loaded.frame(STEP_ACTION)
    parameters = dict(zip(frame["step_id"], frame["parameters"], strict=True))
    assert parameters["F-02"] == '{"check":"po_match","tolerance":0.04}'
    stored = loaded.frame(OBJECT_VERSION).filter(object_id="WF-FIN-001", version="1.4.0").row(0, named=True)
    assert (stored["reason"], stored["publication_id"], stored["created_by"], stored["created_at"]) == (
        "publication",
        submitted.publication_id,
        "ada",
        later,
    )
    lineage = parse(stored["lineage"])
    assert (lineage["replaces"], lineage["proposal"], lineage["proposed_by"], lineage["decided_by"]) == (
        "1.3.0",
        submitted.publication_id,
        "mia",
        "rita",
    )
    queued = row(loaded, submitted.publication_id)
    assert (queued["decision"], queued["published_object_id"]) == ("published", "WF-FIN-001")
    changed = announced(loaded, "registry.changed")[-1]
    assert (changed["object_id"], changed["version"], changed["actor"], changed["publication_id"]) == (
        "WF-FIN-001",
        "1.4.0",
        "ada",
        submitted.publication_id,
    )


def test_the_version_that_was_current_stays_as_it_was(loaded: Registry, now: datetime) -> None:
    """Episodes that run are pinned to it, and replays read it years later."""
    before = load_plan(loaded, "WF-FIN-001", "1.3.0")
    bring(loaded, tolerance(0.04), now)
    after = load_plan(loaded, "WF-FIN-001", "1.3.0")
    assert (after.body_hash, after.steps) == (before.body_hash, before.steps)


def test_a_document_that_states_its_number_is_kept_to_the_letter(loaded: Registry, now: datetime) -> None:
    """JSON in equals JSON out: canonical form, with every digit."""
    document = tolerance(0.04, version="1.4.0", genome={"n": 12345678901234567890})
    bring(loaded, document, now)
    stored = loaded.frame(OBJECT_VERSION).filter(object_id="WF-FIN-001", version="1.4.0")["document"][0]
    assert canonical(parse(stored)) == canonical(parse(json.dumps(document)))


@pytest.mark.parametrize("decision", ["pending", "rejected"])
def test_only_what_was_approved_is_published(loaded: Registry, now: datetime, decision: str) -> None:
    """There is no way round the gates."""
    submitted = draft(loaded, tolerance(0.04), now)
    with loaded.transaction() as connection:
        connection.execute(sa.update(TABLES["publication_queue"]).values(decision=decision))
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, submitted.publication_id, principal=QA, now=now)
    assert caught.value.rule == "decision"
    assert load_plan(loaded, "WF-FIN-001").version == "1.3.0"


def test_an_approval_expires_with_its_proposal(loaded: Registry, now: datetime) -> None:
    """What was safe three weeks ago is judged again."""
    submitted = draft(loaded, tolerance(0.04), now)
    approve(loaded, submitted.publication_id, now)
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, submitted.publication_id, principal=QA, now=now + timedelta(days=21))
    assert caught.value.rule == "expired"


def test_a_body_that_was_changed_after_its_approval_is_refused(loaded: Registry, now: datetime) -> None:
    """The approval names a hash; whoever can write to the queue could else publish anything."""
    submitted = draft(loaded, tolerance(0.04), now)
    approve(loaded, submitted.publication_id, now)
    other = canonical(tolerance(0.9, version="1.4.0"))
    with loaded.transaction() as connection:
        connection.execute(sa.update(TABLES["publication_queue"]).values(proposal_body=other))
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, submitted.publication_id, principal=QA, now=now)
    assert caught.value.rule == "hash"


def test_a_decision_about_another_body_is_refused(loaded: Registry, now: datetime) -> None:
    """A reviewer decides what was looked at, not what stands there now."""
    submitted = draft(loaded, tolerance(0.04), now)
    with loaded.transaction() as connection, pytest.raises(ProposalClosed) as caught:
        decide(
            connection,
            submitted.publication_id,
            proposal_hash=digest({}),
            decision="approved",
            decided_by="rita",
            now=now,
        )
    assert caught.value.rule == "hash"
    assert row(loaded, submitted.publication_id)["decision"] == "pending"


def test_a_proposal_is_decided_and_published_once(loaded: Registry, now: datetime) -> None:
    """A second click must not make a second version."""
    submitted = draft(loaded, tolerance(0.04), now)
    approve(loaded, submitted.publication_id, now)
    with pytest.raises(ProposalClosed):
        approve(loaded, submitted.publication_id, now)
    publish(loaded, submitted.publication_id, principal=QA, now=now)
    with pytest.raises(ProposalClosed):
        publish(loaded, submitted.publication_id, principal=QA, now=now)
    assert loaded.frame(OBJECT_VERSION).filter(object_id="WF-FIN-001").height == 2


def test_a_draft_made_for_a_version_that_is_gone_is_refused(loaded: Registry, now: datetime) -> None:
    """It would silently take back what was published in between."""
    stale = draft(loaded, tolerance(0.04), now)
    approve(loaded, stale.publication_id, now)
    bring(loaded, invoices(objective="Pay"), now)
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, stale.publication_id, principal=QA, now=now)
    assert caught.value.rule == "base"
    with pytest.raises(DocumentRefused, match=r"is 1\.3\.0, but compared with 1\.3\.1"):
        draft(loaded, tolerance(0.04), now)
    renewed = draft(loaded, tolerance(0.04, version="1.4.0"), now)
    assert (renewed.publication_id, renewed.is_new) == (stale.publication_id, True)
    assert row(loaded, renewed.publication_id)["decision"] == "pending", "the approval was for another change"


def test_who_may_not_publish_is_refused_and_audited(loaded: Registry, now: datetime) -> None:
    """Answering for a workflow is no right to publish it."""
    submitted = draft(loaded, tolerance(0.04), now)
    approve(loaded, submitted.publication_id, now)
    with pytest.raises(Denied):
        publish(loaded, submitted.publication_id, principal=CLERK, now=now)
    assert row(loaded, submitted.publication_id)["decision"] == "approved"
    assert announced(loaded, "access.denied")[-1]["action"] == "publish"


def test_a_draft_is_checked_against_the_registry_as_it_is_then(loaded: Registry, now: datetime) -> None:
    """Between approval and publication a skill may lose the argument that a step gives."""
    document = tolerance(0.04)
    document["steps"][0]["parameters"]["min_conf"] = 0.5
    submitted = draft(loaded, document, now)
    approve(loaded, submitted.publication_id, now)
    skill = shipped("skills/SK-OCR-001.json", version="3.0.0")
    skill["signature"]["args"].pop(2)
    bring(loaded, skill, now, kind=SkillNode)
    with pytest.raises(DocumentRefused, match="min_conf"):
        publish(loaded, submitted.publication_id, principal=QA, now=now)
    assert row(loaded, submitted.publication_id)["decision"] == "approved"


def test_a_skill_cannot_drop_what_a_running_workflow_gives_it(loaded: Registry, now: datetime) -> None:
    """Plans read the current skill, so the next invoice would fail."""
    skill = shipped("skills/SK-ERP-002.json", version="2.0.0")
    skill["signature"]["args"] = [arg for arg in skill["signature"]["args"] if arg["name"] != "system"]
    with pytest.raises(DocumentRefused) as caught:
        draft(loaded, skill, now, kind=SkillNode, by=DATA)
    assert ("WF-FIN-001", "/steps/3/parameters/system") in {(f.document, f.path) for f in caught.value.faults}


def test_a_step_that_is_left_out_keeps_its_row_and_says_until_when(loaded: Registry, now: datetime) -> None:
    """Recorded runs name steps by id alone; without the row the marts lose what they did."""
    document = invoices()
    document["steps"].pop(4)
    document["steps"][3]["next_step_logic"] = "END"
    document["triggers"][0]["trigger_id"] = "TR-FIN-002"
    assert bring(loaded, document, now).version == "2.0.0"
    ended = {r["step_id"]: r["last_version"] for r in loaded.frame(STEP_ACTION).to_dicts()}
    assert ended == {"F-01": None, "F-02": None, "F-03": None, "F-04": None, "F-05": "1.3.0"}
    triggers = {r["trigger_id"]: r["last_version"] for r in loaded.frame(TRIGGER_DEF).to_dicts()}
    assert triggers == {"TR-FIN-001": "1.3.0", "TR-FIN-002": None}
    restored = rollback(loaded, Workflow, "WF-FIN-001", to="1.3.0", reason="mistake", principal=QA, now=now)
    assert restored.version == "3.0.0"
    frame = loaded.frame(STEP_ACTION)
    assert frame["last_version"].null_count() == frame.height
    triggers = {r["trigger_id"]: r["last_version"] for r in loaded.frame(TRIGGER_DEF).to_dicts()}
    assert triggers == {"TR-FIN-001": None, "TR-FIN-002": "2.0.0"}


def test_a_step_id_is_never_used_again_by_another_workflow(loaded: Registry, now: datetime) -> None:
    """The runs of the step that is gone would count as those of the new one."""
    document = invoices()
    document["steps"].pop(4)
    document["steps"][3]["next_step_logic"] = "END"
    bring(loaded, document, now)
    taken = invoices(workflow_id="WF-2", workflow_name="Two", version="1.0.0", triggers=[])
    taken["steps"] = [{**taken["steps"][4], "sequence": 1}]
    with pytest.raises(DocumentRefused, match="step_id F-05 already"):
        draft(loaded, taken, now)


def test_objects_without_a_number_are_numbered_in_order(loaded: Registry, now: datetime) -> None:
    """Roles, policies and terms state no version, and have a history all the same."""
    role = {"role_id": "SAL-IC-001", "role_title": "Seller", "department": "Sales", "hierarchy_level": "V"}
    role["supervises_role_id"] = "SAL-M-001"
    assert bring(loaded, role, now, kind=Role, by=SECURITY).version == "2"
    assert bring(loaded, {**role, "role_title": "Vendor"}, now, kind=Role, by=SECURITY).version == "3"
    frame = loaded.frame(ROLE).filter(role_id="SAL-IC-001")
    assert frame["role_title"].to_list() == ["Vendor"]
    with loaded.read() as connection:
        versions = history(connection, Role, "SAL-IC-001")
    assert [(v.version, v.change, v.is_current) for v in versions] == [
        ("1", "initial", False),
        ("2", "patch", False),
        ("3", "patch", True),
    ]


def test_what_held_once_can_be_proposed_again(loaded: Registry, now: datetime) -> None:
    """The same body is the same proposal, but back to an earlier title is another change than the first time."""
    role = {"role_id": "SAL-IC-001", "role_title": "Seller", "department": "Sales", "hierarchy_level": "V"}
    first = bring(loaded, role, now, kind=Role, by=SECURITY)
    bring(loaded, {**role, "role_title": "Vendor"}, now, kind=Role, by=SECURITY)
    again = bring(loaded, role, now, kind=Role, by=SECURITY)
    assert (again.publication_id, again.version) == (first.publication_id, "4")


def test_a_published_policy_is_announced(loaded: Registry, now: datetime) -> None:
    """Engines refresh what they cached; workflows that it contradicts are paused."""
    policy = shipped("policies/POL-FINANCE-001.json")
    policy["spec"]["max_tolerance"] = 0.04
    bring(loaded, policy, now, kind=Policy, by=SECURITY)
    assert announced(loaded, "policy.updated") == [
        {"policy_id": "POL-FINANCE-001", "spec": parse(canonical(policy["spec"]))}
    ]
    assert loaded.frame(POLICY).filter(policy_id="POL-FINANCE-001").height == 1


def test_a_schema_gets_the_next_version_and_keeps_the_old_one(loaded: Registry, now: datetime) -> None:
    """Events of the old version are on disk, and consumers subscribe to versions."""
    schema = shipped("event_schemas/policy.updated.json")
    schema["schema"]["properties"]["note"] = {"type": "string"}
    published = bring(loaded, schema, now, kind=EventSchema, by=DATA)
    assert published.version == "2"
    stored = loaded.frame(SCHEMA_REGISTRY).filter(subject="policy.updated")
    assert dict(zip(stored["version"], stored["semver"], strict=True)) == {1: "1.0.0", 2: "1.1.0"}


def test_objects_that_need_each_other_are_published_together(loaded: Registry, now: datetime) -> None:
    """A workflow on a new skill: alone it is refused, with its skill it is not."""
    skill = shipped("skills/SK-OCR-001.json", skill_id="SK-OCR-002", skill_name="Other", version="1.0.0")
    workflow = invoices(workflow_id="WF-2", workflow_name="Two", version="1.0.0", triggers=[])
    workflow["steps"] = [
        {**workflow["steps"][0], "step_id": "WF-2/1", "skill_id": "SK-OCR-002", "next_step_logic": "END"}
    ]
    with pytest.raises(DocumentRefused, match="SK-OCR-002"):
        draft(loaded, workflow, now)
    documents = [
        read_document(Workflow, json.dumps(workflow), name="w.json"),
        read_document(SkillNode, json.dumps(skill), name="s.json"),
    ]
    first, second = submit_all(loaded, documents, principal=QA, now=now)
    for submitted in (first, second):
        approve(loaded, submitted.publication_id, now)
    with pytest.raises(DocumentRefused, match="SK-OCR-002"):
        publish(loaded, first.publication_id, principal=QA, now=now)
    done = publish_all(loaded, [first.publication_id, second.publication_id], principal=QA, now=now)
    assert [(p.object_id, p.version) for p in done] == [("WF-2", "1.0.0"), ("SK-OCR-002", "1.0.0")]
    assert "SK-OCR-002" in loaded.frame(SKILL_NODE)["skill_id"]


def test_a_failed_publication_leaves_nothing(loaded: Registry, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version without its queue row, or without its audit event, cannot be explained to anybody."""
    submitted = draft(loaded, tolerance(0.04), now)
    approve(loaded, submitted.publication_id, now)
    tables = (WORKFLOW, STEP_ACTION, OBJECT_VERSION, PUBLICATION_QUEUE, OUTBOX)
    before = {spec.name: loaded.frame(spec) for spec in tables}

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("registry.publication.mark_published", fail)
    with pytest.raises(OSError, match="no space"):
        publish(loaded, submitted.publication_id, principal=QA, now=now)
    assert all(loaded.frame(spec).equals(before[spec.name]) for spec in tables)


def test_a_skill_that_is_no_longer_called_asks_for_no_permission(loaded: Registry, now: datetime) -> None:
    """Who maintains all that a workflow calls may change it; a step that is gone must not stand in the way for ever."""
    keeper = Principal("kim", "person", "SAL-M-001")
    grant = {"role_id": "SAL-M-001", "skill_id": "SK-OCR-001", "permission": "maintain"}
    received = read_document(RoleSkill, json.dumps(grant), name="grant")
    with loaded.transaction() as connection:
        write_versions(connection, [NewVersion(received, "1", "initial", "bootstrap", "test")], actor="test", now=now)
    workflow = invoices(workflow_id="WF-2", workflow_name="Two", version="1.0.0", triggers=[])
    reading, telling = workflow["steps"][0], workflow["steps"][4]
    reading = {**reading, "step_id": "WF-2/1", "next_step_logic": {"goto": "WF-2/2"}}
    workflow["steps"] = [reading, {**telling, "step_id": "WF-2/2", "sequence": 2}]
    bring(loaded, workflow, now)
    shorter = {**workflow, "steps": [{**reading, "next_step_logic": "END"}]}
    with pytest.raises(Denied):
        draft(loaded, shorter, now, by=keeper)
    bring(loaded, shorter, now)
    assert draft(loaded, {**shorter, "version": "2.0.0", "objective": "Read"}, now, by=keeper).version == "2.0.1"


# -- Updates and learned documents --------------------------------------------------------------------------------


def update(registry: Registry, now: datetime, **changes: Any) -> str:
    body = {
        "type": "update_param",
        "workflow_id": "WF-FIN-001",
        "workflow_version": "1.3.0",
        "target": "F-02.parameters.tolerance",
        "from": 0.05,
        "value": 0.04,
        **changes,
    }
    with registry.transaction() as connection:
        ((publication_id, _),) = queue(
            connection,
            [Proposal("step", body, {"episodes": ["E-1"]}, 0.9, "AG-REFLECT-001", base=body["workflow_version"])],
            now=now,
        )
    return approve(registry, publication_id, now)


def test_an_update_of_a_parameter_is_published_as_a_version(loaded: Registry, now: datetime) -> None:
    """This is what learning proposes: one number of one step."""
    published = publish(loaded, update(loaded, now), principal=QA, now=now)
    assert (published.version, published.change) == ("1.4.0", "minor")
    plan = load_plan(loaded, "WF-FIN-001")
    assert canonical(plan.step("F-02").parameters.evaluate({})["tolerance"]) == "0.04"
    old = loaded.frame(OBJECT_VERSION).filter(object_id="WF-FIN-001")
    documents = {r["version"]: parse(r["document"]) for r in old.to_dicts()}
    documents["1.3.0"]["steps"][1]["parameters"]["tolerance"] = documents["1.4.0"]["steps"][1]["parameters"][
        "tolerance"
    ]
    documents["1.3.0"]["version"] = "1.4.0"
    assert documents["1.3.0"] == documents["1.4.0"], "the update changed more than it said"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"workflow_version": "1.2.0"}, "base"),
        ({"from": 0.06}, "base"),
        ({"target": "F-09.parameters.tolerance"}, "form"),
        ({"target": "F-02.skill_id"}, "form"),
        ({"target": "F-02.parameters.tolerance.deep"}, "form"),
    ],
)
def test_an_update_that_does_not_fit_is_refused(
    loaded: Registry, now: datetime, changes: dict[str, Any], rule: str
) -> None:
    """It was learned from runs of another version, or names what it may not change."""
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, update(loaded, now, **changes), principal=QA, now=now)
    assert caught.value.rule == rule
    assert load_plan(loaded, "WF-FIN-001").version == "1.3.0"


def test_an_update_of_a_version_that_moved_on_is_refused(loaded: Registry, now: datetime) -> None:
    """The evidence is about another workflow."""
    publication_id = update(loaded, now)
    bring(loaded, invoices(objective="Pay"), now)
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, publication_id, principal=QA, now=now)
    assert caught.value.rule == "base"


def test_a_retirement_ends_a_workflow_and_keeps_what_it_was(loaded: Registry, now: datetime) -> None:
    """Nothing may start it any more; what ran under it must stay readable, and the way back open."""
    proposed = retire(loaded, "WF-FIN-001", reason="replaced by WF-9", principal=MANAGER, now=now)
    assert (proposed.version, proposed.change, proposed.is_new) == ("2.0.0", "major", True)
    assert [plan.workflow_id for plan in load_active_plans(loaded)] == ["WF-FIN-001"], "a proposal changes nothing"
    publish(loaded, approve(loaded, proposed.publication_id, now), principal=QA, now=now)
    assert load_active_plans(loaded) == ()
    with loaded.read() as connection:
        last = history(connection, Workflow, "WF-FIN-001")[-1]
    assert (last.version, last.why) == ("2.0.0", "publication: replaced by WF-9")
    assert loaded.frame(STEP_ACTION)["last_version"].null_count() == 5, "its steps are those of its last version"
    with pytest.raises(DocumentRefused, match="already"):
        retire(loaded, "WF-FIN-001", reason="again", principal=MANAGER, now=now)
    rollback(loaded, Workflow, "WF-FIN-001", to="1.3.0", reason="missed", principal=QA, now=now)
    assert [plan.version for plan in load_active_plans(loaded)] == ["2.1.0"]


def test_a_workflow_that_another_calls_does_not_end_before_it(loaded: Registry, now: datetime) -> None:
    """A running workflow would call what no longer starts, in every episode."""
    caller = invoices(workflow_id="WF-P", workflow_name="Parent", version="1.0.0", triggers=[], status="active")
    call = {"target_workflow_id": "WF-FIN-001", "payload": {}}
    caller["steps"] = [
        {
            "step_id": "WF-P/1",
            "sequence": 1,
            "action_type": "tool_call",
            "skill_id": "SK-API-007",
            "parameters": call,
            "next_step_logic": "END",
        }
    ]
    bring(loaded, caller, now)
    with pytest.raises(DocumentRefused, match="WF-P, which is active, calls it"):
        retire(loaded, "WF-FIN-001", reason="unused", principal=MANAGER, now=now)
    ended = retire(loaded, "WF-P", reason="unused", principal=MANAGER, now=now)
    publish(loaded, approve(loaded, ended.publication_id, now), principal=QA, now=now)
    ended = retire(loaded, "WF-FIN-001", reason="unused", principal=MANAGER, now=now)
    publish(loaded, approve(loaded, ended.publication_id, now), principal=QA, now=now)
    assert load_active_plans(loaded) == ()


def test_a_retirement_of_a_version_that_moved_on_is_refused(loaded: Registry, now: datetime) -> None:
    """What was found useless may have been mended since."""
    proposed = retire(loaded, "WF-FIN-001", reason="unused", principal=MANAGER, now=now)
    approve(loaded, proposed.publication_id, now)
    bring(loaded, invoices(objective="Pay"), now)
    with pytest.raises(ProposalClosed) as caught:
        publish(loaded, proposed.publication_id, principal=QA, now=now)
    assert caught.value.rule == "base"


def test_who_may_not_propose_a_change_may_not_propose_the_end(loaded: Registry, now: datetime) -> None:
    """Ending a workflow is the largest change of it."""
    with pytest.raises(Denied):
        retire(loaded, "WF-FIN-001", reason="I dislike it", principal=CLERK, now=now)
    assert loaded.frame(PUBLICATION_QUEUE).is_empty()


def test_a_learned_workflow_becomes_the_next_version_of_itself(loaded: Registry, now: datetime) -> None:
    """Learning fills a template that always states 0.1.0; the second time it is another version, or nothing new."""

    def learn(**changes: Any) -> bool:
        document = invoices(workflow_id="WF-9", workflow_name="Nine", version="0.1.0", triggers=[], **changes)
        document["steps"] = [{**document["steps"][0], "step_id": "WF-9/1", "next_step_logic": "END"}]
        received = read_document(Workflow, json.dumps(document), name="WF-9")
        with loaded.transaction() as connection:
            return propose_document(
                connection, received, provenance={}, confidence=0.9, proposed_by="AG-REFLECT-001", now=now
            )

    assert learn() is True
    (publication_id,) = loaded.frame(PUBLICATION_QUEUE)["publication_id"]
    publish(loaded, approve(loaded, publication_id, now), principal=QA, now=now)
    assert learn() is False
    assert learn(genome={"vendors": ["V"]}) is True
    pending = loaded.frame(PUBLICATION_QUEUE).filter(decision="pending")
    assert parse(pending["proposal_body"][0])["version"] == "0.2.0"


# -- Rolling back -------------------------------------------------------------------------------------------------


def test_a_rollback_is_a_new_version_with_the_old_content(loaded: Registry, now: datetime) -> None:
    """History is never rewritten: an auditor sees what held when."""
    published = bring(loaded, tolerance(0.04), now)
    later = now + timedelta(days=1)
    restored = rollback(loaded, Workflow, "WF-FIN-001", to="1.3.0", reason="too strict", principal=QA, now=later)
    assert (restored.version, restored.replaces) == ("1.5.0", "1.4.0")
    with loaded.read() as connection:
        versions = history(connection, Workflow, "WF-FIN-001")
        holds = currents(connection, Workflow, ["WF-FIN-001"])["WF-FIN-001"].received
    assert [v.version for v in versions] == ["1.3.0", "1.4.0", "1.5.0"]
    assert versions[-1].reason == "rollback"
    assert versions[-1].lineage == {"replaces": "1.4.0", "restores": "1.3.0", "reason": "too strict"}
    assert {**holds.value, "version": "1.3.0"} == parse((PACK / "workflows/WF-FIN-001.json").read_text())
    assert published.publication_id is not None
    assert row(loaded, published.publication_id)["decision"] == "rolled_back"
    assert announced(loaded, "registry.changed")[-1]["reason"] == "rollback"


def test_a_rollback_needs_the_right_to_publish(loaded: Registry, now: datetime) -> None:
    """Taking back a guard is as grave as lifting it."""
    bring(loaded, tolerance(0.04), now)
    with pytest.raises(Denied):
        rollback(loaded, Workflow, "WF-FIN-001", to="1.3.0", reason="r", principal=CLERK, now=now)
    assert load_plan(loaded, "WF-FIN-001").version == "1.4.0"


def test_a_rollback_to_what_holds_or_never_was_is_refused(loaded: Registry, now: datetime) -> None:
    """An empty version would say that something happened."""
    with pytest.raises(DocumentRefused, match="says already"):
        rollback(loaded, Workflow, "WF-FIN-001", to="1.3.0", reason="r", principal=QA, now=now)
    with pytest.raises(NotRegistered, match=r"1\.2\.0"):
        rollback(loaded, Workflow, "WF-FIN-001", to="1.2.0", reason="r", principal=QA, now=now)


def test_a_rolled_back_policy_is_announced_as_well(loaded: Registry, now: datetime) -> None:
    """For the caches a rollback is one more change."""
    policy = shipped("policies/POL-FINANCE-001.json")
    policy["spec"]["max_tolerance"] = 0.04
    bring(loaded, policy, now, kind=Policy, by=SECURITY)
    rollback(loaded, Policy, "POL-FINANCE-001", to="1", reason="r", principal=SECURITY, now=now + timedelta(hours=1))
    assert [canonical(p["spec"]["max_tolerance"]) for p in announced(loaded, "policy.updated")] == ["0.04", "0.05"]


def test_history_is_in_order_past_the_ninth_version(loaded: Registry, now: datetime) -> None:
    """As numbers: 1.10.0 comes after 1.9.0."""
    for number in range(1, 9):
        bring(loaded, tolerance(0.05 - number / 1000, version=f"1.{number + 2}.0"), now)
    with loaded.read() as connection:
        versions = [v.version for v in history(connection, Workflow, "WF-FIN-001")]
    assert versions == [f"1.{minor}.0" for minor in range(3, 12)]
    assert loaded.frame(WORKFLOW).filter(pl.col("workflow_id") == "WF-FIN-001")["version"].to_list() == ["1.11.0"]
