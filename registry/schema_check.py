"""One check of the whole: whether versions may follow each other, and whether every consumer reads what it takes.

The command line runs it in CI, and the orchestrator beside the registry's mirror.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl
import sqlalchemy as sa

from lake.tables import SCHEMA_CONSUMER
from registry.compatibility import Format, Mode, Reason
from registry.consumers import Standing, consumer_standings
from registry.database import Registry
from registry.objects import NotRegistered
from registry.schemas import SchemaVersion, conflicts_with, schema_versions


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit.

    Attributes:
        rule: `version`: it may not follow an earlier one; `consumer`: one breaks.
        consumer_id: who breaks; None for a version.
        message: one sentence.
    """

    rule: Literal["version", "consumer"]
    subject: str
    version: int
    consumer_id: str | None
    message: str
    reasons: tuple[Reason, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "subject": self.subject,
            "version": self.version,
            "consumer": self.consumer_id,
            "message": self.message,
            "reasons": [reason.as_json() for reason in self.reasons],
        }


def check_registry(
    registry: Registry, *, subject: str | None = None, schema: Any = None, format: Format = "json"
) -> list[Finding]:
    """Return everything that does not fit; nothing means that all does.

    Args:
        subject: of this topic alone.
        schema: what to look at as if it were the topic's next version; then only what it would break is told.

    Raises:
        NotRegistered: there is no such topic, and no schema for it.
        SchemaRefused: the schema cannot be compared.
    """
    with registry.read() as connection:
        versions = schema_versions(connection, subject)
        if schema is not None:
            assert subject is not None, "a schema is of a subject"
            return list(_coming(connection, subject, versions.get(subject, []), schema, format))
        if subject is not None and not versions:
            raise NotRegistered("topic", subject)
        standings = consumer_standings(connection, subject=subject)
    found = [finding for each in versions.values() for finding in _versions(each)]
    return [*found, *_consumers(standings)]


def standings_frame(registry: Registry) -> pl.DataFrame:
    """Return who can read which version of which topic, as rows of `schema_consumer`."""
    with registry.read() as connection:
        standings = consumer_standings(connection)
    rows = [
        {
            "consumer_id": each.consumer_id,
            "subject": each.subject,
            "version": each.version,
            "is_latest": each.is_latest,
            "is_declared": each.is_declared,
            "is_allowed": each.is_allowed,
            "reads_as": each.reads_as,
            "is_compatible": each.is_compatible,
            "reason": str(each.reasons[0]) if each.reasons else None,
        }
        for each in standings
    ]
    return pl.DataFrame(rows, schema=SCHEMA_CONSUMER.polars_schema(), orient="row")


def _coming(
    connection: sa.Connection, subject: str, versions: Sequence[SchemaVersion], schema: Any, format: Format
) -> Iterator[Finding]:
    number = versions[-1].version + 1 if versions else 1
    for conflict in conflicts_with(versions, schema, format):
        mode = versions[-1].compatibility
        message = f"as version {number} it would not be {mode} compatible with version {conflict.version}"
        yield Finding("version", subject, number, None, message, conflict.reasons)
    first = SchemaVersion(subject, number, "", format, Mode.BACKWARD, False, schema)
    new = replace(versions[-1], version=number, format=format, schema=schema) if versions else first
    known = {
        (each.consumer_id, each.version) for each in consumer_standings(connection, subject=subject) if each.breaks
    }
    for finding in _consumers(consumer_standings(connection, subject=subject, coming=[new])):
        if (finding.consumer_id, finding.version) not in known:
            yield finding


def _versions(versions: Sequence[SchemaVersion]) -> Iterator[Finding]:
    for place, each in enumerate(versions[1:], start=1):
        before = versions[:place]
        for conflict in conflicts_with(before, each.schema, each.format) if each.format == before[-1].format else ():
            mode = before[-1].compatibility
            message = f"version {each.version} is not {mode} compatible with version {conflict.version}"
            yield Finding("version", each.subject, each.version, None, message, conflict.reasons)


def _consumers(standings: Sequence[Standing]) -> Iterator[Finding]:
    for each in standings:
        if each.breaks:
            yield Finding("consumer", each.subject, each.version, each.consumer_id, each.breaks, each.reasons)
