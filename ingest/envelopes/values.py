"""Values of typed containers as JSON: nothing rounded, nothing guessed."""

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from ingest.records import MAX_RECORD_BYTES, Record

_encode = msgspec.json.Encoder(decimal_format="number").encode


def record(number: int, row: Mapping[str, Any]) -> Record:
    """Return a row as a native record; `payload.a.b` is a member of the payload.

    A null is a member that is absent: tables and optional fields have no other way to say so. A payload that is text
    is JSON, and stays as it is written.
    """
    document: dict[str, Any] = {}
    try:
        for name, value in row.items():
            if value is not None:
                _put(document, name.split("."), value)
        if isinstance(document.get("payload"), str):
            document["payload"] = msgspec.Raw(document["payload"].encode())
        raw = _encode(document)
        return Record(number, raw) if len(raw) <= MAX_RECORD_BYTES else Record(number, b"", "too_large")
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return Record(number, b"", "no_json")


def _put(document: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        document = document.setdefault(name, {})
        if not isinstance(document, dict):
            raise ValueError("a member is a value and holds members")
    if path[-1] in document:
        raise ValueError("a member is stated twice")
    document[path[-1]] = _json(value)


def _json(value: Any) -> Any:
    """Return a value that JSON has a word for.

    Raises:
        ValueError: it has none, such as NaN.
    """
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, UUID | date | time):
        return str(value)
    if isinstance(value, timedelta) or (isinstance(value, float | Decimal) and not math.isfinite(value)):
        raise ValueError(f"JSON has no word for this {type(value).__name__}")
    return value
