"""Effects under way, a row per group; the journal has one per effect, written with its result."""

from alembic import op

from registry.migrations.shapes import ORDERED_APPENDED as APPENDED
from registry.migrations.shapes import create, json
from registry.migrations.shapes import ordered_text as text

revision = "0008"
down_revision = "0007"

TABLES_LOST = ("open_effects",)


def upgrade() -> None:
    create(
        "open_effects",
        text("group_id", 64),
        text("skill_id", 64),
        text("step_id", 64),
        text("batch_id", 64),
        json("effects"),
        *APPENDED,
        key=("group_id",),
    )


def downgrade() -> None:
    op.drop_table("open_effects")
