"""The journal of effects."""

from alembic import op

from registry.migrations.shapes import ORDERED_GOVERNED as GOVERNED
from registry.migrations.shapes import create, json, timestamp
from registry.migrations.shapes import ordered_text as text

revision = "0005"
down_revision = "0004"

TABLES_LOST = ("effect",)


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


def downgrade() -> None:
    op.drop_table("effect")
