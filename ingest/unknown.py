"""Members that no schema knew, of a batch: counted where they were dropped, proposed for the schema where kept.

Finding them belongs to `ingest.contracts`, which workers import; they must not wait for the registry to be imported.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from guard.canonical import canonical
from guard.redaction import PII_MARK
from ingest.contracts import Path, Unknown, at
from registry.compatibility import SchemaRefused
from registry.database import Registry
from registry.documents import DocumentRefused, EventSchema, read_document
from registry.permissions import PLATFORM
from registry.publication import propose_document
from registry.schemas import schema_versions

log = logging.getLogger("rwcm.ingest")

MOST_PROPOSED = 100
"""Members of a topic that one batch proposes: what names its members after people or days is no schema."""

MOST_COUNTED = 1000
"""Paths of a topic that are counted one by one; the others count together, under `ELSEWHERE`."""

ELSEWHERE = "..."
_MIXED = ""
_WITHOUT_TEXT = frozenset({"integer", "number", "boolean"})


@dataclass
class UnknownMembers:
    """What a batch met of members that the schemas do not know.

    Attributes:
        discarded: how many were dropped, by topic and path.
        kept: the JSON type of those that were kept, by topic, place in the schema and name; empty where it varies.
    """

    discarded: dict[str, Counter[str]] = field(default_factory=dict)
    kept: dict[str, dict[tuple[Path, str], str]] = field(default_factory=dict)

    def add(self, members: Iterable[Unknown]) -> None:
        for member in members:
            if not member.is_kept:
                counted = self.discarded.setdefault(member.topic, Counter())
                is_listed = member.path in counted or len(counted) < MOST_COUNTED
                counted[member.path if is_listed else ELSEWHERE] += 1
            elif member.place is not None:
                seen = self.kept.setdefault(member.topic, {})
                key = (member.place, member.name)
                if key in seen or len(seen) < MOST_PROPOSED:
                    seen[key] = _common(seen.get(key, member.kind), member.kind)

    def propose(self, registry: Registry, *, batch_id: str, now: datetime) -> list[str]:
        """Queue, for each topic, the schema that knows what was kept; return the topics whose proposal is new.

        What is proposed follows from the records alone, and the same proposal is queued once: a batch that is done
        again proposes nothing twice. A schema that cannot be proposed stops no batch.
        """
        new = []
        for topic, members in sorted(self.kept.items()):
            try:
                if _propose(registry, topic, members, batch_id, now):
                    new.append(topic)
            except (DocumentRefused, SchemaRefused) as refused:
                log.warning("unknown members of %s were kept, but no schema can be proposed: %s", topic, refused)
        return new


def _propose(
    registry: Registry, topic: str, members: Mapping[tuple[Path, str], str], batch_id: str, now: datetime
) -> bool:
    with registry.transaction() as connection:
        latest = schema_versions(connection, topic)[topic][-1]
        schema = deepcopy(latest.schema)
        if not _join(schema, members):
            return False
        document = {
            "subject": topic,
            "version": latest.version + 1,
            "semver": latest.semver,
            "format": latest.format,
            "compatibility": latest.compatibility,
            "content_model": "lenient" if latest.is_lenient else "strict",
            "schema": schema,
        }
        return propose_document(
            connection,
            read_document(EventSchema, canonical(document), name=topic),
            provenance={"source": "contract", "batch_id": batch_id},
            confidence=1,
            proposed_by=PLATFORM.subject_id,
            now=now,
        )


def _join(schema: Any, members: Mapping[tuple[Path, str], str]) -> bool:
    """Add members to a schema as optional properties; return whether any was new to it.

    What may hold text is marked personal, as it was treated until now: to take the mark away is the reviewer's to do.
    """
    is_new = False
    for (place, name), kind in members.items():
        try:
            properties = at(schema, place).setdefault("properties", {})
        except (AttributeError, LookupError, TypeError):
            continue  # the schema was replaced since the records were judged
        if name not in properties:
            stated = {} if kind in (_MIXED, "null") else {"type": kind}
            properties[name] = stated if kind in _WITHOUT_TEXT else stated | {PII_MARK: True}
            is_new = True
    return is_new


def _common(one: str, other: str) -> str:
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else _MIXED
