"""Review: two people, two tokens, one proposal as it stands; all else is refused with the way out, and audited."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from governance.review import decide_by_token
from guard.canonical import canonical, digest
from lake.tables import PUBLICATION_QUEUE, PUBLICATION_REVIEW
from registry.access import Denied, InvalidToken, Principal
from registry.database import TABLES
from registry.proposals import EXPIRY, ProposalClosed
from registry.publication import publish
from registry.tokens import issue_token, revoke_tokens
from tests.approvals import approve
from tests.governance.world import MANAGER, NOW, QUALITY, REVIEWERS, SECURITY, Governed, narrower

SUPERVISOR = Principal("quentin", "person", "QA-D-001")
CLERK = Principal("carl", "person", "SAL-IC-001")


@pytest.fixture
def proposal(governed: Governed) -> str:
    """A proposal that every gate has passed."""
    publication_id = governed.propose()
    governed.judge()
    return publication_id


def state(governed: Governed, publication_id: str) -> str:
    queue = governed.registry.frame(PUBLICATION_QUEUE)
    return queue.filter(publication_id=publication_id)["decision"][0]


def change(governed: Governed, publication_id: str, **values: Any) -> None:
    """Change a row of the queue behind everybody's back."""
    table = TABLES[PUBLICATION_QUEUE.name]
    with governed.registry.transaction() as connection:
        connection.execute(sa.update(table).filter_by(publication_id=publication_id).values(values))


def refused(governed: Governed, publication_id: str, rule: str, said: str, **options: Any) -> None:
    """Check that a decision is refused by a rule, in words that help, that it is audited and leaves nothing."""
    before, reviews = governed.audited(), governed.registry.frame(PUBLICATION_REVIEW)
    with pytest.raises(ProposalClosed, match=said) as caught:
        governed.decide(publication_id, **options)
    assert caught.value.rule == rule
    (told,) = (told for event_id, told in governed.audited().items() if event_id not in before)
    assert (told["action"], told["object_id"]) == ("decide", publication_id)
    assert told["subject_id"] == options["by"].subject_id
    assert told["reason"] == str(caught.value)
    assert governed.registry.frame(PUBLICATION_REVIEW).equals(reviews)


def test_the_last_approval_that_is_needed_approves(governed: Governed, proposal: str) -> None:
    """One of two would be enough, or none ever."""
    first = governed.decide(proposal, by=QUALITY)
    assert (first.state, first.waits_for, state(governed, proposal)) == ("pending", ("SEC-M-001",), "pending")
    last = governed.decide(proposal, by=SECURITY)
    assert (last.state, last.waits_for, state(governed, proposal)) == ("approved", (), "approved")
    reviews = governed.registry.frame(PUBLICATION_REVIEW).select("reviewer_role_id", "subject_id", "decision").rows()
    assert reviews == [("QA-M-001", "ada", "approved"), ("SEC-M-001", "sam", "approved")]


def test_one_rejection_ends_it(governed: Governed, proposal: str) -> None:
    """The second reviewer would overrule the first."""
    governed.decide(proposal, by=QUALITY)
    assert governed.decide(proposal, "rejected", by=SECURITY).state == "rejected"
    assert state(governed, proposal) == "rejected"
    refused(governed, proposal, "decision", "it is rejected, not pending", by=Principal("eve", "person", "QA-D-001"))


def test_what_is_not_judged_may_be_rejected_but_not_approved(governed: Governed) -> None:
    """Who sees at once that it is wrong need not wait for the gates."""
    publication_id = governed.propose()
    refused(governed, publication_id, "gates", "rwcm registry gates", by=QUALITY)
    assert governed.decide(publication_id, "rejected", by=QUALITY).state == "rejected"


def test_what_a_gate_refused_cannot_be_approved(governed: Governed) -> None:
    """No reviewer is above the gates."""
    document = narrower()
    document["steps"][3]["parameters"]["action"] = "Pay_Invoice"
    publication_id = governed.propose(document)
    governed.judge()
    refused(governed, publication_id, "gates", "the gate effects refused it: .*payments.write", by=QUALITY)


def test_the_proposer_decides_nothing_and_the_role_above_stands_in(governed: Governed) -> None:
    """A reviewer who proposes would be reviewed by nobody."""
    publication_id = governed.propose(by=Principal("ada", "person", "FA-D-001"))
    governed.judge()
    with pytest.raises(Denied, match="nobody decides what they proposed; the supervisor of the reviewer stands in"):
        governed.decide(publication_id, by=QUALITY)
    assert [told["subject_id"] for told in governed.audited().values()] == ["ada"]
    assert governed.decide(publication_id, by=SUPERVISOR).reviewer_role_id == "QA-M-001"
    assert governed.decide(publication_id, by=SECURITY).state == "approved"


def test_a_role_without_the_right_decides_nothing(governed: Governed, proposal: str) -> None:
    """A sales representative does not decide for quality."""
    for principal in (CLERK, MANAGER):
        with pytest.raises(Denied):
            governed.decide(proposal, by=principal)
    assert {told["subject_id"] for told in governed.audited().values()} == {"carl", "mia"}
    assert governed.registry.frame(PUBLICATION_REVIEW).is_empty()


