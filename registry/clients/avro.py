"""A topic's JSON Schema as an Avro schema, where nothing is lost; else why not.

Avro says less than JSON Schema: it has no lengths, patterns or ranges. Those are constraints on values that the Avro
type holds as well, so leaving them out loses no value; they are listed as `unchecked`. What has no Avro type is
refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guard.canonical import pointer
from registry.compatibility.document import PLAIN, SchemaDocument, SchemaRefused

_SCALARS = {"null": "null", "boolean": "boolean", "integer": "long", "number": "double", "string": "string"}
_UNCHECKED = PLAIN - {"type", "enum", "required", "dependentRequired"}
_KNOWN = _UNCHECKED | {"type", "properties", "required", "additionalProperties", "items", "enum", "$ref", "$defs"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class NotTranslated(ValueError):
    """A schema that Avro has no word for; `path` is where, as a JSON pointer."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or '/'} {problem}")
        self.path = path


@dataclass(frozen=True)
class AvroSchema:
    """A translation.

    Attributes:
        unchecked: pointers of the constraints that Avro does not check, and of integers that may exceed its 64 bits.
    """

    schema: Any
    unchecked: tuple[str, ...]


def to_avro(schema: Any, *, name: str, namespace: str) -> AvroSchema:
    """Translate the JSON Schema of an object.

    Args:
        name: of the record.

    Raises:
        NotTranslated: something in it has no Avro type, with the place.
    """
    try:
        document = SchemaDocument(schema)
    except SchemaRefused as refused:
        raise NotTranslated(refused.path, refused.problem) from None
    translation = _Translation(document)
    made = translation.type_of(document.root, name, "")
    if not isinstance(made, dict) or made.get("type") != "record":
        raise NotTranslated("", "is no object with properties")
    return AvroSchema({**made, "namespace": namespace}, tuple(sorted(translation.unchecked)))


@dataclass
class _Translation:
    document: SchemaDocument
    unchecked: set[str] = field(default_factory=set)
    entered: tuple[str, ...] = ()

    def type_of(self, schema: Any, name: str, path: str) -> Any:
        if not isinstance(schema, dict) or not schema:
            raise NotTranslated(path, "allows any value")
        if "$ref" in schema:
            return self._referred(schema["$ref"], name, path)
        if strange := sorted(schema.keys() - _KNOWN):
            raise NotTranslated(f"{path}/{strange[0]}", "has no counterpart in Avro")
        self.unchecked |= {f"{path}/{keyword}" for keyword in schema.keys() & _UNCHECKED}
        if "enum" in schema:
            return self._enum(schema["enum"], name, path)
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if not types:
            raise NotTranslated(path, "names no type")
        made = [self._single(kind, schema, name, path) for kind in types]
        return made[0] if len(made) == 1 else made

    def _referred(self, reference: str, name: str, path: str) -> Any:
        if reference in self.entered:
            raise NotTranslated(path, "refers to itself")
        before, self.entered = self.entered, (*self.entered, reference)
        made = self.type_of(self.document.target(reference), name, path)
        self.entered = before
        return made

    def _enum(self, values: list[Any], name: str, path: str) -> Any:
        if not all(isinstance(value, str) and _NAME.fullmatch(value) for value in values):
            raise NotTranslated(f"{path}/enum", "has values that are no Avro symbols")
        return {"type": "enum", "name": name, "symbols": values}

    def _single(self, kind: str, schema: Mapping[str, Any], name: str, path: str) -> Any:
        if kind == "integer" and not _is_64_bit(schema):
            self.unchecked.add(f"{path}/type")
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            return {"type": "array", "items": self.type_of(schema.get("items"), f"{name}_item", f"{path}/items")}
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        if properties and others is False:
            return self._record(properties, set(schema.get("required", ())), name, path)
        if not properties and isinstance(others, dict) and others and not schema.get("required"):
            made = self.type_of(others, f"{name}_value", f"{path}/additionalProperties")
            return {"type": "map", "values": made}
        raise NotTranslated(path, "is an object whose properties are open: Avro would lose those that are not named")

    def _record(self, properties: Mapping[str, Any], required: set[str], name: str, path: str) -> Any:
        if missing := sorted(required - properties.keys()):
            raise NotTranslated(f"{path}/required", f"requires {missing[0]}, which is not described")
        fields = []
        for member, schema in properties.items():
            at = path + pointer(["properties", member])
            if not _NAME.fullmatch(member):
                raise NotTranslated(at, "has a name that Avro does not allow")
            of = self.type_of(schema, f"{name}_{member}", at)
            if member in required:
                fields.append({"name": member, "type": of})
                continue
            branches = of if isinstance(of, list) else [of]
            if "null" in branches:
                raise NotTranslated(at, "may be absent or null, which Avro cannot tell apart")
            fields.append({"name": member, "type": ["null", *branches], "default": None})
        return {"type": "record", "name": name, "fields": fields}


def _is_64_bit(schema: Mapping[str, Any]) -> bool:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    return lowest is not None and highest is not None and lowest >= -(2**63) and highest < 2**63
