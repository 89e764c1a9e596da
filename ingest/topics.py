"""What is registered of the topics that events may have."""

import json
from typing import Any

import sqlalchemy as sa

from ingest.validation import Topic
from lake.tables import ONTOLOGY_NODE, SCHEMA_REGISTRY
from registry.contracts import is_personal, term_tags
from registry.database import TABLES, Registry, fetch
from registry.loader import NO_TOPICS


def topics(registry: Registry) -> dict[str, Topic]:
    """Return the topics by name; subjects that describe something else are none.

    The term of the ontology that is an event of the topic's name may tag it with policies.
    """
    table = TABLES[SCHEMA_REGISTRY.name]
    query = sa.select(table.c.subject, table.c.version, table.c.schema).order_by(table.c.subject, table.c.version)
    versions: dict[str, dict[int, dict[str, Any]]] = {}
    term = TABLES[ONTOLOGY_NODE.name]
    terms = sa.select(term.c.label, term.c.attributes).filter_by(node_type="event")
    with registry.read() as connection:
        personal = {label for label, text in fetch(connection, terms) if is_personal(term_tags(json.loads(text)))}
        for subject, version, text in fetch(connection, query):
            if not subject.startswith(NO_TOPICS):
                versions.setdefault(subject, {})[version] = json.loads(text)
    return {subject: Topic(schemas, subject in personal) for subject, schemas in versions.items()}
