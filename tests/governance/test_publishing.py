"""Publishing: by no path, at no moment and under no forged row does anything become current that was not passed."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from governance.publishing import PUBLISHER, publish_approved, publish_checked, work_at_hand
from guard.canonical import canonical, digest, parse
from lake.tables import (
    GATE_DECISION,
    OBJECT_VERSION,
    OUTBOX,
    PUBLICATION_QUEUE,
    PUBLICATION_REVIEW,
    RUN_EPISODE,
    WORKFLOW,
)
from registry.database import TABLES
from registry.documents import Policy
from registry.loader import PACK
from registry.plans import load_active_plans
from registry.proposals import EXPIRY, ProposalClosed
from registry.publication import publish, publish_all
from tests.governance.world import NOW, QUALITY, REVIEWERS, SECURITY, Governed, narrower

ROOT = Path(__file__).parents[2]


@pytest.fixture
def approved(governed: Governed) -> str:
    """A proposal that every gate has passed and every reviewer approved."""
    publication_id = governed.propose()
    governed.judge()
    governed.approve(publication_id)
    return publication_id


def queued(governed: Governed, publication_id: str) -> dict[str, Any]:
    return governed.registry.frame(PUBLICATION_QUEUE).filter(publication_id=publication_id).row(0, named=True)


def execute(governed: Governed, statement: Any) -> None:
    with governed.registry.transaction() as connection:
        connection.execute(statement)


def nothing_is_published(governed: Governed, publication_id: str, rule: str) -> None:
    """Check that every path to a publication refuses a proposal by a rule, and leaves nothing."""
    before = {spec.name: governed.registry.frame(spec) for spec in (WORKFLOW, OBJECT_VERSION, OUTBOX)}
    for path in (
        lambda: publish(governed.registry, publication_id, principal=QUALITY, now=NOW),
        lambda: publish_all(governed.registry, [publication_id], principal=QUALITY, now=NOW),
        lambda: publish_checked(governed.registry, publication_id, principal=QUALITY, now=NOW),
    ):
        with pytest.raises(ProposalClosed) as caught:
            path()
        assert caught.value.rule == rule, caught.value
    publish_approved(governed.registry, now=NOW)
    for spec in (WORKFLOW, OBJECT_VERSION, OUTBOX):
        assert governed.registry.frame(spec).equals(before[spec.name]), spec.name


def test_what_has_passed_and_been_approved_becomes_current_at_once(governed: Governed, approved: str) -> None:
    """Version, lineage, provenance and event, or none of them."""
    assert work_at_hand(governed.registry, now=NOW) is not None
    (done,) = publish_approved(governed.registry, now=NOW + timedelta(hours=1)).published
    assert (done.object_id, done.version, done.publication_id) == ("WF-NARROW", "1.0.0", approved)
    assert work_at_hand(governed.registry, now=NOW) is None
    row = queued(governed, approved)
    assert (row["decision"], row["published_object_id"]) == ("published", "WF-NARROW")
    assert [check["gate"] for check in parse(row["policy_checks"])] == list(governed_gates())
    (version,) = governed.registry.frame(OBJECT_VERSION).filter(object_id="WF-NARROW").to_dicts()
    lineage = parse(version["lineage"])
    assert (version["created_by"], lineage["reviewed_by"]) == (PUBLISHER, {"QA-M-001": "ada", "SEC-M-001": "sam"})
    assert (lineage["proposal"], lineage["proposed_by"]) == (approved, "mia")
    changes = governed.registry.frame(OUTBOX).filter(topic="registry.changed", producer_id=PUBLISHER)
    assert [parse(payload)["publication_id"] for payload in changes["payload"]] == [approved]
    assert [plan.workflow_id for plan in load_active_plans(governed.registry)] == ["WF-FIN-001", "WF-NARROW"]


def governed_gates() -> tuple[str, ...]:
    """The gates, by the blueprint's section 5.3 and the publishing policy of 5.2."""
    return ("contract", "effects", "confidence", "tests", "replay", "risk")


def test_the_next_events_run_what_was_published(governed: Governed, approved: str) -> None:
    """The loop would be closed on paper only."""
    publish_approved(governed.registry, now=NOW)
    theirs = governed.payables.invoice("theirs", vendor="VEND-1", billed="104.00", at=NOW + timedelta(minutes=1))
    other = governed.payables.invoice("other", vendor="VEND-2", billed="104.00", at=NOW + timedelta(minutes=1))
    governed.payables.execute(now=NOW + timedelta(days=5))
    runs = dict(governed.payables.table(RUN_EPISODE).select("trigger_event_id", "workflow_id").iter_rows())
    assert (runs[theirs], runs[other]) == ("WF-NARROW", "WF-FIN-001")
    outcomes = dict(governed.payables.table(RUN_EPISODE).select("trigger_event_id", "outcome").iter_rows())
    assert (outcomes[theirs], outcomes[other]) == ("partial", "success"), "4 % is over one tolerance, under the other"


