"""Diffs of governed objects: between two versions, or between what is current and what a proposal would make of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from registry.comparison import Comparison, compare
from registry.comparison.review import as_json, review
from registry.documents import D, Fault
from registry.drafts import surroundings
from registry.proposals import find_by_prefix
from registry.publication import proposed
from registry.versions import document_of, history


@dataclass(frozen=True)
class Diff:
    """What is different between two states of an object, `old` None where there was none.

    Attributes:
        faults: what keeps the new state from becoming current, as the registry stands.
    """

    object_type: str
    object_id: str
    old: str | None
    new: str
    comparison: Comparison
    faults: tuple[Fault, ...] = ()

    @property
    def change(self) -> str:
        return self.comparison.change or ("none" if self.old else "initial")

    def lines(self) -> Iterator[str]:
        """Yield the diff as a review reads it."""
        if self.old == self.new:
            yield f"{self.object_id} {self.new} has none before it"
            return
        yield f"{self.object_id}  {self.old or '(new)'} -> {self.new}  {self.change}"
        if not self.comparison.differences:
            yield "nothing differs" if self.old else "a new object; rwcm registry proposals --json holds its document"
        yield from review(self.comparison.differences)
        if self.faults:
            yield "cannot become current as the registry stands:"
        yield from (f"  {fault}" for fault in self.faults)

    def as_json(self) -> dict[str, Any]:
        return {
            "object_type": self.object_type,
            "object_id": self.object_id,
            "old": self.old,
            "new": self.new,
            "change": self.change,
            "differences": [as_json(found) for found in self.comparison.differences],
            "faults": [vars(fault) for fault in self.faults],
        }


def diff_versions(
    connection: sa.Connection, kind: type[D], object_id: str, old: str | None = None, new: str | None = None
) -> Diff:
    """Return the diff from one version of an object to another.

    Args:
        old: by default the one before `new`.
        new: by default the current one.

    Raises:
        NotRegistered: there is no such object or version.
    """
    versions = [version.version for version in history(connection, kind, object_id)]
    later = document_of(connection, kind, object_id, new)
    if old is None:
        position = versions.index(later.version)
        old = versions[position - 1] if position else later.version
    earlier = document_of(connection, kind, object_id, old)
    comparison = compare(earlier.received, later.received, surroundings(connection))
    return Diff(kind.spec.name, object_id, earlier.version, later.version, comparison)


def diff_proposal(connection: sa.Connection, publication_id: str, *, now: datetime) -> Diff:
    """Return what publishing a proposal, named by its id or the beginning of it, would change of what is current.

    Raises:
        NotRegistered: no proposal is called so, or several are.
        ProposalClosed: its object has moved on since it was made.
        DocumentRefused: it cannot be compared with what is current.
    """
    one, faults = proposed(connection, find_by_prefix(connection, publication_id), now=now)
    body = one.received.body
    return Diff(body.spec.name, body.object_id, one.base, one.version, one.comparison, tuple(faults))
