"""The governed tables: the blueprint's relational schema with the changes that docs/architecture.md explains."""

from lake.spec import (
    APPENDED,
    GOVERNED,
    Generated,
    Index,
    Kind,
    TableSpec,
    binary,
    boolean,
    identifier,
    integer,
    json_text,
    ratio,
    text,
    timestamp,
)

ROLE = TableSpec(
    name="role",
    description="Responsibility nodes, human, agent or both.",
    grain="one row per role",
    key=("role_id",),
    indexes=(Index(name="ix_role_dept", columns=("department",)),),
    columns=(
        identifier("role_id", "Id of the role."),
        text("role_title", "Title.", length=128),
        text("department", "Department.", length=64),
        text("hierarchy_level", "I (highest) to V.", length=8, enum=("I", "II", "III", "IV", "V")),
        identifier("supervises_role_id", "Role that supervises this one.", nullable=True, references="role.role_id"),
        text("role_type", "Who fills it.", length=16, enum=("human", "agent", "hybrid"), default="human"),
        binary(
            "capability_vector", "Embedding of what the role can do, as packed float32.", length=4096, nullable=True
        ),
        *GOVERNED,
    ),
)

SKILL_NODE = TableSpec(
    name="skill_node",
    description="Atomic capabilities, each with a versioned signature and a binding to an adapter.",
    grain="one row per skill, its current version",
    key=("skill_id",),
    indexes=(Index(name="ux_skill_name_version", columns=("skill_name", "version"), is_unique=True),),
    generated=(
        Generated(
            name="adapter",
            kind=Kind.TEXT,
            source="runtime_binding",
            path=("adapter",),
            description="Adapter that the skill is bound to.",
        ),
    ),
    columns=(
        identifier("skill_id", "Id of the skill."),
        text("skill_name", "Name.", length=128),
        text(
            "category",
            "Kind of capability.",
            length=64,
            enum=(
                "ingestion",
                "tool",
                "logic",
                "comm",
                "hcm",
                "api",
                "iam",
                "ml",
                "nlp",
                "viz",
                "etl",
                "generator",
            ),
        ),
        json_text("signature", "Contract: name, args, returns, errors."),
        text("description", "What it does."),
        json_text("runtime_binding", "Adapter, endpoint, secret reference, timeouts, declared effects."),
        text("version", "Semantic version.", length=24),
        text(
            "stability_tier", "How settled it is.", length=16, enum=("exp", "beta", "ga", "restricted"), default="exp"
        ),
        identifier("owner_role_id", "Role that answers for it.", references="role.role_id"),
        boolean("is_generator", "Whether it can synthesise workflows or skills.", default=False),
        *GOVERNED,
    ),
)

ROLE_SKILL_MAP = TableSpec(
    name="role_skill_map",
    description="What a role may do with a skill.",
    grain="one row per role and skill",
    key=("role_id", "skill_id"),
    columns=(
        identifier("role_id", "Role.", references="role.role_id"),
        identifier("skill_id", "Skill.", references="skill_node.skill_id"),
        text("permission", "Highest permission.", length=16, enum=("use", "maintain", "publish"), default="use"),
        *GOVERNED,
    ),
)

WORKFLOW = TableSpec(
    name="workflow",
    description="Goal-directed programs of steps, with their objectives and constraints.",
    grain="one row per workflow, its current version",
    key=("workflow_id",),
    indexes=(Index(name="ux_workflow_name_version", columns=("workflow_name", "version"), is_unique=True),),
    generated=(
        Generated(
            name="latency_slo_ms",
            kind=Kind.BIGINT,
            source="constraints",
            path=("latency_ms",),
            description="Longest time that an episode may take.",
        ),
        Generated(
            name="max_error_rate",
            kind=Kind.DOUBLE,
            source="constraints",
            path=("max_error_rate",),
            description="Share of failed episodes that the workflow may have.",
        ),
    ),
    columns=(
        identifier("workflow_id", "Id of the workflow."),
        text("workflow_name", "Name.", length=128),
        text("objective", "What it is for."),
        json_text("constraints", "SLOs (latency_ms, max_error_rate) and policy tags."),
        identifier("responsible_role_id", "Role that answers for it.", references="role.role_id"),
        json_text("genome", "Goals, predicates and resources."),
        text("status", "Whether it runs.", length=16, enum=("draft", "active", "paused", "retired"), default="draft"),
        text("version", "Semantic version.", length=24),
        json_text("lineage", "Where it came from."),
        *GOVERNED,
    ),
)

