"""The journal of effects; what was done about handoffs."""

from alembic import op

from registry.migrations.shapes import ORDERED_APPENDED as APPENDED
from registry.migrations.shapes import ORDERED_GOVERNED as GOVERNED
from registry.migrations.shapes import create, integer, json, timestamp
from registry.migrations.shapes import ordered_text as text

revision = "0005"
down_revision = "0004"

TABLES_LOST = ("effect", "handoff_action")


def upgrade() -> None:
    create(
        "effect",
        text("effect_key", 256),
        text("skill_id", 64),
        text("episode_id", 64),
        text("step_id", 64),
        text("state", 16, enum=("intended", "done", "not_done", "unknown", "resolved")),
        text("request_digest", 64),
        json("result", nullable=True),
        text("error_code", 64, nullable=True),
        text("reason", 1024, nullable=True),
        text("batch_id", 64),
        timestamp("intended_at"),
        timestamp("settled_at", nullable=True),
        *GOVERNED,
        key=("effect_key",),
        indexes=(("state",), ("episode_id",)),
    )
    create(
        "handoff_action",
        text("handoff_id", 64),
        integer("seq"),
        text("episode_id", 64),
        text("step_id", 64),
        text("action", 16, enum=("reassigned", "decided")),
        text("owner_role_id", 64, references="role.role_id"),
        text("decision", 16, enum=("approved", "rejected"), nullable=True),
        text("event_id", 64, nullable=True),
        text("reason", 1024, nullable=True),
        *APPENDED,
        key=("handoff_id", "seq"),
        indexes=(("episode_id",),),
    )


def downgrade() -> None:
    op.drop_table("handoff_action")
    op.drop_table("effect")
