"""Tokens, outbox, subscriptions, work on dead letters; the hot window, by month on PostgreSQL; embeddings."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import VECTOR

from registry.migrations.shapes import ORDERED_APPENDED as APPENDED
from registry.migrations.shapes import ORDERED_GOVERNED as GOVERNED
from registry.migrations.shapes import (
    bigint,
    computed,
    create,
    day,
    double,
    integer,
    is_postgresql,
    json,
    ratio,
    timestamp,
)
from registry.migrations.shapes import ordered_text as text

revision = "0003"
down_revision = "0002"

TABLES = (
    "consumer_subscription",
    "outbox",
    "access_token",
    "dead_letter_resolution",
    "event_bus",
    "run_episode",
    "step_run",
    "reflection_log",
    "rlm_embedding",
)
TABLES_LOST = TABLES
HOT_WINDOW = ("event_bus", "run_episode", "step_run", "reflection_log")


def upgrade() -> None:
    partitioned = is_postgresql()
    month = ("month",) if partitioned else ()
    by_month = "RANGE (month)" if partitioned else None
    create(
        "consumer_subscription",
        text("consumer_id", 64),
        text("subject", 128),
        json("versions"),
        *GOVERNED,
        key=("consumer_id", "subject"),
    )
    create(
        "outbox",
        text("event_id", 64),
        text("topic", 128),
        json("payload"),
        timestamp("produced_at"),
        text("producer_id", 512),
        text("batch_id", 64, nullable=True),
        *APPENDED,
        key=("event_id",),
        indexes=(("batch_id",),),
    )
    create(
        "access_token",
        text("token_id", 64),
        text("token_hash", 64),
        text("subject_id", 64),
        text("subject_type", 16, enum=("person", "agent")),
        text("role_id", 64, references="role.role_id"),
        timestamp("expires_at"),
        timestamp("revoked_at", nullable=True),
        text("revoked_by", 64, nullable=True),
        *GOVERNED,
        key=("token_id",),
        unique=(("token_hash",),),
        indexes=(("subject_id",),),
    )
    create(
        "dead_letter_resolution",
        text("dead_letter_id", 64),
        text("action", 16, enum=("replayed", "repaired", "dismissed")),
        text("file_name", 255, nullable=True),
        text("reason", 1024, nullable=True),
        *GOVERNED,
        key=("dead_letter_id",),
    )
    create(
        "event_bus",
        text("event_id", 64),
        text("topic", 128),
        integer("schema_version"),
        json("payload"),
        timestamp("produced_at"),
        text("producer_id", 512),
        text("content_hash", 64),
        text("file_id", 64),
        bigint("file_offset"),
        text("batch_id", 64),
        *APPENDED,
        day("month"),
        key=("event_id", *month),
        partition_by=by_month,
    )
    create(
        "run_episode",
        text("episode_id", 64),
        text("workflow_id", 64, references="workflow.workflow_id"),
        text("workflow_version", 24),
        text("trigger_id", 64, nullable=True),
        text("trigger_event_id", 64, nullable=True),
        text("initiator_id", 64, nullable=True),
        text("origin", 16, enum=("live", "import")),
        text("case_id", nullable=True),
        json("case_attributes", nullable=True),
        timestamp("started_at"),
        timestamp("ended_at", nullable=True),
        text("outcome", 24, enum=("success", "failed", "partial", "running")),
        json("metrics"),
        text("context_hash", 64),
        bigint("seed", nullable=True),
        timestamp("now_at", nullable=True),
        integer("steps"),
        bigint("latency_ms", nullable=True),
        bigint("cost_micros", nullable=True),
        text("time_source", 16, enum=("event", "log", "ordinal")),
        text("batch_id", 64),
        *APPENDED,
        day("month"),
        key=("episode_id", *month),
        more=[
            computed("cost_ms", "metrics", "cost_ms", "number"),
            computed("tokens", "metrics", "tokens", "integer"),
            computed("error_rate", "metrics", "error_rate", "number"),
        ],
        partition_by=by_month,
    )
    create(
        "step_run",
        text("step_run_id", 64),
        text("episode_id", 64, references=None if partitioned else "run_episode.episode_id"),
        day("episode_month"),
        text("step_id", 64, references="step_action.step_id"),
        text("activity"),
        text("agent_id", 64, references="agent.agent_id"),
        text("workflow_id", 64),
        text("workflow_version", 24),
        integer("seq"),
        integer("attempt", default=1),
        timestamp("started_at"),
        timestamp("ended_at", nullable=True),
        text("status", 24, enum=("success", "failed", "skipped", "fallback", "timeout", "compensated")),
        json("input"),
        json("output", nullable=True),
        json("error", nullable=True),
        json("telemetry"),
        bigint("latency_ms", nullable=True),
        integer("cost_cents", nullable=True),
        bigint("cost_micros", nullable=True),
        integer("token_in", nullable=True),
        integer("token_out", nullable=True),
        text("model", 64, nullable=True),
        text("system", 64, nullable=True),
        text("error_code", 64, nullable=True),
        double("reward", nullable=True),
        text("resource", nullable=True),
        text("lifecycle", 64, nullable=True),
        text("time_source", 16, enum=("event", "log", "ordinal")),
        text("batch_id", 64),
        *APPENDED,
        day("month"),
        key=("step_run_id", *month),
        partition_by=by_month,
        indexes=(("episode_id", "seq"),),
    )
    create(
        "reflection_log",
        text("reflection_id", 64),
        integer("revision", default=1),
        text("source_type", 24, enum=("step_run", "episode", "agent", "workflow", "step", "publication")),
        text("source_id", 64),
        text("workflow_id", 64, nullable=True),
        day("about_month", nullable=True),
        text("insight_type", 32, enum=("variance", "pattern", "hallucination", "drift", "opportunity", "summary")),
        json("insight"),
        json("learning_signal"),
        json("proposed_actions"),
        text("reviewer_role_id", 64, nullable=True),
        timestamp("approved_at", nullable=True),
        text("status", 16, enum=("recorded", "approved", "rejected", "published")),
        ratio("confidence", nullable=True),
        text("content_hash", 64),
        text("batch_id", 64),
        *APPENDED,
        day("month"),
        key=("reflection_id", "revision", *month),
        more=[computed("reward", "learning_signal", "reward", "number")],
        partition_by=by_month,
    )
    create(
        "rlm_embedding",
        text("emb_id", 64),
        text(
            "source_type",
            24,
            enum=(
                "step",
                "episode",
                "insight",
                "policy",
                "ontology",
                "proposal",
                "error",
                "role",
                "skill",
                "workflow",
                "agent",
            ),
        ),
        text("source_id", 64),
        json("metadata"),
        *APPENDED,
        key=("emb_id",),
        more=_vector(),
    )
    op.create_index("ix_event_topic_time", "event_bus", ["topic", sa.text("produced_at DESC")])
    op.create_index("ix_episode_wf_time", "run_episode", ["workflow_id", sa.text("started_at DESC")])
    op.create_index("ix_step_run_episode", "step_run", ["step_id", "status", sa.text("ended_at DESC")])
    op.create_index("ix_reflection_status", "reflection_log", ["status", sa.text("created_at DESC")])
    op.create_index("ix_rlm_stype", "rlm_embedding", ["source_type"])
    if partitioned:
        op.create_index(
            "ix_rlm_embedding_vector",
            "rlm_embedding",
            ["vector"],
            postgresql_using="hnsw",
            postgresql_ops={"vector": "vector_cosine_ops"},
        )
    else:
        for table in HOT_WINDOW:
            op.create_index(f"ix_{table}_month", table, ["month"])


def _vector() -> list[Any]:
    if is_postgresql():
        return [sa.Column("vector", VECTOR(1024), nullable=False)]
    column = sa.Column("vector", sa.LargeBinary(), nullable=False)
    return [column, sa.CheckConstraint("length(vector) = 4096", name="ck_rlm_embedding_vector_length")]


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
