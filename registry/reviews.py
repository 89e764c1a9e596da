"""What the publication queue waits for: who decides a proposal, who publishes it, and which are up to somebody."""

from datetime import datetime

import sqlalchemy as sa

from lake.tables import PUBLICATION_QUEUE, WORKFLOW
from registry.access import Denied, check_permission
from registry.permissions import Action, Permissions, Principal
from registry.proposals import Queued

_ACTIONS: dict[str, Action] = {"pending": "decide", "approved": "publish"}
"""What has to be done about a proposal, by the decision at which it stands; any other has ended."""


def next_step(proposal: Queued, permissions: Permissions, *, now: datetime) -> str:
    """Return what has to happen to a proposal next, in a few words; nothing where it has ended."""
    action = _ACTIONS.get(proposal.decision)
    if action is None:
        return ""
    if proposal.expires_at <= now:
        return "expired: submit it again"
    if action == "decide":
        reviewers = " or ".join(sorted(permissions.reviewers)) or "none, as no policy in force names one"
        return f"gates, then a reviewer who is not {proposal.proposed_by}: {reviewers}"
    publishers = permissions.publishers.get(_object_type(proposal), frozenset())
    return f"a publisher: {' or '.join(sorted(publishers)) or 'none, as no policy in force names one'}"


def is_up_to(
    connection: sa.Connection, proposal: Queued, principal: Principal, permissions: Permissions, *, now: datetime
) -> bool:
    """Tell whether the next step is one that a principal may take; asking is no attempt, and is not audited."""
    action = _ACTIONS.get(proposal.decision)
    if action is None or proposal.expires_at <= now:
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
