"""The blueprint's index names, columns computed from JSON, embeddings of roles and agents, lineage of versions.

On PostgreSQL a JSON text becomes `json`, which keeps it byte for byte, and texts are ordered by bytes, as on SQLite.
"""

import sqlalchemy as sa
from alembic import op

from registry.migrations.shapes import computed, is_postgresql
from registry.postgresql import drop_functions, ensure_functions

revision = "0002"
down_revision = "0001"

JSON = {
    "skill_node": ("signature", "runtime_binding"),
    "workflow": ("constraints", "genome", "lineage"),
    "trigger_def": ("selector",),
    "step_action": ("parameters", "next_step_logic"),
    "agent": ("policy_profile",),
    "policy": ("spec",),
    "ontology_node": ("attributes",),
    "schema_registry": ("schema",),
    "publication_queue": ("proposal_body", "provenance", "policy_checks"),
    "object_version": ("document",),
    "batch": ("months",),
    "open_episode": ("state",),
}
"""The JSON columns of 0001."""

TABLES = (*JSON, "role", "role_skill_map", "landing_file", "cursor")
EMBEDDED = {"role": "capability_vector", "agent": "embedding"}
NAMED = {"skill_node": "skill_name", "workflow": "workflow_name"}
COMPUTED = (
    ("skill_node", "adapter", "runtime_binding", "adapter", "text"),
    ("workflow", "latency_slo_ms", "constraints", "latency_ms", "integer"),
    ("workflow", "max_error_rate", "constraints", "max_error_rate", "number"),
    ("trigger_def", "topic", "selector", "topic", "text"),
    ("step_action", "tolerance", "parameters", "tolerance", "number"),
)

VERSIONED = ("trigger_def", "step_action")
"""Objects of a workflow's versions, which now stay when a version drops them."""
ENUMS = {
    ("publication_queue", "proposal_type"): (
        ("workflow", "step", "skill", "policy", "schema", "retirement"),
        ("role", "agent", "ontology", "permission", "consumer"),
    ),
    ("batch", "kind"): (("ingest", "import", "execute", "reflect"), ("outbox",)),
}
"""What a column may hold: as it was, and what is new."""
COLUMNS_LOST = (
    "role.capability_vector",
    "agent.embedding",
    "policy.effective_from",
    "policy.effective_to",
    "trigger_def.last_version",
    "step_action.last_version",
    "object_version.lineage",
    "object_version.change",
    "object_version.publication_id",
)
WIDER = (("object_version", "object_id"), ("publication_queue", "published_object_id"))
"""Ids of objects that two columns name, which now fit."""
ROWS_LOST = {
    "publication_queue": "proposal_type IN ('role', 'agent', 'ontology', 'permission', 'consumer') "
    "OR length(published_object_id) > 64",
    "object_version": "length(object_id) > 64",
    "batch": "kind = 'outbox'",
}


def upgrade() -> None:
    if is_postgresql():
        ensure_functions(op.get_bind())
        for table in TABLES:
            _retype(table, json="JSON", collation="C")
    for table, column in EMBEDDED.items():
        with op.batch_alter_table(table) as changed:
            changed.add_column(sa.Column(column, sa.LargeBinary(), nullable=True))
            changed.create_check_constraint(f"ck_{table}_{column}_length", f"length({column}) <= 4096")
    for table, name in NAMED.items():
        with op.batch_alter_table(table) as changed:
            changed.drop_constraint(f"ux_{table}_{name}_version", type_="unique")
        op.create_index(f"ux_{name}_version", table, [name, "version"], unique=True)
    _rename_index("role", "ix_role_department", "ix_role_dept", ["department"])
    _rename_index(
        "step_action", "ix_step_action_workflow_id_sequence", "ix_step_wf_sequence", ["workflow_id", "sequence"]
    )
    for column in ("effective_from", "effective_to"):
        op.add_column("policy", sa.Column(column, sa.DateTime(timezone=True), nullable=True))
    _add_lineage()
    for table, column in WIDER:
        _fit(table, column, was=64, now=200)
    for table in VERSIONED:
        with op.batch_alter_table(table) as changed:
            changed.add_column(sa.Column("last_version", sa.String(24, collation=_collation()), nullable=True))
            changed.create_check_constraint(f"ck_{table}_last_version_length", "length(last_version) <= 24")
    for (table, column), (old, new) in ENUMS.items():
        _allow(table, column, (*old, *new))
    for table, name, source, member, kind in COMPUTED:
        op.add_column(table, computed(name, source, member, kind))
    op.create_index("ix_trigger_def_topic", "trigger_def", ["topic"])


_LINEAGE = """
UPDATE object_version AS stored
SET change = CASE WHEN replaced IS NULL THEN 'initial' ELSE 'minor' END,
    lineage = CAST(CASE WHEN replaced IS NULL THEN '{{}}' ELSE '{{"replaces":' || {0} || '}}' END AS {1})
FROM (
    SELECT object_type, object_id, version,
           lag(version) OVER (PARTITION BY object_type, object_id ORDER BY created_at, version) AS replaced
    FROM object_version
) AS history
WHERE stored.object_type = history.object_type
  AND stored.object_id = history.object_id
  AND stored.version = history.version
"""


