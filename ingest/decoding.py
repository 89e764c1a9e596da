"""Reading a native record at the speed of C, with what `guard.canonical` would have found.

`guard.canonical.parse` says what a record means and why one is refused, character by character in Python. Nearly every
record is plain, though: no key twice, no number that a double or 64 bits cannot hold, no escaped character that text
may not have. `read_plain` recognises those, and returns what `parse` and `canonical` would, in a twentieth of the time;
for anything else it returns None and the caller asks them.
"""

import re
from decimal import Decimal
from typing import Any

import msgspec
import orjson

_MAX_BRACKETS = 200
"""A record with fewer brackets is not nested deeper than `guard.canonical` goes."""

_BEYOND_BASIC = re.compile(rb"[\xee-\xf4]")
"""Bytes that begin a character from U+E000 on: from there the order of UTF-16, which RFC 8785 sorts by, is another."""

_LONG_INTEGER = re.compile(rb"[0-9]{20}")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,9})\.[0-9]{1,6}").fullmatch


class Fields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of a native record, the payload as it is written."""

    event_id: str
    topic: str
    payload: msgspec.Raw
    produced_at: str
    producer_id: str
    schema_version: int | None = None


class Plain(msgspec.Struct, gc=False):
    """A record that was read: its members, its payload as a value and as canonical JSON."""

    fields: Fields
    payload: dict[str, Any]
    canonical: bytes


class _NotPlain(Exception):
    """A number whose canonical form is not its own text."""


def _number(text: str) -> Decimal:
    """Return a number with a fraction so that `str` of it is canonical, which holds for short ones."""
    if not _PLAIN_NUMBER(text):
        raise _NotPlain
    number = Decimal(text.rstrip("0").rstrip("."))
    # Below 1e-6 there is an exponent, and zero has no sign.
    if number.adjusted() >= -6 and number:
        return number
    raise _NotPlain


_fields = msgspec.json.Decoder(Fields).decode
_value = msgspec.json.Decoder(float_hook=_number).decode
_with_decimals = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


def write_plain(value: Any) -> bytes | None:
    """Return the canonical JSON of a value of plain parts, or None if only `guard.canonical` can write it."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a Decimal, or an integer beyond 64 bits, which may be written with an exponent
        text = _with_decimals(value)
        if _LONG_INTEGER.search(text):
            return None
    return text if text.isascii() or not _BEYOND_BASIC.search(text) else None


def read_plain(raw: bytes) -> Plain | None:
    r"""Return the native record that `raw` is, or None if it is none or only `guard.canonical` can tell.

    No key stands twice if there are as many colons in `raw` as in what was read: a key that is dropped takes its colon
    along, and every other colon, in a string or behind a key, is there in both. Only `\u003a` would be one more, and
    `\u` may hide characters that text must not have, so a record with `\u` is not plain.
    """
    if b"\\" in raw and b"\\u" in raw:
        return None
    try:
        fields = _fields(raw)
        payload = _value(fields.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _NotPlain):
        return None
    if type(payload) is not dict or (len(raw) >= 2 * _MAX_BRACKETS and _brackets(raw) >= _MAX_BRACKETS):
        return None
    text = write_plain(payload)
    if text is None:
        return None
    members = 5 if fields.schema_version is None else 6
    colons = (
        members
        + text.count(b":")
        + fields.event_id.count(":")
        + fields.topic.count(":")
        + fields.produced_at.count(":")
        + fields.producer_id.count(":")
    )
    return Plain(fields, payload, text) if raw.count(b":") == colons else None


def _brackets(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{")