TRIGGER_DEF = TableSpec(
    name="trigger_def",
    description="What starts a workflow.",
    grain="one row per trigger that a version of a workflow had",
    key=("trigger_id",),
    indexes=(("topic",),),
    generated=(
        Generated(
            name="topic",
            kind=Kind.TEXT,
            source="selector",
            path=("topic",),
            description="Topic that the trigger listens to.",
        ),
    ),
    columns=(
        identifier("trigger_id", "Id of the trigger."),
        identifier("workflow_id", "Workflow it starts.", references="workflow.workflow_id"),
        text("trigger_type", "Kind.", length=24, enum=("event", "schedule", "condition", "webhook")),
        json_text("selector", "Topic, cron or predicate."),
        text(
            "last_version",
            "Last version of the workflow that had it; null while the current one does.",
            length=24,
            nullable=True,
        ),
        *GOVERNED,
    ),
)

STEP_ACTION = TableSpec(
    name="step_action",
    description="Executable units of a workflow with the logic that says what comes next.",
    grain="one row per step that a version of a workflow had, as the last such version states it",
    key=("step_id",),
    indexes=(Index(name="ix_step_wf_sequence", columns=("workflow_id", "sequence")),),
    generated=(
        Generated(
            name="tolerance",
            kind=Kind.DOUBLE,
            source="parameters",
            path=("tolerance",),
            description="Tolerance of a check, where it is a number.",
        ),
    ),
    columns=(
        identifier("step_id", "Id of the step, unique over all workflows."),
        identifier("workflow_id", "Workflow it belongs to.", references="workflow.workflow_id"),
        integer("sequence", "Position for readers; the order of execution is in next_step_logic."),
        text(
            "action_type",
            "Kind of action.",
            length=24,
            enum=(
                "data_extraction",
                "logic_check",
                "tool_call",
                "branch",
                "handoff",
                "notify",
                "generate",
                "record",
            ),
        ),
        identifier("skill_id", "Skill it calls.", references="skill_node.skill_id"),
        json_text("parameters", "Arguments; ${...} is an expression over the episode."),
        json_text("next_step_logic", "Where to go next: the step DSL."),
        integer("timeout_ms", "Limit of one attempt.", default=300000),
        integer("retries", "Further attempts after the first.", default=2),
        text("idempotency_key", "Base of the effective key of an effect.", length=64, nullable=True),
        text(
            "last_version",
            "Last version of the workflow that had it; null while the current one does.",
            length=24,
            nullable=True,
        ),
        *GOVERNED,
    ),
)

AGENT = TableSpec(
    name="agent",
    description="Execution principals, human or autonomous.",
    grain="one row per agent",
    key=("agent_id",),
    columns=(
        identifier("agent_id", "Id of the agent."),
        text("agent_name", "Name.", length=128),
        text(
            "agent_type",
            "Kind.",
            length=24,
            enum=("l2_orchestrator", "skill_agent", "human_proxy", "evaluator"),
        ),
        identifier("role_id", "Role it acts in.", references="role.role_id"),
        json_text("policy_profile", "What narrows its role: skills it runs, actions, denials."),
        binary("embedding", "Embedding of how the agent behaves, as packed float32.", length=4096, nullable=True),
        text("organisation", "Who it belongs to.", length=64, default="internal"),
        *GOVERNED,
    ),
)

POLICY = TableSpec(
    name="policy",
    description="Guardrails for data, security, compliance, operations and publishing.",
    grain="one row per policy, its current version",
    key=("policy_id",),
    columns=(
        identifier("policy_id", "Id of the policy."),
        text("policy_name", "Name.", length=128),
        text("scope", "What it governs.", length=24, enum=("data", "security", "compliance", "mlops", "publishing")),
        json_text("spec", "The rules."),
        identifier("owner_role_id", "Role that answers for it.", references="role.role_id"),
        text(
            "precedence",
            "Rank when policies contradict.",
            length=24,
            enum=("statutory", "contractual", "corporate", "domain", "workflow-local"),
            default="corporate",
        ),
        timestamp("effective_from", "From when it holds; null for always.", nullable=True),
        timestamp("effective_to", "Until when it holds, exclusive; null for ever.", nullable=True),
        *GOVERNED,
    ),
)

ONTOLOGY_NODE = TableSpec(
    name="ontology_node",
    description="Terms that tag entities, events, metrics and policies.",
    grain="one row per term",
    key=("node_id",),
    columns=(
        identifier("node_id", "Id of the term."),
        text("node_type", "Kind.", length=24, enum=("entity", "event", "metric", "policy_tag")),
        text("label", "Name for readers.", length=128),
        json_text("attributes", "More about it."),
        identifier("parent_id", "Broader term.", nullable=True, references="ontology_node.node_id"),
        *GOVERNED,
    ),
)

