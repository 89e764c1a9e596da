"""Legal holds, and purges that left no receipt yet."""

from alembic import op

from registry.migrations.shapes import ORDERED_APPENDED as APPENDED
from registry.migrations.shapes import ORDERED_GOVERNED as GOVERNED
from registry.migrations.shapes import create, day, json, timestamp
from registry.migrations.shapes import ordered_text as text

revision = "0007"
down_revision = "0006"

TABLES_LOST = ("legal_hold", "open_purge")

_CLASSES = ("events", "telemetry", "pii", "record")


def upgrade() -> None:
    create(
        "legal_hold",
        text("hold_id", 64),
        text("table_name", 64),
        day("first_month"),
        day("last_month"),
        text("reason", 1024),
        timestamp("released_at", nullable=True),
        text("released_by", 64, nullable=True),
        text("release_reason", 1024, nullable=True),
        *GOVERNED,
        key=("hold_id",),
        indexes=(("table_name", "first_month"),),
    )
    create(
        "open_purge",
        text("table_name", 64),
        text("retention", 16, enum=_CLASSES),
        day("about_month"),
        json("receipt"),
        text("fingerprint", 64),
        *APPENDED,
        key=("table_name", "retention", "about_month"),
    )


def downgrade() -> None:
    op.drop_table("open_purge")
    op.drop_table("legal_hold")
