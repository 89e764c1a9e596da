"""What producers send: records, files of them, and homes in which they land."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_project.platform import Platform
from ingest.events import Ingestion, ingest_landing
from lake.home import Home
from lake.tables import LOGS, SCHEMA_REGISTRY
from registry.database import upsert
from registry.loader import PACK, load_pack

RECEIVED_AT = datetime(2025, 3, 10, 12, tzinfo=UTC)
"""When files land unless a test says otherwise."""

NOW = datetime(2025, 4, 1, tzinfo=UTC)

NOTE = "note.taken"
"""A topic whose payloads have a `body` of any kind."""


def invoice(**changes: Any) -> dict[str, Any]:
    """Return the payload of an invoice that arrived."""
    return {
        "invoice_uri": "sim://ap-inbox/1.pdf",
        "vendor_id": "VEND-1",
        "po_id": "PO-1",
        "received_at": "2025-03-01T09:30:00Z",
    } | changes


def record(event_id: str = "E-1", **changes: Any) -> dict[str, Any]:
    """Return a record that is accepted unless `changes` spoil it."""
    return {
        "event_id": event_id,
        "topic": "ap.invoice.received",
        "payload": invoice(),
        "produced_at": "2025-03-01T09:30:00Z",
        "producer_id": "mail-ingestor",
    } | changes


def without(whole: Mapping[str, Any], *members: str) -> dict[str, Any]:
    return {name: value for name, value in whole.items() if name not in members}


def line(given: Mapping[str, Any] | bytes) -> bytes:
    """Return a record as one line of JSON, without the end of the line."""
    return given if isinstance(given, bytes) else json.dumps(given, ensure_ascii=False).encode()


def lines(*records: Mapping[str, Any] | bytes) -> bytes:
    """Return a file of records."""
    return b"".join(line(given) + b"\n" for given in records)


def open_platform(root: Path) -> Platform:
    """Return a home with the shipped pack and empty tables."""
    platform = Platform(Home(root))
    load_pack(platform.registry, PACK, actor="test", now=NOW)
    with platform.registry.transaction() as connection:
        upsert(connection, SCHEMA_REGISTRY, [_free_topic()])
    platform.lake.ensure(LOGS)
    return platform


def _free_topic() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"body": {"type": "object"}}, "required": ["body"]}
    return {
        "subject": NOTE,
        "version": 1,
        "semver": "1.0.0",
        "format": "json",
        "schema": json.dumps(schema),
        "compatibility": "backward",
        "content_model": "strict",
        "created_at": NOW,
        "created_by": "test",
        "updated_at": NOW,
        "updated_by": "test",
    }


def ingest(platform: Platform, **options: Any) -> Ingestion:
    """Ingest what waits in a home's landing zone."""
    rooms = {"registry": platform.registry, "lake": platform.lake, "door": platform.door, "now": NOW}
    return ingest_landing(options.pop("landing", platform.landing), **rooms | options)
