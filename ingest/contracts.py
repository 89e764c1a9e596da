"""Members that a topic's schema does not know: found, dropped or kept redacted, counted, and proposed for it."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import jsonschema_rs

from guard.canonical import canonical, pointer
from guard.redaction import PII_MARK, field_name
from registry.compatibility import SchemaRefused
from registry.database import Registry
from registry.documents import DocumentRefused, EventSchema, read_document
from registry.permissions import PLATFORM
from registry.publication import propose_document
from registry.schemas import schema_versions

log = logging.getLogger("rwcm.ingest")

MOST_PROPOSED = 100
"""Members of a topic that one batch proposes: what names its members after people or days is no schema."""

MOST_COUNTED = 1000
"""Paths of a topic that are counted one by one; the others count together, under `ELSEWHERE`."""

ELSEWHERE = "..."
UNKNOWN_KINDS = frozenset({"AdditionalProperties", "UnevaluatedProperties"})
"""What the validator calls members that a schema does not know."""

_OF_NAMES = UNKNOWN_KINDS | {"MaxProperties", "PropertyNames"}
"""What may be wrong only because unknown members are there."""

_MIXED = ""
_WITHOUT_TEXT = frozenset({"integer", "number", "boolean"})

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A member that the schema does not know.

    Attributes:
        owner: the object that holds it, within the payload.
        place: what describes that object, within the schema.
    """

    owner: Path
    name: str
    value: Any
    place: Path


@dataclass(frozen=True, slots=True)
class Unknown:
    """What is told of a member that the schema does not know: nothing of its value.

    Attributes:
        path: within the payload, with `*` for any item of a list.
        place: where the schema would describe the object that holds it; None if it is not to be proposed.
        name, kind: its name and JSON type.
    """

    topic: str
    path: str
    is_kept: bool
    place: Path | None
    name: str
    kind: str


def fit(payload: Any, validator: jsonschema_rs.Validator) -> list[Member] | jsonschema_rs.ValidationError:
    """Return the members without which an invalid payload is valid, the innermost first, or why there are none.

    A payload that is wrong in what the schema does know stays wrong. Within `anyOf` and `oneOf` nobody can tell which
    alternative was meant, so nothing is unknown there.
    """
    rest = deepcopy(payload)
    members: list[Member] = []
    while errors := list(validator.iter_errors(rest)):
        names = [_kind(error) for error in errors]
        others = [error for error, kind in zip(errors, names, strict=True) if kind not in _OF_NAMES]
        strange = [error for error, kind in zip(errors, names, strict=True) if kind in UNKNOWN_KINDS]
        if others or not strange:
            return (others or errors)[0]
        for error in sorted(strange, key=lambda error: -len(error.instance_path)):
            owner = _at(rest, error.instance_path)
            for name in getattr(error.kind, "unexpected"):  # noqa: B009 - its type does not tell the kinds apart
                if name in owner:
                    place = tuple(error.schema_path[:-1])
                    members.append(Member(tuple(error.instance_path), name, owner.pop(name), place))
    return members


def without(payload: Any, members: Iterable[Member]) -> Any:
    """Return a payload without the members that `fit` found in it."""
    rest = deepcopy(payload)
    for member in members:
        del _at(rest, member.owner)[member.name]
    return rest


def redacted(payload: Any, members: Iterable[Member], hide: Callable[[Any], Any]) -> Any:
    """Return a payload whose unknown members are redacted; a name that is no field's is taken for a value."""
    rest = deepcopy(payload)
    for member in members:
        owner = _at(rest, member.owner)
        hidden = hide(owner.pop(member.name))
        owner[member.name if field_name(member.name) == member.name else hide(member.name)] = hidden
    return rest


def told(topic: str, member: Member, *, is_kept: bool, is_proposed: bool) -> Unknown:
    """Return what leaves the door of an unknown member."""
    path = pointer("*" if isinstance(step, int) else field_name(step) for step in (*member.owner, member.name))
    is_field = field_name(member.name) == member.name
    place = member.place if is_proposed and is_field else None
    return Unknown(topic, path, is_kept, place, member.name if is_field else "", json_type(member.value))


def json_type(value: Any) -> str:
    """Return the JSON Schema type of a value; a number without a fraction is an integer, however it is written."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "integer" if value == int(value) else "number"
    names = ((str, "string"), (dict, "object"), (list, "array"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")


@dataclass
class UnknownMembers:
    """What a batch met of members that the schemas do not know.

    Attributes:
        discarded: how many were dropped, by topic and path.
        kept: the JSON type of those that were kept, by topic, place in the schema and name; empty where it varies.
    """

    discarded: dict[str, Counter[str]] = field(default_factory=dict)
    kept: dict[str, dict[tuple[Path, str], str]] = field(default_factory=dict)

    def add(self, members: Iterable[Unknown]) -> None:
        for member in members:
            if not member.is_kept:
                counted = self.discarded.setdefault(member.topic, Counter())
                is_listed = member.path in counted or len(counted) < MOST_COUNTED
                counted[member.path if is_listed else ELSEWHERE] += 1
            elif member.place is not None:
                seen = self.kept.setdefault(member.topic, {})
                key = (member.place, member.name)
                if key in seen or len(seen) < MOST_PROPOSED:
                    seen[key] = _common(seen.get(key, member.kind), member.kind)

    def propose(self, registry: Registry, *, batch_id: str, now: datetime) -> list[str]:
        """Queue, for each topic, the schema that knows what was kept; return the topics whose proposal is new.

        What is proposed follows from the records alone, and the same proposal is queued once: a batch that is done
        again proposes nothing twice. A schema that cannot be proposed stops no batch.
        """
        new = []
        for topic, members in sorted(self.kept.items()):
            try:
                if _propose(registry, topic, members, batch_id, now):
                    new.append(topic)
            except (DocumentRefused, SchemaRefused) as refused:
                log.warning("unknown members of %s were kept, but no schema can be proposed: %s", topic, refused)
        return new


def _propose(
    registry: Registry, topic: str, members: Mapping[tuple[Path, str], str], batch_id: str, now: datetime
) -> bool:
    with registry.transaction() as connection:
        latest = schema_versions(connection, topic)[topic][-1]
        schema = deepcopy(latest.schema)
        if not _join(schema, members):
            return False
        document = {
            "subject": topic,
            "version": latest.version + 1,
            "semver": latest.semver,
            "format": latest.format,
            "compatibility": latest.compatibility,
            "content_model": "lenient" if latest.is_lenient else "strict",
            "schema": schema,
        }
        return propose_document(
            connection,
            read_document(EventSchema, canonical(document), name=topic),
            provenance={"source": "contract", "batch_id": batch_id},
            confidence=1,
            proposed_by=PLATFORM.subject_id,
            now=now,
        )


def _join(schema: Any, members: Mapping[tuple[Path, str], str]) -> bool:
    """Add members to a schema as optional properties; return whether any was new to it.

    What may hold text is marked personal, as it was treated until now: to take the mark away is the reviewer's to do.
    """
    is_new = False
    for (place, name), kind in members.items():
        try:
            properties = _at(schema, place).setdefault("properties", {})
        except (AttributeError, LookupError, TypeError):
            continue  # the schema was replaced since the records were judged
        if name not in properties:
            stated = {} if kind in (_MIXED, "null") else {"type": kind}
            properties[name] = stated if kind in _WITHOUT_TEXT else stated | {PII_MARK: True}
            is_new = True
    return is_new


def _common(one: str, other: str) -> str:
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else _MIXED


def _kind(error: jsonschema_rs.ValidationError) -> str:
    return type(error.kind).__name__


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value
