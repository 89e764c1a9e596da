"""Every table of the platform, stated once: the logs of the lake and the tables of the registry."""

from lake.spec import TableSpec
from lake.tables.gates import GATE_DECISION, PUBLICATION_REVIEW
from lake.tables.governed import (
    AGENT,
    CONSUMER_SUBSCRIPTION,
    OBJECT_VERSION,
    ONTOLOGY_NODE,
    POLICY,
    PUBLICATION_QUEUE,
    ROLE,
    ROLE_SKILL_MAP,
    SCHEMA_REGISTRY,
    SKILL_NODE,
    STEP_ACTION,
    TRIGGER_DEF,
    WORKFLOW,
)
from lake.tables.logs import (
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    PURGE_RECEIPT,
    REFLECTION_LOG,
    RLM_EMBEDDING,
    RUN_EPISODE,
    STEP_RUN,
)
from lake.tables.operations import (
    ACCESS_TOKEN,
    BATCH,
    CURSOR,
    DEAD_LETTER_RESOLUTION,
    EFFECT,
    HANDOFF_ACTION,
    LANDING_FILE,
    LEGAL_HOLD,
    OPEN_EFFECTS,
    OPEN_EPISODE,
    OPEN_PURGE,
    OUTBOX,
    RETAINED_DATA,
    SCHEMA_CONSUMER,
    TRIGGER_REFUSAL,
)

LOGS: tuple[TableSpec, ...] = (EVENT_BUS, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN, REFLECTION_LOG)
"""History, append-only, in the lake by month."""

HOT_WINDOW: tuple[TableSpec, ...] = (EVENT_BUS, RUN_EPISODE, STEP_RUN, REFLECTION_LOG)
"""Logs whose last months the registry database holds a copy of, for point lookups; episodes before their step runs."""

EMBEDDINGS: tuple[TableSpec, ...] = (RLM_EMBEDDING,)
"""What retrieval searches: in the lake by month, and relationally, where pgvector compares them."""

GOVERNED: tuple[TableSpec, ...] = (
    ROLE,
    SKILL_NODE,
    ROLE_SKILL_MAP,
    WORKFLOW,
    TRIGGER_DEF,
    STEP_ACTION,
    AGENT,
    POLICY,
    ONTOLOGY_NODE,
    SCHEMA_REGISTRY,
    CONSUMER_SUBSCRIPTION,
    PUBLICATION_QUEUE,
    OBJECT_VERSION,
)
"""What is governed: kept in the registry database, in an order in which every reference is met, and mirrored to the
lake."""

OPERATIONS: tuple[TableSpec, ...] = (
    BATCH,
    LANDING_FILE,
    DEAD_LETTER_RESOLUTION,
    OPEN_EPISODE,
    EFFECT,
    OPEN_EFFECTS,
    HANDOFF_ACTION,
    CURSOR,
    OUTBOX,
    ACCESS_TOKEN,
    TRIGGER_REFUSAL,
    GATE_DECISION,
    PUBLICATION_REVIEW,
    LEGAL_HOLD,
    OPEN_PURGE,
)
"""What is under way: kept in the registry database; batches, decisions, legal holds and work on dead letters are
mirrored to the lake for the marts."""

MIRRORED: tuple[TableSpec, ...] = (
    *GOVERNED,
    BATCH,
    DEAD_LETTER_RESOLUTION,
    TRIGGER_REFUSAL,
    GATE_DECISION,
    PUBLICATION_REVIEW,
    LEGAL_HOLD,
)
"""Registry tables whose current rows the lake holds a copy of."""

DERIVED: tuple[TableSpec, ...] = (SCHEMA_CONSUMER, RETAINED_DATA)
"""What is computed from registry and lake and kept in the lake alone, beside the mirror."""

RECEIPTS: tuple[TableSpec, ...] = (PURGE_RECEIPT,)
"""What purges leave: in the lake by month, for ever."""

__all__ = [
    "ACCESS_TOKEN",
    "AGENT",
    "BATCH",
    "CONSUMER_SUBSCRIPTION",
    "CURSOR",
    "DEAD_LETTER_RESOLUTION",
    "DERIVED",
    "EFFECT",
    "EMBEDDINGS",
    "EVENT_BUS",
    "EVENT_DEAD_LETTER",
    "GATE_DECISION",
    "GOVERNED",
    "HANDOFF_ACTION",
    "HOT_WINDOW",
    "LANDING_FILE",
    "LEGAL_HOLD",
    "LOGS",
    "MIRRORED",
    "OBJECT_VERSION",
    "ONTOLOGY_NODE",
    "OPEN_EFFECTS",
    "OPEN_EPISODE",
    "OPEN_PURGE",
    "OPERATIONS",
    "OUTBOX",
    "POLICY",
    "PUBLICATION_QUEUE",
    "PUBLICATION_REVIEW",
    "PURGE_RECEIPT",
    "RECEIPTS",
    "REFLECTION_LOG",
    "RETAINED_DATA",
    "RLM_EMBEDDING",
    "ROLE",
    "ROLE_SKILL_MAP",
    "RUN_EPISODE",
    "SCHEMA_CONSUMER",
    "SCHEMA_REGISTRY",
    "SKILL_NODE",
    "STEP_ACTION",
    "STEP_RUN",
    "TRIGGER_DEF",
    "TRIGGER_REFUSAL",
    "WORKFLOW",
]
