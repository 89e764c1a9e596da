"""Redaction: what is personal becomes a keyed token before it leaves the landing zone.

A token is stable under one key, so equality, joins and lookups still work; without the key it tells nothing.
"""

import hmac
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

PII_MARK = "x-pii"
"""Property of a JSON Schema that marks a value as personal."""

_TOKEN_BYTES = 16


class Redactor:
    """Replaces personal values by tokens.

    Args:
        key: secret of the home; the same key gives the same token for the same value.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a redaction key needs at least 16 bytes; delete the key file to have one made")
        self._key = key

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
        return "pii:" + hmac.new(self._key, value.encode(), sha256).digest()[:_TOKEN_BYTES].hex()

    def for_schema(self, schema: Mapping[str, Any]) -> Callable[[Any], Any] | None:
        """Return what redacts values of `schema`, or None if the schema marks nothing as personal.

        A marked object or list loses all it holds: each scalar in it becomes a token.
        """
        return (lambda value: self._walk(value, schema)) if _marks_anything(schema) else None

    def _walk(self, value: Any, schema: Mapping[str, Any]) -> Any:
        if schema.get(PII_MARK):
            return self._tokens(value)
        if isinstance(value, dict):
            properties = schema.get("properties", {})
            rest = schema.get("additionalProperties")
            return {
                key: self._walk(item, properties.get(key, rest if isinstance(rest, Mapping) else {}))
                for key, item in value.items()
            }
        if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
            return [self._walk(item, schema["items"]) for item in value]
        return value

    def _tokens(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._tokens(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._tokens(item) for item in value]
        return value if value is None else self.token(str(value))


def shape(value: Any, *, depth: int = 4, width: int = 20) -> Any:
    """Return `value` with every scalar replaced by its type and size: evidence that tells how a record was built.

    Field names stay, values go; what lies deeper than `depth` or beyond `width` members is only counted.
    """
    if isinstance(value, dict):
        if depth == 0:
            return f"object of {len(value)}"
        shown = {key[:64]: shape(item, depth=depth - 1, width=width) for key, item in list(value.items())[:width]}
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


def _marks_anything(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return bool(schema.get(PII_MARK)) or any(_marks_anything(item) for item in schema.values())
    return isinstance(schema, list) and any(_marks_anything(item) for item in schema)
