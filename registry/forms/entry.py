"""How what a form holds enters the registry: restored into an empty one, proposed to any other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from guard.canonical import digest
from lake.tables import OBJECT_VERSION
from registry.database import TABLES, Registry, fetch, insert
from registry.documents import DocumentRefused, Received
from registry.forms.assembly import Content, Key, Placed, complete
from registry.forms.sheets import SPECS, Faults, FormRefused
from registry.objects import Row
from registry.outbox import RESTORED, announce, announce_versions
from registry.permissions import Principal
from registry.publication import PROPOSAL_TYPES, submit_all


def is_empty(connection: sa.Connection) -> bool:
    """Tell whether the registry governs nothing yet."""
    return all(not fetch(connection, sa.select(sa.literal(1)).select_from(TABLES[name]).limit(1)) for name in SPECS)


def restore(
    registry: Registry, content: Content, faults: Faults, *, source: str, actor: str, now: datetime
) -> Mapping[str, int]:
    """Put everything back as it was, audit columns included; return the rows of each table.

    Every version is announced again under the id it had, so that an event bus that knows it is told nothing new; that
    there was a restore, and whose, is announced besides.

    Raises:
        FormRefused: a reference or a unique name does not hold, or the registry is not empty; nothing was written.
    """
    rows = {
        name: [complete(spec, placed, faults, actor=actor, now=now) for placed in content.rows.get(name, ())]
        for name, spec in SPECS.items()
    }
    faults.settle()
    _check_references(content.rows, rows, faults)
    _check_unique(content.rows, rows, faults)
    faults.settle()
    with registry.transaction() as connection:
        if not is_empty(connection):
            faults.refuse(source, "restores a registry, and this one is not empty", "import it into an empty one")
        for name, spec in SPECS.items():
            insert(connection, spec, rows[name])
        versions = rows[OBJECT_VERSION.name]
        announce_versions(connection, versions)
        counts = Counter(row["object_type"] for row in versions)
        payload = {
            "source": source,
            "actor": actor,
            "versions": dict(counts),
            "content_hash": digest(sorted(row["document_hash"] for row in versions)),
        }
        announce(connection, topic=RESTORED, payload=payload, producer_id=actor, now=now)
    return {name: len(found) for name, found in rows.items()}


def _check_references(
    placed: Mapping[str, Sequence[Placed]], rows: Mapping[str, Sequence[Row]], faults: Faults
) -> None:
    known: dict[str, set[Any]] = {}
    for name, spec in SPECS.items():
        for column in spec.columns:
            if column.references is None:
                continue
            table, _, target = column.references.partition(".")
            if column.references not in known:
                known[column.references] = {row[target] for row in rows[table]}
            for line, row in zip(placed.get(name, ()), rows[name], strict=True):
                value = row[column.name]
                if value is not None and value not in known[column.references]:
                    faults.add(
                        line.place, column.name, f"there is no {table} {value}", f"add the {table} or correct it"
                    )


def _check_unique(placed: Mapping[str, Sequence[Placed]], rows: Mapping[str, Sequence[Row]], faults: Faults) -> None:
    for name, spec in SPECS.items():
        for names in spec.unique:
            first: dict[Key, str] = {}
            for line, row in zip(placed.get(name, ()), rows[name], strict=True):
                value = tuple(row[column] for column in names)
                if (owner := first.setdefault(value, line.place)) != line.place:
                    faults.add(
                        line.place, names[0], f"{' '.join(map(str, value))} is that of {owner}", "give it its own"
                    )


def propose(
    registry: Registry, documents: Sequence[Received[Any]], faults: Faults, *, principal: Principal, now: datetime
) -> int:
    """Queue what is not current already as drafts, all of it or nothing; return how many documents that were.

    Raises:
        FormRefused: one of them cannot stand beside what the registry holds; nothing was written.
        Denied: the principal may not propose one of them.
    """
    for received in documents:
        if received.body.spec.name not in PROPOSAL_TYPES:
            faults.add(received.name, "", f"a {received.body.spec.name} cannot be proposed", "remove it from the file")
    faults.settle()
    try:
        return len(submit_all(registry, documents, principal=principal, now=now, skips_unchanged=True))
    except DocumentRefused as refused:
        faults.found += refused.faults
        raise FormRefused(faults.source, faults.found) from None
