"""Governed objects in the database: a document as rows, its versions, and back.

A row is the current version taken apart for queries; `object_version` keeps every version whole, as it was received.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical
from lake.spec import Kind, TableSpec
from lake.tables import OBJECT_VERSION, STEP_ACTION, TRIGGER_DEF
from registry.database import TABLES, fetch
from registry.documents import D, Document, Policy, Received, Workflow, read_document

Row = dict[str, Any]


class NotRegistered(LookupError):
    """No such object, or no such version of it, is in the registry."""

    def __init__(self, kind: str, object_id: str, version: str | None = None) -> None:
        wanted = f"{kind} {object_id}" + (f" in version {version}" if version else "")
        super().__init__(f"the registry holds no {wanted}; load the pack or correct the id")
        self.kind = kind
        self.object_id = object_id
        self.version = version


def rows_of(received: Received[Any], *, actor: str, now: datetime) -> Iterator[tuple[TableSpec, str, Row]]:
    """Yield (table, path within the document, row) of a document, the object itself first.

    Absent members take the defaults that `registry.documents` states.
    """
    audit = {"created_at": now, "created_by": actor, "updated_at": now, "updated_by": actor}
    body, value = received.body, received.value
    row = _row(body.spec, body, value, audit)
    if isinstance(body, Policy):
        row["policy_name"] = body.policy_name or body.policy_id
    yield body.spec, "", row
    if isinstance(body, Workflow):
        owner = {**audit, "workflow_id": body.workflow_id, "last_version": None}
        for index, step in enumerate(body.steps):
            yield STEP_ACTION, f"/steps/{index}", _row(STEP_ACTION, step, value["steps"][index], owner)
        for index, trigger in enumerate(body.triggers):
            yield TRIGGER_DEF, f"/triggers/{index}", _row(TRIGGER_DEF, trigger, value["triggers"][index], owner)


def _row(spec: TableSpec, body: Any, value: Mapping[str, Any], given: Row) -> Row:
    row: Row = {}
    for column in spec.columns:
        if column.name in given:
            row[column.name] = given[column.name]
        elif column.kind is Kind.JSON:
            row[column.name] = canonical(value.get(column.name, {}))
        elif column.kind is not Kind.BINARY:  # an embedding is no part of a document: loading one leaves it as it is
            row[column.name] = getattr(body, column.name)
    return row


def version_row(
    received: Received[Any],
    *,
    reason: str,
    source: str,
    actor: str,
    now: datetime,
    version: str | None = None,
    change: str = "initial",
    lineage: Mapping[str, Any] | None = None,
    publication_id: str | None = None,
) -> Row:
    """Return the `object_version` row of a document; `version` numbers one that carries no number itself."""
    body: Document = received.body
    return {
        "object_type": body.spec.name,
        "object_id": body.object_id,
        "version": version or body.object_version,
        "document": received.text,
        "document_hash": received.hash,
        "lineage": canonical(lineage or {}),
        "change": change,
        "publication_id": publication_id,
        "reason": reason,
        "source": source,
        "created_at": now,
        "created_by": actor,
    }


def current_documents(connection: sa.Connection, kind: type[D], **equal: str) -> dict[str, Received[D]]:
    """Return the current version of the objects of a versioned kind, by id; of those whose columns equal `equal`."""
    table, versions = TABLES[kind.spec.name], TABLES[OBJECT_VERSION.name]
    (key,) = kind.spec.key
    query = (
        sa.select(versions.c.object_id, versions.c.document)
        .join(table, sa.and_(versions.c.object_id == table.c[key], versions.c.version == table.c.version))
        .where(versions.c.object_type == kind.spec.name, *(table.c[name] == value for name, value in equal.items()))
        .order_by(versions.c.object_id)
    )
    return {object_id: read_document(kind, text, name=object_id) for object_id, text in fetch(connection, query)}


def current_hashes(connection: sa.Connection, kind: type[Document], **equal: str) -> list[str]:
    """Return the hashes of what `current_documents` would return, in their order; no document is read for it."""
    table, versions = TABLES[kind.spec.name], TABLES[OBJECT_VERSION.name]
    (key,) = kind.spec.key
    query = (
        sa.select(versions.c.document_hash)
        .join(table, sa.and_(versions.c.object_id == table.c[key], versions.c.version == table.c.version))
        .where(versions.c.object_type == kind.spec.name, *(table.c[name] == value for name, value in equal.items()))
        .order_by(versions.c.object_id)
    )
    return list(connection.scalars(query))


def document_in_version(connection: sa.Connection, kind: type[D], object_id: str, version: str) -> Received[D] | None:
    """Return one version of an object, None if there is none."""
    versions = TABLES[OBJECT_VERSION.name]
    text = connection.scalar(
        sa.select(versions.c.document).filter_by(object_type=kind.spec.name, object_id=object_id, version=version)
    )
    return None if text is None else read_document(kind, text, name=object_id)
