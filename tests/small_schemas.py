"""Small JSON Schemas at random, changes to them, and all the small documents there are: an oracle by brute force."""

import json
from random import Random
from typing import Any

SCALARS: list[Any] = [None, True, False, 0, 1, 2, 3, -1, 4, 6, 1.5, 0.5, "", "a", "ab", "b", "abc", "2024-01-01"]
_PARTS: list[Any] = [1, 2, "a", None, 1.5, True, {"a": 1}, [1]]
DOCUMENTS: list[Any] = [
    *SCALARS,
    *({name: part} for name in ("a", "b", "c", "ab", "zz") for part in _PARTS),
    *({"a": one, "b": other} for one in _PARTS[:5] for other in _PARTS[:5]),
    *([part] for part in _PARTS),
    *([one, other] for one in _PARTS[:4] for other in _PARTS[:4]),
    {},
    [],
    {"a": {"a": {"a": 1}}},
    {"a": {"a": {"a": "a"}}},
    {"a": {"b": 1}},
    {"a": 1, "b": "a", "c": None},
    {"a": 1, "c": "a"},
    [1, "a", None],
    [1, 2, 3],
    ["a", "a", "a"],
]
_TYPES = ["integer", "number", "string", "null", "object", "array"]
_NAMES = ["a", "b", "c"]


