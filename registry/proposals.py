"""The publication queue: where proposed changes wait for the gates.

A draft is a row here: its body is the proposed document, or what is to be changed in one. The same body is one
proposal, whoever proposes it. Deciding is the gates' and reviewers' business; this is only where it is written down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Literal

import sqlalchemy as sa

from guard.canonical import canonical, digest, digest_text, parse
from guard.identity import name_uuid
from lake.tables import PUBLICATION_QUEUE
from registry.database import TABLES, fetch, insert_missing
from registry.objects import NotRegistered
from registry.outbox import PROPOSED, announce_many
from registry.types import RATIO_STEP

EXPIRY = timedelta(days=21)
"""A proposal that nobody acts on closes by itself."""

MAX_ANNOUNCED_BYTES = 1 << 18
"""A body beyond this is announced by its hash and size; whoever needs it reads the queue."""


_TABLE = TABLES[PUBLICATION_QUEUE.name]
_KEPT = frozenset(("publication_id", "created_at", "created_by"))
_AT_ONCE = 500


class ProposalClosed(ValueError):
    """A proposal that cannot be decided, or cannot be published; `rule` names why.

    Attributes:
        rule: `decision` (it is not in the state that is needed), `expired`, `hash` (its body is not what was decided),
            `base` (the object has moved on since), `form` (nothing is known that could publish it), `gates` (one has
            not passed it on what holds now), `reviews` (a mandatory reviewer has not), or `review` (who decides has
            done so, or their part is done).
    """

    def __init__(self, publication_id: str, rule: str, problem: str, fix: str) -> None:
        super().__init__(f"proposal {publication_id}: {problem}; {fix}")
        self.publication_id = publication_id
        self.rule = rule


@dataclass(frozen=True)
class Proposal:
    """A change that is proposed, before it is queued.

    Attributes:
        base: the version that it would replace, None for a new object.
    """

    proposal_type: str
    body: Mapping[str, Any]
    provenance: Mapping[str, Any]
    confidence: float | Decimal
    proposed_by: str
    base: str | None = None


@dataclass(frozen=True)
class Queued:
    """A row of the queue."""

    publication_id: str
    proposal_type: str
    body: Mapping[str, Any]
    proposal_hash: str
    provenance: Mapping[str, Any]
    confidence: float
    decision: str
    proposed_by: str
    decided_by: str | None
    created_at: datetime
    expires_at: datetime

    @property
    def object_id(self) -> str:
        """The object that it would change, as far as it says so."""
        return str(self.provenance.get("object_id") or self.body.get("workflow_id") or "")

    @property
    def base(self) -> str | None:
        """The version it would replace, as far as it says so."""
        return self.provenance.get("base_version") or self.body.get("workflow_version")


def publication_id(proposal_hash: str) -> str:
    """Return the id that a proposal has in the queue."""
    return name_uuid("publication", proposal_hash)


def queue(connection: sa.Connection, proposals: Sequence[Proposal], *, now: datetime) -> list[tuple[str, bool]]:
    """Queue proposals and return the id of each and whether it is new.

    The same body is queued once, whoever proposes it. It is proposed anew if it had expired, or if the object has
    moved on since: what was decided about it then was decided about another change. Its risk counts as 1, which
    nothing passes, until the risk gate has assessed it. Each new proposal is announced.
    """
    rows = {row["publication_id"]: (row, proposal) for proposal in proposals for row in [_row(proposal, now)]}
    known = {stored.publication_id: stored for stored in _stored(connection, list(rows))}
    insert_missing(connection, PUBLICATION_QUEUE, [row for name, (row, _) in rows.items() if name not in known])
    news: dict[str, bool] = {}
    payloads: dict[str, list[dict[str, Any]]] = {}
    for name, (row, proposal) in rows.items():
        news[name] = name not in known or _is_another(known[name], proposal, now)
        if news[name]:
            payloads.setdefault(proposal.proposed_by, []).append(_announcement(row, proposal))
            if name in known:
                renewed = {column: value for column, value in row.items() if column not in _KEPT}
                connection.execute(sa.update(_TABLE).filter_by(publication_id=name).values(renewed))
    for proposed_by, announced in payloads.items():
        announce_many(connection, PROPOSED, announced, producer_id=proposed_by, now=now)
    return list(news.items())


def _is_another(known: Queued, proposal: Proposal, now: datetime) -> bool:
    """Tell whether what stands in the queue was about another change, or ended without anybody deciding."""
    is_over = known.decision == "expired" or (known.decision in ("pending", "approved") and known.expires_at <= now)
    return is_over or (known.decision != "canary" and known.base != proposal.base)


def _row(proposal: Proposal, now: datetime) -> dict[str, Any]:
    body = canonical(proposal.body)
    proposal_hash = digest_text(body)
    return {
        "publication_id": publication_id(proposal_hash),
        "proposal_type": proposal.proposal_type,
        "proposal_body": body,
        "proposal_hash": proposal_hash,
        "provenance": canonical({**proposal.provenance, "base_version": proposal.base}),
        "confidence": _rounded_down(proposal.confidence),
        "risk_score": 1,
        "risk_band": None,
        "policy_checks": "[]",
        "decision": "pending",
        "proposed_by": proposal.proposed_by,
        "decided_by": None,
        "decided_at": None,
        "published_object_id": None,
        "expires_at": now + EXPIRY,
        "created_at": now,
        "created_by": proposal.proposed_by,
        "updated_at": now,
        "updated_by": proposal.proposed_by,
    }


def _rounded_down(confidence: float | Decimal) -> Decimal:
    """Return a confidence as it is stored, rounded down: what is compared with a minimum must not look surer."""
    number = Decimal(repr(confidence)) if isinstance(confidence, float) else Decimal(confidence)
    return number.quantize(RATIO_STEP, ROUND_FLOOR) if number.is_finite() else number


def _announcement(row: Mapping[str, Any], proposal: Proposal) -> dict[str, Any]:
    size = len(row["proposal_body"].encode())
    body = proposal.body if size <= MAX_ANNOUNCED_BYTES else {"proposal_hash": row["proposal_hash"], "bytes": size}
    return {"source_id": row["publication_id"], "proposal_type": proposal.proposal_type, "body": body}


def find(connection: sa.Connection, *publication_ids: str) -> list[Queued]:
    """Return proposals, locked until the transaction ends where the database knows such locks.

    Raises:
        NotRegistered: there is no such proposal.
    """
    found = {proposal.publication_id: proposal for proposal in _stored(connection, publication_ids)}
    for publication_id in publication_ids:
        if publication_id not in found:
            raise NotRegistered("proposal", publication_id)
    return [found[publication_id] for publication_id in publication_ids]


def find_by_prefix(connection: sa.Connection, prefix: str) -> Queued:
    """Return the one proposal whose id begins so.

    Raises:
        NotRegistered: no proposal does, or several do.
    """
    query = (
        sa.select(_TABLE.c.publication_id).where(_TABLE.c.publication_id.startswith(prefix, autoescape=True)).limit(2)
    )
    found = [name for (name,) in fetch(connection, query)]
    if len(found) != 1:
        raise NotRegistered("proposal" if not found else "single proposal", prefix)
    return find(connection, found[0])[0]


def proposals(connection: sa.Connection, *, decision: str | None = None) -> list[Queued]:
    """Return the queue, the oldest proposal first; of one decision if it is given."""
    query = sa.select(_TABLE).order_by(_TABLE.c.created_at, _TABLE.c.publication_id)
    if decision is not None:
        query = query.filter_by(decision=decision)
    return [_queued(row) for row in connection.execute(query).mappings()]


def open_proposals(connection: sa.Connection) -> list[Queued]:
    """Return what waits to be decided or published, the oldest first, expired proposals included."""
    query = sa.select(_TABLE).where(_TABLE.c.decision.in_(("pending", "approved")))
    ordered = query.order_by(_TABLE.c.created_at, _TABLE.c.publication_id)
    return [_queued(row) for row in connection.execute(ordered).mappings()]


def expire(connection: sa.Connection, *, by: str, now: datetime) -> int:
    """Close what nobody decided or published in time, and return how many that were."""
    is_over = (_TABLE.c.decision.in_(("pending", "approved")), _TABLE.c.expires_at <= now)
    closed = {"decision": "expired", "updated_at": now, "updated_by": by}
    return connection.execute(sa.update(_TABLE).where(*is_over).values(closed)).rowcount


def _stored(connection: sa.Connection, ids: Sequence[str]) -> list[Queued]:
    query = sa.select(_TABLE).with_for_update()
    return [
        _queued(row)
        for start in range(0, len(ids), _AT_ONCE)
        for row in connection.execute(
            query.where(_TABLE.c.publication_id.in_(ids[start : start + _AT_ONCE]))
        ).mappings()
    ]


def _queued(row: Any) -> Queued:
    return Queued(
        publication_id=row["publication_id"],
        proposal_type=row["proposal_type"],
        body=parse(row["proposal_body"]),
        proposal_hash=row["proposal_hash"],
        provenance=parse(row["provenance"]),
        confidence=row["confidence"],
        decision=row["decision"],
        proposed_by=row["proposed_by"],
        decided_by=row["decided_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def decide(
    connection: sa.Connection,
    publication_id: str,
    *,
    proposal_hash: str,
    decision: Literal["approved", "rejected"],
    decided_by: str,
    now: datetime,
) -> None:
    """Write down what was decided about exactly the proposal that `proposal_hash` names.

    Whoever calls this has made sure that `decided_by` may decide it and that the gates have passed it.

    Raises:
        NotRegistered: there is no such proposal.
        ProposalClosed: it is decided already, has expired, or is not the one that was looked at.
    """
    (proposal,) = find(connection, publication_id)
    require(proposal, decision="pending", now=now)
    if proposal.proposal_hash != proposal_hash:
        raise ProposalClosed(publication_id, "hash", "another body was looked at", "look at this one")
    decided = {"decision": decision, "decided_by": decided_by, "decided_at": now}
    _settle(connection, proposal, decided, by=decided_by, now=now)


def require(proposal: Queued, *, decision: str, now: datetime) -> None:
    """Return if a proposal stands at `decision`, has not expired and is what its hash says.

    Raises:
        ProposalClosed: one of these does not hold.
    """
    if proposal.decision != decision:
        problem = f"it is {proposal.decision}, not {decision}"
        fix = "have it approved first" if proposal.decision == "pending" else "submit the change again"
        raise ProposalClosed(proposal.publication_id, "decision", problem, fix)
    if proposal.expires_at <= now:
        problem = f"it expired on {proposal.expires_at:%Y-%m-%d %H:%M} UTC"
        raise ProposalClosed(proposal.publication_id, "expired", problem, "submit the change again")
    if digest(proposal.body) != proposal.proposal_hash:
        problem = "its body is not the one that its hash names"
        raise ProposalClosed(proposal.publication_id, "hash", problem, "submit the change again")


def reopen(connection: sa.Connection, proposal: Queued, *, by: str, now: datetime) -> None:
    """Let an approved proposal wait again: what it was approved on holds no longer."""
    undecided = {"decision": "pending", "decided_by": None, "decided_at": None}
    _settle(connection, proposal, undecided, by=by, now=now)


def assess(
    connection: sa.Connection,
    proposal: Queued,
    *,
    risk_score: Decimal | int,
    risk_band: str | None,
    policy_checks: Sequence[Mapping[str, Any]],
    by: str,
    now: datetime,
) -> None:
    """Write down how risky a proposal is and what the gates said of it, for those who read the queue."""
    values = {"risk_score": risk_score, "risk_band": risk_band, "policy_checks": canonical(list(policy_checks))}
    _settle(connection, proposal, values, by=by, now=now)


def mark_published(connection: sa.Connection, proposal: Queued, *, object_id: str, by: str, now: datetime) -> None:
    """Write down that an approved proposal was published."""
    _settle(connection, proposal, {"decision": "published", "published_object_id": object_id}, by=by, now=now)


def mark_rolled_back(connection: sa.Connection, publication_id: str, *, by: str, now: datetime) -> None:
    """Write down that what a published proposal brought no longer holds."""
    (proposal,) = find(connection, publication_id)
    if proposal.decision == "published":
        _settle(connection, proposal, {"decision": "rolled_back"}, by=by, now=now)


def _settle(connection: sa.Connection, proposal: Queued, values: Mapping[str, Any], *, by: str, now: datetime) -> None:
    stood = {"publication_id": proposal.publication_id, "decision": proposal.decision}
    changed = {**values, "updated_at": now, "updated_by": by}
    if connection.execute(sa.update(_TABLE).filter_by(**stood).values(changed)).rowcount != 1:
        raise ProposalClosed(proposal.publication_id, "decision", "somebody else decided it just now", "look again")


def in_words(body: str) -> str:
    """Return a proposal's body in a few words: a parameter's change, else the object; empty where it names none."""
    document = parse(body)
    if document.get("type") == "update_param":
        change = f"from {document.get('from')} to {document['value']}"
        return f"set {document['target']} of {document['workflow_id']} {change}"
    for kind in ("workflow", "skill", "policy", "agent", "role"):
        if f"{kind}_id" in document:
            told = f"{kind} {document[f'{kind}_id']} {document.get(f'{kind}_name', '')}".strip()
            vendors = document.get("genome", {}).get("vendors", ())
            return f"{told} for {', '.join(vendors)}" if vendors else told
    return f"schema of {document['subject']}" if "subject" in document else ""
