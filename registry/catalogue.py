"""The catalogue: what the registry holds, by the words that people use for kinds of objects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from guard.canonical import JsonFault, parse
from registry.database import TABLES
from registry.documents import ConsumerSubscription, Document, DocumentRefused, Fault
from registry.objects import NotRegistered
from registry.publication import PROPOSAL_TYPES
from registry.versions import KINDS, current_numbers, types_of

_CALLED = {**PROPOSAL_TYPES, ConsumerSubscription.spec.name: "consumer"}
_KINDS: Mapping[str, type[Document]] = {**KINDS, ConsumerSubscription.spec.name: ConsumerSubscription}
WORDS: Mapping[str, str] = {word: object_type for object_type, word in _CALLED.items()}
"""What people call a kind of object -> its type."""

_NAMES = {
    "role": "role_title",
    "skill_node": "skill_name",
    "role_skill_map": "permission",
    "agent": "agent_name",
    "ontology_node": "label",
    "policy": "policy_name",
    "schema_registry": "subject",
    "workflow": "workflow_name",
    "consumer_subscription": "versions",
}
"""The column that says what an object is, and the member by which a document is told from one of another kind."""

_STATES = {"skill_node": "stability_tier", "workflow": "status", "policy": "precedence", "agent": "agent_type"}
_MARKS = {name: _NAMES[name] for name in KINDS} | {"policy": "policy_id"}


@dataclass(frozen=True)
class Listed:
    """One object of the catalogue in its current version."""

    kind: str
    object_id: str
    version: str
    state: str
    name: str


class Ambiguous(LookupError):
    """An id that names objects of several kinds."""

    def __init__(self, object_id: str, kinds: list[str]) -> None:
        super().__init__(f"{object_id} names objects of several kinds; say which with --kind {' or '.join(kinds)}")
        self.kinds = kinds


def listing(connection: sa.Connection, word: str | None = None) -> Iterator[Listed]:
    """Yield the current objects of one kind, or of all kinds, by id."""
    for object_type, kind in _KINDS.items():
        if word is not None and WORDS[word] != object_type:
            continue
        table = TABLES[object_type]
        rows = {kind_id(kind, row): row for row in connection.execute(sa.select(table)).mappings()}
        for object_id, version in current_numbers(connection, kind).items():
            row = rows[object_id]
            state = str(row[_STATES[object_type]]) if object_type in _STATES else ""
            yield Listed(_CALLED[object_type], object_id, version, state, str(row[_NAMES[object_type]]))


def kind_id(kind: type[Document], row: sa.RowMapping) -> str:
    """Return the id that an object's documents give it, from its row."""
    names = kind.spec.key[:1] if "version" in kind.spec.key else kind.spec.key
    return "/".join(row[name] for name in names)


def find_kind(connection: sa.Connection, object_id: str, word: str | None = None) -> type[Document]:
    """Return the kind of the object that an id names.

    Raises:
        NotRegistered: it names none.
        Ambiguous: it names several, and `word` does not say which.
    """
    found = types_of(connection, object_id)
    if word is not None:
        found = [object_type for object_type in found if object_type == WORDS[word]]
    if not found:
        raise NotRegistered(word or "object", object_id)
    if len(found) > 1:
        raise Ambiguous(object_id, [_CALLED[object_type] for object_type in found])
    return _KINDS[found[0]]


def recognise(text: str | bytes, *, name: str) -> type[Document]:
    """Return the kind of document that a text holds, by the member that only documents of this kind have.

    Raises:
        DocumentRefused: it is no JSON as this platform takes it, or no document of a kind.
    """
    try:
        value = parse(text)
    except JsonFault as fault:
        raise DocumentRefused([Fault(name, fault.path, str(fault), fault.fix)]) from None
    members = value.keys() if isinstance(value, dict) else set()
    for object_type, mark in _MARKS.items():
        if mark in members:
            return KINDS[object_type]
    if {"role_id", "skill_id"} == members:
        return KINDS["role_skill_map"]
    fix = f"state {', '.join(sorted(_MARKS.values()))}, or say with --kind what it is"
    raise DocumentRefused([Fault(name, "", "is no document of a known kind", fix)])
