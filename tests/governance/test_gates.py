"""The gates: a row each for exactly what was judged, and none of them opens for what it should stop."""

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from governance.gates import work_at_hand
from lake.tables import GATE_DECISION, PUBLICATION_QUEUE
from registry.database import TABLES
from registry.documents import Policy, SkillNode, Workflow, read_document
from registry.gates import GATES
from registry.loader import PACK
from registry.proposals import EXPIRY, Proposal, queue
from registry.publication import propose_document
from registry.versions import NewVersion, write_versions
from tests.governance.world import NOW, Governed, narrower


def row(governed: Governed, publication_id: str) -> dict[str, Any]:
    return governed.registry.frame(PUBLICATION_QUEUE).filter(publication_id=publication_id).row(0, named=True)


def bootstrap(governed: Governed, kind: Any, document: Any) -> None:
    """Make a document current behind the gates' back, as a publication of somebody else would."""
    received = read_document(kind, json.dumps(document), name="d")
    with governed.registry.transaction() as connection:
        version = document.get("version", "9")
        write_versions(
            connection, [NewVersion(received, version, "major", "publication", "t", replaces="1")], actor="t", now=NOW
        )


def test_every_gate_writes_a_row_for_exactly_the_proposal(governed: Governed) -> None:
    """What was judged could not be told from what stands there now."""
    publication_id = governed.propose()
    assert governed.judge().proposals == 1
    rows = governed.registry.frame(GATE_DECISION)
    assert sorted(rows["gate"]) == sorted(GATES)
    assert set(rows["proposal_hash"]) == {row(governed, publication_id)["proposal_hash"]}
    assert rows["grounds_hash"].n_unique() == 1
    assert governed.refusals(publication_id) == []
    tested = governed.said(publication_id)["tests"].evidence
    assert (tested["paths"], tested["outcomes"]) == (21, {"success": 4, "partial": 6, "failed": 11})
    replayed = governed.said(publication_id)["replay"].evidence
    assert replayed["events"] == 50


def test_a_proposal_is_judged_once(governed: Governed) -> None:
    """Each tick of the sensor would run its tests again."""
    governed.propose()
    assert work_at_hand(governed.registry, now=NOW) is not None
    governed.judge()
    assert work_at_hand(governed.registry, now=NOW) is None
    before = governed.registry.frame(GATE_DECISION)
    assert governed.judge().proposals == 0
    assert governed.registry.frame(GATE_DECISION).equals(before)


def test_what_is_blocked_is_refused(governed: Governed) -> None:
    """The blueprint's own example: nothing that pays is published."""
    document = narrower()
    document["steps"][3]["parameters"]["action"] = "Pay_Invoice"
    publication_id = governed.propose(document)
    governed.judge()
    refused = governed.said(publication_id)["effects"]
    assert (refused.is_passed, refused.evidence["effects"]) == (
        False,
        ["message.send", "payments.write", "task.create"],
    )


@pytest.mark.parametrize("action", ["Erase_Ledger", "${trigger.po_id}"])
def test_an_action_that_its_skill_does_not_declare_counts_as_all(governed: Governed, action: str) -> None:
    """A payment under a name that nobody declared would pass."""
    document = narrower()
    document["steps"][3]["parameters"]["action"] = action
    publication_id = governed.propose(document)
    governed.judge()
    refused = governed.said(publication_id)["effects"]
    assert (refused.is_passed, "*" in refused.evidence["effects"]) == (False, True)


def test_a_workflow_that_calls_one_that_pays_is_refused(governed: Governed) -> None:
    """What may not be done would be done by a child."""
    child = narrower("WF-CHILD", triggers=[])
    child["steps"][3]["parameters"]["action"] = "Pay_Invoice"
    bootstrap(governed, Workflow, child)
    document = narrower()
    call = {"target_workflow_id": "WF-CHILD", "payload": {}}
    document["steps"][4] |= {"skill_id": "SK-API-007", "action_type": "tool_call", "parameters": call}
    publication_id = governed.propose(document)
    governed.judge()
    assert "effects" in governed.refusals(publication_id)


def learned(governed: Governed, confidence: float) -> str:
    received = read_document(Workflow, json.dumps(narrower()), name="learned")
    with governed.registry.transaction() as connection:
        propose_document(
            connection, received, provenance={}, confidence=confidence, proposed_by="AG-REFLECT-001", now=NOW
        )
    return governed.registry.frame(PUBLICATION_QUEUE)["publication_id"][0]