# -- Not passed, not approved -------------------------------------------------------------------------------------


def test_an_approval_without_any_row_publishes_nothing(governed: Governed) -> None:
    """Whoever can write one word to the queue could publish anything."""
    publication_id = governed.propose()
    execute(governed, sa.update(TABLES["publication_queue"]).values(decision="approved", decided_by="ada"))
    nothing_is_published(governed, publication_id, "gates")


def test_gates_without_reviews_publish_nothing(governed: Governed) -> None:
    """What the machine has passed nobody has looked at."""
    publication_id = governed.propose()
    governed.judge()
    governed.decide(publication_id, by=QUALITY)
    execute(governed, sa.update(TABLES["publication_queue"]).values(decision="approved", decided_by="ada"))
    nothing_is_published(governed, publication_id, "reviews")


@pytest.mark.parametrize("gate", governed_gates())
def test_a_missing_row_of_any_gate_publishes_nothing(governed: Governed, approved: str, gate: str) -> None:
    """A gate that was skipped is a gate that was passed by nobody."""
    execute(governed, sa.delete(TABLES["gate_decision"]).filter_by(gate=gate))
    nothing_is_published(governed, approved, "gates")


@pytest.mark.parametrize("gate", governed_gates())
def test_a_refusal_of_any_gate_publishes_nothing(governed: Governed, approved: str, gate: str) -> None:
    """The others do not outvote it."""
    execute(governed, sa.update(TABLES["gate_decision"]).filter_by(gate=gate).values(is_passed=False))
    nothing_is_published(governed, approved, "gates")


@pytest.mark.parametrize("role", ["QA-M-001", "SEC-M-001"])
def test_a_missing_review_publishes_nothing(governed: Governed, approved: str, role: str) -> None:
    """One reviewer is not two."""
    execute(governed, sa.delete(TABLES["publication_review"]).filter_by(reviewer_role_id=role))
    nothing_is_published(governed, approved, "reviews")


# -- Changed ------------------------------------------------------------------------------------------------------


def test_a_body_that_changed_publishes_nothing(governed: Governed, approved: str) -> None:
    """Under its old hash, and under a new one that fits it."""
    body = narrower(tolerance=0.9)
    execute(governed, sa.update(TABLES["publication_queue"]).values(proposal_body=canonical(body)))
    nothing_is_published(governed, approved, "hash")
    execute(governed, sa.update(TABLES["publication_queue"]).values(proposal_hash=digest(body)))
    nothing_is_published(governed, approved, "gates")


@pytest.mark.parametrize(
    "values",
    [
        {"confidence": 1},
        {"proposed_by": "somebody"},
        {"proposal_type": "skill"},
        {"expires_at": NOW + timedelta(days=400)},
        {"provenance": canonical({"base_version": None, "object_type": "workflow", "change": "patch"})},
    ],
)
def test_any_change_of_the_row_voids_what_was_said_of_it(
    governed: Governed, approved: str, values: dict[str, Any]
) -> None:
    """Sureness, proposer, kind, evidence and time: all of it was judged."""
    if values.get("confidence") == queued(governed, approved)["confidence"]:
        values = {"confidence": 0.9}
    execute(governed, sa.update(TABLES["publication_queue"]).values(values))
    with pytest.raises(Exception, match=r"have not judged it|would be no|is no member") as caught:
        publish(governed.registry, approved, principal=QUALITY, now=NOW)
    assert type(caught.value).__name__ in ("ProposalClosed", "DocumentRefused")
    assert [plan.workflow_id for plan in load_active_plans(governed.registry)] == ["WF-FIN-001"]


def test_an_approval_expires(governed: Governed, approved: str) -> None:
    """And the publisher does not even try."""
    with pytest.raises(ProposalClosed) as caught:
        publish(governed.registry, approved, principal=QUALITY, now=NOW + EXPIRY)
    assert caught.value.rule == "expired"
    assert work_at_hand(governed.registry, now=NOW + EXPIRY) is None


# -- Forged -------------------------------------------------------------------------------------------------------


def rows_of(governed: Governed, table: str) -> list[dict[str, Any]]:
    with governed.registry.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(TABLES[table])).mappings()]


