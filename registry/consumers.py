"""Consumers of topics: which versions each of them takes, and which of those it can read.

A consumer is a workflow, or a system outside. One that declares no versions takes all of them and reads by the latest:
a subscription narrows, it is not needed to listen.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from guard.canonical import canonical, parse
from lake.tables import CONSUMER_SUBSCRIPTION, OBJECT_VERSION, SCHEMA_REGISTRY, STEP_ACTION, TRIGGER_DEF, WORKFLOW
from registry.access import check_permission, recorded_denials
from registry.comparison import compare
from registry.compatibility import Reason, check
from registry.database import TABLES, Registry, fetch, insert, upsert
from registry.documents import ConsumerSubscription, read_document
from registry.objects import NotRegistered, version_row
from registry.outbox import announce_versions
from registry.permissions import Principal
from registry.schemas import SchemaVersion, schema_versions
from registry.steps import parse_logic
from registry.versions import currents

Allowlists = Mapping[tuple[str, str], frozenset[int]]
"""(consumer, subject) -> versions, for the consumers that declare some."""

_RUNNING = ("active", "paused")
DECLARATION = "declaration"
"""Why a version of a subscription exists."""


@dataclass(frozen=True)
class Standing:
    """How a consumer stands to one version of a topic.

    Attributes:
        is_declared: whether the consumer lists its versions.
        is_allowed: whether events of the version reach it.
        reads_as: version that it reads by: the latest it takes; None if it takes none that is registered.
        reasons: why that version does not read this one; none if it does.
    """

    consumer_id: str
    subject: str
    version: int
    is_latest: bool
    is_declared: bool
    is_allowed: bool
    reads_as: int | None
    reasons: tuple[Reason, ...]

    @property
    def is_compatible(self) -> bool:
        return self.reads_as is not None and not self.reasons

    @property
    def breaks(self) -> str | None:
        """What goes wrong, None if nothing does: it takes what it cannot read, or not what is sent now."""
        if self.is_latest and not self.is_allowed:
            return (
                f"{self.consumer_id} gets no event of {self.subject} any more: version {self.version} is not among "
                f"the versions it takes; when it can read it, run rwcm schemas subscribe"
            )
        if self.is_allowed and not self.is_compatible:
            return (
                f"{self.consumer_id} takes version {self.version} of {self.subject} and reads it as version "
                f"{self.reads_as}, which does not read all of it"
            )
        return None


def allowlists(connection: sa.Connection) -> Allowlists:
    """Return the versions that consumers declare."""
    table = TABLES[CONSUMER_SUBSCRIPTION.name]
    rows = fetch(connection, sa.select(table.c.consumer_id, table.c.subject, table.c.versions))
    return {(consumer, subject): frozenset(parse(versions)) for consumer, subject, versions in rows}


def consumer_standings(
    connection: sa.Connection, *, subject: str | None = None, coming: Iterable[SchemaVersion] = ()
) -> list[Standing]:
    """Return how every consumer stands to every version of its topics, by consumer, topic and version.

    Args:
        subject: of this topic alone.
        coming: versions to look at as if they were registered.
    """
    versions = schema_versions(connection, subject)
    for new in coming:
        versions.setdefault(new.subject, []).append(new)
    declared = allowlists(connection)
    listening = _listening(connection) | set(declared)
    return [
        standing
        for consumer_id, topic in sorted(listening)
        if topic in versions
        for standing in _standings(consumer_id, versions[topic], declared.get((consumer_id, topic)))
    ]


def _standings(
    consumer_id: str, versions: Sequence[SchemaVersion], allowed: Collection[int] | None
) -> Iterator[Standing]:
    taken = [each for each in versions if allowed is None or each.version in allowed]
    reader = taken[-1] if taken else None
    for each in versions:
        reasons: list[Reason] = []
        if reader is not None and reader is not each:
            reasons = check(reader.schema, each.schema, format=reader.format, lenient=reader.is_lenient)
        yield Standing(
            consumer_id,
            each.subject,
            each.version,
            each is versions[-1],
            allowed is not None,
            each in taken,
            reader.version if reader else None,
            tuple(reasons),
        )


def _listening(connection: sa.Connection) -> set[tuple[str, str]]:
    """Return (workflow, topic) of the workflows that run and that events start or resume."""
    workflow, trigger = TABLES[WORKFLOW.name], TABLES[TRIGGER_DEF.name]
    query = (
        sa.select(trigger.c.workflow_id, trigger.c.selector)
        .join(workflow, workflow.c.workflow_id == trigger.c.workflow_id)
        .where(
            trigger.c.trigger_type == "event",
            trigger.c.last_version.is_(None),
            workflow.c.status.in_(_RUNNING),
        )
    )
    selectors = ((workflow_id, parse(selector)) for workflow_id, selector in fetch(connection, query))
    started = {(workflow_id, said["topic"]) for workflow_id, said in selectors if said.get("topic")}
    step = TABLES[STEP_ACTION.name]
    steps = (
        sa.select(step.c.workflow_id, step.c.next_step_logic)
        .join(workflow, workflow.c.workflow_id == step.c.workflow_id)
        .where(step.c.last_version.is_(None), workflow.c.status.in_(_RUNNING))
    )
    logics = ((workflow_id, parse_logic(parse(logic))) for workflow_id, logic in fetch(connection, steps))
    return started | {(workflow_id, logic.awaits.event) for workflow_id, logic in logics if logic.awaits}


def subscribe(
    registry: Registry,
    consumer_id: str,
    subject: str,
    versions: Collection[int],
    *,
    principal: Principal,
    now: datetime,
) -> None:
    """Declare the versions of a topic that a consumer takes. A version that is yet to come may be among them.

    It is a version of its own, announced like every change, but no proposal: it says what its consumer can read, which
    the consumer alone knows, and waits for nobody. What is declared already changes nothing.

    Raises:
        NotRegistered: there is no such topic.
        Denied: the principal may not publish schemas, and does not answer for the workflow.
    """
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        if not schema_versions(connection, subject):
            raise NotRegistered("topic", subject)
        workflow = TABLES[WORKFLOW.name]
        is_workflow = connection.scalar(sa.select(workflow.c.workflow_id).filter_by(workflow_id=consumer_id))
        kind, name = (WORKFLOW.name, consumer_id) if is_workflow else (SCHEMA_REGISTRY.name, subject)
        check_permission(connection, principal, "publish", kind, name, now=now)
        audit = {"created_at": now, "created_by": principal.subject_id}
        row = {
            "consumer_id": consumer_id,
            "subject": subject,
            "versions": canonical(sorted(set(versions))),
            **audit,
            "updated_at": now,
            "updated_by": principal.subject_id,
        }
        declared = {name: row[name] for name in ("consumer_id", "subject")} | {"versions": sorted(set(versions))}
        received = read_document(ConsumerSubscription, canonical(declared), name=consumer_id)
        held = currents(connection, ConsumerSubscription, [received.body.object_id]).get(received.body.object_id)
        if held is not None and held.received.hash == received.hash:
            return
        upsert(connection, CONSUMER_SUBSCRIPTION, [row])
        version = version_row(
            received,
            reason=DECLARATION,
            source=consumer_id,
            actor=principal.subject_id,
            now=now,
            version=str(int(held.version) + 1) if held else None,
            change=str(compare(held.received, received).change) if held else "initial",
            lineage={"replaces": held.version} if held else {},
        )
        insert(connection, OBJECT_VERSION, [version])
        announce_versions(connection, [version])
