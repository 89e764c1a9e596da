"""The hash of an event's content: two records with one id are one event if it is the same, and a conflict if not.

It is the `digest` of payload, time, producer and topic; their canonical JSON is put together here, in the order of its
keys, because most of it is at hand as text already.
"""

from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from guard.canonical import canonical


@lru_cache(10_000)
def sender_json(producer_id: str, topic: str) -> bytes:
    """Return what ends the canonical JSON of an event."""
    return canonical({"producer_id": producer_id, "topic": topic})[1:].encode()


def event_hash(payload: bytes, produced_at: datetime, sender: bytes) -> str:
    """Return the hash of an event.

    Args:
        payload: as canonical JSON.
        sender: `sender_json` of producer and topic.
    """
    return sha256(
        b'{"payload":%b,"produced_at":"%b",%b' % (payload, produced_at.isoformat().encode(), sender)
    ).hexdigest()
