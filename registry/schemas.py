"""The schema registry: versions of the topics' schemas, what may follow them, and how a new one is proposed.

A new version is a proposal like every other change. What it must be compatible with is said by the version before it;
its semantic version is found by comparing.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical, parse
from lake.tables import ONTOLOGY_NODE, SCHEMA_REGISTRY
from registry.compatibility import Conflict, Format, Mode, SchemaRefused, check_versions, validate_schema
from registry.contracts import is_personal, term_tags
from registry.database import TABLES, Registry, fetch
from registry.documents import EventSchema, Fault, Received
from registry.payloads import payload_schema
from registry.permissions import Principal

_MOST_SAID = 10
"""Reasons that a fault quotes; `rwcm schemas check` tells all of them."""


@dataclass(frozen=True)
class SchemaVersion:
    """One version of a topic's schema.

    Attributes:
        compatibility: what the version after it must be.
        is_lenient: whether an optional property may join an open object.
        schema: parsed, every digit kept.
    """

    subject: str
    version: int
    semver: str
    format: Format
    compatibility: Mode
    is_lenient: bool
    schema: Any


@dataclass(frozen=True)
class Registered:
    """What became of a schema that was registered.

    Attributes:
        version: its number: the one it has, or the one it gets when it is published.
        change: initial, major, minor or patch; none for a schema that is registered already.
        publication_id: the proposal that waits; None if it is registered already.
    """

    subject: str
    version: int
    change: str
    publication_id: str | None


class IncompatibleSchema(ValueError):
    """A schema that may not follow its subject's versions; `conflicts` tells every reason."""

    def __init__(self, subject: str, mode: Mode, conflicts: Sequence[Conflict]) -> None:
        lines = [f"  version {c.version}: {reason}" for c in conflicts for reason in c.reasons]
        super().__init__(
            f"the schema is not {mode} compatible with {subject}; change it as the reasons say, or register it under "
            f"a topic of its own:\n" + "\n".join(lines)
        )
        self.subject = subject
        self.mode = mode
        self.conflicts = tuple(conflicts)


def schema_versions(connection: sa.Connection, subject: str | None = None) -> dict[str, list[SchemaVersion]]:
    """Return the versions of every subject in order, or of one; a subject that is not known has none."""
    table = TABLES[SCHEMA_REGISTRY.name]
    names = ("subject", "version", "semver", "format", "compatibility", "content_model", "schema")
    query = sa.select(*(table.c[name] for name in names)).order_by(table.c.subject, table.c.version)
    if subject is not None:
        query = query.where(table.c.subject == subject)
    found: dict[str, list[SchemaVersion]] = defaultdict(list)
    for name, version, semver, language, mode, model, text in fetch(connection, query):
        found[name].append(
            SchemaVersion(name, version, semver, language, Mode(mode), model == "lenient", parse(text)),
        )
    return dict(found)


def personal_topics(connection: sa.Connection) -> set[str]:
    """Return the topics whose term in the ontology, an event of their name, says that they are personal as a whole."""
    term = TABLES[ONTOLOGY_NODE.name]
    terms = fetch(connection, sa.select(term.c.label, term.c.attributes).filter_by(node_type="event"))
    return {label for label, attributes in terms if is_personal(term_tags(parse(attributes)))}


def conflicts_with(versions: Sequence[SchemaVersion], schema: Any, format: Format) -> list[Conflict]:
    """Return the versions that a new schema conflicts with, under the mode of the latest one.

    A subject keeps its language: readers of the one cannot read the other.

    Raises:
        SchemaRefused: the new schema cannot be compared.
    """
    validate_schema(schema, format)
    payload_schema(schema, format)
    if not versions:
        return []
    latest = versions[-1]
    if format != latest.format:
        raise SchemaRefused("", f"is {format}, and the versions of {latest.subject} are {latest.format}")
    known = [(each.version, each.schema) for each in versions if each.format == format]
    return check_versions(schema, known, format=format, mode=latest.compatibility, lenient=latest.is_lenient)


def incompatibilities(connection: sa.Connection, documents: Sequence[Received[Any]]) -> Iterator[Fault]:
    """Find the event schemas among `documents` that may not follow the versions that are stored before them."""
    for document in documents:
        body = document.body
        if not isinstance(body, EventSchema):
            continue
        schema, language = document.value["schema"], body.format
        before = schema_versions(connection, body.subject).get(body.subject, [])
        before = [each for each in before if each.version < body.version]
        try:
            conflicts = conflicts_with(before, schema, language)  # type: ignore[arg-type]
        except SchemaRefused as refused:
            yield Fault(document.name, f"/schema{refused.path}", refused.problem, "correct the schema")
            continue
        for conflict in conflicts:
            for reason in conflict.reasons[:_MOST_SAID]:
                mode = before[-1].compatibility
                problem = f"is not {mode} compatible with version {conflict.version}: {reason}"
                fix = "change it so that it is, or give the topic a new name"
                yield Fault(document.name, f"/schema{reason.path}", problem, fix)


def register(
    registry: Registry,
    subject: str,
    schema: Any,
    format: Format = "json",
    *,
    compatibility: str | None = None,
    content_model: str | None = None,
    principal: Principal,
    now: datetime,
) -> Registered:
    """Propose a schema as the next version of a subject; one that is registered already is found, not proposed again.

    Args:
        schema: parsed schema.
        compatibility: what the version after it must be; by default what its predecessor says, else `backward`.
        content_model: `strict` or `lenient`; by default as its predecessor.

    Raises:
        IncompatibleSchema: the subject's mode forbids it.
        SchemaRefused: it is no schema that can be compared.
        DocumentRefused: it cannot stand beside what the registry holds, such as a workflow that reads the topic.
        Denied: the principal may not propose it.
    """
    from registry.publication import submit  # it checks documents by this module

    with registry.read() as connection:
        versions = schema_versions(connection, subject).get(subject, [])
    wanted = canonical(schema)
    latest = versions[-1] if versions else None
    keeps = (
        latest is not None
        and compatibility in (None, latest.compatibility)
        and (content_model in (None, "lenient" if latest.is_lenient else "strict"))
    )
    for each in versions:
        if each.format == format and canonical(each.schema) == wanted and (each is not latest or keeps):
            return Registered(subject, each.version, "none", None)
    if conflicts := conflicts_with(versions, schema, format):
        assert latest is not None
        raise IncompatibleSchema(subject, latest.compatibility, conflicts)
    document = {
        "subject": subject,
        "format": format,
        "compatibility": compatibility or (latest.compatibility if latest else Mode.BACKWARD),
        "content_model": content_model or ("lenient" if latest and latest.is_lenient else "strict"),
        "schema": schema,
    }
    submitted = submit(registry, EventSchema, canonical(document), name=subject, principal=principal, now=now)
    return Registered(subject, int(submitted.version), submitted.change, submitted.publication_id)
