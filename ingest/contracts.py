"""Members that a topic's schema does not know: found, dropped or kept redacted. Counting them is `ingest.unknown`'s."""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jsonschema_rs

from guard.canonical import pointer
from guard.redaction import field_name

UNKNOWN_KINDS = frozenset({"AdditionalProperties", "UnevaluatedProperties"})
"""What the validator calls members that a schema does not know."""

_OF_NAMES = UNKNOWN_KINDS | {"MaxProperties", "PropertyNames"}
"""What may be wrong only because unknown members are there."""

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
            owner = at(rest, error.instance_path)
            for name in getattr(error.kind, "unexpected"):  # noqa: B009 - its type does not tell the kinds apart
                if name in owner:
                    place = tuple(error.schema_path[:-1])
                    members.append(Member(tuple(error.instance_path), name, owner.pop(name), place))
    return members


def without(payload: Any, members: Iterable[Member]) -> Any:
    """Return a payload without the members that `fit` found in it."""
    rest = deepcopy(payload)
    for member in members:
        del at(rest, member.owner)[member.name]
    return rest


def redacted(payload: Any, members: Iterable[Member], hide: Callable[[Any], Any]) -> Any:
    """Return a payload whose unknown members are redacted; a name that is no field's is taken for a value."""
    rest = deepcopy(payload)
    for member in members:
        owner = at(rest, member.owner)
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


def _kind(error: jsonschema_rs.ValidationError) -> str:
    return type(error.kind).__name__


def at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value
