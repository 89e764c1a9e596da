"""Loading: the pack of shipped objects into the registry, and workflows that a log tells of.

A pack is loaded whole or not at all. It only adds what is absent: an object that is in the registry, in whatever
version, got there by a publication or an earlier pack, and a file does not overrule that.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from guard.canonical import canonical, digest, digest_text
from lake.tables import OBJECT_VERSION, STEP_ACTION, WORKFLOW
from registry import pack
from registry.consistency import inconsistencies, latest_schemas
from registry.database import SPECS, TABLES, Registry, fetch, insert, insert_missing, upsert
from registry.documents import (
    Agent,
    Document,
    DocumentRefused,
    EventSchema,
    Fault,
    OntologyNode,
    Policy,
    Received,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
    read_document,
)
from registry.objects import NotRegistered, current_documents, rows_of, version_row
from registry.outbox import announce_versions
from registry.steps import END

BOOTSTRAP = "bootstrap"
IMPORT = "import"
LOG_PREFIX = "WF-LOG-"
PLACEHOLDER_SKILL = "SK-EXT-000"
PLACEHOLDER_AGENT = "AG-EXTERNAL"
_LOG_OWNER = "DA-M-001"

NO_TOPICS = ("api.", "telemetry.")
"""What subjects start with whose schemas describe no events: documents of the API, files of the telemetry lake."""

PACK = pack.FOLDER
"""The pack that is shipped."""

_LISTS: Mapping[str, type[Document]] = {
    "roles.json": Role,
    "role_skills.json": RoleSkill,
    "agents.json": Agent,
    "ontology.json": OntologyNode,
}
_FOLDERS: Mapping[str, type[Document]] = {
    "skills": SkillNode,
    "policies": Policy,
    "event_schemas": EventSchema,
    "workflows": Workflow,
}


class PackRefused(ValueError):
    """A pack that was not loaded; `faults` holds everything that is wrong with it, and nothing was written."""

    def __init__(self, folder: Path, faults: Sequence[Fault]) -> None:
        lines = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(f"the pack {folder} was refused, nothing was written; {len(faults)} faults:\n{lines}")
        self.folder = folder
        self.faults = tuple(faults)


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


def load_pack(registry: Registry, folder: Path, *, actor: str, now: datetime) -> PackLoaded:
    """Add the objects of a pack that the registry does not hold yet, all of them or none.

    Raises:
        PackRefused: anything in the pack is wrong.
    """
    files, faults = _read_files(folder)
    pack_digest = digest({name: digest_text(content) for name, content in files.items()})
    if not faults and _is_loaded(registry, pack_digest):
        return PackLoaded(False, pack_digest, {})
    documents = list(_documents(files, faults))
    with registry.transaction() as connection:
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
        for spec in SPECS:
            insert(connection, spec, [row for _, _, its, row in rows if its is spec])
        versions = [
            version_row(document, reason=BOOTSTRAP, source=pack_digest, actor=actor, now=now) for document in added
        ]
        insert(connection, OBJECT_VERSION, versions)
        announce_versions(connection, versions)
    return PackLoaded(bool(added), pack_digest, dict(Counter(document.body.spec.name for document in added)))


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


def _read_files(folder: Path) -> tuple[dict[str, bytes], list[Fault]]:
    """Return the pack's files by their path within it, and what cannot be read."""
    missing = [name for name in _LISTS if not (folder / name).is_file()]
    missing += [f"{name}/" for name in _FOLDERS if not (folder / name).is_dir()]
    faults = [Fault(name, "", "is missing from the pack", f"put it into {folder}") for name in missing]
    paths = [folder / name for name in _LISTS if name not in missing]
    paths += [path for name in _FOLDERS for path in sorted((folder / name).glob("*.json"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}, faults


def _is_loaded(registry: Registry, pack_digest: str) -> bool:
    loaded = sa.select(TABLES[OBJECT_VERSION.name]).filter_by(reason=BOOTSTRAP, source=pack_digest).limit(1)
    with registry.read() as connection:
        return bool(fetch(connection, loaded))


def _documents(files: Mapping[str, bytes], faults: list[Fault]) -> Iterator[Received[Any]]:
    """Yield the documents that can be read; what cannot is added to `faults`."""
    for name, content in files.items():
        kind = _LISTS.get(name)
        texts = {name: content}
        if kind is None:
            kind = _FOLDERS[name.partition("/")[0]]
        else:
            try:
                items = msgspec.json.decode(content, type=list[msgspec.Raw])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                faults.append(Fault(name, "", f"is no JSON list: {error}", "write a list of objects in UTF-8"))
                continue
            texts = {f"{name}#{index}": bytes(item) for index, item in enumerate(items)}
        for document, text in texts.items():
            try:
                yield read_document(kind, text, name=document)
            except DocumentRefused as refused:
                faults += refused.faults
