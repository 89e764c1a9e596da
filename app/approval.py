"""The demonstration's reviewers, and what a publication changed: for those who want to see the loop close.

Only in a home that is a demonstration. Whoever operates a real one has people decide: `rwcm decide`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from app.identity import operator
from dagster_project.platform import Platform
from governance.gates import waiting_for_reviewers
from governance.review import Decided, decide_by_token
from lake.tables import OPEN_EPISODE, RUN_EPISODE
from registry.permissions import load_permissions
from registry.tokens import issue_token, revoke_tokens

DEMO = "demo-reviewer"
_REASON = "demonstration: approved without anybody looking at it"


@dataclass(frozen=True)
class Next:
    """What the events after a publication ran.

    Attributes:
        by_workflow: workflow, episodes of it that ended, and those that wait.
        shared: events that started more than one workflow.
    """

    by_workflow: tuple[tuple[str, int, int], ...]
    shared: int


def approve_all(platform: Platform) -> list[Decided]:
    """Let a demo reviewer for each mandatory role approve what every gate has passed.

    Each decides by an own token, which the operator issues and revokes again: the way is that of real reviewers.
    """
    registry, now = platform.registry, platform.now()
    with registry.read() as connection:
        waiting = [one.publication_id for one in waiting_for_reviewers(connection, now=now)]
        roles = sorted(load_permissions(connection, now=now).reviewers)
    decided: list[Decided] = []
    for role in roles if waiting else ():
        at = datetime.now(UTC)
        subject = f"{DEMO}-{role.lower()}"
        issued = issue_token(
            registry, subject_id=subject, subject_type="person", role_id=role, days=1, actor=operator(), now=at
        )
        try:
            decided += [
                decide_by_token(
                    registry,
                    publication_id,
                    token=issued.token,
                    decision="approved",
                    reason=_REASON,
                    token_now=at,
                    now=now,
                )
                for publication_id in waiting
            ]
        finally:
            revoke_tokens(registry, token_id=issued.token_id, actor=operator(), now=datetime.now(UTC))
    return [one for one in decided if one.state == "approved"]


def ran_since(platform: Platform, since: datetime) -> Next:
    """Return which workflows the events from `since` on have run."""
    columns = ["workflow_id", "trigger_event_id", "started_at"]
    ended = platform.lake.scan(RUN_EPISODE, columns=columns).filter(pl.col("started_at") > since).collect()
    waiting = platform.registry.frame(OPEN_EPISODE).select("workflow_id", "trigger_event_id", "waiting_since")
    waiting = waiting.filter(pl.col("waiting_since") > since)
    names = sorted({*ended["workflow_id"], *waiting["workflow_id"]})
    events = pl.concat([ended["trigger_event_id"], waiting["trigger_event_id"]])
    return Next(
        tuple((name, _count(ended, name), _count(waiting, name)) for name in names),
        len(events) - events.n_unique(),
    )


def _count(rows: pl.DataFrame, workflow_id: str) -> int:
    return rows.filter(workflow_id=workflow_id).height
