"""Objects: properties that were added, removed or changed, in open, closed and partially open content models."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from guard.canonical import canonical, pointer
from registry.compatibility.document import Schema
from registry.compatibility.old_schema import Conjunct, Old, matches, property_of
from registry.compatibility.reasons import Kind, Reason

if TYPE_CHECKING:
    from registry.compatibility.json_schema import Comparison

_OPEN: tuple[Schema, ...] = (True, {})


def compare_objects(comparison: "Comparison", new: Conjunct, old: Old) -> Iterator[Reason]:
    """Find what one conjunct says of objects that did not hold of every old object."""
    yield from _required(comparison, new, old)
    yield from _dependencies(comparison, new, old)
    if new.keys() & {"properties", "patternProperties", "additionalProperties"}:
        for name in dict.fromkeys([*new.get("properties", ()), *old.property_names]):
            yield from _property(comparison, new, old, name)
        yield from _patterns(comparison, new, old)
        yield from _additional(comparison, new, old)


def _required(comparison: "Comparison", new: Conjunct, old: Old) -> Iterator[Reason]:
    before = sorted({name for part in old.parts for name in part.get("required", ())})
    for name in new.get("required", ()):
        if not comparison.follows({"required": [name]}, old):
            message = f"{name} must be there now and could be absent before; make it optional"
            yield Reason(Kind.REQUIRED_PROPERTY_ADDED, "/required", before or None, name, message)


def _dependencies(comparison: "Comparison", new: Conjunct, old: Old) -> Iterator[Reason]:
    for name, needed in new.get("dependentRequired", {}).items():
        if not comparison.follows({"dependentRequired": {name: needed}}, old):
            before = (old.value("dependentRequired") or {}).get(name)
            kind = Kind.DEPENDENCY_ARRAY_ADDED if before is None else Kind.DEPENDENCY_ARRAY_EXTENDED
            message = f"{name} now demands {', '.join(needed)}"
            yield Reason(kind, pointer(["dependentRequired", name]), before, needed, message)
    for name, schema in new.get("dependentSchemas", {}).items():
        group = {"dependentSchemas": {name: schema}}
        before = (old.value("dependentSchemas") or {}).get(name)
        if comparison.follows(group, old) or (before is not None and not comparison.compare(schema, before)):
            continue
        kind = Kind.DEPENDENCY_SCHEMA_ADDED if before is None else Kind.DEPENDENCY_SCHEMA_CHANGED
        message = f"an object that has {name} must meet conditions now that it did not have to meet before"
        yield Reason(kind, pointer(["dependentSchemas", name]), before, schema, message)


def _property(comparison: "Comparison", new: Conjunct, old: Old, name: str) -> Iterator[Reason]:
    now, before = property_of(new, name), old.property_schema(name)
    path = pointer(["properties", name])
    is_new = name not in old.property_names
    is_named = name in new.get("properties", ())
    if (
        not is_named
        and now in _OPEN
        and not any(matches(pattern, name) for pattern in new.get("patternProperties", ()))
    ):
        return
    if before is False:
        return
    is_added = is_new and old.is_open
    if is_added and comparison.lenient:
        return
    found = [] if is_added else comparison.nested(now, before, path)
    if not (found or is_added) or comparison.follows({"not": {"required": [name]}}, old):
        return  # it fits, or no old object has it
    holds = comparison.follows({"properties": {name: now}}, old)
    if is_added:
        message = f"{name} could hold anything before, since the content model was open; now it cannot"
        yield Reason(Kind.PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL, path, None, now, message, is_shape=holds)
        return
    if now is False:
        message = f"{name} was allowed before and no longer is; keep it, or open the content model"
        yield Reason(Kind.PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL, path, before, None, message, is_shape=holds)
        return
    found = [reason for reason in found if reason.is_shape or not holds]
    if found and is_new:
        message = f"what {name} may hold does not cover what additional properties could hold before"
        kind = Kind.PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        yield Reason(kind, path, before, now, message, is_shape=holds)
    elif found and not is_named:
        message = f"{name} is no longer named, and what additional properties may hold does not cover it"
        kind = Kind.PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL
        yield Reason(kind, path, before, now, message, is_shape=holds)
    yield from found


def _patterns(comparison: "Comparison", new: Conjunct, old: Old) -> Iterator[Reason]:
    for pattern, schema in new.get("patternProperties", {}).items():
        if schema in _OPEN or comparison.follows({"patternProperties": {pattern: schema}}, old):
            continue
        path = pointer(["patternProperties", pattern])
        for before in old.other_properties({}, pattern):
            found = [] if before is False else comparison.nested(schema, before, path)
            if found:
                message = f"properties that match {pattern} could hold values before that they cannot hold now"
                yield Reason(Kind.PATTERN_PROPERTY_NARROWED, path, before, schema, message)
                yield from found


def _additional(comparison: "Comparison", new: Conjunct, old: Old) -> Iterator[Reason]:
    schema = new.get("additionalProperties", True)
    if schema in _OPEN:
        return
    patterns = new.get("patternProperties", {})
    named: dict[str, Any] = {
        "properties": dict.fromkeys(new.get("properties", ()), True),
        "patternProperties": dict.fromkeys(patterns, True),
        "additionalProperties": schema,
    }
    if comparison.follows(named, old):
        return
    path = "/additionalProperties"
    for before in old.other_properties(patterns):
        if before is False:
            continue
        if schema is False:
            was = "any" if before is True else f"those that are {canonical(before)}"
            message = f"other properties were allowed before ({was}) and no longer are"
            yield Reason(Kind.ADDITIONAL_PROPERTIES_REMOVED, path, before, False, message)
        elif found := comparison.nested(schema, before, path):
            message = "other properties could hold values before that they cannot hold now"
            yield Reason(Kind.ADDITIONAL_PROPERTIES_NARROWED, path, before, schema, message)
            yield from found
