"""What the publication queue waits for: who decides a proposal, who publishes it, and which are up to somebody."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from lake.tables import PUBLICATION_QUEUE, WORKFLOW
from registry.access import Denied, check_permission
from registry.gates import (
    GateDecision,
    Review,
    decisions_on,
    load_grounds,
    missing,
    open_reviews,
    refused,
    reviews_on,
)
from registry.permissions import Action, Permissions, Principal
from registry.proposals import Queued

_ACTIONS: dict[str, Action] = {"pending": "decide", "approved": "publish"}
"""What has to be done about a proposal, by the decision at which it stands; any other has ended."""


def next_steps(
    connection: sa.Connection, proposals: Sequence[Queued], permissions: Permissions, *, now: datetime
) -> list[str]:
    """Return what has to happen to each proposal next, in a few words; nothing where it has ended."""
    loaded = load_grounds(connection, now=now)
    grounds = {one.publication_id: loaded.hash_of(one) for one in proposals if one.decision in _ACTIONS}
    decisions, reviews = decisions_on(connection, grounds), reviews_on(connection, grounds)
    return [
        _next_step(one, permissions, decisions.get(one.publication_id, []), reviews.get(one.publication_id, []), now)
        for one in proposals
    ]


def _next_step(
    proposal: Queued,
    permissions: Permissions,
    decisions: Sequence[GateDecision],
    reviews: Sequence[Review],
    now: datetime,
) -> str:
    if proposal.decision not in _ACTIONS:
        return ""
    if proposal.expires_at <= now:
        return "expired: submit it again"
    if missing(decisions):
        return "the gates: rwcm registry gates"
    if refusals := refused(decisions):
        return f"nobody: refused by {', '.join(one.gate for one in refusals)}; rwcm registry gates says why"
    if not permissions.reviewers:
        return "a reviewer: none, as no policy in force names one"
    if waits_for := open_reviews(proposal, reviews, permissions):
        return f"{' and '.join(waits_for)}, not {proposal.proposed_by}: rwcm decide"
    publishers = permissions.publishers.get(_object_type(proposal), frozenset())
    return f"a publisher: {' or '.join(sorted(publishers)) or 'none, as no policy in force names one'}"


def is_up_to(
    connection: sa.Connection, proposal: Queued, principal: Principal, permissions: Permissions, *, now: datetime
) -> bool:
    """Tell whether the next step is one that a principal may take; asking is no attempt, and is not audited."""
    action = _ACTIONS.get(proposal.decision)
    if action is None or proposal.expires_at <= now:
        return False
    if action == "decide":
        grounds = {proposal.publication_id: load_grounds(connection, now=now).hash_of(proposal)}
        decisions = decisions_on(connection, grounds)[proposal.publication_id]
        reviews = reviews_on(connection, grounds)[proposal.publication_id]
        waits_for = open_reviews(proposal, reviews, permissions)
        is_theirs = any(permissions.acts_for(principal.role_id or "", role) for role in waits_for)
        has_decided = any(review.subject_id == principal.subject_id for review in reviews)
        if missing(decisions) or refused(decisions) or has_decided or not is_theirs:
            return False
    named = (PUBLICATION_QUEUE.name, proposal.publication_id)
    if action == "publish":
        named = (_object_type(proposal), proposal.object_id)
    skills = {step["skill_id"] for step in proposal.body.get("steps", ())}
    try:
        check_permission(connection, principal, action, *named, skills=skills, now=now, permissions=permissions)
    except Denied:
        return False
    return True


def _object_type(proposal: Queued) -> str:
    """Return the type of the object that it would change; only workflows are changed without stating it."""
    return str(proposal.provenance.get("object_type") or WORKFLOW.name)
