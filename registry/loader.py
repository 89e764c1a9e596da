"""Loading: packs of documents into the registry, and workflows that a log tells of.

A pack is taken whole or not at all. The one that is shipped becomes current at once, since somebody must be there to
approve the first change; it only adds what the registry lacks: what is there got there by a publication or an earlier
pack, and a file does not overrule that (docs/adr). Every other pack enters as drafts.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical
from lake.tables import OBJECT_VERSION, STEP_ACTION, WORKFLOW
from registry import pack
from registry.consistency import inconsistencies, latest_schemas
from registry.database import TABLES, Registry, fetch, insert, insert_missing, upsert
from registry.documents import DocumentRefused, Fault, Received, SkillNode, Workflow, read_document
from registry.drafts import INITIAL, read_incoming
from registry.objects import NotRegistered, current_documents, rows_of, version_row
from registry.outbox import announce_versions
from registry.packs import Pack, PackRefused, read_pack
from registry.permissions import Principal
from registry.publication import Submitted, submit_all
from registry.steps import END
from registry.versions import BOOTSTRAP, IMPORT, KINDS, NewVersion, write_versions

LOG_PREFIX = "WF-LOG-"
PLACEHOLDER_SKILL = "SK-EXT-000"
PLACEHOLDER_AGENT = "AG-EXTERNAL"
_LOG_OWNER = "DA-M-001"

NO_TOPICS = ("api.", "telemetry.")
"""What subjects start with whose schemas describe no events: documents of the API, files of the telemetry lake."""

PACK = pack.FOLDER
"""The pack that is shipped."""

log = logging.getLogger("rwcm.registry")


@dataclass(frozen=True)
class PackLoaded:
    """What a load did.

    Attributes:
        changed: whether anything was added.
        digest: names the pack's content.
        documents: kind of object -> how many were added.
    """

    changed: bool
    digest: str
    documents: Mapping[str, int]


@dataclass(frozen=True)
class PackSubmitted:
    """What submitting a pack did.

    Attributes:
        digest: names the pack's content.
        read: documents that the pack holds.
        drafts: those that change something, in an order in which they can be published.
    """

    digest: str
    read: int
    drafts: tuple[Submitted, ...]


def load_pack(registry: Registry, folder: Path, *, actor: str, now: datetime, is_rehearsal: bool = False) -> PackLoaded:
    """Add the objects of a pack that the registry does not hold yet, all of them or none, and make them current.

    This is for the pack that is shipped; `submit_pack` takes any other.

    Args:
        is_rehearsal: check everything and write nothing.

    Raises:
        PackRefused: anything in the pack is wrong.
    """
    faults: list[Fault] = []
    found = read_pack(folder, faults, is_whole=True)
    if not faults and _is_loaded(registry, found.digest):
        return PackLoaded(False, found.digest, {})
    documents = _received(found, faults)
    with registry.read() if is_rehearsal else registry.transaction() as connection:
        existing = _existing(connection)
        added = [document for document in documents if document.identity not in existing]
        rows = [
            (document.name, path, spec, row)
            for document in added
            for spec, path, row in rows_of(document, actor=actor, now=now)
        ]
        faults += inconsistencies(connection, added, rows)
        if faults:
            raise PackRefused(folder, sorted(set(faults)))
        if not is_rehearsal:
            versions = [
                NewVersion(document, document.body.object_version, INITIAL, BOOTSTRAP, found.digest)
                for document in added
            ]
            taken_apart = ((spec, row) for _, _, spec, row in rows)
            write_versions(connection, versions, actor=actor, now=now, rows=taken_apart)
    log.info("%s of %d documents %s", len(added), len(documents), "would be added" if is_rehearsal else "added")
    return PackLoaded(bool(added), found.digest, dict(Counter(document.body.spec.name for document in added)))


def submit_pack(
    registry: Registry, folder: Path, *, principal: Principal, now: datetime, is_rehearsal: bool = False
) -> PackSubmitted:
    """Queue the documents of a pack as drafts, all of them or none; what says what is current already is left out.

    They are consistent among themselves, so a workflow may use a skill of the same pack.

    Args:
        is_rehearsal: check everything and write nothing.

    Raises:
        PackRefused: anything in the pack is wrong, or cannot stand beside what the registry holds.
        Denied: the principal may not propose one of the documents.
    """
    faults: list[Fault] = []
    found = read_pack(folder, faults)
    documents = _received(found, faults)
    order = list(KINDS)
    documents.sort(key=lambda document: order.index(document.body.spec.name))
    if faults:
        raise PackRefused(folder, sorted(set(faults)))
    try:
        drafts = submit_all(
            registry,
            documents,
            principal=principal,
            now=now,
            source=found.digest,
            skips_unchanged=True,
            is_rehearsal=is_rehearsal,
        )
    except DocumentRefused as refused:
        raise PackRefused(folder, refused.faults) from None
    log.info("%d of %d documents %s", len(drafts), len(documents), "would be drafts" if is_rehearsal else "are drafts")
    return PackSubmitted(found.digest, len(documents), tuple(drafts))


def _received(found: Pack, faults: list[Fault]) -> list[Received[Any]]:
    log.info("reading %d files of %s", len(found.files), found.folder)
    documents = list(read_incoming(found.documents(faults), faults))
    log.info("checking %d documents", len(documents))
    return documents


def event_schemas(registry: Registry) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the latest version and schema of each topic; subjects that describe something else are none."""
    with registry.read() as connection:
        latest = latest_schemas(connection)
    return {
        subject: (version, json.loads(text))
        for subject, (version, text) in latest.items()
        if not subject.startswith(NO_TOPICS)
    }


