"""What is said of proposals before they are published: by the gates, and by the reviewers."""

from lake.spec import APPENDED, TableSpec, boolean, identifier, json_text, text

GATE_DECISION = TableSpec(
    name="gate_decision",
    description="What each gate said of a proposal, with its reason and what it looked at; never changed.",
    grain="one row per proposal, grounds and gate",
    key=("publication_id", "grounds_hash", "gate"),
    columns=(
        identifier("publication_id", "Proposal that was judged.", references="publication_queue.publication_id"),
        text("proposal_hash", "SHA-256 of the body that was judged.", length=64),
        text(
            "grounds_hash",
            "SHA-256 of all that the judgement rests on: the queue's row, policies, skills, workflows called.",
            length=64,
        ),
        text(
            "gate",
            "Which gate.",
            length=16,
            enum=("contract", "effects", "confidence", "tests", "replay", "risk"),
        ),
        boolean("is_passed", "Whether the gate lets it through."),
        text("reason", "Why, and what would let it through if it did not.", length=1024),
        json_text("evidence", "What the gate looked at, in numbers."),
        *APPENDED,
    ),
)

PUBLICATION_REVIEW = TableSpec(
    name="publication_review",
    description="What each mandatory reviewer decided about a proposal; never changed.",
    grain="one row per proposal, grounds and mandatory reviewer",
    key=("publication_id", "grounds_hash", "reviewer_role_id"),
    columns=(
        identifier("publication_id", "Proposal that was decided.", references="publication_queue.publication_id"),
        text("proposal_hash", "SHA-256 of the body that was decided.", length=64),
        text("grounds_hash", "Grounds on which the gates had passed it when it was decided.", length=64),
        identifier("reviewer_role_id", "Mandatory reviewer that it was decided for.", references="role.role_id"),
        identifier("subject_id", "Who decided, by an own token."),
        text("subject_type", "Person or agent.", length=16, enum=("person", "agent")),
        identifier("role_id", "Role in which they decided: the reviewer's, or one above it."),
        text("decision", "What they decided.", length=16, enum=("approved", "rejected")),
        text("reason", "Why.", length=1024),
        *APPENDED,
    ),
)
