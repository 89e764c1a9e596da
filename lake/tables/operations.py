"""What is under way: batches with their accounting, landed files, episodes that wait, events to be sent, tokens."""

from lake.spec import (
    APPENDED,
    GOVERNED,
    RETENTIONS,
    TableSpec,
    bigint,
    boolean,
    day,
    identifier,
    integer,
    json_text,
    text,
    timestamp,
)

BATCH = TableSpec(
    name="batch",
    description="Units of work, named before they start; their accounting always closes.",
    grain="one row per batch",
    key=("batch_id",),
    indexes=(("kind", "state"),),
    columns=(
        identifier("batch_id", "Follows from what the batch holds, so a retry has the same name."),
        text(
            "kind", "Which stage it belongs to.", length=24, enum=("ingest", "outbox", "import", "execute", "reflect")
        ),
        text("state", "Whether it is done.", length=16, enum=("open", "done")),
        text("source", "File, log or table the batch reads.", length=512),
        bigint("records_read", "Records read.", default=0),
        bigint("records_accepted", "Of these accepted.", default=0),
        bigint("records_rejected", "Of these refused, each with a dead letter.", default=0),
        bigint("records_duplicate", "Of these known already.", default=0),
        json_text("months", "Rows appended per table and month.", default="{}"),
        timestamp("opened_at", "When it was named."),
        timestamp("closed_at", "When it was done.", nullable=True),
    ),
)

LANDING_FILE = TableSpec(
    name="landing_file",
    description="Files that landed, claimed once by their content.",
    grain="one row per file of a batch",
    key=("batch_id", "file_name"),
    indexes=(("file_id",),),
    columns=(
        identifier("batch_id", "Batch that claimed it."),
        text("file_name", "Name under which it landed.", length=255),
        identifier("file_id", "SHA-256 of the file."),
        bigint("size_bytes", "Size as landed."),
        timestamp("received_at", "When it landed: its modification time."),
        text(
            "state",
            "Where the raw file is: with its batch, gone, or kept for the dead letters that point into it.",
            length=16,
            enum=("claimed", "deleted", "kept"),
        ),
        bigint("records_read", "Records read.", default=0),
        bigint("records_accepted", "Of these accepted.", default=0),
        bigint("records_rejected", "Of these refused.", default=0),
        bigint("records_duplicate", "Of these known already.", default=0),
        *GOVERNED,
    ),
)

OPEN_EPISODE = TableSpec(
    name="open_episode",
    description="Episodes that wait for an event or a timer; they hold no process.",
    grain="one row per open episode",
    key=("episode_id",),
    indexes=(("await_topic", "await_key"), ("due_at",)),
    columns=(
        identifier("episode_id", "Id of the episode."),
        identifier("workflow_id", "Workflow that runs."),
        text("workflow_version", "Version it started under and will end under.", length=24),
        identifier("trigger_event_id", "Event that started it."),
        day("episode_month", "Month in which it started."),
        identifier("step_id", "Step it stands on."),
        text("await_topic", "Topic it waits for.", length=128),
        text("await_key", "Value that the awaited event must carry.", length=512),
        timestamp("waiting_since", "Since when it waits."),
        timestamp("due_at", "When the wait times out."),
        json_text("state", "All that the engine needs to go on: outputs and step runs so far."),
        *GOVERNED,
    ),
)

CURSOR = TableSpec(
    name="cursor",
    description="How far a stage has come; a hint that saves work, never the truth about what is done.",
    grain="one row per stage and month",
    key=("stage", "position"),
    columns=(
        text("stage", "Stage that remembers.", length=64),
        text("position", "What it remembers it for, such as a month.", length=64),
        text("state", "What it saw there.", length=128),
        *GOVERNED,
    ),
)

OUTBOX = TableSpec(
    name="outbox",
    description="Events that announce a change and commit with it; ingestion carries them to event_bus, once.",
    grain="one row per announced event",
    key=("event_id",),
    indexes=(("batch_id",),),
    columns=(
        identifier("event_id", "Follows from what it announces, or is random where nothing names it."),
        text("topic", "Subject whose schema the payload fulfils.", length=128),
        json_text("payload", "What is announced; no secret and no personal data."),
        timestamp("produced_at", "When the change was made."),
        text("producer_id", "Who made the change.", length=512),
        identifier("batch_id", "Batch that carried it to event_bus; null while it waits.", nullable=True),
        *APPENDED,
    ),
)