def test_rows_of_another_proposal_pass_nothing(governed: Governed, approved: str) -> None:
    """Decisions about a harmless change, copied under the name of another one."""
    other = governed.propose(narrower("WF-OTHER", tolerance=0.9))
    for table in (GATE_DECISION.name, PUBLICATION_REVIEW.name):
        copies = [{**row, "publication_id": other} for row in rows_of(governed, table)]
        execute(governed, sa.insert(TABLES[table]).values(copies))
    execute(
        governed,
        sa.update(TABLES["publication_queue"]).filter_by(publication_id=other).values(decision="approved"),
    )
    nothing_is_published_of(governed, other)


def nothing_is_published_of(governed: Governed, publication_id: str) -> None:
    with pytest.raises(ProposalClosed) as caught:
        publish(governed.registry, publication_id, principal=QUALITY, now=NOW)
    assert caught.value.rule == "gates"


def test_a_refusal_that_was_turned_into_a_pass_is_found_out(governed: Governed) -> None:
    """A row alone does not let a payment through: what the registry itself tells is asked again."""
    document = narrower()
    document["steps"][3]["parameters"]["action"] = "Pay_Invoice"
    publication_id = governed.propose(document)
    governed.judge()
    execute(governed, sa.update(TABLES["gate_decision"]).values(is_passed=True))
    governed.approve(publication_id)
    with pytest.raises(ProposalClosed, match="the gate effects refuses it now"):
        publish_checked(governed.registry, publication_id, principal=QUALITY, now=NOW)
    done = publish_approved(governed.registry, now=NOW)
    assert (done.published, list(done.refused)) == ([], [publication_id])


@pytest.mark.parametrize(
    "values",
    [
        {"subject_id": "mia"},  # the proposer
        {"subject_id": "sam"},  # the other reviewer
        {"role_id": "SAL-IC-001"},  # stands above nobody
        {"decision": "rejected"},
    ],
)
def test_a_forged_review_approves_nothing(governed: Governed, approved: str, values: dict[str, str]) -> None:
    """A review has to be one that its author could have given, by the rules that hold now."""
    execute(
        governed,
        sa.update(TABLES["publication_review"]).filter_by(reviewer_role_id="QA-M-001").values(values),
    )
    nothing_is_published(governed, approved, "reviews")


def test_a_reviewer_who_is_named_later_is_asked_too(governed: Governed, approved: str) -> None:
    """An approval of yesterday's reviewers is none of today's."""
    table = TABLES["policy"]
    policy = json.loads((PACK / "policies/POL-PUBLISH-001.json").read_text())
    spec = {**policy["spec"], "mandatory_reviewers": ["QA-M-001", "SEC-M-001", "LGL-M-001"]}
    execute(governed, sa.update(table).filter_by(policy_id="POL-PUBLISH-001").values(spec=canonical(spec)))
    nothing_is_published(governed, approved, "gates")


# -- At once ------------------------------------------------------------------------------------------------------

RACE = """
import json, sys, time
from datetime import datetime
from pathlib import Path
from governance.publishing import publish_approved
from registry.database import Registry

registry, now, start = Registry.open(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), float(sys.argv[3])
registry.frame  # opened before the start
time.sleep(max(0.0, start - time.time()))
done = publish_approved(registry, now=now)
print(json.dumps([len(done.published), len(done.refused)]))
"""


def test_two_processes_at_once_publish_once(governed: Governed, approved: str) -> None:
    """The sensor and a person at the same moment: one version, one event, and the other is told."""
    import time

    start = str(time.time() + 6)
    arguments = [str(governed.payables.home.registry_db), NOW.isoformat(), start]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    done = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], [error for _, error in done]
    counts = [json.loads(output.splitlines()[-1]) for output, _ in done]
    assert sum(published for published, _ in counts) == 1
    assert governed.registry.frame(OBJECT_VERSION).filter(object_id="WF-NARROW").height == 1
    changes = governed.registry.frame(OUTBOX).filter(topic="registry.changed", producer_id=PUBLISHER)
    assert changes.height == 1


def test_the_publisher_takes_what_its_role_may_publish(governed: Governed) -> None:
    """A policy waits for a person of security; an agent of quality does not change who decides."""
    policy = json.loads((PACK / "policies/POL-CONTRACT-001.json").read_text())
    publication_id = governed.propose({**policy, "policy_name": "Other words"}, kind=Policy)
    governed.judge()
    governed.approve(publication_id, by=REVIEWERS)
    assert work_at_hand(governed.registry, now=NOW) is None
    assert publish_approved(governed.registry, now=NOW).published == []
    done = publish_checked(governed.registry, publication_id, principal=SECURITY, now=NOW)
    assert (done.object_id, done.version) == ("POL-CONTRACT-001", "2")
