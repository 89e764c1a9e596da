"""What a schema says at one place: its conjuncts, and what they add up to for a property, an item, a type."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import jsonschema_rs

from registry.compatibility.document import ASSERTIONS, PLAIN, Schema, SchemaDocument

Conjunct = Mapping[str, Any]
"""Assertions that hold together, without references, `allOf` and unions of one."""

NOTHING: Conjunct = {"enum": []}
Shape = Literal["nothing", "anything", "not", "union", "enum", "typed", "untyped"]
UNEVALUATED = frozenset(("unevaluatedProperties", "unevaluatedItems"))
_UNIONS = ("anyOf", "oneOf")
_OTHER_PROPERTIES = ("additionalProperties", "unevaluatedProperties")


def conjuncts(schema: Schema, document: SchemaDocument) -> list[Conjunct]:
    """Return what `schema` says, taken apart as far as a conjunction goes."""
    return list(_conjuncts(schema, document, frozenset()))


def _conjuncts(schema: Schema, document: SchemaDocument, entered: frozenset[str]) -> Iterator[Conjunct]:
    if isinstance(schema, bool):
        yield {} if schema else NOTHING
        return
    rest = {keyword: value for keyword, value in schema.items() if keyword in ASSERTIONS}
    inner: list[tuple[Schema, frozenset[str]]] = [(part, entered) for part in rest.pop("allOf", ())]
    reference = rest.pop("$ref", None)
    if reference is not None and reference not in entered:
        inner.append((document.target(reference), entered | {reference}))
    for keyword in _UNIONS:
        if len(rest.get(keyword, ())) == 1:
            inner.append((rest.pop(keyword)[0], entered))
    if rest or not inner:
        yield rest
    for part, names in inner:
        yield from _conjuncts(part, document, names)


def shape_of(parts: list[Conjunct]) -> Shape:
    """Return how readers would picture the values: the same values in another shape are another type to them."""
    said = {keyword for part in parts for keyword in part}
    if any(part is NOTHING for part in parts):
        return "nothing"
    if not said:
        return "anything"
    if "enum" in said and "type" not in said:
        return "enum"
    if "type" in said:
        return "typed"
    if said & set(_UNIONS):
        return "union"
    return "not" if "not" in said else "untyped"


def types_of(part: Conjunct) -> set[str]:
    """Return the types that a conjunct names; none if it names none."""
    stated = part.get("type", ())
    return {stated} if isinstance(stated, str) else set(stated)


class Old:
    """The old schema at one place."""

    def __init__(self, schema: Schema, document: SchemaDocument) -> None:
        self.schema = schema
        self.parts = conjuncts(schema, document)

    @cached_property
    def shape(self) -> Shape:
        return shape_of(self.parts)

    @cached_property
    def plainly(self) -> Schema:
        """What is said without parts: a wider schema that is easy to reason about."""
        return together([{name: part[name] for name in part if name in PLAIN} for part in self.parts])

    @cached_property
    def types(self) -> set[str]:
        """The types that are named; none if any may come."""
        named = [types_of(part) for part in self.parts if "type" in part]
        if not named:
            return set()
        common = set.intersection(*named)
        return common or named[0]

    def may_be(self, *types: str) -> bool:
        return not self.types or bool(self.types & set(types))

    def value(self, keyword: str) -> Any:
        """Return what is said by a keyword, None if nothing is."""
        return next((part[keyword] for part in self.parts if keyword in part), None)

    @property
    def property_names(self) -> list[str]:
        return list(dict.fromkeys(name for part in self.parts for name in part.get("properties", ())))

    @property
    def is_open(self) -> bool:
        """Whether any property may be added: no pattern and nothing about other properties says what it holds."""
        return not any(
            part.get("patternProperties") or any(part.get(word, True) not in _TRUE for word in _OTHER_PROPERTIES)
            for part in self.parts
        )

    def property_schema(self, name: str) -> Schema:
        """Return what must hold of a property."""
        return together([property_of(part, name) for part in self.parts])

    def other_properties(self, without: Mapping[str, Any], pattern: str | None = None) -> Iterator[Schema]:
        """Yield the alternatives of what must hold of a property that no `properties` names.

        Args:
            without: patterns that such a property does not match.
            pattern: a pattern that it matches.
        """
        base = [part.get("additionalProperties", True) for part in self.parts if not part.get("patternProperties")]
        patterned = [part for part in self.parts if part.get("patternProperties")]
        exact = [part["patternProperties"][pattern] for part in patterned if pattern in part["patternProperties"]]
        if exact or not patterned:
            yield together([*base, *exact])
            return
        # Conjuncts with patterns beyond the first are left out: what must hold is then weaker, which is safe.
        first = patterned[0]
        for text, schema in first["patternProperties"].items():
            if text not in without:
                yield together([*base, schema])
        yield together([*base, first.get("additionalProperties", True)])

    @property
    def item_count(self) -> int:
        """How many positions have a schema of their own."""
        return max((len(part.get("prefixItems", ())) for part in self.parts), default=0)

    def item_schema(self, index: int | None) -> Schema:
        """Return what must hold of the item at a position, None for those beyond all positions."""
        schemas = []
        for part in self.parts:
            prefix = part.get("prefixItems", ())
            is_stated = index is not None and index < len(prefix)
            schemas.append(prefix[index] if is_stated else part.get("items", True))
        return together(schemas)

    @cached_property
    def union(self) -> tuple[str, list[Schema]] | None:
        """The keyword and the alternatives of a union, each with all that is said beside it."""
        for place, part in enumerate(self.parts):
            for keyword in _UNIONS:
                if keyword in part:
                    # What is unevaluated beside a union is another thing beside one of its alternatives.
                    left_out = {keyword, *UNEVALUATED}
                    beside = {name: value for name, value in part.items() if name not in left_out}
                    others = [*self.parts[:place], *self.parts[place + 1 :]]
                    rest = [beside, *({n: v for n, v in each.items() if n not in UNEVALUATED} for each in others)]
                    return keyword, [together([branch, *rest]) for branch in part[keyword]]
        return None


_TRUE: tuple[Schema, ...] = (True, {})


def together(schemas: list[Any]) -> Schema:
    """Return the conjunction of schemas, as plain as it can be written."""
    said = [schema for schema in schemas if schema not in _TRUE]
    if any(schema is False for schema in said):
        return False
    if not said:
        return True
    return said[0] if len(said) == 1 else {"allOf": said}


def property_of(part: Conjunct, name: str) -> Schema:
    """Return what one conjunct says of a property."""
    said = [part["properties"][name]] if name in part.get("properties", ()) else []
    said += [schema for pattern, schema in part.get("patternProperties", {}).items() if matches(pattern, name)]
    return together(said) if said else part.get("additionalProperties", True)


def matches(pattern: str, name: str) -> bool:
    """Tell whether a pattern of `patternProperties` is for a property, as the validator at the door decides."""
    return bool(jsonschema_rs.validator_for({"pattern": pattern}).is_valid(name))
