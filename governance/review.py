"""Review: mandatory reviewers decide what the gates have passed, each by an own token.

Nobody decides what they proposed, and nobody stands for two reviewers: where a reviewer proposed it, the role above
stands in. The last approval that is needed approves the proposal, the first rejection rejects it. Each decision is a
row for exactly the grounds on which the gates passed the proposal; each attempt that is refused is audited.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from guard.canonical import digest
from lake.tables import PUBLICATION_QUEUE, PUBLICATION_REVIEW
from registry import proposals
from registry.access import Denied, InvalidToken, audit_denial, authenticate, check_permission, recorded_denials
from registry.database import Registry
from registry.gates import (
    Review,
    decisions_on,
    load_grounds,
    open_reviews,
    record_review,
    require_gates,
    reviews_on,
)
from registry.permissions import Permissions, Principal, load_permissions
from registry.proposals import ProposalClosed, Queued, find, require
from registry.publication import proposed

_MAX_REASON = PUBLICATION_REVIEW.column("reason").length or 0
_NOBODY = Principal("unknown", "person", None)
"""Whom the audit names where a token proves nothing."""


@dataclass(frozen=True)
class Decided:
    """What a decision came to.

    Attributes:
        reviewer_role_id: the mandatory reviewer that it was made for.
        state: where the proposal stands now: pending, approved or rejected.
        waits_for: mandatory reviewers who have not approved it yet.
    """

    publication_id: str
    reviewer_role_id: str
    state: str
    waits_for: tuple[str, ...]


def decide_by_token(
    registry: Registry,
    publication_id: str,
    *,
    token: str,
    decision: Literal["approved", "rejected"],
    reason: str,
    token_now: datetime,
    now: datetime,
) -> Decided:
    """Let the bearer of a token decide a proposal; see `decide`.

    A token that proves nothing is audited once per proposal and day: who guesses cannot fill the audit.

    Args:
        token_now: moment at which the token must hold: the clock's, also in a home whose own clock stands still.

    Raises:
        InvalidToken: the token proves nothing.
    """
    try:
        principal = authenticate(registry, token, now=token_now)
    except InvalidToken as invalid:
        if invalid.reason in ("malformed", "unknown"):
            denied = Denied(
                _NOBODY, "decide", PUBLICATION_QUEUE.name, publication_id, f"a token that is {invalid.reason}"
            )
            with registry.transaction() as connection:
                audit_denial(connection, denied, now=token_now, key=f"{publication_id}/{token_now:%Y-%m-%d}/token")
        raise
    return decide(registry, publication_id, decision=decision, reason=reason, principal=principal, now=now)


def decide(
    registry: Registry,
    publication_id: str,
    *,
    decision: Literal["approved", "rejected"],
    reason: str,
    principal: Principal,
    now: datetime,
) -> Decided:
    """Write down what a mandatory reviewer decides about a proposal, and settle it if that was the last word.

    Raises:
        NotRegistered: there is no such proposal.
        Denied: the principal is no mandatory reviewer and above none, or proposed it.
        ProposalClosed: it is decided or expired, its body or base has changed, a gate has not passed it, or who decides
            has done so. All but the first are audited.
    """
    try:
        with recorded_denials(registry, now=now), registry.transaction() as connection:
            (proposal,) = find(connection, publication_id)
            permissions = load_permissions(connection, now=now)
            check_permission(
                connection,
                principal,
                "decide",
                PUBLICATION_QUEUE.name,
                publication_id,
                now=now,
                permissions=permissions,
            )
            grounds_hash = load_grounds(connection, now=now).hash_of(proposal)
            grounds = {publication_id: grounds_hash}
            reviews = reviews_on(connection, grounds)[publication_id]
            if proposal.decision != "approved":
                require(proposal, decision="pending", now=now)
            reviewer = _reviewer(proposal, reviews, principal, permissions)
            _require_open(proposal, now)
            if decision == "approved":
                proposed(connection, proposal, now=now)
                require_gates(publication_id, decisions_on(connection, grounds)[publication_id])
            told = reason.strip()
            if not told or len(told) > _MAX_REASON:
                problem = f"the reason has {len(told)} characters"
                raise ProposalClosed(publication_id, "review", problem, f"give one of 1 to {_MAX_REASON}")
            record_review(
                connection,
                proposal,
                reviewer_role_id=reviewer,
                principal=principal,
                decision=decision,
                reason=told,
                grounds_hash=grounds_hash,
                now=now,
            )
            reviews = reviews_on(connection, grounds)[publication_id]
            waits_for = tuple(open_reviews(proposal, reviews, permissions))
            is_settled = decision == "rejected" or not waits_for
            if is_settled:
                proposals.decide(
                    connection,
                    publication_id,
                    proposal_hash=proposal.proposal_hash,
                    decision=decision,
                    decided_by=principal.subject_id,
                    now=now,
                )
    except ProposalClosed as closed:
        denied = Denied(principal, "decide", PUBLICATION_QUEUE.name, publication_id, str(closed))
        with registry.transaction() as connection:
            audit_denial(connection, denied, now=now)
        raise
    return Decided(publication_id, reviewer, decision if is_settled else "pending", () if is_settled else waits_for)


def _reviewer(proposal: Queued, reviews: list[Review], principal: Principal, permissions: Permissions) -> str:
    """Return the mandatory reviewer for whom a principal decides: its own role, else one below it.

    Raises:
        ProposalClosed: it has decided already, or everybody it may stand for has.
    """
    publication_id = proposal.publication_id
    for review in reviews:
        if review.subject_id == principal.subject_id:
            problem = f"{principal.subject_id} {review.decision} it already, for {review.reviewer_role_id}"
            raise ProposalClosed(publication_id, "review", problem, "another reviewer decides next, by an own token")
    given = {review.reviewer_role_id for review in reviews}
    role_id = principal.role_id or ""
    stands_for = [role for role in sorted(permissions.reviewers) if permissions.acts_for(role_id, role)]
    left = [role for role in stands_for if role not in given]
    if not left:
        problem = f"{', '.join(stands_for)} decided it already"
        raise ProposalClosed(publication_id, "review", problem, "rwcm registry proposals says whom it waits for")
    return role_id if role_id in left else left[0]


def _require_open(proposal: Queued, now: datetime) -> None:
    """Return if a proposal can be decided now.

    Raises:
        ProposalClosed: it cannot.
    """
    if (
        proposal.decision == "approved"
        and proposal.expires_at > now
        and digest(proposal.body) == proposal.proposal_hash
    ):
        fix = "it is published by the job publish, or by rwcm registry publish"
        raise ProposalClosed(proposal.publication_id, "decision", "it is approved already", fix)
    require(proposal, decision="pending", now=now)
