"""Why a version cannot follow another: one typed reason per place, so that a person can act and a program can count.

The names are those of Confluent's and Karapace's registries and of Avro's own checker where they have one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any, Literal

Direction = Literal["backward", "forward"]
"""Who could not read whom: the new version the old one's events, or the old version the new one's."""


class Kind(StrEnum):
    """What changed. A kind says what to look for; the reason's sentence says what to do about it."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name

    # values of any type
    TYPE_CHANGED = auto()
    TYPE_NARROWED = auto()
    ENUM_ARRAY_ADDED = auto()
    ENUM_ARRAY_NARROWED = auto()
    FORMAT_ADDED = auto()
    FORMAT_CHANGED = auto()
    # strings
    MAX_LENGTH_ADDED = auto()
    MAX_LENGTH_DECREASED = auto()
    MIN_LENGTH_ADDED = auto()
    MIN_LENGTH_INCREASED = auto()
    PATTERN_ADDED = auto()
    PATTERN_CHANGED = auto()
    # numbers
    MAXIMUM_ADDED = auto()
    MAXIMUM_DECREASED = auto()
    MINIMUM_ADDED = auto()
    MINIMUM_INCREASED = auto()
    MAXIMUM_EXCLUSIVE_ADDED = auto()
    MAXIMUM_EXCLUSIVE_DECREASED = auto()
    MINIMUM_EXCLUSIVE_ADDED = auto()
    MINIMUM_EXCLUSIVE_INCREASED = auto()
    MULTIPLE_ADDED = auto()
    MULTIPLE_CHANGED = auto()
    # objects
    REQUIRED_PROPERTY_ADDED = auto()
    PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL = auto()
    PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL = auto()
    PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL = auto()
    PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL = auto()
    PATTERN_PROPERTY_NARROWED = auto()
    ADDITIONAL_PROPERTIES_REMOVED = auto()
    ADDITIONAL_PROPERTIES_NARROWED = auto()
    PROPERTY_NAMES_NARROWED = auto()
    MAX_PROPERTIES_ADDED = auto()
    MAX_PROPERTIES_DECREASED = auto()
    MIN_PROPERTIES_ADDED = auto()
    MIN_PROPERTIES_INCREASED = auto()
    DEPENDENCY_ARRAY_ADDED = auto()
    DEPENDENCY_ARRAY_EXTENDED = auto()
    DEPENDENCY_SCHEMA_ADDED = auto()
    DEPENDENCY_SCHEMA_CHANGED = auto()
    # arrays
    ARRAY_FORM_CHANGED = auto()
    ITEM_ADDED = auto()
    ITEM_REMOVED = auto()
    ITEMS_DROPPED = auto()
    ADDITIONAL_ITEMS_REMOVED = auto()
    ADDITIONAL_ITEMS_NARROWED = auto()
    MAX_ITEMS_ADDED = auto()
    MAX_ITEMS_DECREASED = auto()
    MIN_ITEMS_ADDED = auto()
    MIN_ITEMS_INCREASED = auto()
    UNIQUE_ITEMS_ADDED = auto()
    CONTAINS_ADDED = auto()
    CONTAINS_CHANGED = auto()
    # combinations
    COMBINED_TYPE_CHANGED = auto()
    COMBINED_TYPE_SUBSCHEMAS_CHANGED = auto()
    SUM_TYPE_NARROWED = auto()
    NOT_TYPE_EXTENDED = auto()
    CONDITION_CHANGED = auto()
    UNDECIDED = auto()
    # Avro
    NAME_MISMATCH = auto()
    TYPE_MISMATCH = auto()
    FIXED_SIZE_MISMATCH = auto()
    MISSING_ENUM_SYMBOLS = auto()
    MISSING_UNION_BRANCH = auto()
    READER_FIELD_MISSING_DEFAULT_VALUE = auto()
    LOGICAL_TYPE_MISMATCH = auto()
    # versions
    FORMAT_OF_SCHEMA_CHANGED = auto()


@dataclass(frozen=True)
class Reason:
    """One thing that stands between two versions.

    Attributes:
        path: JSON pointer into the new schema, or into the old one for what was removed.
        old: what was said there before; None for nothing.
        new: what is said there now; None for nothing.
        message: one sentence.
        direction: a reason of `forward` is told from the old version's side: its reader meets the new version's events.
        is_shape: every old value still fits, but in another shape: strict comparison refuses, lenient does not.
    """

    kind: Kind
    path: str
    old: Any
    new: Any
    message: str
    is_shape: bool = False
    direction: Direction = "backward"

    def __str__(self) -> str:
        forward = "for the version before, " if self.direction == "forward" else ""
        return f"{self.kind} at {self.path or '/'}: {forward}{self.message}"

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": str(self.kind),
            "direction": self.direction,
            "path": self.path,
            "old": self.old,
            "new": self.new,
            "message": self.message,
        }


def unique(reasons: Iterable[Reason]) -> list[Reason]:
    """Return each reason once, in order; the values they quote may be of any JSON type."""
    return list({(reason.direction, reason.kind, reason.path, reason.message): reason for reason in reasons}.values())
