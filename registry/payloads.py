"""The payloads of a topic as JSON Schema, whatever language its schema is written in.

Everything that looks at payloads (the door, redaction, static checks of workflows) reads JSON Schema. An Avro schema is
translated: what is valid under the translation is what Avro could have written, told in the JSON that a reader of Avro
files gets at the door. docs/schemas.md has the table.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from guard.canonical import pointer
from guard.redaction import PII_MARK
from registry.compatibility import Format, SchemaRefused
from registry.compatibility.avro import read_avro
from registry.contracts import CONTRACT, SCHEMA_TAGS, Contract, contract_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BASE64 = "(?:[A-Za-z0-9+/]{4})*"
_HOUR = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
_PRIMITIVES: Mapping[str, Mapping[str, Any]] = {
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "bytes": {
        "type": "string",
        "pattern": f"^{_BASE64}(?:[A-Za-z0-9+/]{{2}}==|[A-Za-z0-9+/]{{3}}=)?$",
        "contentEncoding": "base64",
    },
    "string": {"type": "string"},
}
_INSTANT = {"type": "string", "format": "date-time"}
_LOCAL = {"type": "string", "pattern": rf"^\d{{4}}-\d\d-\d\dT{_HOUR}$"}
_TIME = {"type": "string", "pattern": f"^{_HOUR}$"}
_LOGICAL: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("int", "date"): {"type": "string", "format": "date"},
    ("int", "time-millis"): _TIME,
    ("long", "time-micros"): _TIME,
    ("long", "timestamp-millis"): _INSTANT,
    ("long", "timestamp-micros"): _INSTANT,
    ("long", "local-timestamp-millis"): _LOCAL,
    ("long", "local-timestamp-micros"): _LOCAL,
    ("string", "uuid"): {"type": "string", "format": "uuid"},
}
"""Logical types that a reader of Avro files knows; others are read as the type beneath, as the specification has it."""

_EXACT_DIGITS = 28
"""Digits to which the validator compares a number exactly."""


def payload_schema(schema: Any, format: Format) -> Any:
    """Return the JSON Schema of a topic's payloads.

    Raises:
        SchemaRefused: it is no Avro schema, or not of a record: a payload is an object.
    """
    if format == "json":
        return dict(schema) if isinstance(schema, Mapping) else schema
    read_avro(schema)
    if not isinstance(schema, Mapping) or schema.get("type") not in ("record", "error"):
        raise SchemaRefused("", "is no record, and the payload of an event is an object")
    translation = _Translation(schema)
    root = translation.part(schema, "", "")
    root = translation.definitions[schema_name(schema, "")] if "$ref" in root else root
    words = {word: schema[word] for word in (SCHEMA_TAGS,) if word in schema}
    # A proposal adds properties to a JSON Schema, so an Avro topic does not evolve; registration says so.
    if contract_of(schema) is Contract.DISCARD_VALUE:
        words[CONTRACT] = Contract.DISCARD_VALUE.value
    definitions = {"$defs": translation.definitions} if translation.definitions else {}
    return {"$schema": DIALECT, **root, **words, **definitions}


def schema_name(schema: Mapping[str, Any], namespace: str) -> str:
    """Return the full name of a named type that is defined within a namespace."""
    return _full(schema["name"], schema.get("namespace", namespace))


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


class _Translation:
    """Translates one schema; a type that is named again is a definition, one that is not stands where it is used."""

    def __init__(self, schema: Any) -> None:
        self.definitions: dict[str, Any] = {}
        self._defined = dict.fromkeys(_names_defined(schema, ""))
        self._uses = Counter(self._resolved(name, namespace) for name, namespace in _names_used(schema, ""))

    def part(self, schema: Any, namespace: str, path: str) -> dict[str, Any]:
        """Return the translation of a part that stands at `path`, in a namespace."""
        if isinstance(schema, str):
            if schema in _PRIMITIVES:
                return dict(_PRIMITIVES[schema])
            return {"$ref": f"#{pointer(['$defs', self._resolved(schema, namespace)])}"}
        if isinstance(schema, list):
            return _either([self.part(branch, namespace, f"{path}/{i}") for i, branch in enumerate(schema)])
        mark = {PII_MARK: schema[PII_MARK]} if isinstance(schema.get(PII_MARK), bool) else {}
        return self._stated(schema, namespace, path) | mark

    def _stated(self, schema: Mapping[str, Any], namespace: str, path: str) -> dict[str, Any]:
        form = schema["type"]
        if form == "array":
            return {"type": "array", "items": self.part(schema["items"], namespace, f"{path}/items")}
        if form == "map":
            return {"type": "object", "additionalProperties": self.part(schema["values"], namespace, f"{path}/values")}
        if isinstance(form, str) and form in _PRIMITIVES:
            return _logical(form, schema, path) or dict(_PRIMITIVES[form])
        if form not in ("record", "error", "enum", "fixed"):
            return self.part(form, namespace, f"{path}/type")
        name = schema_name(schema, namespace)
        made = self._named(schema, name.rpartition(".")[0], path)
        if not self._uses[name]:
            return made
        self.definitions[name] = made
        return {"$ref": f"#{pointer(['$defs', name])}"}

    def _named(self, schema: Mapping[str, Any], namespace: str, path: str) -> dict[str, Any]:
        if schema["type"] == "enum":
            symbols = schema["symbols"]
            if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
                raise SchemaRefused(f"{path}/symbols", "is no list of names")
            return {"type": "string", "enum": list(dict.fromkeys(symbols))}
        if schema["type"] == "fixed":
            return _logical("fixed", schema, path) or _fixed(schema["size"], path)
        properties, required = {}, []
        for index, field in enumerate(schema["fields"]):
            of = self.part(field["type"], namespace, f"{path}/fields/{index}/type")
            if isinstance(field.get(PII_MARK), bool):
                of = of | {PII_MARK: field[PII_MARK]}
            properties[field["name"]] = of
            # A null is a member that is absent, and the reader of a field that is absent takes its default.
            if "default" not in field and not self._may_be_null(field["type"]):
                required.append(field["name"])
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _may_be_null(self, schema: Any) -> bool:
        if isinstance(schema, list):
            return any(map(self._may_be_null, schema))
        return schema == "null" or (isinstance(schema, Mapping) and self._may_be_null(schema.get("type")))

    def _resolved(self, name: str, namespace: str) -> str:
        full = _full(name, namespace)
        return full if full in self._defined else name


def _fixed(size: Any, path: str) -> dict[str, Any]:
    if not isinstance(size, int) or size < 0:
        raise SchemaRefused(f"{path}/size", "is no number of bytes")
    whole, rest = divmod(size, 3)
    end = ("", "[A-Za-z0-9+/]{2}==", "[A-Za-z0-9+/]{3}=")[rest]
    pattern = f"^(?:[A-Za-z0-9+/]{{4}}){{{whole}}}{end}$" if whole < 1000 else f"^{_BASE64}{end}$"
    length = 4 * (whole + bool(rest))
    return {
        "type": "string",
        "pattern": pattern,
        "minLength": length,
        "maxLength": length,
        "contentEncoding": "base64",
    }


def _logical(form: str, schema: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    """Return what a logical type makes of the type beneath, None if nothing."""
    logical = schema.get("logicalType")
    if not isinstance(logical, str):
        return None
    if logical == "decimal" and form in ("bytes", "fixed"):
        return _decimal(schema.get("precision"), schema.get("scale", 0), path)
    known = _LOGICAL.get((form, logical))
    return dict(known) if known else None


def _decimal(precision: Any, scale: Any, path: str) -> dict[str, Any]:
    if not (isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision and precision > 0):
        raise SchemaRefused(path, "is a decimal whose scale does not lie between 0 and its precision")
    bound = 10 ** (precision - scale)
    made: dict[str, Any] = {"type": "number", "multipleOf": float(f"1e-{scale}")} if scale else {"type": "integer"}
    # Rounded to what the validator compares, the largest number of more digits is the bound itself.
    names = ("exclusiveMinimum", "exclusiveMaximum") if precision <= _EXACT_DIGITS else ("minimum", "maximum")
    return {**made, names[0]: -bound, names[1]: bound}


def _either(branches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a union, as one schema with several types where no two branches could be mistaken for each other."""
    marks = [branch.get(PII_MARK) for branch in branches if branch.get("type") != "null"]
    mark = {PII_MARK: True} if True in marks else {PII_MARK: False} if marks and set(marks) == {False} else {}
    plain = [{word: said for word, said in branch.items() if word != PII_MARK} for branch in branches]
    types = ["number" if branch.get("type") == "integer" else branch.get("type") for branch in plain]
    is_told_apart = all(isinstance(name, str) for name in types) and len(set(types)) == len(types)
    listing = [branch for branch in plain if "enum" in branch]
    if not is_told_apart or (listing and len(plain) > 2) or (listing and {"type": "null"} not in plain):
        return {"anyOf": branches}
    merged: dict[str, Any] = {}
    for branch in plain:
        merged |= branch
    if listing and len(plain) > 1:
        merged["enum"] = [*listing[0]["enum"], None]
    kinds = [branch["type"] for branch in plain]
    return {**merged, "type": kinds if len(kinds) > 1 else kinds[0], **mark}


