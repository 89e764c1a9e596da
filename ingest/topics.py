"""What is registered of the topics that events may have."""

import json
from typing import Any

import sqlalchemy as sa

from ingest.validation import Topic
from lake.tables import SCHEMA_REGISTRY
from registry.database import TABLES, Registry, fetch
from registry.loader import NO_TOPICS


def topics(registry: Registry) -> dict[str, Topic]:
    """Return the topics by name; subjects that describe something else are none."""
    table = TABLES[SCHEMA_REGISTRY.name]
    query = sa.select(table.c.subject, table.c.version, table.c.schema).order_by(table.c.subject, table.c.version)
    versions: dict[str, dict[int, dict[str, Any]]] = {}
    with registry.read() as connection:
        for subject, version, text in fetch(connection, query):
            if not subject.startswith(NO_TOPICS):
                versions.setdefault(subject, {})[version] = json.loads(text)
    return {subject: Topic(schemas) for subject, schemas in versions.items()}
