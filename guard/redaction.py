"""Redaction: what is personal becomes a keyed token before it leaves the landing zone.

A token is stable under one key, so equality, joins and lookups still work; without the key it tells nothing.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from guard.canonical import canonical

PII_MARK = "x-pii"
"""Property of a JSON Schema that marks a value as personal."""

_TOKEN_BYTES = 16
_FIELD_NAME = re.compile(r"[^\W\d][\w.:-]{0,63}")
_REFERENCES = frozenset({"$ref", "$dynamicRef"})
_HOLDING = frozenset({"$ref", "allOf"})
"""What leads from a part of a schema to another that holds as well, whatever the value is."""

_SPELLED_OUT = frozenset({"date", "date-time"})
"""Formats that leave no room for a person's words."""

_COMBINING = _REFERENCES | {"allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"}


class Redactor:
    """Replaces personal values by tokens.

    Args:
        key: secret of the home; the same key gives the same token for the same value.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a redaction key needs at least 16 bytes; delete the key file to have one made")
        # HMAC (RFC 2104), with the hash of either pad made once: twice as fast as `hmac` on the short values met here.
        block = (sha256(key).digest() if len(key) > sha256().block_size else key).ljust(sha256().block_size, b"\0")
        self._key = key
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def __reduce__(self) -> tuple[type["Redactor"], tuple[bytes]]:
        return Redactor, (self._key,)

    @classmethod
    def from_file(cls, path: Path) -> "Redactor":
        """Return the redactor whose key lies in `path`; the first call makes a random key, readable by its owner."""
        if not path.exists():
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_hex(32).encode())
            # A link is made once however many processes try, and never shows half a key.
            with suppress(FileExistsError):
                os.link(partial, path)
            partial.unlink()
        return cls(path.read_bytes().strip())

    def token(self, value: str) -> str:
        """Return the token of `value`: `pii:` and 32 hexadecimal digits."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value.encode())
        outer.update(inner.digest())
        return "pii:" + outer.digest()[:_TOKEN_BYTES].hex()

    def hide(self, value: Any) -> Any:
        """Return a value that no schema describes, with each text and each name in it replaced by its token."""
        if isinstance(value, str):
            return self.token(value)
        if isinstance(value, dict):
            return {self.token(key): self.hide(item) for key, item in value.items()}
        return [self.hide(item) for item in value] if isinstance(value, list) else value

    def for_schema(self, schema: Mapping[str, Any], *, is_personal: bool = False) -> Callable[[Any], Any] | None:
        """Return what redacts values of `schema`, or None if the schema marks nothing as personal.

        A marked object or list loses all it holds: each scalar in it becomes a token, and so does each name that the
        schema does not state. Where a schema offers alternatives, a mark in any of them counts.

        Args:
            is_personal: take the value for personal as a whole. Every text in it becomes a token, and so does each name
                that the schema does not state. Readable stays what is marked `"x-pii": false` and all it holds, and
                what the schema spells out: an `enum`, a `const`, a date. That counts where it surely holds, which it
                does not in an alternative.

        Raises:
            ValueError: a reference leads out of the schema or nowhere, so a mark behind it could not be seen.
        """
        references = set(_references(schema))
        if elsewhere := sorted(reference for reference in references if not reference.startswith("#")):
            raise ValueError(f"a schema refers to {', '.join(elsewhere)}; copy it under $defs and refer to that")
        if not is_personal and not _marks_anything(schema):
            return None
        for reference in references:
            _resolve(reference, schema)
        root = _Places(schema).of([schema], [schema])
        # What is said of the payload itself cannot undo that it is personal as a whole, so it is entered at once.
        enters = self._hide_within if is_personal and not root.is_marked else self._walk
        return lambda value: enters(value, root)

    def _hide(self, value: Any, place: "_Place") -> Any:
        if place.is_marked or place.is_readable:
            return self._walk(value, place)
        return self.token(value) if type(value) is str else self._hide_within(value, place)

    def _hide_within(self, value: Any, place: "_Place") -> Any:
        if isinstance(value, dict):
            stated = () if place.has_personal_names else place.stated
            return {
                key if key in stated else self.token(key): self._hide(item, place.member(key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._hide(item, place.item(index)) for index, item in enumerate(value)]
        return value

    def _walk(self, value: Any, place: "_Place") -> Any:
        if place.is_marked:
            return self.token(value) if type(value) is str else self._tokens(value, place)
        if not place.schemas:
            return value
        if isinstance(value, dict):
            if place.has_personal_names:
                return {self.token(key): self._walk(item, place.member(key)) for key, item in value.items()}
            untouched = place.untouched
            return {
                key: item if key in untouched else self._walk(item, place.member(key)) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._walk(item, place.item(index)) for index, item in enumerate(value)]
        return value

    def _tokens(self, value: Any, place: "_Place") -> Any:
        if isinstance(value, str):
            return self.token(value)
        if isinstance(value, dict):
            return {
                key if key in place.stated else self.token(key): self._tokens(item, place.member(key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._tokens(item, place.item(index)) for index, item in enumerate(value)]
        return None if value is None else self.token(canonical(value))


class _Place:
    """One place of a document, with all that a schema states of it.

    What follows for the members that the schema names is found once: a document holds them every time, and finding it
    takes ten times as long as the rest of the walk. Other names are met once each, so nothing is kept for them.
    """

    def __init__(self, schemas: list[Mapping[str, Any]], holding: list[Mapping[str, Any]], places: "_Places") -> None:
        self.schemas = schemas
        self.holding = holding
        """Those of the schemas that hold for every value of the place."""
        self.is_readable = any(map(places.leaves_readable, holding))
        self.is_marked = any(map(_is_marked, schemas))
        self.has_personal_names = any(_is_marked(schema.get("propertyNames")) for schema in schemas)
        self.stated = frozenset(name for schema in schemas for name in schema.get("properties", ()))
        self.untouched = frozenset(name for name in self.stated if not _may_mark(_of_member(schemas, name)))
        """Members that the schema names, with nothing personal in them."""
        self._places = places
        self._members: dict[str, _Place] = {}

    def member(self, name: str) -> "_Place":
        place = self._members.get(name)
        if place is None:
            holding = [schema["properties"][name] for schema in self.holding if name in schema.get("properties", ())]
            place = self._places.of(_of_member(self.schemas, name), holding)
            if name in self.stated:
                self._members[name] = place
        return place

    def item(self, index: int) -> "_Place":
        # A list of schemas for the first items is not read alike in every draft.
        holding = [schema.get("items") for schema in self.holding if "prefixItems" not in schema]
        return self._places.of(_of_item(self.schemas, index), holding)


class _Places:
    """The places of a schema; two that the same parts of it describe are one."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...]], _Place] = {}
        self._knows_const = not re.search(r"draft-0[34]", str(root.get("$schema")))

    def of(self, stated: Iterable[Any], holding: Iterable[Any]) -> _Place:
        schemas, certain = _of_place(stated, self._root), _of_place(holding, self._root, _HOLDING)
        parts = tuple(map(id, schemas)), tuple(map(id, certain))
        if parts not in self._known:
            self._known[parts] = _Place(schemas, certain, self)
        return self._known[parts]

    def leaves_readable(self, schema: Mapping[str, Any]) -> bool:
        """Return whether a part of the schema says or makes sure that no text is personal where it holds."""
        if schema.get(PII_MARK) is False:
            return True
        return is_spelled_out(schema, knows_const=self._knows_const)


def is_spelled_out(schema: Mapping[str, Any], *, knows_const: bool = True) -> bool:
    """Return whether a part of a schema leaves no room for a person's words."""
    # Older drafts do not read what stands beside a reference.
    is_closed = "enum" in schema or ("const" in schema and knows_const)
    return "$ref" not in schema and (is_closed or schema.get("format") in _SPELLED_OUT)


def field_name(key: str) -> str:
    """Return `key` if it looks like the name of a field, else only its length: maps are keyed by people's addresses."""
    return key if _FIELD_NAME.fullmatch(key) else f"name of {len(key)}"


def shape(value: Any, *, depth: int = 4, width: int = 20) -> Any:
    """Return `value` with every scalar replaced by its type and size: evidence that tells how a record was built.

    Field names stay, values go; what lies deeper than `depth` or beyond `width` members is only counted. A name that
    no programmer would give, such as an address, is taken for a value.
    """
    if isinstance(value, dict):
        if depth == 0:
            return f"object of {len(value)}"
        shown = {
            field_name(key): shape(item, depth=depth - 1, width=width) for key, item in list(value.items())[:width]
        }
        return shown | ({"...": f"{len(value) - width} more"} if len(value) > width else {})
    if isinstance(value, list):
        if depth == 0:
            return f"array of {len(value)}"
        shown_items = [shape(item, depth=depth - 1, width=width) for item in value[:width]]
        return shown_items + ([f"{len(value) - width} more"] if len(value) > width else [])
    if isinstance(value, str):
        return f"string of {len(value)}"
    if isinstance(value, bool):
        return "boolean"
    return "null" if value is None else "number"


def _is_marked(schema: Any) -> bool:
    return isinstance(schema, Mapping) and bool(schema.get(PII_MARK))


def _marks_anything(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return _is_marked(schema) or any(_marks_anything(item) for item in schema.values())
    return isinstance(schema, list) and any(_marks_anything(item) for item in schema)


def _may_mark(stated: list[Any]) -> bool:
    """Return whether one of the parts of a schema marks something, or refers to a part that might."""
    return any(_marks_anything(part) or any(_references(part)) for part in stated)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        yield from (schema[word] for word in _REFERENCES if isinstance(schema.get(word), str))
    if isinstance(schema, Mapping | list):
        for part in schema.values() if isinstance(schema, Mapping) else schema:
            yield from _references(part)


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    """Return the part of `root` that a reference such as `#/$defs/address` names."""
    part: Any = root
    try:
        for step in unquote(reference.removeprefix("#")).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            part = part[int(name)] if isinstance(part, list) else part[name]
    except (LookupError, TypeError, ValueError):
        part = None
    if part is None or (reference != "#" and not reference.startswith("#/")):
        raise ValueError(f"a schema refers to {reference}, which it does not hold; write it as #/$defs/name")
    return part


def _of_place(schemas: Iterable[Any], root: Mapping[str, Any], words: Set[str] = _COMBINING) -> list[Mapping[str, Any]]:
    """Return all that is stated of one place: by `schemas`, and by what they combine or refer to with `words`."""
    found: list[Mapping[str, Any]] = []
    waiting = list(schemas)
    while waiting:
        schema = waiting.pop()
        if not isinstance(schema, Mapping) or any(schema is known for known in found):
            continue
        found.append(schema)
        for word in schema.keys() & words:
            part = schema[word]
            if word in _REFERENCES:
                waiting.append(_resolve(part, root))
            elif word == "dependentSchemas":
                waiting += part.values()
            else:
                waiting += part if isinstance(part, list) else [part]
    return found


def _of_member(schemas: list[Mapping[str, Any]], name: str) -> list[Any]:
    """Return what the schemas of an object state of its member `name`."""
    stated: list[Any] = []
    rest: list[Any] = []
    for schema in schemas:
        own = [schema["properties"][name]] if name in schema.get("properties", ()) else []
        own += [part for pattern, part in schema.get("patternProperties", {}).items() if _matches(pattern, name)]
        stated += own or [schema.get("additionalProperties")]
        rest += [] if own else [schema.get("unevaluatedProperties")]
    is_evaluated = any(isinstance(part, Mapping | bool) for part in stated)
    return stated if is_evaluated else stated + rest


def _of_item(schemas: list[Mapping[str, Any]], index: int) -> list[Any]:
    """Return what the schemas of an array state of its item at `index`."""
    stated: list[Any] = []
    for schema in schemas:
        items = schema.get("items")
        first = items if isinstance(items, list) else schema.get("prefixItems", [])
        rest = schema.get("additionalItems") if isinstance(items, list) else items
        stated.append(first[index] if index < len(first) else rest or schema.get("unevaluatedItems"))
        stated.append(schema.get("contains"))
    return stated


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return True  # a pattern that only other engines read: rather one value too many than one that leaks
