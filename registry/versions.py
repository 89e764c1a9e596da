"""Versions of governed objects: which one is current, which ones there were, and how a new one becomes current.

`object_version` holds every version that was ever current and is never changed. An object whose document carries no
number is numbered 1, 2, 3. The tables of current objects hold the current version only, except that nothing which a
run may name is ever deleted: a step or trigger that a new version leaves out stays, with the last version that had it.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic

import sqlalchemy as sa

from guard.canonical import parse
from lake.spec import TableSpec
from lake.tables import OBJECT_VERSION, STEP_ACTION, TRIGGER_DEF
from registry.database import SPECS, TABLES, fetch, insert, upsert
from registry.documents import (
    Agent,
    D,
    Document,
    EventSchema,
    OntologyNode,
    Policy,
    Received,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
    read_document,
)
from registry.objects import NotRegistered, Row, document_in_version, rows_of, version_row
from registry.outbox import POLICY_UPDATED, announce_many, announce_versions

BOOTSTRAP, IMPORT, PUBLICATION, ROLLBACK = "bootstrap", "import", "publication", "rollback"
"""Why a version exists."""

KINDS: Mapping[str, type[Document]] = {
    kind.spec.name: kind for kind in (Role, SkillNode, RoleSkill, Agent, OntologyNode, Policy, EventSchema, Workflow)
}
"""Kinds of governed objects by type, in an order in which every reference is met."""

_AT_ONCE = 500
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True)
class Version:
    """One version of an object, without its document.

    Attributes:
        change: what comparing it with the one before said: initial, major, minor or patch.
        reason: bootstrap, import, publication or rollback.
        source: digest of the pack, or id of the publication or log.
        lineage: what it replaced, what it derives from and why.
        is_current: whether it holds now.
    """

    object_type: str
    object_id: str
    version: str
    change: str
    reason: str
    source: str
    publication_id: str | None
    lineage: Mapping[str, Any]
    created_at: datetime
    created_by: str
    is_current: bool

    @property
    def why(self) -> str:
        """Why it exists, in a few words."""
        reason = self.lineage.get("reason")
        if restored := self.lineage.get("restores"):
            return f"{self.reason} to {restored}: {reason}"
        return f"{self.reason}: {reason}" if reason else self.reason


@dataclass(frozen=True)
class Current(Generic[D]):
    """The version of an object that holds now."""

    version: str
    received: Received[D]


@dataclass(frozen=True)
class NewVersion(Generic[D]):
    """A document that is about to become current, and what `object_version` will say of it.

    Attributes:
        replaces: the version that was current, None for a new object.
    """

    received: Received[D]
    version: str
    change: str
    reason: str
    source: str
    replaces: str | None = None
    publication_id: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)


def kind_of(object_type: str) -> type[Document]:
    """Return the kind of document of a type.

    Raises:
        NotRegistered: there is no such type.
    """
    kind = KINDS.get(object_type)
    if kind is None:
        raise NotRegistered(f"kind of object ({', '.join(KINDS)})", object_type)
    return kind


def is_numbered(kind: type[Document]) -> bool:
    """Tell whether documents of a kind carry a semantic version."""
    return "version" in kind.model_fields and kind is not EventSchema


def version_order(version: str) -> tuple[int, ...]:
    """Return what sorts versions of one object: 1.10.0 comes after 1.9.0, and 10 after 9."""
    return tuple(int(number) for number in _NUMBERS.findall(version.partition("-")[0]))


def current_numbers(
    connection: sa.Connection, kind: type[Document], ids: Collection[str] | None = None
) -> dict[str, str]:
    """Return which version of the objects of a kind is current, by id; of those in `ids` if it is given."""
    found: dict[str, str] = {}
    for object_id, version in _rows(connection, kind, ("object_id", "version"), ids):
        if object_id not in found or version_order(version) > version_order(found[object_id]):
            found[object_id] = version
    return dict(sorted(found.items()))


def currents(connection: sa.Connection, kind: type[D], ids: Collection[str] | None = None) -> dict[str, Current[D]]:
    """Return the current versions of the objects of a kind by id; of those in `ids` if it is given."""
    found: dict[str, tuple[str, str]] = {}
    for object_id, version, document in _rows(connection, kind, ("object_id", "version", "document"), ids):
        if object_id not in found or version_order(version) > version_order(found[object_id][0]):
            found[object_id] = version, document
    return {
        object_id: Current(version, read_document(kind, document, name=object_id))
        for object_id, (version, document) in sorted(found.items())
    }


def _rows(
    connection: sa.Connection, kind: type[Document], names: Sequence[str], ids: Collection[str] | None
) -> Iterator[tuple[Any, ...]]:
    """Yield columns of the versions among which the current ones are: of numbered kinds they alone."""
    versions = TABLES[OBJECT_VERSION.name]
    query = sa.select(*(versions.c[name] for name in names)).where(versions.c.object_type == kind.spec.name)
    if is_numbered(kind):
        table = TABLES[kind.spec.name]
        holds = sa.and_(versions.c.object_id == table.c[kind.spec.key[0]], versions.c.version == table.c.version)
        query = query.join(table, holds)
    for part in _parts(ids):
        yield from fetch(connection, query if part is None else query.where(versions.c.object_id.in_(part)))


def _parts(ids: Collection[str] | None) -> Iterator[list[str] | None]:
    """Cut a list of ids into what one statement takes."""
    if ids is None:
        yield None
        return
    listed = sorted(ids)
    for start in range(0, len(listed), _AT_ONCE):
        yield listed[start : start + _AT_ONCE]


def current(connection: sa.Connection, kind: type[D], object_id: str) -> Current[D]:
    """Return the current version of one object.

    Raises:
        NotRegistered: there is no such object.
    """
    found = currents(connection, kind, [object_id]).get(object_id)
    if found is None:
        raise NotRegistered(kind.spec.name, object_id)
    return found


def document_of(connection: sa.Connection, kind: type[D], object_id: str, version: str | None = None) -> Current[D]:
    """Return one version of an object with its number, the current one if none is named.

    Raises:
        NotRegistered: there is no such object or version.
    """
    if version is None:
        return current(connection, kind, object_id)
    received = document_in_version(connection, kind, object_id, version)
    if received is None:
        raise NotRegistered(kind.spec.name, object_id, version)
    return Current(version, received)


def history(connection: sa.Connection, kind: type[Document], object_id: str) -> list[Version]:
    """Return the versions of an object from the first to the last.

    Raises:
        NotRegistered: there is no such object.
    """
    holds = current(connection, kind, object_id).version
    table = TABLES[OBJECT_VERSION.name]
    columns = [name for name in Version.__dataclass_fields__ if name != "is_current"]
    query = sa.select(*(table.c[name] for name in columns)).filter_by(object_type=kind.spec.name, object_id=object_id)
    rows = [dict(zip(columns, row, strict=True)) for row in fetch(connection, query)]
    rows.sort(key=lambda row: (row["created_at"], version_order(row["version"])))
    return [Version(**{**row, "lineage": parse(row["lineage"])}, is_current=row["version"] == holds) for row in rows]


def types_of(connection: sa.Connection, object_id: str) -> list[str]:
    """Return the types of the objects that an id names."""
    table = TABLES[OBJECT_VERSION.name]
    query = sa.select(table.c.object_type).filter_by(object_id=object_id).distinct()
    return sorted(name for (name,) in fetch(connection, query))


def write_versions(
    connection: sa.Connection,
    versions: Sequence[NewVersion[Any]],
    *,
    actor: str,
    now: datetime,
    rows: Iterable[tuple[TableSpec, Row]] | None = None,
) -> None:
    """Make documents current: their rows, their versions and what announces them, in the caller's transaction.

    Nothing is checked here; the database refuses a version that is there already.

    Args:
        rows: the documents taken apart, if that is done already.
    """
    if rows is None:
        rows = ((spec, row) for new in versions for spec, _, row in rows_of(new.received, actor=actor, now=now))
    by_table: dict[TableSpec, list[Row]] = defaultdict(list)
    for spec, row in rows:
        by_table[spec].append(row)
    is_first = all(new.replaces is None for new in versions)
    for spec in SPECS:
        (insert if is_first else upsert)(connection, spec, by_table.get(spec, []))
    _end_what_is_left_out(connection, versions, actor=actor, now=now)
    stored = [
        version_row(
            new.received,
            reason=new.reason,
            source=new.source,
            actor=actor,
            now=now,
            version=new.version,
            change=new.change,
            lineage={**({"replaces": new.replaces} if new.replaces else {}), **new.lineage},
            publication_id=new.publication_id,
        )
        for new in versions
    ]
    insert(connection, OBJECT_VERSION, stored)
    announce_versions(connection, stored)
    policies = [new.received for new in versions if isinstance(new.received.body, Policy) and new.reason != BOOTSTRAP]
    announce_many(
        connection,
        POLICY_UPDATED,
        [{"policy_id": policy.body.policy_id, "spec": policy.value["spec"]} for policy in policies],
        producer_id=actor,
        now=now,
    )


def _end_what_is_left_out(
    connection: sa.Connection, versions: Iterable[NewVersion[Any]], *, actor: str, now: datetime
) -> None:
    """Say of the steps and triggers that a workflow's new version leaves out which version had them last."""
    for new in versions:
        workflow = new.received.body
        if new.replaces is None or not isinstance(workflow, Workflow):
            continue
        for spec, kept in (
            (STEP_ACTION, [step.step_id for step in workflow.steps]),
            (TRIGGER_DEF, [trigger.trigger_id for trigger in workflow.triggers]),
        ):
            table = TABLES[spec.name]
            left_out = (
                table.c.workflow_id == workflow.workflow_id,
                table.c.last_version.is_(None),
                table.c[spec.key[0]].not_in(kept),
            )
            ended = {"last_version": new.replaces, "updated_at": now, "updated_by": actor}
            connection.execute(sa.update(table).where(*left_out).values(ended))
