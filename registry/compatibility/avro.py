"""Compatibility of Avro schemas: whether the new schema, as reader, resolves what the old one wrote, and if not why.

Schema resolution is that of the specification (1.12): promotion, unions by branch, records by field name and alias,
named types by unqualified name or alias, enum and field defaults, decimals by precision and scale.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.compatibility.document import SchemaRefused
from registry.compatibility.reasons import Kind, Reason, unique

_PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
_NAMED = frozenset(("record", "error", "enum", "fixed"))
_PROMOTIONS: Mapping[str, frozenset[str]] = {
    "long": frozenset(("int",)),
    "float": frozenset(("int", "long")),
    "double": frozenset(("int", "long", "float")),
    "string": frozenset(("bytes",)),
    "bytes": frozenset(("string",)),
}
"""Type -> the types that it also reads."""

_UNITS = ("time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos")
_UNITS_LOCAL = tuple(f"local-{unit}" for unit in _UNITS if unit.startswith("timestamp"))
_MAX_COMPARISONS = 20_000


def compare_avro(new: Any, old: Any) -> list[Reason]:
    """Return every reason why `new`, as reader, need not resolve what `old` wrote; none means that it resolves all.

    Raises:
        SchemaRefused: one of them is no Avro schema.
    """
    return unique(_Resolution().compare(read_avro(new), read_avro(old), ""))


@dataclass
class _Type:
    """A schema with its names resolved; `form` is a primitive, a named kind, array, map or union."""

    form: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    parts: "list[_Type]" = field(default_factory=list)
    fields: "list[_Field]" = field(default_factory=list)

    @property
    def unqualified(self) -> str:
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        if self.form == "union":
            return f"[{', '.join(map(str, self.parts))}]"
        return f"{self.form} {self.name}" if self.name else self.form


@dataclass
class _Field:
    name: str
    type: _Type
    aliases: tuple[str, ...]
    has_default: bool


def read_avro(schema: Any) -> _Type:
    """Return a schema with its names resolved.

    Raises:
        SchemaRefused: it is no Avro schema.
    """
    return _Reader().read(schema, "", "")


class _Reader:
    """Reads a schema; a named type may be used by name wherever it was defined before, and within itself."""

    def __init__(self) -> None:
        self.named: dict[str, _Type] = {}

    def read(self, schema: Any, namespace: str, path: str) -> _Type:
        if isinstance(schema, str):
            return self._by_name(schema, namespace, path)
        if isinstance(schema, list):
            return _Type("union", parts=[self.read(part, namespace, f"{path}/{i}") for i, part in enumerate(schema)])
        if not isinstance(schema, Mapping) or "type" not in schema:
            raise SchemaRefused(path, "is no Avro schema: a name, a union or an object with a type is expected")
        form = schema["type"]
        if form in ("array", "map"):
            member = "items" if form == "array" else "values"
            if member not in schema:
                raise SchemaRefused(path, f"is an {form} without {member}")
            return _Type(form, parts=[self.read(schema[member], namespace, f"{path}/{member}")])
        if isinstance(form, str) and form in _NAMED:
            return self._define(schema, namespace, path)
        if isinstance(form, str) and form in _PRIMITIVES:
            return _Type(form, attributes=schema)
        return self.read(form, namespace, f"{path}/type")

    def _by_name(self, name: str, namespace: str, path: str) -> _Type:
        if name in _PRIMITIVES:
            return _Type(name)
        full = _full(name, namespace)
        found = self.named.get(full) or self.named.get(name)
        if found is None:
            raise SchemaRefused(path, f"names the type {full}, which is not defined before it")
        return found

    def _define(self, schema: Mapping[str, Any], namespace: str, path: str) -> _Type:
        if not isinstance(schema.get("name"), str) or not schema["name"]:
            raise SchemaRefused(path, f"is a {schema['type']} without a name")
        full = _full(schema["name"], schema.get("namespace", namespace))
        if full in self.named:
            raise SchemaRefused(path, f"defines the name {full} again")
        inner = full.rpartition(".")[0]
        form = "record" if schema["type"] == "error" else schema["type"]
        aliases = tuple(_full(alias, inner) for alias in schema.get("aliases") or ())
        self.named[full] = result = _Type(form, full, aliases, schema)
        if form == "record":
            if not isinstance(schema.get("fields"), list):
                raise SchemaRefused(path, "is a record without fields")
            for index, member in enumerate(schema["fields"]):
                at = f"{path}/fields/{index}"
                if not isinstance(member, Mapping) or not {"name", "type"} <= member.keys():
                    raise SchemaRefused(at, "is no field: it needs a name and a type")
                of = self.read(member["type"], inner, f"{at}/type")
                result.fields.append(
                    _Field(member["name"], of, tuple(member.get("aliases") or ()), "default" in member)
                )
        elif form == "enum" and not isinstance(schema.get("symbols"), list):
            raise SchemaRefused(path, "is an enum without symbols")
        elif form == "fixed" and not isinstance(schema.get("size"), int):
            raise SchemaRefused(path, "is a fixed without a size")
        return result


def _full(name: str, namespace: str | None) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


class _Resolution:
    """Resolves readers against writers; a pair that is met again within itself is assumed to resolve."""

    def __init__(self) -> None:
        self.entered: set[tuple[int, int]] = set()
        self.left = _MAX_COMPARISONS

    def compare(self, new: _Type, old: _Type, path: str) -> list[Reason]:
        pair = id(new), id(old)
        if pair in self.entered:
            return []
        self.left -= 1
        if self.left < 0:
            return [Reason(Kind.UNDECIDED, path, None, None, "the schemas are too intricate to be compared")]
        self.entered.add(pair)
        reasons = list(self._reasons(new, old, path))
        self.entered.discard(pair)
        return reasons

    def _reasons(self, new: _Type, old: _Type, path: str) -> Iterator[Reason]:
        if old.form == "union":
            for index, branch in enumerate(old.parts):
                yield from self._branch(new, branch, path, index)
        elif new.form == "union":
            yield from self._branch(new, old, path, None)
        elif new.form == old.form:
            yield from self._alike(new, old, path)
        elif old.form in _PROMOTIONS.get(new.form, ()):
            yield from _logical(new, old, path)
        else:
            yield _mismatch(new, old, path)

    def _branch(self, new: _Type, old: _Type, path: str, index: int | None) -> Iterator[Reason]:
        """Find what keeps a reader from taking what was written as one branch."""
        if new.form != "union":
            yield from self.compare(new, old, path)
        elif all(self.compare(branch, old, path) for branch in new.parts):
            where = "the type" if index is None else f"the branch {index}"
            message = f"{where} of the writer, {old}, is read by no branch of the reader"
            yield Reason(Kind.MISSING_UNION_BRANCH, path, str(old), str(new), message)

    def _alike(self, new: _Type, old: _Type, path: str) -> Iterator[Reason]:
        if new.name and not _is_called(new, old):
            message = f"{old.name} is now called {new.name}; keep the name, or list {old.name} among its aliases"
            yield Reason(Kind.NAME_MISMATCH, f"{path}/name", old.name, new.name, message)
            return
        if new.form == "fixed" and new.attributes["size"] != old.attributes["size"]:
            was, now = old.attributes["size"], new.attributes["size"]
            message = f"{new.name} had {was} bytes and now has {now}"
            yield Reason(Kind.FIXED_SIZE_MISMATCH, f"{path}/size", was, now, message)
        yield from _logical(new, old, path)
        if new.form == "enum":
            yield from _symbols(new, old, path)
        elif new.form == "record":
            yield from self._fields(new, old, path)
        elif new.form in ("array", "map"):
            yield from self.compare(
                new.parts[0], old.parts[0], f"{path}/{'items' if new.form == 'array' else 'values'}"
            )

    def _fields(self, new: _Type, old: _Type, path: str) -> Iterator[Reason]:
        written = {member.name: member for member in old.fields}
        for index, member in enumerate(new.fields):
            at = f"{path}/fields/{index}"
            source = next((written[name] for name in (member.name, *member.aliases) if name in written), None)
            if source is not None:
                yield from self.compare(member.type, source.type, f"{at}/type")
            elif not member.has_default:
                message = f"{member.name} was not written before and has no default to read instead; give it one"
                yield Reason(Kind.READER_FIELD_MISSING_DEFAULT_VALUE, at, None, member.name, message)


def _is_called(new: _Type, old: _Type) -> bool:
    """Tell whether a named type of the reader stands for one of the writer: by unqualified name, or by an alias."""
    return new.unqualified == old.unqualified or old.name in new.aliases


def _symbols(new: _Type, old: _Type, path: str) -> Iterator[Reason]:
    known = set(new.attributes["symbols"])
    gone = [symbol for symbol in old.attributes["symbols"] if symbol not in known]
    if gone and new.attributes.get("default") not in known:
        message = f"{', '.join(gone)} cannot be read any more; keep them, or give the enum a default"
        kind, now = Kind.MISSING_ENUM_SYMBOLS, new.attributes["symbols"]
        yield Reason(kind, f"{path}/symbols", old.attributes["symbols"], now, message)


def _logical(new: _Type, old: _Type, path: str) -> Iterator[Reason]:
    """Find a logical type under which the same bytes are another value."""
    now, was = new.attributes.get("logicalType"), old.attributes.get("logicalType")
    if now == was == "decimal":
        if not (_is_decimal(new.attributes) and _is_decimal(old.attributes)):
            return  # what breaks the rules of a logical type is read as the type beneath
        for name in ("precision", "scale"):
            before, after = old.attributes.get(name, 0), new.attributes.get(name, 0)
            if before != after:
                message = f"the {name} of the decimal was {before} and is now {after}"
                yield Reason(Kind.LOGICAL_TYPE_MISMATCH, f"{path}/{name}", before, after, message)
    elif now != was and {now, was} <= {"date", *_UNITS, *_UNITS_LOCAL}:
        message = f"a number that meant {was} would be read as {now}"
        yield Reason(Kind.LOGICAL_TYPE_MISMATCH, f"{path}/logicalType", was, now, message)


def _is_decimal(attributes: Mapping[str, Any]) -> bool:
    precision, scale = attributes.get("precision"), attributes.get("scale", 0)
    return isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision and precision > 0


def _mismatch(new: _Type, old: _Type, path: str) -> Reason:
    return Reason(Kind.TYPE_MISMATCH, path, str(old), str(new), f"{new} cannot read what was written as {old}")
