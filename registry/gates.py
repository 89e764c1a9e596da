"""What gates and reviewers said of a proposal, and what has to be said before it is published.

The gates themselves stand in the governance room and write a row each; here stands which rows make a complete set, and
publication asks for it. A row counts for the *grounds* that it was made on: the proposal as it stood in the queue, the
publishing policies, the skills and workflows that it calls. If any of that changes, the rows are about something else,
and the proposal is judged and reviewed anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from guard.canonical import canonical, digest, digest_text, parse
from lake.tables import GATE_DECISION, PUBLICATION_REVIEW, SKILL_NODE, STEP_ACTION, WORKFLOW
from registry.database import TABLES, fetch, insert_missing
from registry.permissions import Permissions, Principal, policies_in_force
from registry.proposals import ProposalClosed, Queued

GATES: tuple[str, ...] = GATE_DECISION.column("gate").enum
"""Every gate that a proposal has to pass, in the order in which they are told."""

_MAX_REASON = GATE_DECISION.column("reason").length or 0
_AT_ONCE = 500


@dataclass(frozen=True)
class GateDecision:
    """What one gate said.

    Attributes:
        reason: why, and what would let it through if it was refused.
        evidence: what the gate looked at, in numbers.
    """

    gate: str
    is_passed: bool
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Review:
    """What one mandatory reviewer decided; `role_id` is the role in which `subject_id` stood for `reviewer_role_id`."""

    reviewer_role_id: str
    subject_id: str
    subject_type: str
    role_id: str
    decision: str
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class Grounds:
    """What judgements of proposals rest on, beside the proposals themselves, as the registry holds it at one moment."""

    policies: tuple[tuple[int, str], ...]
    skills: Mapping[str, str]
    workflows: Mapping[str, str]
    steps: Mapping[str, tuple[tuple[str, Mapping[str, Any]], ...]]

    def hash_of(self, proposal: Queued) -> str:
        """Return what names the grounds on which `proposal` is judged now."""
        stated = proposal.body.get("steps")
        if isinstance(stated, list):
            steps = [(str(step.get("skill_id")), step.get("parameters", {})) for step in stated]
        else:
            steps = list(self.steps.get(str(proposal.body.get("workflow_id")), ()))
        skills, called = self._called(steps)
        return digest(
            {
                "publication_id": proposal.publication_id,
                "proposal_hash": proposal.proposal_hash,
                "proposal_type": proposal.proposal_type,
                "provenance": dict(proposal.provenance),
                "confidence": repr(proposal.confidence),
                "proposed_by": proposal.proposed_by,
                "round": proposal.expires_at.isoformat(),
                "policies": self.policies,
                "skills": {skill_id: self.skills.get(skill_id) for skill_id in sorted(skills)},
                "workflows": {workflow_id: self.workflows[workflow_id] for workflow_id in sorted(called)},
            }
        )

    def _called(self, steps: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[set[str], set[str]]:
        """Return the skills that steps call and the workflows that they name, through these as far as it goes."""
        skills: set[str] = set()
        called: set[str] = set()
        left = list(steps)
        while left:
            skill_id, parameters = left.pop()
            skills.add(skill_id)
            named = {value for value in parameters.values() if isinstance(value, str)} & self.workflows.keys()
            for workflow_id in named - called:
                called.add(workflow_id)
                left += self.steps.get(workflow_id, ())
        return skills, called


def load_grounds(connection: sa.Connection, *, now: datetime) -> Grounds:
    """Return what judgements rest on at `now`."""
    skill, workflow, step = TABLES[SKILL_NODE.name], TABLES[WORKFLOW.name], TABLES[STEP_ACTION.name]
    steps: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    query = sa.select(step.c.workflow_id, step.c.skill_id, step.c.parameters).where(step.c.last_version.is_(None))
    for workflow_id, skill_id, parameters in fetch(connection, query):
        steps.setdefault(workflow_id, []).append((skill_id, parse(parameters)))
    return Grounds(
        policies=tuple((rank, canonical(spec)) for rank, spec in policies_in_force(connection, "publishing", now=now)),
        skills=dict(fetch(connection, sa.select(skill.c.skill_id, skill.c.version))),
        workflows=dict(fetch(connection, sa.select(workflow.c.workflow_id, workflow.c.version))),
        steps={workflow_id: tuple(listed) for workflow_id, listed in steps.items()},
    )


def record_decisions(
    connection: sa.Connection,
    proposal: Queued,
    decisions: Sequence[GateDecision],
    *,
    grounds_hash: str,
    by: str,
    now: datetime,
) -> None:
    """Write down what gates said of a proposal on these grounds; what was said on the same grounds before stands."""
    rows = [
        {
            "publication_id": proposal.publication_id,
            "proposal_hash": proposal.proposal_hash,
            "grounds_hash": grounds_hash,
            "gate": decision.gate,
            "is_passed": decision.is_passed,
            "reason": decision.reason[:_MAX_REASON],
            "evidence": canonical(dict(decision.evidence)),
            "created_at": now,
            "created_by": by,
        }
        for decision in decisions
    ]
    insert_missing(connection, GATE_DECISION, rows)


def decisions_on(connection: sa.Connection, grounds: Mapping[str, str]) -> dict[str, list[GateDecision]]:
    """Return what the gates said, in their order, by proposal; `grounds` names those of each."""
    table = TABLES[GATE_DECISION.name]
    found: dict[str, list[GateDecision]] = {publication_id: [] for publication_id in grounds}
    for part in _parts(grounds):
        query = sa.select(table).where(table.c.publication_id.in_(part))
        for row in connection.execute(query).mappings():
            if row["grounds_hash"] == grounds[row["publication_id"]]:
                decision = GateDecision(row["gate"], row["is_passed"], row["reason"], parse(row["evidence"]))
                found[row["publication_id"]].append(decision)
    for decisions in found.values():
        decisions.sort(key=lambda decision: GATES.index(decision.gate))
    return found


def record_review(
    connection: sa.Connection,
    proposal: Queued,
    *,
    reviewer_role_id: str,
    principal: Principal,
    decision: Literal["approved", "rejected"],
    reason: str,
    grounds_hash: str,
    now: datetime,
) -> bool:
    """Write down what a reviewer decided; return False where that reviewer has decided on these grounds already."""
    row = {
        "publication_id": proposal.publication_id,
        "proposal_hash": proposal.proposal_hash,
        "grounds_hash": grounds_hash,
        "reviewer_role_id": reviewer_role_id,
        "subject_id": principal.subject_id,
        "subject_type": principal.subject_type,
        "role_id": principal.role_id,
        "decision": decision,
        "reason": reason,
        "created_at": now,
        "created_by": principal.subject_id,
    }
    return insert_missing(connection, PUBLICATION_REVIEW, [row]) == 1


def reviews_on(connection: sa.Connection, grounds: Mapping[str, str]) -> dict[str, list[Review]]:
    """Return what was decided, by proposal, in order of the reviewers; `grounds` names those of each."""
    table = TABLES[PUBLICATION_REVIEW.name]
    found: dict[str, list[Review]] = {publication_id: [] for publication_id in grounds}
    for part in _parts(grounds):
        query = sa.select(table).where(table.c.publication_id.in_(part)).order_by(table.c.reviewer_role_id)
        for row in connection.execute(query).mappings():
            if row["grounds_hash"] == grounds[row["publication_id"]]:
                found[row["publication_id"]].append(Review(**{name: row[name] for name in Review.__dataclass_fields__}))
    return found


def missing(decisions: Sequence[GateDecision]) -> list[str]:
    """Return the gates that have said nothing yet."""
    said = {decision.gate for decision in decisions}
    return [gate for gate in GATES if gate not in said]


def refused(decisions: Sequence[GateDecision]) -> list[GateDecision]:
    """Return what gates refused."""
    return [decision for decision in decisions if not decision.is_passed]


def require_gates(publication_id: str, decisions: Sequence[GateDecision]) -> None:
    """Return if every gate has passed a proposal.

    Raises:
        ProposalClosed: one has not, or has said nothing on the grounds that hold now.
    """
    if absent := missing(decisions):
        problem = f"on what holds now the gates {', '.join(absent)} have not judged it"
        raise ProposalClosed(publication_id, "gates", problem, "run them: rwcm registry gates, or the job gates")
    for decision in refused(decisions):
        problem = f"the gate {decision.gate} refused it: {decision.reason}"
        raise ProposalClosed(publication_id, "gates", problem, "submit a change that passes")


def open_reviews(proposal: Queued, reviews: Sequence[Review], permissions: Permissions) -> list[str]:
    """Return the mandatory reviewers who have not approved a proposal yet, by rules that hold now.

    A review counts if who gave it did not propose the change, stands for no other reviewer, and acts for this one.
    """
    held: dict[str, Review] = {review.reviewer_role_id: review for review in reviews}
    subjects = [review.subject_id for review in reviews]
    return [
        role
        for role in sorted(permissions.reviewers)
        if not (
            (review := held.get(role))
            and review.decision == "approved"
            and review.subject_id != proposal.proposed_by
            and subjects.count(review.subject_id) == 1
            and permissions.acts_for(review.role_id, role)
        )
    ]


def require_passed(
    connection: sa.Connection, proposals: Sequence[Queued], permissions: Permissions, *, now: datetime
) -> dict[str, dict[str, str]]:
    """Return who approved each of `proposals`, by reviewer, if gates and reviewers passed it on what holds now.

    Raises:
        ProposalClosed: something of that is missing.
    """
    loaded = load_grounds(connection, now=now)
    grounds = {proposal.publication_id: loaded.hash_of(proposal) for proposal in proposals}
    decisions, reviews = decisions_on(connection, grounds), reviews_on(connection, grounds)
    for proposal in proposals:
        publication_id = proposal.publication_id
        require_gates(publication_id, decisions[publication_id])
        if not permissions.reviewers:
            problem = "no publishing policy in force names reviewers"
            raise ProposalClosed(publication_id, "reviews", problem, "restore one: rwcm registry rollback")
        if waiting := open_reviews(proposal, reviews[publication_id], permissions):
            problem = f"{', '.join(waiting)} did not approve it on the grounds that hold now"
            raise ProposalClosed(publication_id, "reviews", problem, "have it decided: rwcm decide")
    return {
        publication_id: {review.reviewer_role_id: review.subject_id for review in given}
        for publication_id, given in reviews.items()
    }


def marks_of(grounds: Mapping[str, str]) -> str:
    """Return one name for the grounds of several proposals."""
    return digest_text("\n".join(f"{publication_id} {named}" for publication_id, named in sorted(grounds.items())))


def _parts(grounds: Mapping[str, str]) -> Iterable[list[str]]:
    ids = sorted(grounds)
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