def _add_lineage() -> None:
    """Versions that are there say what they replaced; an import that grew its workflow added to it, so it is minor."""
    json = sa.JSON() if is_postgresql() else sa.Text()
    for column in (
        sa.Column("lineage", json, nullable=True),
        sa.Column("change", sa.String(8, collation=_collation()), nullable=True),
        sa.Column("publication_id", sa.String(64, collation=_collation()), nullable=True),
    ):
        op.add_column("object_version", column)
    spelled = ("to_json(replaced)::text", "json") if is_postgresql() else ("json_quote(replaced)", "TEXT")
    op.execute(_LINEAGE.format(*spelled))
    with op.batch_alter_table("object_version") as changed:
        changed.alter_column("lineage", existing_type=json, nullable=False)
        changed.alter_column("change", existing_type=sa.String(8), nullable=False)
        changed.create_check_constraint(
            "ck_object_version_change_enum", "change IN ('initial', 'major', 'minor', 'patch')"
        )
        changed.create_check_constraint("ck_object_version_publication_id_length", "length(publication_id) <= 64")


def downgrade() -> None:
    op.drop_index("ix_trigger_def_topic", "trigger_def")
    for table, name, *_ in reversed(COMPUTED):
        op.drop_column(table, name)
    for table, condition in ROWS_LOST.items():
        op.execute(sa.delete(sa.table(table)).where(sa.text(condition)))
    for (table, column), (old, _) in ENUMS.items():
        _allow(table, column, old)
    for table, column in WIDER:
        _fit(table, column, was=200, now=64)
    for table in VERSIONED:
        op.execute(sa.delete(sa.table(table)).where(sa.text("last_version IS NOT NULL")))
        with op.batch_alter_table(table) as changed:
            changed.drop_constraint(f"ck_{table}_last_version_length", type_="check")
            changed.drop_column("last_version")
    with op.batch_alter_table("object_version") as changed:
        changed.drop_constraint("ck_object_version_change_enum", type_="check")
        changed.drop_constraint("ck_object_version_publication_id_length", type_="check")
        for column in ("lineage", "change", "publication_id"):
            changed.drop_column(column)
    for column in ("effective_from", "effective_to"):
        op.drop_column("policy", column)
    _rename_index(
        "step_action", "ix_step_wf_sequence", "ix_step_action_workflow_id_sequence", ["workflow_id", "sequence"]
    )
    _rename_index("role", "ix_role_dept", "ix_role_department", ["department"])
    for table, name in NAMED.items():
        op.drop_index(f"ux_{name}_version", table)
        with op.batch_alter_table(table) as changed:
            changed.create_unique_constraint(f"ux_{table}_{name}_version", [name, "version"])
    for table, column in EMBEDDED.items():
        with op.batch_alter_table(table) as changed:
            changed.drop_constraint(f"ck_{table}_{column}_length", type_="check")
            changed.drop_column(column)
    if is_postgresql():
        for table in TABLES:
            _retype(table, json="TEXT", collation="default")
        drop_functions(op.get_bind())


def _collation() -> str | None:
    return "C" if is_postgresql() else None


def _fit(table: str, column: str, *, was: int, now: int) -> None:
    """Let a text be `now` characters long at most."""
    name = f"ck_{table}_{column}_length"
    with op.batch_alter_table(table) as changed:
        changed.drop_constraint(name, type_="check")
        changed.alter_column(
            column, existing_type=sa.String(was), type_=sa.String(now, collation=_collation()), existing_nullable=True
        )
        changed.create_check_constraint(name, f"length({column}) <= {now}")


def _allow(table: str, column: str, values: tuple[str, ...]) -> None:
    """Let a column hold `values` and nothing else."""
    name = f"ck_{table}_{column}_enum"
    with op.batch_alter_table(table) as changed:
        changed.drop_constraint(name, type_="check")
        changed.create_check_constraint(name, sa.column(column).in_(values))


def _rename_index(table: str, old: str, new: str, columns: list[str]) -> None:
    op.drop_index(old, table)
    op.create_index(new, table, columns)


def _retype(table: str, *, json: str, collation: str) -> None:
    """Give the JSON columns of a PostgreSQL table the type `json`, and its other texts the collation."""
    connection = op.get_bind()
    quote = connection.dialect.identifier_preparer.quote
    changes: list[str] = []
    for column in sa.inspect(connection).get_columns(table):
        name = quote(column["name"])
        if column["name"] in JSON.get(table, ()):
            changes += [f"ALTER COLUMN {name} DROP DEFAULT", f"ALTER COLUMN {name} TYPE {json} USING {name}::{json}"]
            if column["default"]:
                changes.append(f"ALTER COLUMN {name} SET DEFAULT '{{}}'")
        elif isinstance(column["type"], sa.String):
            length = f"({column['type'].length})" if column["type"].length else ""
            kind = "VARCHAR" if length else "TEXT"
            changes.append(f'ALTER COLUMN {name} TYPE {kind}{length} COLLATE "{collation}"')
    op.execute(sa.text(f"ALTER TABLE {table} " + ", ".join(changes)))
