"""JSON Schemas taken apart: references followed, combinations multiplied out, one alternative after the other."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

DEPTH = 6
MANY = 64
_BUDGET = 20_000


class NotTold(Exception):
    """A schema says too little, or is too intricate to be taken apart."""


class Root:
    """A whole schema, to which references within it are relative, with a bound on the work that is spent on it."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._left = _BUDGET

    def spend(self) -> None:
        """Count one step of work.

        Raises:
            NotTold: the schema is too intricate: it refers to itself in too many ways.
        """
        self._left -= 1
        if self._left < 0:
            raise NotTold


def plain(schema: Any, root: Root, depth: int = DEPTH) -> list[Schema]:
    """Return the alternatives of `schema`, each without references and combinations, with at most one type.

    Raises:
        NotTold: they are too many.
    """
    root.spend()
    if schema is True or depth < 0:
        return [{}]
    if not isinstance(schema, Mapping):
        return []
    choices: list[Schema] = [{name: item for name, item in schema.items() if name not in _COMBINING}]
    parts = [*schema.get("allOf", ())]
    if "$ref" in schema:
        parts.append(_resolved(schema["$ref"], root.schema))
    alternatives = [plain(part, root, depth - 1) for part in parts]
    for name in ("anyOf", "oneOf"):
        if name in schema:
            alternatives.append([choice for part in schema[name] for choice in plain(part, root, depth - 1)])
    for others in alternatives:
        choices = [_both(choice, other) for choice in choices for other in others]
        if len(choices) > MANY:
            raise NotTold
    return [single for choice in choices for single in _by_type(choice)]


_COMBINING = frozenset(("$ref", "allOf", "anyOf", "oneOf"))


def _by_type(schema: Schema) -> list[Schema]:
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": name} for name in schema["type"]]
    if "type" not in schema and ("properties" in schema or "required" in schema):
        return [{**schema, "type": "object"}]
    return [schema]


def _both(left: Schema, right: Schema) -> Schema:
    """Return the schema of what is of both; what cannot be told in one is left to validation."""
    both = {**left, **right}
    if "properties" in left and "properties" in right:
        both["properties"] = {**left["properties"], **right["properties"]}
        for name in left["properties"].keys() & right["properties"].keys():
            both["properties"][name] = {"allOf": [left["properties"][name], right["properties"][name]]}
    if "required" in left and "required" in right:
        both["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    if left.get("additionalProperties") is False:
        both["additionalProperties"] = False
    if "enum" in left and "enum" in right:
        both["enum"] = [item for item in left["enum"] if item in right["enum"]]
    if isinstance(left.get("type"), str) and isinstance(right.get("type"), list):
        both["type"] = left["type"]
    return both


def _resolved(reference: Any, root: Schema) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    node: Any = root
    for part in reference[1:].split("/")[1:]:
        node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return True if node is None else node


def enum_of(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")
