"""The publication queue takes a proposal once."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from guard.canonical import parse
from lake.tables import PUBLICATION_QUEUE
from registry.database import Registry
from registry.proposals import Proposal
from registry.proposals import queue as queue_all


def queue(registry: Registry, now: datetime, **changes: Any) -> bool:
    """Queue one proposal and return whether it is new."""
    arguments: dict[str, Any] = {
        "proposal_type": "workflow",
        "body": {"workflow_id": "WF-FIN-009", "tolerance": Decimal("0.04")},
        "provenance": {"episodes": ["E-1"]},
        "confidence": 0.91,
        "proposed_by": "AG-REFLECT-001",
    }
    with registry.transaction() as connection:
        ((_, is_new),) = queue_all(connection, [Proposal(**(arguments | changes))], now=now)
    return is_new


def test_a_proposal_is_queued_undecided_and_at_full_risk(registry: Registry, now: datetime) -> None:
    """Until the risk gate has assessed it, nothing may pass; after 21 days it closes by itself."""
    assert queue(registry, now) is True
    row = registry.frame(PUBLICATION_QUEUE).row(0, named=True)
    assert (row["decision"], row["risk_score"], row["risk_band"]) == ("pending", 1.0, None)
    assert row["expires_at"] == now + timedelta(days=21)
    assert parse(row["proposal_body"]) == {"workflow_id": "WF-FIN-009", "tolerance": Decimal("0.04")}


def test_the_same_proposal_is_queued_once(registry: Registry, now: datetime) -> None:
    """Autogenesis runs every month over the same pattern; reviewers see it once, with its first evidence."""
    queue(registry, now)
    spelled_otherwise = {"tolerance": Decimal("0.040"), "workflow_id": "WF-FIN-009"}
    assert queue(registry, now + timedelta(days=1), body=spelled_otherwise, proposed_by="AG-2") is False
    frame = registry.frame(PUBLICATION_QUEUE)
    assert (frame.height, frame["proposed_by"][0], frame["created_at"][0]) == (1, "AG-REFLECT-001", now)


def test_another_value_is_another_proposal(registry: Registry, now: datetime) -> None:
    """0.04 and 0.041 are different changes with different ids."""
    queue(registry, now)
    assert queue(registry, now, body={"workflow_id": "WF-FIN-009", "tolerance": Decimal("0.041")}) is True
    assert registry.frame(PUBLICATION_QUEUE)["publication_id"].n_unique() == 2
