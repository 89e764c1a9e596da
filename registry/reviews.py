"""What the publication queue waits for: who decides a proposal, who publishes it, and which are up to somebody."""

from collections.abc import Mapping, Sequence
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
    decisions, reviews = _said_of(connection, [one for one in proposals if one.decision in _ACTIONS], now)
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


def up_to(
    connection: sa.Connection,
    proposals: Sequence[Queued],
    principal: Principal,
    permissions: Permissions,
    *,
    now: datetime,
) -> list[Queued]:
    """Return those whose next step is one that a principal may take; asking is no attempt, and is not audited."""
    waiting = [one for one in proposals if one.decision in _ACTIONS and one.expires_at > now]
    decisions, reviews = _said_of(connection, [one for one in waiting if one.decision == "pending"], now)
    return [
        one
        for one in waiting
        if (one.decision != "pending" or _waits_for(one, decisions, reviews, principal, permissions))
        and _may(connection, one, principal, permissions, now)
    ]


def _waits_for(
    proposal: Queued,
    decisions: Mapping[str, Sequence[GateDecision]],
    reviews: Mapping[str, Sequence[Review]],
    principal: Principal,
    permissions: Permissions,
) -> bool:
    said, given = decisions[proposal.publication_id], reviews[proposal.publication_id]
    if missing(said) or refused(said) or any(review.subject_id == principal.subject_id for review in given):
        return False
    waits_for = open_reviews(proposal, given, permissions)
    return any(permissions.acts_for(principal.role_id or "", role) for role in waits_for)


def _may(
    connection: sa.Connection, proposal: Queued, principal: Principal, permissions: Permissions, now: datetime
) -> bool:
    action = _ACTIONS[proposal.decision]
    named = (PUBLICATION_QUEUE.name, proposal.publication_id)
    if action == "publish":
        named = (_object_type(proposal), proposal.object_id)
    skills = {step["skill_id"] for step in proposal.body.get("steps", ())}
    try:
        check_permission(connection, principal, action, *named, skills=skills, now=now, permissions=permissions)
    except Denied:
        return False
    return True


def _said_of(
    connection: sa.Connection, proposals: Sequence[Queued], now: datetime
) -> tuple[dict[str, list[GateDecision]], dict[str, list[Review]]]:
    """Return what gates and reviewers said of proposals on the grounds that hold now."""
    if not proposals:
        return {}, {}
    loaded = load_grounds(connection, now=now)
    grounds = {one.publication_id: loaded.hash_of(one) for one in proposals}
    return decisions_on(connection, grounds), reviews_on(connection, grounds)


def _object_type(proposal: Queued) -> str:
    """Return the type of the object that it would change; only workflows are changed without stating it."""
    return str(proposal.provenance.get("object_type") or WORKFLOW.name)
