"""Drafts: documents on their way into the registry, with the version that comparing them with the current one gives.

The number is computed, never believed. A document that states none, or still states the current one, is given the
right one; one that states another is refused with the right one in the message.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Generic

import sqlalchemy as sa

from guard.canonical import canonical, parse
from registry.comparison import Change, Comparison, Surroundings, compare, next_semver
from registry.consistency import inconsistencies
from registry.documents import (
    D,
    Document,
    DocumentRefused,
    EventSchema,
    Fault,
    Received,
    SkillNode,
    Workflow,
    read_document,
)
from registry.objects import rows_of
from registry.versions import Current, currents, is_numbered

INITIAL = "initial"
FIRST_VERSION = "1.0.0"
_FIRST: Mapping[bool, Mapping[str, Any]] = {
    True: {"version": 1, "semver": FIRST_VERSION},
    False: {"version": FIRST_VERSION},
}
"""What a document that states no version stands for, by whether it is an event schema."""


@dataclass(frozen=True)
class Incoming(Generic[D]):
    """A text that is to be a document; `name` is what to call it in a message."""

    kind: type[D]
    text: str | bytes
    name: str


@dataclass(frozen=True)
class Draft(Generic[D]):
    """A document with its place among the versions of its object.

    Attributes:
        received: the document with its version number; verbatim where it stated the number itself.
        version: the number, or the ordinal of kinds whose documents carry none.
        change: initial, major, minor or patch.
        base: the version it was compared with, None for a new object.
        comparison: what it changes.
    """

    received: Received[D]
    version: str
    change: str
    base: str | None
    comparison: Comparison


def surroundings(connection: sa.Connection, coming: Sequence[Received[Any]] = ()) -> Surroundings:
    """Return what comparisons may ask, as the registry holds it, with the documents that are coming."""
    skills = {document.body.skill_id: document.body for document in coming if isinstance(document.body, SkillNode)}
    workflows = {document.body.workflow_id: document.body for document in coming if isinstance(document.body, Workflow)}

    @cache
    def skill(skill_id: str) -> SkillNode | None:
        if skill_id in skills:
            return skills[skill_id]
        found = currents(connection, SkillNode, [skill_id]).get(skill_id)
        return found.received.body if found else None

    @cache
    def workflow(workflow_id: str) -> Workflow | None:
        if workflow_id in workflows:
            return workflows[workflow_id]
        found = currents(connection, Workflow, [workflow_id]).get(workflow_id)
        return found.received.body if found else None

    return Surroundings(skill=skill, workflow=workflow)


def read_incoming(incoming: Iterable[Incoming[Any]], faults: list[Fault]) -> Iterator[Received[Any]]:
    """Yield the texts that are documents; what keeps others from being one is added to `faults`."""
    for item in incoming:
        try:
            yield _read(item)
        except DocumentRefused as refused:
            faults += refused.faults


def _read(item: Incoming[D]) -> Received[D]:
    try:
        return read_document(item.kind, item.text, name=item.name)
    except DocumentRefused as refused:
        absent = {fault.path for fault in refused.faults if fault.problem == "is missing"}
        if not absent & {"/version", "/semver"}:
            raise
        value = {**_FIRST[item.kind is EventSchema], **parse(item.text)}
        received = read_document(item.kind, canonical(value), name=item.name)
        return replace(received, value={name: value[name] for name in value if f"/{name}" not in absent})


def draft(
    connection: sa.Connection,
    documents: Sequence[Received[Any]],
    faults: list[Fault],
    *,
    now: datetime,
    skips_unchanged: bool = False,
) -> list[Draft[Any]]:
    """Return documents as drafts, consistent among themselves and with the registry.

    Everything that keeps them from becoming current is added to `faults`; they are drafts only if nothing was.

    Args:
        skips_unchanged: leave out what says what is current already, instead of calling it a fault.
    """
    around = surroundings(connection, documents)
    ids: dict[type[Document], set[str]] = defaultdict(set)
    for received in documents:
        ids[type(received.body)].add(received.body.object_id)
    stored = {kind: currents(connection, kind, wanted) for kind, wanted in ids.items()}
    drafts: list[Draft[Any]] = []
    for received in documents:
        base = stored[type(received.body)].get(received.body.object_id)
        if base is None:
            drafts.append(_first(received))
            continue
        comparison = compare(base.received, received, around)
        if comparison.change is None:
            problem = f"says what version {base.version}, the current one, says already"
            if not skips_unchanged:
                faults.append(Fault(received.name, "", problem, "change something, or leave it as it is"))
            continue
        found = _next(received, base, comparison, comparison.change)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            drafts.append(found)
    rows = [
        (one.received.name, path, spec, row)
        for one in drafts
        for spec, path, row in rows_of(one.received, actor="draft", now=now)
    ]
    faults += inconsistencies(connection, [one.received for one in drafts], rows)
    return drafts


def _first(received: Received[D]) -> Draft[D]:
    names = ("version", "semver") if isinstance(received.body, EventSchema) else ("version",)
    numbers = {name: getattr(received.body, name) for name in names if hasattr(received.body, name)}
    numbered = received if received.value.keys() >= numbers.keys() else _numbered(received, **numbers)
    return Draft(numbered, received.body.object_version, INITIAL, None, Comparison(()))


def _next(received: Received[Any], base: Current[Any], comparison: Comparison, change: Change) -> Draft[Any] | Fault:
    body = received.body
    if isinstance(body, EventSchema):
        semver = next_semver(base.received.body.semver, change)
        expected: dict[str, Any] = {"version": base.received.body.version + 1, "semver": semver}
    elif is_numbered(type(body)):
        expected = {"version": next_semver(base.version, change)}
    else:
        return Draft(received, str(int(base.version) + 1), change, base.version, comparison)
    for name, number in expected.items():
        stated = received.value.get(name, number)
        if stated not in (number, base.received.value[name]):
            heaviest = comparison.differences[0]
            problem = f"is {stated}, but compared with {base.version} this is a {change} change: {heaviest}"
            return Fault(received.name, f"/{name}", problem, f"write {number}, or leave the member out")
    numbered = received if received.value.items() >= expected.items() else _numbered(received, **expected)
    return Draft(numbered, str(expected["version"]), change, base.version, comparison)


def _numbered(received: Received[D], **numbers: Any) -> Received[D]:
    """Return a document with other version numbers, everything else as it was received."""
    value = {**received.value, **numbers}
    return Received(received.name, canonical(value), value, received.body.model_copy(update=numbers))