def register_log_workflow(
    registry: Registry, *, workflow_id: str, name: str, activities: Iterable[str], now: datetime, source: str
) -> dict[str, str]:
    """Make the workflow that an imported log tells of known, and return its activities' step ids.

    It stays a draft on the placeholder skill and is never executed. Steps are numbered in order of first appearance; a
    later import adds steps for activities that are new, in a new version, and changes no step that is there.

    Args:
        workflow_id: `WF-LOG-` and a slug of the log's name.
        source: names the log, such as its digest.

    Raises:
        NotRegistered: the pack is not loaded.
    """
    if not workflow_id.startswith(LOG_PREFIX):
        raise ValueError(f"an imported log cannot become {workflow_id}; its id starts with {LOG_PREFIX}")
    actor = PLACEHOLDER_AGENT
    with registry.transaction() as connection:
        if PLACEHOLDER_SKILL not in current_documents(connection, SkillNode, skill_id=PLACEHOLDER_SKILL):
            raise NotRegistered("skill", PLACEHOLDER_SKILL)
        known = current_documents(connection, Workflow, workflow_id=workflow_id).get(workflow_id)
        steps = list(known.value["steps"]) if known else []
        step_of = {step["parameters"]["activity"]: step["step_id"] for step in steps}
        for activity in dict.fromkeys(activities):
            if activity not in step_of:
                steps.append(_log_step(workflow_id, len(steps) + 1, activity))
                step_of[activity] = steps[-1]["step_id"]
        if known and len(steps) == len(known.value["steps"]):
            return step_of
        version = f"0.{int(known.body.version.split('.')[1]) + 1}.0" if known else "0.1.0"
        document = {
            "workflow_id": workflow_id,
            "workflow_name": known.body.workflow_name if known else _free_name(connection, name, workflow_id, version),
            "objective": f"Imported history of {name}",
            "responsible_role_id": _LOG_OWNER,
            "status": "draft",
            "version": version,
            "lineage": {"derived_from": [], "proposal_reason": IMPORT},
            "steps": steps,
        }
        received = read_document(Workflow, canonical(document), name=workflow_id)
        (_, _, row), *step_rows = rows_of(received, actor=actor, now=now)
        upsert(connection, WORKFLOW, [row])
        insert_missing(connection, STEP_ACTION, [row for _, _, row in step_rows])
        lineage = {"replaces": known.body.version} if known else {}
        change = "minor" if known else "initial"
        row = version_row(received, reason=IMPORT, source=source, actor=actor, now=now, change=change, lineage=lineage)
        insert(connection, OBJECT_VERSION, [row])
        announce_versions(connection, [row])
    return step_of


def _log_step(workflow_id: str, number: int, activity: str) -> dict[str, Any]:
    return {
        "step_id": f"{workflow_id}/{number}",
        "sequence": number,
        "action_type": "record",
        "skill_id": PLACEHOLDER_SKILL,
        "parameters": {"activity": activity},
        "next_step_logic": {"goto": END},
    }


def _free_name(connection: sa.Connection, name: str, workflow_id: str, version: str) -> str:
    """Return `name` cut to its column, with the id where another workflow has the name."""
    table = TABLES[WORKFLOW.name]
    limit = WORKFLOW.column("workflow_name").length or 0
    taken = connection.scalar(sa.select(table.c.workflow_id).filter_by(workflow_name=name[:limit], version=version))
    suffix = f" ({workflow_id})" if taken else ""
    return name[: limit - len(suffix)] + suffix


def _existing(connection: sa.Connection) -> set[tuple[Any, ...]]:
    """Return type and id of every object in the registry."""
    versions = TABLES[OBJECT_VERSION.name]
    return set(fetch(connection, sa.select(versions.c.object_type, versions.c.object_id)))


def _is_loaded(registry: Registry, pack_digest: str) -> bool:
    loaded = sa.select(TABLES[OBJECT_VERSION.name]).filter_by(reason=BOOTSTRAP, source=pack_digest).limit(1)
    with registry.read() as connection:
        return bool(fetch(connection, loaded))
