"""Submitting and publishing: the only way in which an object that is governed changes.

What is submitted becomes a draft, a queued proposal, whatever status it claims. What is published was passed by every
gate and approved by every mandatory reviewer, for exactly the body that stands in the queue (`registry.gates`), and is
checked again against the registry as it is now; then version, rows, lineage, queue and announcements are written in one
transaction.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from guard.canonical import canonical, digest
from registry.access import check_permission, recorded_denials
from registry.comparison import Comparison, compare
from registry.database import Registry
from registry.documents import Document, DocumentRefused, Fault, Received, Workflow, read_document
from registry.drafts import Draft, Incoming, draft, read_incoming, surroundings
from registry.gates import require_passed
from registry.permissions import Action, Principal, load_permissions
from registry.proposals import (
    Proposal,
    ProposalClosed,
    Queued,
    find,
    mark_published,
    mark_rolled_back,
    publication_id,
    queue,
    require,
)
from registry.updates import RETIREMENT, UPDATE, is_update, retired, retirement, updated
from registry.versions import (
    PUBLICATION,
    ROLLBACK,
    NewVersion,
    current,
    current_numbers,
    currents,
    document_of,
    history,
    kind_of,
    version_order,
    write_versions,
)

PROPOSAL_TYPES: Mapping[str, str] = {
    "role": "role",
    "skill_node": "skill",
    "role_skill_map": "permission",
    "agent": "agent",
    "ontology_node": "ontology",
    "policy": "policy",
    "schema_registry": "schema",
    "workflow": "workflow",
}
"""What a proposal is called, by the type of object whose document is its body."""

_TYPES = {proposal_type: object_type for object_type, proposal_type in PROPOSAL_TYPES.items()}


@dataclass(frozen=True)
class Submitted:
    """A draft in the queue.

    Attributes:
        version: the number it gets when it is published.
        change: what comparing it with the current version says: initial, major, minor or patch.
        is_new: whether it was not queued before.
    """

    publication_id: str
    object_type: str
    object_id: str
    version: str
    change: str
    comparison: Comparison
    is_new: bool


@dataclass(frozen=True)
class Published:
    """A version that has become current, and the one it replaced."""

    object_type: str
    object_id: str
    version: str
    change: str
    replaces: str | None
    publication_id: str | None


def submit(
    registry: Registry, kind: type[Document], text: str | bytes, *, name: str, principal: Principal, now: datetime
) -> Submitted:
    """Queue a document as a draft; what is current stays as it is.

    Args:
        name: what to call the document in a message, such as its file.

    Raises:
        DocumentRefused: it is no valid document, cannot stand beside what the registry holds, changes nothing, or
            states a version that is not the one its changes call for; with all its faults.
        Denied: the principal may not propose it.
    """
    faults: list[Fault] = []
    documents = list(read_incoming([Incoming(kind, text, name)], faults))
    if faults:
        raise DocumentRefused(faults)
    return submit_all(registry, documents, principal=principal, now=now)[0]


def submit_all(
    registry: Registry,
    documents: Sequence[Received[Any]],
    *,
    principal: Principal,
    now: datetime,
    source: str = "file",
    skips_unchanged: bool = False,
    is_rehearsal: bool = False,
) -> list[Submitted]:
    """Queue documents as drafts that are consistent among themselves, all of them or none.

    Args:
        source: where they come from, such as a pack's digest.
        skips_unchanged: leave out what says what is current already, instead of refusing it.
        is_rehearsal: check everything and write nothing.

    Raises:
        DocumentRefused: anything is wrong with any of them; with all faults.
        Denied: the principal may not propose one of them.
    """
    faults: list[Fault] = []
    with (
        recorded_denials(registry, now=now),
        registry.read() if is_rehearsal else registry.transaction() as connection,
    ):
        drafts = draft(connection, documents, faults, now=now, skips_unchanged=skips_unchanged)
        if faults:
            raise DocumentRefused(sorted(set(faults)))
        _check(connection, principal, "propose", drafts, now)
        proposals = [
            _proposal(one, {"source": source, "document": one.received.name}, 1, principal.subject_id) for one in drafts
        ]
        queued = (
            [(publication_id(digest(one.received.value)), False) for one in drafts]
            if is_rehearsal
            else queue(connection, proposals, now=now)
        )
    return [
        _submitted(one, proposal_id, is_new=is_new) for one, (proposal_id, is_new) in zip(drafts, queued, strict=True)
    ]


def retire(registry: Registry, workflow_id: str, *, reason: str, principal: Principal, now: datetime) -> Submitted:
    """Queue the end of a workflow: once it is published, nothing starts it; what it did stays, and what runs ends.

    Only workflows have a state that says so. A policy ends by its `effective_to`.

    Raises:
        NotRegistered: there is no such workflow.
        DocumentRefused: it is retired already.
        Denied: the principal may not propose it.
    """
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        holds = current(connection, Workflow, workflow_id)
        faults: list[Fault] = []
        drafts = draft(connection, [retired(holds, name=workflow_id)], faults, now=now)
        if faults:
            raise DocumentRefused(sorted(set(faults)))
        (one,) = drafts
        _check(connection, principal, "propose", drafts, now)
        proposal = replace(
            _proposal(one, {"source": RETIREMENT, "reason": reason}, 1, principal.subject_id),
            proposal_type=RETIREMENT,
            body=retirement(workflow_id, holds.version),
        )
        ((proposal_id, is_new),) = queue(connection, [proposal], now=now)
    return _submitted(one, proposal_id, is_new=is_new)


def propose_document(
    connection: sa.Connection,
    received: Received[Any],
    *,
    provenance: Mapping[str, Any],
    confidence: float | Decimal,
    proposed_by: str,
    now: datetime,
) -> bool:
    """Queue a document that was learned and return whether it is new; one that says what is current is not.

    Where its object is registered already, the number that the document states counts for nothing.

    Raises:
        DocumentRefused: it cannot stand beside what the registry holds.
    """
    kind, object_id = type(received.body), received.body.object_id
    if known := currents(connection, kind, [object_id]).get(object_id):
        received = _without_version(received)
        if compare(known.received, received, surroundings(connection)).change is None:
            return False
    faults: list[Fault] = []
    drafts = draft(connection, [received], faults, now=now)
    if faults:
        raise DocumentRefused(sorted(set(faults)))
    ((_, is_new),) = queue(connection, [_proposal(drafts[0], provenance, confidence, proposed_by)], now=now)
    return is_new


def _submitted(one: Draft[Any], publication_id: str, *, is_new: bool) -> Submitted:
    body: Document = one.received.body
    return Submitted(publication_id, body.spec.name, body.object_id, one.version, one.change, one.comparison, is_new)


def _proposal(
    one: Draft[Any], provenance: Mapping[str, Any], confidence: float | Decimal, proposed_by: str
) -> Proposal:
    body: Document = one.received.body
    stated = {"object_type": body.spec.name, "object_id": body.object_id, "version": one.version, "change": one.change}
    return Proposal(
        proposal_type=PROPOSAL_TYPES[body.spec.name],
        body=one.received.value,
        provenance={**stated, **provenance},
        confidence=confidence,
        proposed_by=proposed_by,
        base=one.base,
    )


def proposed(connection: sa.Connection, proposal: Queued, *, now: datetime) -> tuple[Draft[Any], list[Fault]]:
    """Return what a proposal would make current, compared with what is current now, and what stands against it now.

    A draft may need another one: a workflow the skill that was proposed with it.

    Raises:
        ProposalClosed: the object has moved on, or nothing is known that could publish such a body.
        DocumentRefused: it cannot be compared with what is current.
    """
    faults: list[Fault] = []
    drafts = draft(connection, _documents(connection, [proposal]), faults, now=now)
    if not drafts:
        raise DocumentRefused(sorted(set(faults)))
    return drafts[0], sorted(set(faults))


def publish(registry: Registry, publication_id: str, *, principal: Principal, now: datetime) -> Published:
    """Make an approved proposal current.

    Episodes that run keep the version they started under.

    Raises:
        NotRegistered: there is no such proposal.
        ProposalClosed: it is not approved, has expired, is not what was approved, its object has moved on since, or
            gates and reviewers have not passed it on the grounds that hold now.
        DocumentRefused: it cannot stand beside what the registry holds now.
        Denied: the principal may not publish it.
    """
    return publish_all(registry, [publication_id], principal=principal, now=now)[0]


def publish_all(
    registry: Registry, publication_ids: Sequence[str], *, principal: Principal, now: datetime
) -> list[Published]:
    """Make approved proposals current that may need each other, all of them or none; see `publish`."""
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        queued = find(connection, *dict.fromkeys(publication_ids))
        for proposal in queued:
            require(proposal, decision="approved", now=now)
        documents = _documents(connection, queued)
        faults: list[Fault] = []
        drafts = draft(connection, documents, faults, now=now)
        if faults:
            raise DocumentRefused(sorted(set(faults)))
        _check(connection, principal, "publish", drafts, now)
        reviewed = require_passed(connection, queued, load_permissions(connection, now=now), now=now)
        versions = [
            NewVersion(
                received=one.received,
                version=one.version,
                change=one.change,
                reason=PUBLICATION,
                source=proposal.publication_id,
                replaces=one.base,
                publication_id=proposal.publication_id,
                lineage=_lineage(proposal, one.received, reviewed[proposal.publication_id]),
            )
            for one, proposal in zip(drafts, queued, strict=True)
        ]
        write_versions(connection, versions, actor=principal.subject_id, now=now)
        for new, proposal in zip(versions, queued, strict=True):
            mark_published(
                connection, proposal, object_id=new.received.body.object_id, by=principal.subject_id, now=now
            )
    return [_published(new) for new in versions]


def rollback(
    registry: Registry,
    kind: type[Document],
    object_id: str,
    *,
    to: str,
    reason: str,
    principal: Principal,
    now: datetime,
) -> Published:
    """Publish the content of an earlier version as a new version, whose lineage says so; history stays as it is.

    The publications whose versions it takes back are marked as rolled back. Episodes that run keep their version.

    Raises:
        NotRegistered: there is no such object or version.
        DocumentRefused: the content is what is current already, or cannot stand beside what the registry holds now.
        Denied: the principal may not publish the object.
    """
    actor = principal.subject_id
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        earlier = document_of(connection, kind, object_id, to).received
        faults: list[Fault] = []
        drafts = draft(connection, [_without_version(replace(earlier, name=f"{object_id} {to}"))], faults, now=now)
        if faults:
            raise DocumentRefused(sorted(set(faults)))
        (one,) = drafts
        _check(connection, principal, "publish", drafts, now)
        new = NewVersion(
            received=one.received,
            version=one.version,
            change=one.change,
            reason=ROLLBACK,
            source=to,
            replaces=one.base,
            lineage={"restores": to, "reason": reason},
        )
        taken_back = [
            version.publication_id
            for version in history(connection, kind, object_id)
            if version.publication_id and version_order(version.version) > version_order(to)
        ]
        write_versions(connection, [new], actor=actor, now=now)
        for publication_id in taken_back:
            mark_rolled_back(connection, publication_id, by=actor, now=now)
    return _published(new)


def _published(new: NewVersion[Any]) -> Published:
    body: Document = new.received.body
    return Published(body.spec.name, body.object_id, new.version, new.change, new.replaces, new.publication_id)


def _documents(connection: sa.Connection, proposals: Sequence[Queued]) -> list[Received[Any]]:
    """Return the documents that proposals state, or make of the current ones.

    Raises:
        ProposalClosed: an object has moved on since, or nothing is known that could publish such a body.
    """
    documents = [_document(connection, proposal) for proposal in proposals]
    ids: dict[type[Document], set[str]] = defaultdict(set)
    for received in documents:
        ids[type(received.body)].add(received.body.object_id)
    holds = {kind: current_numbers(connection, kind, wanted) for kind, wanted in ids.items()}
    for proposal, received in zip(proposals, documents, strict=True):
        object_id = received.body.object_id
        version = holds[type(received.body)].get(object_id)
        if version != proposal.base:
            problem = f"it was made for {_what(object_id, proposal.base)}; now there is {_what(object_id, version)}"
            raise ProposalClosed(proposal.publication_id, "base", problem, "submit the change against what is current")
    return documents


def _what(object_id: str, version: str | None) -> str:
    return f"{object_id} {version}" if version else f"no {object_id}"


def _document(connection: sa.Connection, proposal: Queued) -> Received[Any]:
    if is_update(proposal.body):
        return updated(connection, proposal)
    object_type = _TYPES.get(proposal.proposal_type)
    if object_type is None:
        problem = f"nothing publishes a {proposal.proposal_type} of this form"
        documents = ", ".join(_TYPES)
        fix = f"propose a whole document ({documents}), a parameter by {UPDATE}, or an end by {RETIREMENT}"
        raise ProposalClosed(proposal.publication_id, "form", problem, fix)
    return read_document(kind_of(object_type), canonical(proposal.body), name=f"proposal {proposal.publication_id}")


def _lineage(proposal: Queued, received: Received[Any], reviewed_by: Mapping[str, str]) -> dict[str, Any]:
    stated = received.value.get("lineage", {}) if isinstance(received.body, Workflow) else {}
    return {
        "proposal": proposal.publication_id,
        "proposed_by": proposal.proposed_by,
        "decided_by": proposal.decided_by,
        "reviewed_by": dict(reviewed_by),
        "derived_from": stated.get("derived_from", []),
        "reason": proposal.provenance.get("reason") or stated.get("proposal_reason") or proposal.proposal_type,
    }


def _check(
    connection: sa.Connection, principal: Principal, action: Action, drafts: Sequence[Draft[Any]], now: datetime
) -> None:
    permissions = load_permissions(connection, now=now)
    for one in drafts:
        body: Document = one.received.body
        skills = {step.skill_id for step in body.steps} if isinstance(body, Workflow) else set()
        check_permission(
            connection,
            principal,
            action,
            body.spec.name,
            body.object_id,
            skills=skills,
            now=now,
            permissions=permissions,
        )


def _without_version(received: Received[Any]) -> Received[Any]:
    """Return a document that states no version, so that it is given the next one."""
    kept = {name: item for name, item in received.value.items() if name not in ("version", "semver")}
    return replace(received, value=kept) if "version" in received.value else received
