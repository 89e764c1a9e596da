"""The publication queue: where proposed changes wait for the gates."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical, digest
from guard.identity import name_uuid
from lake.tables import PUBLICATION_QUEUE
from registry.database import insert_missing

EXPIRY = timedelta(days=21)
"""A proposal that nobody acts on closes by itself."""


def publication_id(proposal_hash: str) -> str:
    """Return the id that a proposal has in the queue."""
    return name_uuid("publication", proposal_hash)


def queue_proposal(
    connection: sa.Connection,
    *,
    proposal_type: str,
    body: Mapping[str, Any],
    provenance: Mapping[str, Any],
    confidence: float | Decimal,
    proposed_by: str,
    now: datetime,
) -> bool:
    """Queue a proposal and return whether it is new; the same body is queued once, whoever proposes it.

    Its risk counts as 1, which nothing passes, until the risk gate has assessed it.
    """
    proposal_hash = digest(body)
    row = {
        "publication_id": publication_id(proposal_hash),
        "proposal_type": proposal_type,
        "proposal_body": canonical(body),
        "proposal_hash": proposal_hash,
        "provenance": canonical(provenance),
        "confidence": confidence,
        "risk_score": 1,
        "policy_checks": "[]",
        "decision": "pending",
        "proposed_by": proposed_by,
        "expires_at": now + EXPIRY,
        "created_at": now,
        "created_by": proposed_by,
        "updated_at": now,
        "updated_by": proposed_by,
    }
    return insert_missing(connection, PUBLICATION_QUEUE, [row]) == 1
