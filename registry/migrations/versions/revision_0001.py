"""The tables of release 0.1.0.

A registry that was made by it bears no revision; it is taken for this one.
"""

from alembic import op

from registry.migrations.shapes import APPENDED, GOVERNED, bigint, boolean, create, day, integer, ratio, text, timestamp

revision = "0001"
down_revision = None

TABLES = (
    "role",
    "skill_node",
    "role_skill_map",
    "workflow",
    "trigger_def",
    "step_action",
    "agent",
    "policy",
    "ontology_node",
    "schema_registry",
    "publication_queue",
    "object_version",
    "batch",
    "landing_file",
    "open_episode",
    "cursor",
)
"""In an order in which every reference is met."""


def upgrade() -> None:
    create(
        "role",
        text("role_id", 64),
        text("role_title", 128),
        text("department", 64),
        text("hierarchy_level", 8, enum=("I", "II", "III", "IV", "V")),
        text("supervises_role_id", 64, nullable=True, references="role.role_id"),
        text("role_type", 16, enum=("human", "agent", "hybrid"), default="human"),
        *GOVERNED,
        key=("role_id",),
        indexes=(("department",),),
    )
    create(
        "skill_node",
        text("skill_id", 64),
        text("skill_name", 128),
        text(
            "category",
            64,
            enum=("ingestion", "tool", "logic", "comm", "hcm", "api", "iam", "ml", "nlp", "viz", "etl", "generator"),
        ),
        text("signature"),
        text("description"),
        text("runtime_binding"),
        text("version", 24),
        text("stability_tier", 16, enum=("exp", "beta", "ga", "restricted"), default="exp"),
        text("owner_role_id", 64, references="role.role_id"),
        boolean("is_generator", default=False),
        *GOVERNED,
        key=("skill_id",),
        unique=(("skill_name", "version"),),
    )
    create(
        "role_skill_map",
        text("role_id", 64, references="role.role_id"),
        text("skill_id", 64, references="skill_node.skill_id"),
        text("permission", 16, enum=("use", "maintain", "publish"), default="use"),
        *GOVERNED,
        key=("role_id", "skill_id"),
    )
    create(
        "workflow",
        text("workflow_id", 64),
        text("workflow_name", 128),
        text("objective"),
        text("constraints"),
        text("responsible_role_id", 64, references="role.role_id"),
        text("genome"),
        text("status", 16, enum=("draft", "active", "paused", "retired"), default="draft"),
        text("version", 24),
        text("lineage"),
        *GOVERNED,
        key=("workflow_id",),
        unique=(("workflow_name", "version"),),
    )
    create(
        "trigger_def",
        text("trigger_id", 64),
        text("workflow_id", 64, references="workflow.workflow_id"),
        text("trigger_type", 24, enum=("event", "schedule", "condition", "webhook")),
        text("selector"),
        *GOVERNED,
        key=("trigger_id",),
    )
    create(
        "step_action",
        text("step_id", 64),
        text("workflow_id", 64, references="workflow.workflow_id"),
        integer("sequence"),
        text(
            "action_type",
            24,
            enum=("data_extraction", "logic_check", "tool_call", "branch", "handoff", "notify", "generate", "record"),
        ),
        text("skill_id", 64, references="skill_node.skill_id"),
        text("parameters"),
        text("next_step_logic"),
        integer("timeout_ms", default=300000),
        integer("retries", default=2),
        text("idempotency_key", 64, nullable=True),
        *GOVERNED,
        key=("step_id",),
        indexes=(("workflow_id", "sequence"),),
    )
    create(
        "agent",
        text("agent_id", 64),
        text("agent_name", 128),
        text("agent_type", 24, enum=("l2_orchestrator", "skill_agent", "human_proxy", "evaluator")),
        text("role_id", 64, references="role.role_id"),
        text("policy_profile"),
        text("organisation", 64, default="internal"),
        *GOVERNED,
        key=("agent_id",),
    )
    create(
        "policy",
        text("policy_id", 64),
        text("policy_name", 128),
        text("scope", 24, enum=("data", "security", "compliance", "mlops", "publishing")),
        text("spec"),
        text("owner_role_id", 64, references="role.role_id"),
        text(
            "precedence",
            24,
            enum=("statutory", "contractual", "corporate", "domain", "workflow-local"),
            default="corporate",
        ),
        *GOVERNED,
        key=("policy_id",),
    )
    create(
        "ontology_node",
        text("node_id", 64),
        text("node_type", 24, enum=("entity", "event", "metric", "policy_tag")),
        text("label", 128),
        text("attributes"),
        text("parent_id", 64, nullable=True, references="ontology_node.node_id"),
        *GOVERNED,
        key=("node_id",),
    )
    create(
        "schema_registry",
        text("subject", 128),
        integer("version"),
        text("semver", 24),
        text("format", 16, enum=("json", "avro")),
        text("schema"),
        text("compatibility", 16, enum=("none", "backward", "forward", "full"), default="backward"),
        *GOVERNED,
        key=("subject", "version"),
    )
    create(
        "publication_queue",
        text("publication_id", 64),
        text("proposal_type", 24, enum=("workflow", "step", "skill", "policy", "schema", "retirement")),
        text("proposal_body"),
        text("proposal_hash", 64),
        text("provenance"),
        ratio("confidence"),
        ratio("risk_score", default=1),
        text("risk_band", 8, nullable=True),
        text("policy_checks"),
        text(
            "decision",
            16,
            enum=("pending", "approved", "rejected", "merged", "expired", "canary", "published", "rolled_back"),
            default="pending",
        ),
        text("proposed_by", 64),
        text("decided_by", 64, nullable=True),
        timestamp("decided_at", nullable=True),
        text("published_object_id", 64, nullable=True),
        timestamp("expires_at"),
        *GOVERNED,
        key=("publication_id",),
        unique=(("proposal_hash",),),
    )
    create(
        "object_version",
        text("object_type", 32),
        text("object_id", 64),
        text("version", 24),
        text("document"),
        text("document_hash", 64),
        text("reason", 64),
        text("source", 128),
        *APPENDED,
        key=("object_type", "object_id", "version"),
    )
    create(
        "batch",
        text("batch_id", 64),
        text("kind", 24, enum=("ingest", "import", "execute", "reflect")),
        text("state", 16, enum=("open", "done")),
        text("source", 512),
        bigint("records_read", default=0),
        bigint("records_accepted", default=0),
        bigint("records_rejected", default=0),
        bigint("records_duplicate", default=0),
        text("months", default="{}"),
        timestamp("opened_at"),
        timestamp("closed_at", nullable=True),
        key=("batch_id",),
        indexes=(("kind", "state"),),
    )
    create(
        "landing_file",
        text("batch_id", 64),
        text("file_name", 255),
        text("file_id", 64),
        bigint("size_bytes"),
        timestamp("received_at"),
        text("state", 16, enum=("claimed", "deleted", "kept")),
        bigint("records_read", default=0),
        bigint("records_accepted", default=0),
        bigint("records_rejected", default=0),
        bigint("records_duplicate", default=0),
        *GOVERNED,
        key=("batch_id", "file_name"),
        indexes=(("file_id",),),
    )
    create(
        "open_episode",
        text("episode_id", 64),
        text("workflow_id", 64),
        text("workflow_version", 24),
        text("trigger_event_id", 64),
        day("episode_month"),
        text("step_id", 64),
        text("await_topic", 128),
        text("await_key", 512),
        timestamp("waiting_since"),
        timestamp("due_at"),
        text("state"),
        *GOVERNED,
        key=("episode_id",),
        indexes=(
            ("await_topic", "await_key"),
            ("due_at",),
        ),
    )
    create(
        "cursor",
        text("stage", 64),
        text("position", 64),
        text("state", 128),
        *GOVERNED,
        key=("stage", "position"),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
