"""Proof of containment: whether every value of one schema is a value of another.

`jsonschema_rs` decides it for schemas without changed recursion. Where references lead back to themselves, the old
schema is widened and the new one narrowed below a few levels: what holds of those holds of the schemas.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

import jsonschema_rs

from guard.canonical import canonical
from registry.compatibility.document import Schema, SchemaDocument, references
from registry.compatibility.old_schema import UNEVALUATED

_UNFOLDED = 2
_MAX_CHARACTERS = 10_000_000
"""Characters of schemas that the proofs of one comparison read: some seconds."""
_MAX_UNFOLDED_PARTS = 1_000
_FLIPS = frozenset(("not",))
_MAPS = frozenset(("properties", "patternProperties", "dependentSchemas"))
_LISTS = frozenset(("allOf", "anyOf", "prefixItems"))
_SINGLES = frozenset(("additionalProperties", "items", "contains", "propertyNames"))
_FAITHFUL = frozenset(("if", "then", "else", "oneOf", "unevaluatedItems", "unevaluatedProperties", "maxContains"))
"""Keywords whose meaning is not monotone in their parts."""
_CONDITIONS = frozenset(("if", "then", "else", "dependentSchemas", "not"))


class _TooLarge(Exception):
    """A recursive schema that branches so much that unfolding it a few times is out of proportion."""


class Prover:
    """Proves over the parts of a new and an old document."""

    def __init__(self, new: SchemaDocument, old: SchemaDocument) -> None:
        self._documents = {document.uri: document for document in (new, old)}
        self._proven: dict[tuple[str, str], bool] = {}
        self._texts: dict[int, tuple[Schema, str]] = {}
        self._left = _MAX_CHARACTERS
        self._canonical: dict[str, Any] = {}
        self._confusing: dict[str, bool] = {}

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        resources = [
            (uri, document.root) for uri, document in self._documents.items() if isinstance(document.root, dict)
        ]
        return jsonschema_rs.Registry(resources=resources, draft=jsonschema_rs.Draft202012)

    def covers(self, new: Schema, old: Schema) -> bool:
        """Tell whether it is proven that every value of `old` is one of `new`; False when it is not, or not known."""
        key = self._text(new), self._text(old)
        if key not in self._proven:
            self._proven[key] = self._covers(new, old)
        return self._proven[key]

    def are_disjoint(self, one: Schema, other: Schema) -> bool:
        """Tell whether it is proven that no value is one of both."""
        return self.covers({"not": other}, one)

    @property
    def is_exhausted(self) -> bool:
        """Whether the proofs took all the work that a comparison may take; nothing is proven after that."""
        return self._left < 0

    def _text(self, schema: Schema) -> str:
        """Return the canonical text of a part; keeping the part keeps its identity from being used again."""
        if isinstance(schema, bool):
            return "true" if schema else "false"
        if id(schema) not in self._texts:
            self._texts[id(schema)] = schema, canonical(schema)
        return self._texts[id(schema)][1]

    def _covers(self, new: Schema, old: Schema) -> bool:
        if self._decides(new, old):
            return True
        if not (_has_reference(new) or _has_reference(old)):
            return False
        with suppress(_TooLarge):
            narrowed = self._bounded(new, _UNFOLDED, iter(range(_MAX_UNFOLDED_PARTS)), is_upper=False)
            widened = self._bounded(old, _UNFOLDED, iter(range(_MAX_UNFOLDED_PARTS)), is_upper=True)
            return self._decides(narrowed, widened)
        return False

    def _decides(self, new: Schema, old: Schema) -> bool:
        self._left -= len(self._text(new)) + len(self._text(old))
        if self.is_exhausted or self._confuses(new) or self._confuses(old):
            return False
        try:
            return self._read(new).covers(self._read(old)) == jsonschema_rs.canonical.Containment.YES
        except (jsonschema_rs.canonical.CanonicalizationError, ValueError):
            return False

    def _confuses(self, schema: Schema) -> bool:
        """Tell whether a part, or what it refers to, lets a condition say what is evaluated.

        The canonical form takes what either branch evaluates for evaluated; it is not asked then.
        """
        text = self._text(schema)
        if text not in self._confusing:
            words = set(_words(schema))
            waiting, seen = list(references(schema)), set[str]()
            while waiting:
                if (reference := waiting.pop()) not in seen:
                    seen.add(reference)
                    target = self._documents[reference.partition("#")[0]].target(reference)
                    words |= set(_words(target))
                    waiting += references(target)
            self._confusing[text] = bool(words & UNEVALUATED and words & _CONDITIONS)
        return self._confusing[text]

    def _read(self, schema: Schema) -> Any:
        text = self._text(schema)
        if text not in self._canonical:
            self._canonical[text] = jsonschema_rs.canonicalize(
                schema,
                draft=jsonschema_rs.Draft202012,
                validate_formats=True,  # as at the door
                registry=self._registry,
            )
        return self._canonical[text]

    def _bounded(self, schema: Schema, depth: int, budget: Iterator[int], *, is_upper: bool) -> Schema:
        """Return a schema without references that accepts at least (or at most) what `schema` does."""
        if next(budget, None) is None:
            raise _TooLarge
        if not _has_reference(schema):
            return schema
        if _FAITHFUL & schema.keys():
            if not is_upper:
                return False
            branches = schema.get("oneOf")
            schema = {keyword: value for keyword, value in schema.items() if keyword not in _FAITHFUL | {"contains"}}
            if branches and "anyOf" not in schema:
                schema["anyOf"] = branches
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword == "$ref":
                document = self._documents[value.partition("#")[0]]
                target = (
                    self._bounded(document.target(value), depth - 1, budget, is_upper=is_upper) if depth else is_upper
                )
                result["allOf"] = [*result.get("allOf", []), target]
            elif keyword in _MAPS:
                result[keyword] = {
                    n: self._bounded(part, depth, budget, is_upper=is_upper) for n, part in value.items()
                }
            elif keyword in _LISTS:
                parts = [self._bounded(part, depth, budget, is_upper=is_upper) for part in value]
                result[keyword] = [*result.get(keyword, []), *parts]
            elif keyword in _SINGLES:
                result[keyword] = self._bounded(value, depth, budget, is_upper=is_upper)
            elif keyword in _FLIPS:
                result[keyword] = self._bounded(value, depth, budget, is_upper=not is_upper)
            elif keyword not in ("$defs", "definitions"):
                result[keyword] = value
        return result


def _words(schema: Schema) -> Iterator[str]:
    """Yield the keywords of a part and of all within it; a property's name that is one is taken for it."""
    if isinstance(schema, dict):
        yield from schema
        for part in schema.values():
            yield from _words(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _words(part)


def _has_reference(schema: Schema) -> bool:
    return next(references(schema), None) is not None