SCHEMA_REGISTRY = TableSpec(
    name="schema_registry",
    description="Schemas of event payloads.",
    grain="one row per subject and version",
    key=("subject", "version"),
    columns=(
        text("subject", "Topic whose payloads it describes.", length=128),
        integer("version", "From 1."),
        text("semver", "Minor for compatible, major for breaking changes.", length=24),
        text("format", "Language of the schema.", length=16, enum=("json", "avro")),
        json_text("schema", "The schema."),
        text(
            "compatibility",
            "What the next version must be; transitive modes look at every version before it.",
            length=24,
            enum=(
                "none",
                "backward",
                "forward",
                "full",
                "backward_transitive",
                "forward_transitive",
                "full_transitive",
            ),
            default="backward",
        ),
        text(
            "content_model",
            "Whether an optional property may join an object that is open (lenient) or not (strict).",
            length=16,
            enum=("strict", "lenient"),
            default="strict",
        ),
        *GOVERNED,
    ),
)

CONSUMER_SUBSCRIPTION = TableSpec(
    name="consumer_subscription",
    description="Which versions of a topic's schema a consumer can read; events of other versions do not reach it.",
    grain="one row per consumer and subject",
    key=("consumer_id", "subject"),
    columns=(
        identifier("consumer_id", "Workflow, or outside system, that reads the topic."),
        text("subject", "Topic that it reads.", length=128),
        json_text("versions", "The versions it can read, as a list of integers."),
        *GOVERNED,
    ),
)

PUBLICATION_QUEUE = TableSpec(
    name="publication_queue",
    description="Proposed changes, from proposal to publication.",
    grain="one row per proposal",
    key=("publication_id",),
    unique=(("proposal_hash",),),
    columns=(
        identifier("publication_id", "Follows from the proposal's hash."),
        text(
            "proposal_type",
            "What it would change.",
            length=24,
            enum=(
                "workflow",
                "step",
                "skill",
                "policy",
                "schema",
                "retirement",
                "role",
                "agent",
                "ontology",
                "permission",
                "consumer",
            ),
        ),
        json_text("proposal_body", "The change itself."),
        text("proposal_hash", "SHA-256 of the body's canonical JSON; the same proposal is queued once.", length=64),
        json_text("provenance", "Episodes, step runs, proofs and tests it rests on."),
        ratio("confidence", "How sure the evidence makes it, 0..1."),
        ratio("risk_score", "0..1; stays 1 (nothing passes) until the risk gate has assessed it.", default=1),
        text("risk_band", "Band of the risk score; null until assessed.", length=8, nullable=True),
        json_text("policy_checks", "Decision proofs of the gates."),
        text(
            "decision",
            "Where it stands.",
            length=16,
            enum=(
                "pending",
                "approved",
                "rejected",
                "merged",
                "expired",
                "canary",
                "published",
                "rolled_back",
            ),
            default="pending",
        ),
        identifier("proposed_by", "Agent that proposed it."),
        identifier("decided_by", "Who decided.", nullable=True),
        timestamp("decided_at", "When it was decided.", nullable=True),
        identifier("published_object_id", "Object that came of it.", length=200, nullable=True),
        timestamp("expires_at", "When it closes by itself if nobody acts."),
        *GOVERNED,
    ),
)

OBJECT_VERSION = TableSpec(
    name="object_version",
    description="Every version of every governed object, immutable.",
    grain="one row per object and version",
    key=("object_type", "object_id", "version"),
    columns=(
        text("object_type", "Table of the object.", length=32),
        identifier("object_id", "Id of the object; of a pair, both with a slash between.", length=200),
        text("version", "Semantic version, or the ordinal of objects that carry none.", length=24),
        json_text("document", "The document as received."),
        text("document_hash", "SHA-256 of the document's canonical JSON.", length=64),
        json_text("lineage", "The version it replaced, what it derives from and why."),
        text(
            "change",
            "What the bump of the version says of it, found by comparing.",
            length=8,
            enum=("initial", "major", "minor", "patch"),
        ),
        identifier("publication_id", "Publication that made it current; null for the pack and imports.", nullable=True),
        text("reason", "Why the version exists: bootstrap, import or a publication.", length=64),
        text("source", "Digest of the pack, or id of the publication or log.", length=128),
        *APPENDED,
    ),
)