class SmallSchemas:
    """Draws schemas over few names and small numbers, so that a change is seen by some document."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def pair(self) -> tuple[Any, Any]:
        """Return a schema and one that it may have become, (new, old), over the same two definitions."""
        tree = {"type": "object", "properties": {"a": {"$ref": "#/$defs/tree"}, "b": self.schema(0)}}
        tree["additionalProperties"] = self.chance(0.5)
        old = {**self.keywords(2), "$defs": {"part": self.schema(1), "tree": tree}}
        return self.changed(old), old

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def schema(self, depth: int) -> Any:
        fate = self.random.random()
        if fate < 0.08:
            return self.random.choice([True, True, {}, False])
        if fate < 0.14:
            return {"$ref": self.random.choice(["#/$defs/part", "#/$defs/tree"])}
        return self.keywords(depth)

    def schemas(self, depth: int, least: int = 1) -> list[Any]:
        return [self.schema(depth) for _ in range(self.random.randint(least, 3))]

    def keywords(self, depth: int) -> dict[str, Any]:
        combined = self.combined(depth - 1) if depth > 0 and self.chance(0.2) else {}
        if combined and self.chance(0.7):
            return combined
        kind = self.random.choice([*_TYPES, "boolean", "object", "array"])
        result = combined | {
            "type": kind if self.chance(0.8) else self.random.sample(_TYPES, self.random.randint(1, 3))
        }
        if self.chance(0.15):
            del result["type"]
        if self.chance(0.12):
            result["enum"] = self.random.sample(DOCUMENTS, self.random.randint(1, 4))
        offered = {
            "integer": self.numbers,
            "number": self.numbers,
            "string": self.strings,
            "object": lambda: self.objects(depth - 1),
            "array": lambda: self.arrays(depth - 1),
        }.get(kind, dict)()
        return result | {name: value for name, (odds, value) in offered.items() if self.chance(odds)}

    def combined(self, depth: int) -> dict[str, Any]:
        keyword = self.random.choice(["anyOf", "oneOf", "allOf", "not", "if"])
        if keyword == "if":
            return {"if": self.schema(depth), "then": self.schema(depth), "else": self.schema(depth)}
        return {keyword: self.schema(depth) if keyword == "not" else self.schemas(depth)}

    def numbers(self) -> dict[str, tuple[float, Any]]:
        draw = self.random.randint
        return {
            "minimum": (0.3, draw(-1, 3)),
            "maximum": (0.3, draw(0, 5)),
            "exclusiveMinimum": (0.15, draw(-1, 3)),
            "exclusiveMaximum": (0.15, draw(0, 5)),
            "multipleOf": (0.15, self.random.choice([1, 2, 3, 0.5])),
        }

    def strings(self) -> dict[str, tuple[float, Any]]:
        return {
            "minLength": (0.3, self.random.randint(0, 3)),
            "maxLength": (0.3, self.random.randint(0, 3)),
            "pattern": (0.3, self.random.choice(["^a", "a*", "b$", "^a+$"])),
            "format": (0.1, "date"),
        }

    def objects(self, depth: int) -> dict[str, tuple[float, Any]]:
        if depth < 0:
            return {"required": (0.4, [self.random.choice(_NAMES)])}
        choose = self.random.choice
        names = self.random.sample(_NAMES, self.random.randint(0, 3))
        return {
            "properties": (0.8, {name: self.schema(depth) for name in names}),
            "required": (0.4, self.random.sample(_NAMES, self.random.randint(0, 2))),
            "additionalProperties": (0.4, choose([False, True, self.schema(depth)])),
            "patternProperties": (0.2, {choose(["^a", "b", "^a*"]): self.schema(depth)}),
            "propertyNames": (0.12, choose([{"pattern": "^a"}, {"maxLength": 1}, {"pattern": "a*"}])),
            "minProperties": (0.12, self.random.randint(0, 2)),
            "maxProperties": (0.12, self.random.randint(0, 3)),
            "dependentRequired": (0.1, {choose(_NAMES): [choose(_NAMES)]}),
            "dependentSchemas": (0.1, {choose(_NAMES): self.schema(depth)}),
            "unevaluatedProperties": (0.15, choose([False, self.schema(depth)])),
        }

    def arrays(self, depth: int) -> dict[str, tuple[float, Any]]:
        if depth < 0:
            return {"maxItems": (0.4, self.random.randint(0, 3))}
        return {
            "items": (0.5, self.schema(depth)),
            "prefixItems": (0.35, self.schemas(depth)[:2]),
            "minItems": (0.2, self.random.randint(0, 2)),
            "maxItems": (0.2, self.random.randint(0, 3)),
            "uniqueItems": (0.2, True),
            "contains": (0.15, self.schema(depth)),
            "unevaluatedItems": (0.05, False),
        }

    def changed(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a copy with one or two of its parts changed."""
        copy: dict[str, Any] = json.loads(json.dumps(schema))
        for _ in range(self.random.randint(1, 2)):
            self.change(self.random.choice([part for part in _objects_within(copy) if part]))
        return copy

    def change(self, part: dict[str, Any]) -> None:
        name = self.random.choice([key for key in part if key != "$defs"] or ["type"])
        value, fate = part.get(name), self.random.random()
        if fate < 0.25:
            part.pop(name, None)
        elif fate < 0.45 and isinstance(value, int) and not isinstance(value, bool):
            part[name] = max(value + self.random.choice([-1, 1]), int(name == "multipleOf"))
        elif fate < 0.6 and name in ("enum", "required") and value:
            part[name] = value[1:] or value
        elif fate < 0.7 and isinstance(part.get("properties"), dict):
            part["properties"][self.random.choice(_NAMES)] = self.schema(1)
        elif fate < 0.8 and part.get("type") == "integer":
            part["type"] = "number"
        elif fate < 0.85:
            part["additionalProperties"] = self.chance(0.5)
        else:
            part.update(self.keywords(1))


_HOLD_SCHEMAS = ("properties", "patternProperties", "dependentSchemas", "$defs")


def _objects_within(schema: Any) -> list[dict[str, Any]]:
    """Return the schema objects within a schema, itself first."""
    if not isinstance(schema, dict):
        return []
    found = [schema]
    for name, value in schema.items():
        if name in _HOLD_SCHEMAS:
            inner = list(value.values())
        elif name in ("allOf", "anyOf", "oneOf", "prefixItems"):
            inner = value
        else:
            inner = [value] if name not in ("enum", "dependentRequired") else []
        found += [part for item in inner for part in _objects_within(item)]
    return found