@pytest.mark.parametrize(("confidence", "refusals"), [(0.849999, ["confidence"]), (0.85, [])])
def test_what_its_evidence_does_not_make_sure_is_refused(
    governed: Governed, confidence: float, refusals: list[str]
) -> None:
    """The bound itself is enough, a hair less is not."""
    publication_id = learned(governed, confidence)
    governed.judge()
    assert governed.refusals(publication_id) == refusals


def test_a_workflow_with_a_path_that_no_test_goes_along_is_refused(governed: Governed) -> None:
    """The engine would be the first to see what is there."""
    document = narrower()
    branch = {"expr": 'output.reason == "a" && output.reason == "b"', "goto": "WF-NARROW/3"}
    document["steps"][1]["next_step_logic"]["if"].insert(0, branch)
    publication_id = governed.propose(document)
    governed.judge()
    assert governed.refusals(publication_id) == ["tests"]
    assert 'output.reason == "a"' in governed.said(publication_id)["tests"].reason


def test_a_proposal_of_no_known_form_is_a_row_and_no_exception(governed: Governed) -> None:
    """One broken proposal would keep all others from being judged."""
    with governed.registry.transaction() as connection:
        body = {"workflow_id": "WF-FIN-001", "steps": "none"}
        ((publication_id, _),) = queue(connection, [Proposal("workflow", body, {}, 1, "x", base="1.3.0")], now=NOW)
        stale = {"type": "update_param", "workflow_id": "WF-FIN-001", "workflow_version": "0.1.0"}
        queue(connection, [Proposal("step", {**stale, "target": "F", "value": 1}, {}, 1, "x", base="0.1.0")], now=NOW)
    good = governed.propose()
    assert governed.judge().proposals == 3
    assert governed.refusals(publication_id) == ["contract", "tests", "replay", "risk"]
    assert governed.refusals(good) == []


def test_without_a_publishing_policy_nothing_passes(governed: Governed) -> None:
    """A home whose policy was retired would have no rules at all."""
    with governed.registry.transaction() as connection:
        policy = TABLES["policy"]
        connection.execute(sa.update(policy).filter_by(scope="publishing").values(effective_to=NOW))
    publication_id = governed.propose()
    governed.judge()
    assert governed.refusals(publication_id) == list(GATES)


# -- Grounds ------------------------------------------------------------------------------------------------------


def strict_policy() -> dict[str, Any]:
    policy = json.loads((PACK / "policies/POL-PUBLISH-001.json").read_text())
    policy["spec"]["risk_threshold"] = 0.1
    return policy


def test_when_a_policy_changes_everything_is_judged_again(governed: Governed) -> None:
    """What passed under the rules of yesterday would be published under those of today."""
    publication_id = governed.propose()
    governed.judge()
    governed.approve(publication_id)
    assert row(governed, publication_id)["decision"] == "approved"
    bootstrap(governed, Policy, strict_policy())
    assert governed.said(publication_id) == {}
    assert governed.judge().reopened == 1
    assert governed.refusals(publication_id) == ["risk"]
    assert row(governed, publication_id)["decision"] == "pending", "its approvals were about other rules"


def test_when_a_skill_changes_what_calls_it_is_judged_again(governed: Governed) -> None:
    """A step that posted yesterday may pay today."""
    publication_id = governed.propose()
    other = governed.propose(
        {**json.loads((PACK / "policies/POL-CONTRACT-001.json").read_text()), "policy_name": "X"}, kind=Policy
    )
    governed.judge()
    skill = json.loads((PACK / "skills/SK-ERP-002.json").read_text())
    skill["runtime_binding"]["effects"]["Book_Invoice"] = "payments.write"
    bootstrap(governed, SkillNode, {**skill, "version": "2.0.0"})
    assert governed.said(publication_id) == {}
    assert len(governed.said(other)) == len(GATES), "what does not call it stands"
    governed.judge()
    assert "effects" in governed.refusals(publication_id)


def test_what_nobody_decides_is_closed(governed: Governed) -> None:
    """A queue that only grows is read by nobody."""
    publication_id = governed.propose()
    governed.judge()
    assert governed.judge(NOW + EXPIRY - timedelta(seconds=1)).expired == 0
    assert governed.judge(NOW + EXPIRY).expired == 1
    assert row(governed, publication_id)["decision"] == "expired"
    assert governed.propose(now=NOW + EXPIRY) == publication_id, "and may be proposed anew"
    assert governed.said(publication_id, NOW + EXPIRY) == {}, "to be judged anew"
