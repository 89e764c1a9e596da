"""Transitive compatibility and content models of schemas; what subscriptions keep out."""

import sqlalchemy as sa
from alembic import op

from registry.migrations.shapes import ORDERED_APPENDED as APPENDED
from registry.migrations.shapes import create, day, integer, is_postgresql
from registry.migrations.shapes import ordered_text as text

revision = "0004"
down_revision = "0003"

TABLES_LOST = ("trigger_refusal",)
COLUMNS_LOST = ("schema_registry.content_model",)
ROWS_LOST = {"schema_registry": "compatibility LIKE '%_transitive'"}

_MODES = ("none", "backward", "forward", "full")
_TRANSITIVE = ("backward_transitive", "forward_transitive", "full_transitive")


def upgrade() -> None:
    create(
        "trigger_refusal",
        text("trigger_id", 64),
        text("event_id", 64),
        text("workflow_id", 64),
        text("topic", 128),
        integer("schema_version"),
        day("event_month"),
        text("rule", 64, enum=("version_not_allowed", "await_version_not_allowed")),
        text("message", 1024),
        *APPENDED,
        key=("trigger_id", "event_id"),
        indexes=(("workflow_id", "event_month"),),
    )
    _allow((*_MODES, *_TRANSITIVE), was=16, now=24)
    with op.batch_alter_table("schema_registry") as changed:
        changed.add_column(
            sa.Column("content_model", sa.String(16, collation=_collation()), nullable=False, server_default="strict")
        )
        changed.create_check_constraint(
            "ck_schema_registry_content_model_enum", sa.column("content_model").in_(("strict", "lenient"))
        )


def downgrade() -> None:
    with op.batch_alter_table("schema_registry") as changed:
        changed.drop_constraint("ck_schema_registry_content_model_enum", type_="check")
        changed.drop_column("content_model")
    mode: sa.ColumnClause[str] = sa.column("compatibility")
    op.execute(sa.delete(sa.table("schema_registry", mode)).where(mode.in_(_TRANSITIVE)))
    _allow(_MODES, was=24, now=16)
    op.drop_table("trigger_refusal")


def _allow(modes: tuple[str, ...], *, was: int, now: int) -> None:
    """Let the compatibility of a subject be one of `modes`."""
    name = "ck_schema_registry_compatibility_enum"
    with op.batch_alter_table("schema_registry") as changed:
        changed.drop_constraint(name, type_="check")
        changed.alter_column(
            "compatibility",
            existing_type=sa.String(was),
            type_=sa.String(now, collation=_collation()),
            existing_nullable=False,
            existing_server_default="backward",
        )
        changed.create_check_constraint(name, sa.column("compatibility").in_(modes))


def _collation() -> str | None:
    return "C" if is_postgresql() else None
