"""Compatibility of JSON Schemas: whether every instance of the old one is an instance of the new one, and if not why.

A schema is a conjunction of assertions. Each assertion of the new schema must follow from the old schema; one that does
not is a reason. Strict comparison also keeps the shape that readers generate types from: a value that fits in another
shape (any instead of a string, a list instead of a tuple) is a reason with `is_shape`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from guard.canonical import canonical
from registry.compatibility.document import Schema, SchemaDocument
from registry.compatibility.json_arrays import array_forms, compare_arrays
from registry.compatibility.json_objects import compare_objects
from registry.compatibility.json_unions import compare_union
from registry.compatibility.old_schema import NOTHING, UNEVALUATED, Conjunct, Old, conjuncts, shape_of, types_of
from registry.compatibility.proof import Prover
from registry.compatibility.reasons import Kind, Reason, unique

_MAX_COMPARISONS = 50_000
"""Pairs of parts that one comparison looks at; beyond that it says that it could not decide."""

_MAX_REASONS = 100
"""Reasons that are told of one part: definitions that double at each level would repeat one of theirs without end."""

_LIMITS: Mapping[str, tuple[Kind, Kind]] = {
    "maxLength": (Kind.MAX_LENGTH_ADDED, Kind.MAX_LENGTH_DECREASED),
    "minLength": (Kind.MIN_LENGTH_ADDED, Kind.MIN_LENGTH_INCREASED),
    "pattern": (Kind.PATTERN_ADDED, Kind.PATTERN_CHANGED),
    "format": (Kind.FORMAT_ADDED, Kind.FORMAT_CHANGED),
    "maximum": (Kind.MAXIMUM_ADDED, Kind.MAXIMUM_DECREASED),
    "minimum": (Kind.MINIMUM_ADDED, Kind.MINIMUM_INCREASED),
    "exclusiveMaximum": (Kind.MAXIMUM_EXCLUSIVE_ADDED, Kind.MAXIMUM_EXCLUSIVE_DECREASED),
    "exclusiveMinimum": (Kind.MINIMUM_EXCLUSIVE_ADDED, Kind.MINIMUM_EXCLUSIVE_INCREASED),
    "multipleOf": (Kind.MULTIPLE_ADDED, Kind.MULTIPLE_CHANGED),
    "maxProperties": (Kind.MAX_PROPERTIES_ADDED, Kind.MAX_PROPERTIES_DECREASED),
    "minProperties": (Kind.MIN_PROPERTIES_ADDED, Kind.MIN_PROPERTIES_INCREASED),
    "maxItems": (Kind.MAX_ITEMS_ADDED, Kind.MAX_ITEMS_DECREASED),
    "minItems": (Kind.MIN_ITEMS_ADDED, Kind.MIN_ITEMS_INCREASED),
    "uniqueItems": (Kind.UNIQUE_ITEMS_ADDED, Kind.UNIQUE_ITEMS_ADDED),
}
"""Keywords that limit a value by themselves: the kind when one is new, and when it tightens."""

_GROUPS: Mapping[tuple[str, ...], tuple[Kind, Kind]] = {
    ("not",): (Kind.NOT_TYPE_EXTENDED, Kind.NOT_TYPE_EXTENDED),
    ("if", "then", "else"): (Kind.CONDITION_CHANGED, Kind.CONDITION_CHANGED),
    ("contains", "minContains", "maxContains"): (Kind.CONTAINS_ADDED, Kind.CONTAINS_CHANGED),
    ("propertyNames",): (Kind.PROPERTY_NAMES_NARROWED, Kind.PROPERTY_NAMES_NARROWED),
    ("unevaluatedProperties",): (Kind.ADDITIONAL_PROPERTIES_REMOVED, Kind.ADDITIONAL_PROPERTIES_NARROWED),
    ("unevaluatedItems",): (Kind.ADDITIONAL_ITEMS_REMOVED, Kind.ADDITIONAL_ITEMS_NARROWED),
}
"""Keywords that mean something together, and are proven whole."""

_NUMBERS = ("integer", "number")


def compare_json(new: Schema, old: Schema, *, lenient: bool = False) -> list[Reason]:
    """Return the reasons why an instance of `old` need not be one of `new`, 100 at most; none means that all are.

    Args:
        lenient: let a change of shape pass, and the addition of an optional property to an open content model.

    Raises:
        SchemaRefused: one of them is no schema that can be compared.
    """
    comparison = Comparison(SchemaDocument(new), SchemaDocument(old), lenient=lenient)
    return unique(comparison.run())


class Comparison:
    """One comparison of two documents. Paths of reasons are relative to the parts that were compared."""

    def __init__(self, new: SchemaDocument, old: SchemaDocument, *, lenient: bool) -> None:
        self.new = new
        self.old = old
        self.lenient = lenient
        self.prover = Prover(new, old)
        self._known: dict[tuple[str, str], list[Reason]] = {}
        self._assumed: dict[tuple[str, str], int] = {}
        self._leaned_on = 0
        self._left = _MAX_COMPARISONS

    def run(self) -> list[Reason]:
        return self.compare(self.new.root, self.old.root)

    def compare(self, new: Schema, old: Schema) -> list[Reason]:
        """Compare two parts. A pair that is met again within itself is assumed to agree: recursion ends in values."""
        pair = self.new.text(new), self.old.text(old)
        if pair[0] == pair[1]:
            return []
        if pair in self._known:
            return self._known[pair]
        if pair in self._assumed:
            self._leaned_on = min(self._leaned_on, self._assumed[pair])
            return []
        self._left -= 1
        if self._left < 0 or self.prover.is_exhausted:
            return [
                Reason(Kind.UNDECIDED, "", None, None, "the schemas are too intricate to be compared; simplify them")
            ]
        depth = len(self._assumed)
        self._assumed[pair] = depth
        outer, self._leaned_on = self._leaned_on, depth
        reasons = sorted(self._settled(new, Old(old, self.old)), key=lambda reason: reason.is_shape)[:_MAX_REASONS]
        del self._assumed[pair]
        # An agreement that leans on an assumption further out holds only if that one does; a reason always holds.
        if reasons or self._leaned_on >= depth:
            self._known[pair] = reasons
        self._leaned_on = min(outer, self._leaned_on)
        return reasons

    def follows(self, assertion: Schema, old: Old) -> bool:
        """Tell whether an assertion of the new schema is proven to hold of every old value.

        What the old schema says without parts of its own comes first: it is quick, and proves where the parts confuse.
        """
        return self.prover.covers(assertion, old.plainly) or self.prover.covers(assertion, old.schema)

    def nested(self, new: Schema, old: Schema, path: str, *, is_proven: bool = False) -> list[Reason]:
        """Return the reasons of a part, placed at `path`; where values are proven to fit, those of its shape alone."""
        found = self.compare(new, old)
        return [placed(reason, path) for reason in found if reason.is_shape or not is_proven]

    def _settled(self, new: Schema, old: Old) -> list[Reason]:
        if self.lenient and self.prover.covers(new, old.schema):
            return []
        parts = conjuncts(new, self.new)
        reasons = list(self._shapes(parts, old))
        if any(part is NOTHING for part in parts):
            reasons.append(_type_changed("nothing", old, is_shape=False))
        elif old.union and old.shape == "union" and not any(_is_union(part) for part in parts):
            reasons += [reason for branch in old.union[1] for reason in self.compare(new, branch)]
        else:
            for part in parts:
                reasons += self._assertions(part, old)
        if any(not reason.is_shape for reason in reasons) and self._holds_of_values(new, old):
            reasons = [reason for reason in reasons if reason.is_shape]
        return [reason for reason in reasons if not (self.lenient and reason.is_shape)]

    def _holds_of_values(self, new: Schema, old: Old) -> bool:
        """Tell whether all old values fit, found for the whole or for each alternative of the old schema."""
        if self.prover.covers(new, old.schema):
            return True
        if old.union is None:
            return False
        return all(all(reason.is_shape for reason in self.compare(new, branch)) for branch in old.union[1])

    def _shapes(self, parts: list[Conjunct], old: Old) -> Iterator[Reason]:
        """Find what a reader would have to picture in another way, though every value may fit."""
        shape, before = shape_of(parts), old.shape
        if "nothing" in (shape, before):
            changed = shape not in (before, "anything")
        elif shape == "anything":
            changed = not (before in ("anything", "untyped") or (before == "typed" and old.types == {"object"}))
        elif shape == "not" or before == "not":
            changed = shape != before
        elif before == "enum":
            changed = not any("enum" in part for part in parts) and shape != "union"
        else:
            changed = before == "union" and not any(map(_is_union, parts))
        if changed:
            yield _type_changed(shape, old, is_shape=True)
        elif shape == before == "typed" and old.types == {"array"}:
            yield from array_forms(parts, old)

    def _assertions(self, new: Conjunct, old: Old) -> Iterator[Reason]:
        """Find the assertions of one conjunct that do not follow from the old schema."""
        text = self.new.text(new)
        # What is unevaluated depends on the other conjuncts, which may have changed.
        if not UNEVALUATED & new.keys() and any(text == self.old.text(part) for part in old.parts):
            return
        yield from self._types(new, old)
        yield from self._enum(new, old)
        yield from self._limits(new, old)
        yield from self._groups(new, old)
        for keyword in ("anyOf", "oneOf"):
            if keyword in new:
                yield from compare_union(self, keyword, new[keyword], old)
        if old.may_be("object"):
            yield from compare_objects(self, new, old)
        if old.may_be("array"):
            yield from compare_arrays(self, new, old)

    def _types(self, new: Conjunct, old: Old) -> Iterator[Reason]:
        if "type" in new and not self.follows({"type": new["type"]}, old):
            now, before = types_of(new), old.types
            overlap = now & before or (now & set(_NUMBERS) and before & set(_NUMBERS))
            kind = Kind.TYPE_NARROWED if overlap or not before else Kind.TYPE_CHANGED
            was = _names(before) if before else "any type"
            message = f"values of {was} were allowed, now only those of {_names(now)} are"
            yield Reason(kind, "/type", sorted(before) or None, sorted(now), message)

    def _enum(self, new: Conjunct, old: Old) -> Iterator[Reason]:
        if "enum" not in new or self.follows({"enum": new["enum"]}, old):
            return
        before = old.value("enum")
        if before is None:
            message = "any value of the type was allowed, now only the listed ones are"
            yield Reason(Kind.ENUM_ARRAY_ADDED, "/enum", None, new["enum"], message)
            return
        listed = {canonical(value) for value in new["enum"]}
        gone = [value for value in before if canonical(value) not in listed]
        message = f"{', '.join(map(canonical, gone))} can no longer be written"
        yield Reason(Kind.ENUM_ARRAY_NARROWED, "/enum", before, new["enum"], message)

    def _limits(self, new: Conjunct, old: Old) -> Iterator[Reason]:
        for keyword, (added, tightened) in _LIMITS.items():
            if keyword not in new or self.follows({keyword: new[keyword]}, old):
                continue
            if keyword == "pattern" and self.lenient and is_universal(new[keyword]):
                continue
            before = old.value(keyword)
            kind = added if before is None else tightened
            was = "absent" if before is None else canonical(before)
            message = f"{keyword} was {was}, now it is {canonical(new[keyword])}"
            yield Reason(kind, f"/{keyword}", before, new[keyword], message)

    def _groups(self, new: Conjunct, old: Old) -> Iterator[Reason]:
        for keywords, (added, changed) in _GROUPS.items():
            group = {keyword: new[keyword] for keyword in keywords if keyword in new}
            if keywords[0] not in group or self.follows(group, old):
                continue
            if self._is_said(group, old) or (
                keywords[0] == "propertyNames" and _allows_any_name(group["propertyNames"])
            ):
                continue
            before = old.value(keywords[0])
            message = f"{keywords[0]} says something that did not hold of every value before"
            yield Reason(added if before is None else changed, f"/{keywords[0]}", before, new[keywords[0]], message)

    def _is_said(self, group: Mapping[str, Any], old: Old) -> bool:
        """Tell whether the old schema says the very same; the unevaluated ones depend on what stands beside them."""
        if UNEVALUATED & group.keys():
            return False
        text = self.new.text(group)
        # `contains` alone demands one item; beside `minContains` it demands as many as that says.
        words = {*group, "minContains"} if "contains" in group else set(group)
        said = ({keyword: part[keyword] for keyword in words if keyword in part} for part in old.parts)
        return any(text == self.old.text(same) for same in said)


def _is_union(part: Conjunct) -> bool:
    return "anyOf" in part or "oneOf" in part


def placed(reason: Reason, path: str) -> Reason:
    """Return a reason of a part as one of the whole."""
    return replace(reason, path=path + reason.path)


def is_universal(pattern: str) -> bool:
    """Tell whether a pattern plainly matches every text: it matches nothing at the start, and does not look around."""
    body = pattern.removeprefix("^")
    if re.search(r"[$^]|\\[bBAZ]|\(\?", body.replace(".*$", "").replace("(?:", "(")):
        return False
    try:
        return re.match(body.replace(".*$", ".*"), "") is not None
    except re.error:
        return False


def _allows_any_name(schema: Schema) -> bool:
    """Tell whether `propertyNames` lets every name pass."""
    if isinstance(schema, bool):
        return schema
    is_text = "string" in types_of(schema) or "type" not in schema
    return schema.keys() <= {"pattern", "type"} and is_text and is_universal(schema.get("pattern", ""))


def _type_changed(shape: str, old: Old, *, is_shape: bool) -> Reason:
    before = _names(old.types) if old.types else old.shape
    message = f"the values were described as {before}, now they are described as {shape}"
    return Reason(Kind.TYPE_CHANGED, "", before, shape, message, is_shape)


def _names(types: set[str]) -> str:
    return " or ".join(sorted(types))