ACCESS_TOKEN = TableSpec(
    name="access_token",
    description="Tokens that bind a person or an agent to a role; only their hashes are kept.",
    grain="one row per token",
    key=("token_id",),
    unique=(("token_hash",),),
    indexes=(("subject_id",),),
    columns=(
        identifier("token_id", "Names the token in lists and audit; no secret."),
        text("token_hash", "SHA-256 of the token.", length=64),
        identifier("subject_id", "Person or agent that it speaks for."),
        text("subject_type", "Which of the two.", length=16, enum=("person", "agent")),
        identifier("role_id", "Role that its bearer acts in.", references="role.role_id"),
        timestamp("expires_at", "When it ends by itself."),
        timestamp("revoked_at", "When it was revoked; null while it holds.", nullable=True),
        identifier("revoked_by", "Who revoked it.", nullable=True),
        *GOVERNED,
    ),
)

DEAD_LETTER_RESOLUTION = TableSpec(
    name="dead_letter_resolution",
    description="What was done about a dead letter; one without a row is open.",
    grain="one row per dead letter that was worked on",
    key=("dead_letter_id",),
    columns=(
        identifier("dead_letter_id", "The dead letter."),
        text("action", "What was done.", length=16, enum=("replayed", "repaired", "dismissed")),
        text(
            "file_name",
            "Name under which its record landed again; null where it was dismissed.",
            length=255,
            nullable=True,
        ),
        text(
            "reason",
            "Why it was dismissed, or which members were changed; names fields, never values.",
            length=1024,
            nullable=True,
        ),
        *GOVERNED,
    ),
)

TRIGGER_REFUSAL = TableSpec(
    name="trigger_refusal",
    description="Events that start or resume nothing: the subscription of their workflow does not list their version.",
    grain="one row per event that is refused now, and trigger or step that it was for",
    key=("trigger_id", "event_id"),
    indexes=(("workflow_id", "event_month"),),
    columns=(
        identifier("trigger_id", "Trigger that takes the topic, or step that awaits it."),
        identifier("event_id", "Event that starts or resumes nothing."),
        identifier("workflow_id", "Workflow that does not run, or waits on."),
        text("topic", "Topic of the event.", length=128),
        integer("schema_version", "Version of the schema that it was accepted by."),
        day("event_month", "Month of the event, in UTC."),
        text("rule", "Rule that refused it.", length=64, enum=("version_not_allowed", "await_version_not_allowed")),
        text("message", "What is refused and what would let it pass.", length=1024),
        *APPENDED,
    ),
)

SCHEMA_CONSUMER = TableSpec(
    name="schema_consumer",
    description="Who can read which version of which topic, found by comparing; made anew with the registry's mirror.",
    grain="one row per consumer, subject and version",
    key=("consumer_id", "subject", "version"),
    columns=(
        identifier("consumer_id", "Workflow, or outside system, that reads the topic."),
        text("subject", "Topic that it reads.", length=128),
        integer("version", "Version of the topic's schema."),
        boolean("is_latest", "Whether it is the version that events are accepted by now."),
        boolean("is_declared", "Whether the consumer lists its versions; one that does not takes all."),
        boolean("is_allowed", "Whether its events reach the consumer."),
        integer("reads_as", "Version that the consumer reads by: the latest it takes; null for none.", nullable=True),
        boolean("is_compatible", "Whether that version reads what this one describes."),
        text("reason", "First reason why it does not.", nullable=True),
    ),
)

EFFECT = TableSpec(
    name="effect",
    description="Journal of effects on other systems: what was meant, written before, and what came of it.",
    grain="one row per effective idempotency key",
    key=("effect_key",),
    indexes=(("state",), ("episode_id",)),
    columns=(
        text(
            "effect_key",
            "Names the effect: the step's key, the episode, and the direction of a compensation.",
            length=256,
        ),
        identifier("skill_id", "Skill whose effect it is."),
        identifier("episode_id", "Episode that it belongs to."),
        identifier("step_id", "Step that it belongs to."),
        text(
            "state",
            "Intended; done, with what the other side answered; certainly not done, so that it may be tried; unknown "
            "until a person says; or resolved by one.",
            length=16,
            enum=("intended", "done", "not_done", "unknown", "resolved"),
        ),
        text("request_digest", "SHA-256 of the request; the same key with another request is refused.", length=64),
        json_text("result", "What the skill returned, as an array in the order of its columns.", nullable=True),
        text("error_code", "Code of the failure, if it was one.", length=64, nullable=True),
        text("reason", "Why a person resolved it so.", length=1024, nullable=True),
        identifier("batch_id", "Batch of the execution that meant it last."),
        timestamp("intended_at", "When it was meant last."),
        timestamp("settled_at", "When its state became what it is; null while it is intended.", nullable=True),
        *GOVERNED,
    ),
)

