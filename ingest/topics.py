"""What is registered of the topics that events may have."""

import json
import logging
from typing import Any

import sqlalchemy as sa

from ingest.validation import Topic
from lake.tables import SCHEMA_REGISTRY
from registry.compatibility import Format, SchemaRefused
from registry.database import TABLES, Registry, fetch
from registry.loader import NO_TOPICS
from registry.payloads import payload_schema
from registry.schemas import personal_topics

log = logging.getLogger("rwcm.ingest")


def topics(registry: Registry) -> dict[str, Topic]:
    """Return the topics by name, their schemas as JSON Schema; subjects that describe something else are none.

    The term of the ontology that is an event of the topic's name may tag it with policies.
    """
    table = TABLES[SCHEMA_REGISTRY.name]
    names = ("subject", "version", "format", "schema")
    query = sa.select(*(table.c[name] for name in names)).order_by(table.c.subject, table.c.version)
    versions: dict[str, dict[int, dict[str, Any]]] = {}
    with registry.read() as connection:
        personal = personal_topics(connection)
        for subject, version, language, text in fetch(connection, query):
            if not subject.startswith(NO_TOPICS):
                versions.setdefault(subject, {})[version] = _schema(subject, version, language, text)
    return {subject: Topic(schemas, subject in personal) for subject, schemas in versions.items()}


def _schema(subject: str, version: int, language: Format, text: str) -> dict[str, Any]:
    try:
        return payload_schema(json.loads(text), language)
    except SchemaRefused as refused:  # registered by an earlier release; its records wait among the dead letters
        log.warning("no record of version %s of %s is accepted: %s", version, subject, refused)
        return {"not": {}}