def test_nobody_decides_twice_or_for_two(governed: Governed, proposal: str) -> None:
    """One person with two tokens would be both reviewers."""
    governed.decide(proposal, by=QUALITY)
    refused(governed, proposal, "review", "ada approved it already, for QA-M-001", by=QUALITY)
    other_token = Principal("ada", "person", "SEC-M-001")
    refused(governed, proposal, "review", "ada approved it already, for QA-M-001", by=other_token)
    refused(governed, proposal, "review", "QA-M-001 decided it already", by=SUPERVISOR)
    governed.decide(proposal, by=SECURITY)
    third = Principal("eve", "person", "SEC-M-001")
    refused(governed, proposal, "review", "SEC-M-001 decided it already", by=third)


def test_an_approval_comes_too_late(governed: Governed, proposal: str) -> None:
    """What was safe three weeks ago is judged again."""
    late = NOW + EXPIRY
    refused(governed, proposal, "expired", "submit the change again", by=QUALITY, now=late)
    governed.decide(proposal, by=QUALITY, now=late - timedelta(seconds=1))


def test_a_body_that_changed_after_the_gates_ran_is_not_approved(governed: Governed, proposal: str) -> None:
    """The reviewer would approve what no gate has seen, under a hash that says otherwise or with a new one."""
    body = narrower(tolerance=0.9)
    change(governed, proposal, proposal_body=canonical(body))
    refused(governed, proposal, "hash", "submit the change again", by=QUALITY)
    change(governed, proposal, proposal_hash=digest(body))
    refused(governed, proposal, "gates", "have not judged it", by=QUALITY)


def test_what_would_change_the_outcome_of_the_gates_voids_them(governed: Governed, proposal: str) -> None:
    """Confidence raised, or another proposer named, after everything was looked at."""
    change(governed, proposal, proposed_by="ada")
    refused(governed, proposal, "gates", "have not judged it", by=SECURITY)
    change(governed, proposal, proposed_by="mia", confidence=0.99)
    refused(governed, proposal, "gates", "have not judged it", by=SECURITY)
    change(governed, proposal, confidence=1)
    governed.decide(proposal, by=SECURITY)


def test_an_approval_of_what_was_made_for_another_version_is_refused(governed: Governed) -> None:
    """It would take back what was published in between."""
    publication_id = governed.propose(narrower())
    governed.judge()
    newer = governed.propose(narrower(objective="Another first version"))
    publish(governed.registry, approve(governed.registry, newer, NOW), principal=QUALITY, now=NOW)
    refused(governed, publication_id, "base", "now there is WF-NARROW 1.0.0", by=QUALITY)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 1025])
def test_a_decision_has_a_reason(governed: Governed, proposal: str, reason: str) -> None:
    """An auditor asks why, years later."""
    from governance.review import decide

    with pytest.raises(ProposalClosed, match="give one of 1 to 1024"):
        decide(governed.registry, proposal, decision="approved", reason=reason, principal=QUALITY, now=NOW)


# -- Tokens -------------------------------------------------------------------------------------------------------


def by_token(governed: Governed, publication_id: str, token: str) -> str:
    decided = decide_by_token(
        governed.registry,
        publication_id,
        token=token,
        decision="approved",
        reason="looked at it",
        token_now=NOW,
        now=NOW,
    )
    return decided.state


def token_of(governed: Governed, principal: Principal) -> str:
    return issue_token(
        governed.registry,
        subject_id=principal.subject_id,
        subject_type="person",
        role_id=str(principal.role_id),
        actor="operator",
        now=NOW,
    ).token


def test_each_reviewer_decides_by_an_own_token(governed: Governed, proposal: str) -> None:
    """A name that somebody types proves nothing."""
    states = [by_token(governed, proposal, token_of(governed, one)) for one in REVIEWERS]
    assert states == ["pending", "approved"]


def test_a_token_that_proves_nothing_decides_nothing_and_is_audited_once(governed: Governed, proposal: str) -> None:
    """Guessing would go unseen, or fill the audit."""
    for token in ("rwcm_guess", "rwcm_" + "a" * 46, "rwcm_other"):
        with pytest.raises(InvalidToken, match="the token was refused"):
            by_token(governed, proposal, token)
    (told,) = governed.audited().values()
    assert (told["subject_id"], told["object_id"]) == ("unknown", proposal)
    assert not any("rwcm_" in str(value) for value in told.values())
    assert state(governed, proposal) == "pending"


def test_a_revoked_token_decides_nothing(governed: Governed, proposal: str) -> None:
    """Who has left the department would still decide."""
    token = token_of(governed, QUALITY)
    revoke_tokens(governed.registry, actor="operator", now=NOW, subject_id="ada")
    with pytest.raises(InvalidToken):
        by_token(governed, proposal, token)
    assert [told["subject_id"] for told in governed.audited().values()] == ["ada"]


def test_an_approved_proposal_says_how_it_goes_on(governed: Governed, proposal: str) -> None:
    """A third reviewer who comes late should not submit it again."""
    governed.approve(proposal)
    refused(governed, proposal, "review", "rwcm registry proposals", by=Principal("eve", "person", "QA-M-001"))