def _names_used(schema: Any, namespace: str) -> Iterator[tuple[str, str]]:
    """Yield each name that stands for a type, with the namespace it stands in."""
    for part, within in _parts(schema, namespace):
        if isinstance(part, str) and part not in _PRIMITIVES:
            yield part, within


def _names_defined(schema: Any, namespace: str) -> Iterator[str]:
    for part, within in _parts(schema, namespace):
        if isinstance(part, Mapping) and part.get("type") in ("record", "error", "enum", "fixed"):
            yield schema_name(part, within)


def _parts(schema: Any, namespace: str) -> Iterator[tuple[Any, str]]:
    """Yield a schema and all within it, each with the namespace it stands in."""
    yield schema, namespace
    if isinstance(schema, list):
        for branch in schema:
            yield from _parts(branch, namespace)
    elif isinstance(schema, Mapping):
        form = schema["type"]
        if form in ("record", "error"):
            inner = schema_name(schema, namespace).rpartition(".")[0]
            for field in schema["fields"]:
                yield from _parts(field["type"], inner)
        elif form in ("array", "map"):
            yield from _parts(schema["items" if form == "array" else "values"], namespace)
        elif not isinstance(form, str) or form not in {*_PRIMITIVES, "enum", "fixed"}:
            yield from _parts(form, namespace)
