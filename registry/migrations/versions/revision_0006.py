"""Decisions of gates and reviewers."""

from alembic import op

from registry.migrations.shapes import ORDERED_APPENDED as APPENDED
from registry.migrations.shapes import boolean, create, json
from registry.migrations.shapes import ordered_text as text

revision = "0006"
down_revision = "0005"

TABLES_LOST = ("gate_decision", "publication_review")

_PROPOSAL = "publication_queue.publication_id"


def upgrade() -> None:
    create(
        "gate_decision",
        text("publication_id", 64, references=_PROPOSAL),
        text("proposal_hash", 64),
        text("grounds_hash", 64),
        text("gate", 16, enum=("contract", "effects", "confidence", "tests", "replay", "risk")),
        boolean("is_passed"),
        text("reason", 1024),
        json("evidence"),
        *APPENDED,
        key=("publication_id", "grounds_hash", "gate"),
    )
    create(
        "publication_review",
        text("publication_id", 64, references=_PROPOSAL),
        text("proposal_hash", 64),
        text("grounds_hash", 64),
        text("reviewer_role_id", 64, references="role.role_id"),
        text("subject_id", 64),
        text("subject_type", 16, enum=("person", "agent")),
        text("role_id", 64),
        text("decision", 16, enum=("approved", "rejected")),
        text("reason", 1024),
        *APPENDED,
        key=("publication_id", "grounds_hash", "reviewer_role_id"),
    )


def downgrade() -> None:
    for table in reversed(TABLES_LOST):
        op.drop_table(table)
