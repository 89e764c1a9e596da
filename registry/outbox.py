"""The outbox: events that announce a change, written in the transaction that makes it.

Either both are there or neither is. `ingest.outbox` carries what waits to `event_bus`.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical
from guard.identity import name_uuid, time_ordered_uuid
from lake.tables import OUTBOX
from registry.database import insert, insert_missing

REGISTRY_CHANGED = "registry.changed"
ACCESS_DENIED = "access.denied"
TOKEN_CHANGED = "access.token"  # noqa: S105 - a topic
HOLD_CHANGED = "retention.hold"
PURGED = "retention.purged"
EFFECT_RESOLVED = "effect.resolved"
HANDOFF_CHANGED = "handoff.changed"
AUDIT_TOPICS = (
    REGISTRY_CHANGED,
    ACCESS_DENIED,
    TOKEN_CHANGED,
    HOLD_CHANGED,
    PURGED,
    EFFECT_RESOLVED,
    HANDOFF_CHANGED,
)
"""Topics that say who changed what, was refused or given a token, held or purged data, or decided what waited."""

PROPOSED = "reflection.proposed"
POLICY_UPDATED = "policy.updated"
RESTORED = "registry.restored"
OWN_TOPICS = (*AUDIT_TOPICS, PROPOSED, POLICY_UPDATED, RESTORED)
"""Topics that the registry alone announces: an event of them says that something is so in the registry."""


def announce(
    connection: sa.Connection,
    *,
    topic: str,
    payload: Mapping[str, Any],
    producer_id: str,
    now: datetime,
    key: str | None = None,
) -> str:
    """Put one event into the outbox, in the caller's transaction; return its id.

    Args:
        payload: what is announced; no secret and no personal data.
        producer_id: who made the change.
        key: names what is announced within its topic; the id follows from it, so announcing it again adds nothing.
            Without one the event is its own, however often its content was announced.

    Raises:
        JsonFault: the payload holds what JSON has no word for.
    """
    row = _row(topic, payload, producer_id, now, key)
    if key is None:
        insert(connection, OUTBOX, [row])
    else:
        insert_missing(connection, OUTBOX, [row])
    return str(row["event_id"])


def announce_many(
    connection: sa.Connection, topic: str, payloads: Sequence[Mapping[str, Any]], *, producer_id: str, now: datetime
) -> None:
    """Put an event per payload into the outbox, in the caller's transaction; each is its own."""
    insert(connection, OUTBOX, [_row(topic, payload, producer_id, now, None) for payload in payloads])


def announce_versions(connection: sa.Connection, versions: Sequence[Mapping[str, Any]]) -> None:
    """Announce rows of `object_version` as `registry.changed`, one event per version, by whom and when they say.

    Called by whoever writes versions, in the same transaction: no version is without its audit event.
    """
    rows = [
        _row(
            REGISTRY_CHANGED,
            {
                "object_type": version["object_type"],
                "object_id": version["object_id"],
                "version": version["version"],
                "change": version["change"],
                "document_hash": version["document_hash"],
                "actor": version["created_by"],
                "publication_id": version["publication_id"],
                "reason": version["reason"],
            },
            version["created_by"],
            version["created_at"],
            f"{version['object_type']}/{version['object_id']}/{version['version']}",
        )
        for version in versions
    ]
    insert_missing(connection, OUTBOX, rows)


def _row(topic: str, payload: Mapping[str, Any], producer_id: str, now: datetime, key: str | None) -> dict[str, Any]:
    own = time_ordered_uuid(now, topic, secrets.token_hex(16)) if key is None else name_uuid("outbox", topic, key)
    return {
        "event_id": own,
        "topic": topic,
        "payload": canonical(dict(payload)),
        "produced_at": now,
        "producer_id": producer_id,
        "batch_id": None,
        "created_at": now,
        "created_by": producer_id[: OUTBOX.column("created_by").length],
    }
