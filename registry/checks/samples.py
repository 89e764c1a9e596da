"""Values made from a JSON Schema, the same ones each time: bounds, enums, absence, whatever conditions trip over."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs

from guard.redaction import PII_MARK
from registry.checks.schemas import MANY, NotTold, Root, Schema, enum_of, plain

Tree = dict[str, "Tree"]
"""Members that are read; an empty one is read whole."""

MAX_VALUES = 256
_TOKEN = "pii:00112233445566778899aabbccddeeff"  # noqa: S105 - what redaction makes of a personal text
_ABSENT = object()
_FORMATS = {
    "date-time": ("2024-02-29T23:59:59Z", "2024-01-01T00:00:00.5+02:00"),
    "date": ("2024-02-29",),
    "time": ("23:59:59Z",),
    "duration": ("P1DT2H",),
    "uuid": ("6f1d3d0e-5a3b-5a0c-9a4e-2b6f0c7e7d11",),
    "email": ("a.b@example.com",),
    "hostname": ("example.com",),
    "ipv4": ("192.0.2.1",),
    "ipv6": ("2001:db8::1",),
    "uri": ("https://example.com/a?b=c",),
    "uri-reference": ("/a?b=c",),
}
_PROBES = (
    *("0", "1", "12", "123", "1234", "12345", "123456", "12345678", "1234567890", "1.0", "1.0.0", "v1", "A", "AB"),
    *("ABC", "EUR", "ABCD", "abc", "a-b", "a_b", "A1", "AB12", "A-1", "AB-12", "ABC-123", "V-1", "PO-1", "INV-1"),
    *("DE", "en", "en-US", "2024", "2024-01", "2024-01-31", "2024-01-31T00:00:00Z", "12:30", "+491234567"),
    *("a.b", "a.b.c", "a/b", "s3://a/b", "https://example.com/", "a@example.com", "#aabbcc", "0" * 32, "0" * 64),
)


def values_of_schema(schema: Any, root: Root, tree: Tree, depth: int) -> list[Any]:
    """Return values of `schema` that differ in the members of `tree`, the plainest first."""
    root.spend()
    choices = plain(schema, root)
    if not choices or depth < 0:
        raise NotTold
    made: list[Any] = []
    for choice in choices:
        made += _choice_values(choice, root, tree, depth)
    return made[:MAX_VALUES]


def _choice_values(schema: Schema, root: Root, tree: Tree, depth: int) -> list[Any]:
    enum = enum_of(schema)
    if enum is not None:
        return list(enum)
    kind = schema.get("type")
    if kind == "object":
        return _objects(schema, root, tree, depth)
    if kind == "array":
        return _arrays(schema, root, depth)
    if kind == "string":
        return _texts(schema)
    if kind in ("number", "integer"):
        return _numbers(schema, kind)
    if kind == "boolean":
        return [True, False]
    if kind == "null":
        return [None]
    raise NotTold


def _objects(schema: Schema, root: Root, tree: Tree, depth: int) -> list[Any]:
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    more = schema.get("additionalProperties", True)
    if not tree:  # read whole, so every member counts
        tree = {name: {} for name in properties}
        if not properties:
            if required or not isinstance(more, Mapping):
                raise NotTold
            name = _TOKEN if "propertyNames" in schema else "key"
            return [{}, *({name: value} for value in values_of_schema(more, root, {}, depth - 1))]
    options: dict[str, list[Any]] = {}
    for name in dict.fromkeys((*properties, *tree)):
        if name in properties:
            if name in tree:
                options[name] = values_of_schema(properties[name], root, tree[name], depth - 1)
                if name not in required:
                    options[name].append(_ABSENT)
            elif name in required:
                options[name] = [_any_value(properties[name], root, depth - 1)]
        elif more is False:
            continue
        elif isinstance(more, Mapping) and not properties:
            options[name] = values_of_schema(more, root, tree[name], depth - 1)
        else:
            raise NotTold
    for name in required - options.keys():
        options[name] = ["a"]
    names = list(options)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not _ABSENT}
        for row in _combined(list(options.values()))
    ]


def _any_value(schema: Any, root: Root, depth: int) -> Any:
    """Return one value for a member that nobody reads."""
    try:
        return values_of_schema(schema, root, {}, depth)[0]
    except (NotTold, IndexError):
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        return {"object": {}, "array": []}.get(str(kind), "a")


def _combined(options: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield all combinations, or if they are too many: each value beside the plainest others, then in step."""
    if not all(options):
        return
    if product([len(values) for values in options]) <= MAX_VALUES:
        yield from itertools.product(*options)
        return
    plainest = [values[0] for values in options]
    yield tuple(plainest)
    for place, values in enumerate(options):
        for value in values[1:]:
            yield (*plainest[:place], value, *plainest[place + 1 :])
    for turn in range(max(map(len, options))):
        yield tuple(values[(turn + place) % len(values)] for place, values in enumerate(options))


def product(counts: Sequence[int]) -> int:
    total = 1
    for count in counts:
        total *= count
    return total


def _arrays(schema: Schema, root: Root, depth: int) -> list[Any]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", MANY)
    first = [_any_value(item, root, depth - 1) for item in schema.get("prefixItems", ())]
    items = schema.get("items", True)
    values = values_of_schema(items, root, {}, depth - 1) if items is not False else []
    lists = [[*first, value] for value in values]
    lists = [[*one, *itertools.islice(itertools.cycle(values), max(0, least - len(one)))] for one in lists]
    lists += [[*first, *values], first, []]
    return [one for place, one in enumerate(lists) if least <= len(one) <= most and one not in lists[:place]]


def _texts(schema: Schema) -> list[Any]:
    if schema.get(PII_MARK) is True:
        return [_TOKEN]
    if schema.get("format") in _FORMATS:
        return list(_FORMATS[schema["format"]])
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", MANY), MANY)
    if least > MANY * MANY:
        raise NotTold
    texts = [text for text in ("a", "", "Ä 1", "a" * least, "x" * most) if least <= len(text) <= max(most, least)]
    if "pattern" in schema:
        texts = _valid(schema, [*texts, *_PROBES])[:4]
        if not texts:
            raise NotTold
    return list(dict.fromkeys(texts))


def _numbers(schema: Schema, kind: str) -> list[Any]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), None
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf")
    candidates: list[float] = [1, 0, -1, 1_000_003, 0.5, -0.5]
    for bound in (low, high):
        if bound is not None:
            candidates += [bound, bound + 1, bound - 1, bound + 0.5, bound - 0.5]
    if low is not None and high is not None:
        candidates.append((low + high) / 2)
    if step is not None:
        candidates += [step, 2 * step, -step]
    integral = [int(number) if number == int(number) else number for number in candidates]
    typed = [number for number in integral if kind == "number" or isinstance(number, int)]
    return _valid(schema, list(dict.fromkeys(typed)))


def _valid(schema: Schema, values: Sequence[Any]) -> list[Any]:
    validator = jsonschema_rs.validator_for(json.dumps(schema))
    return [value for value in values if validator.is_valid(value)]