OPEN_EFFECTS = TableSpec(
    name="open_effects",
    description="Effects that were meant and whose results are not written yet: one row until then, for as many as go "
    "through together.",
    grain="one row per group of effects under way, or left by a crash and not looked at since",
    key=("group_id",),
    columns=(
        identifier("group_id", "Random."),
        identifier("skill_id", "Skill whose effects they are."),
        identifier("step_id", "Step that they belong to."),
        identifier("batch_id", "Batch of the execution that means them."),
        json_text("effects", "Three arrays of one length: their keys, their episodes, the digests of their requests."),
        *APPENDED,
    ),
)

LEGAL_HOLD = TableSpec(
    name="legal_hold",
    description="Months that no purge may touch, with the reason; a released hold stays as a record.",
    grain="one row per hold",
    key=("hold_id",),
    indexes=(("table_name", "first_month"),),
    columns=(
        identifier("hold_id", "Id of the hold."),
        text("table_name", "Table that is held; * for all, `landing` for raw files.", length=64),
        day("first_month", "First month that is held."),
        day("last_month", "Last month that is held."),
        text("reason", "Why, such as the case number.", length=1024),
        timestamp("released_at", "When it was released; null while it holds.", nullable=True),
        identifier("released_by", "Who released it.", nullable=True),
        text("release_reason", "Why it was released.", length=1024, nullable=True),
        *GOVERNED,
    ),
)

OPEN_PURGE = TableSpec(
    name="open_purge",
    description="Purges that have begun and left no receipt yet: written before anything is deleted.",
    grain="one row per table, class of retention and month that is being purged",
    key=("table_name", "retention", "about_month"),
    columns=(
        text("table_name", "Table that is purged.", length=64),
        text("retention", "Class of retention.", length=16, enum=RETENTIONS),
        day("about_month", "Month that is purged."),
        json_text("receipt", "The receipt that it will leave."),
        text("fingerprint", "State of the month before anything was deleted.", length=64),
        *APPENDED,
    ),
)

RETAINED_DATA = TableSpec(
    name="retained_data",
    description="What the home holds, by class of retention; made anew with the registry's mirror.",
    grain="one row per table, class of retention, month and, of personal data, day of recording",
    key=("table_name", "retention", "month_on", "recorded_on"),
    columns=(
        text("table_name", "Table; `landing` for raw files.", length=64),
        text("retention", "Class of retention.", length=16, enum=RETENTIONS),
        day("month_on", "Month of the table."),
        day("recorded_on", "Day that the clock runs from: of a month's newest row, or of the personal data."),
        day("oldest_on", "Day of the oldest row."),
        bigint("rows", "Rows that hold something to purge, or files of the landing zone."),
        text("fingerprint", "Changes with the month's files.", length=64),
    ),
)

HANDOFF_ACTION = TableSpec(
    name="handoff_action",
    description="What was done about handoffs that wait for a person; one without a row is as its step left it.",
    grain="one row per action on a handoff",
    key=("handoff_id", "seq"),
    indexes=(("episode_id",),),
    columns=(
        identifier("handoff_id", "The handoff: an episode's wait at a step since a moment."),
        integer("seq", "Place of the action among those on the handoff, from 1."),
        identifier("episode_id", "Episode that waits."),
        identifier("step_id", "Step that handed it off."),
        text("action", "What was done.", length=16, enum=("reassigned", "decided")),
        identifier("owner_role_id", "Role that the handoff belongs to from then on.", references="role.role_id"),
        text("decision", "What was decided.", length=16, enum=("approved", "rejected"), nullable=True),
        identifier("event_id", "Event that carries the decision to the episode.", nullable=True),
        text("reason", "Why, in the words of who did it.", length=1024, nullable=True),
        *APPENDED,
    ),
)
