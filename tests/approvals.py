"""Approvals: what the governance room writes when gates and reviewers pass a proposal, for tests of other rooms."""

from datetime import datetime

from registry.database import Registry
from registry.gates import GATES, GateDecision, load_grounds, record_decisions, record_review
from registry.permissions import Principal, load_permissions
from registry.proposals import decide, find


def approve(registry: Registry, publication_id: str, now: datetime, *, by: str = "rita") -> str:
    """Write that every gate passed a proposal and every mandatory reviewer approved it; return its id.

    Each reviewer is somebody of the role itself; `by` is who decided last.
    """
    with registry.transaction() as connection:
        (proposal,) = find(connection, publication_id)
        grounds_hash = load_grounds(connection, now=now).hash_of(proposal)
        passed = [GateDecision(gate, True, "passed", {}) for gate in GATES]
        record_decisions(connection, proposal, passed, grounds_hash=grounds_hash, by="test", now=now)
        for role in sorted(load_permissions(connection, now=now).reviewers):
            record_review(
                connection,
                proposal,
                reviewer_role_id=role,
                principal=Principal(f"{by}-{role}", "person", role),
                decision="approved",
                reason="looked at",
                grounds_hash=grounds_hash,
                now=now,
            )
        decide(
            connection,
            publication_id,
            proposal_hash=proposal.proposal_hash,
            decision="approved",
            decided_by=by,
            now=now,
        )
    return publication_id
