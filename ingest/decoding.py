"""Reading a native record at the speed of C, with what `guard.canonical` would have found.

`guard.canonical.parse` says what a record means and why one is refused, character by character in Python. Nearly every
record is plain, though: no key twice, no number that a double or 64 bits cannot hold, no escaped character that text
may not have. `read_plain` recognises those, and returns what `parse` and `canonical` would, in a twentieth of the time;
for anything else it returns None and the caller asks them.
"""

import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta

_MAX_BRACKETS = 200
"""A record with fewer brackets is not nested deeper than `guard.canonical` goes."""

_BEYOND_BASIC = re.compile(rb"[\xee-\xf4]")
"""Bytes that begin a character from U+E000 on: from there the order of UTF-16, which RFC 8785 sorts by, is another."""

_LONG_INTEGER = re.compile(rb"[0-9]{20}")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,9})\.[0-9]{1,6}").fullmatch


class Fields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of a native record, the payload as it is written.

    What breaks a bound is not read, and then held against the envelope's schema, which says so.
    """

    event_id: Annotated[str, Meta(min_length=1, max_length=64)]
    topic: str
    payload: msgspec.Raw
    produced_at: Annotated[str, Meta(max_length=64)]
    producer_id: Annotated[str, Meta(min_length=1, max_length=512)]
    schema_version: Annotated[int, Meta(ge=1, le=2147483647)] | None = None


class Plain(msgspec.Struct, gc=False):
    """A record that was read: its members, its payload as a value and as canonical JSON."""

    fields: Fields
    payload: dict[str, Any]
    canonical: bytes


class NotPlain(Exception):
    """A number whose canonical form is not its own text."""


def number(text: str) -> Decimal:
    """Return a number with a fraction so that `str` of it is canonical, which holds for short ones."""
    if not _PLAIN_NUMBER(text):
        raise NotPlain
    value = Decimal(text.rstrip("0").rstrip("."))
    # Below 1e-6 there is an exponent, and zero has no sign.
    if value.adjusted() >= -6 and value:
        return value
    raise NotPlain


UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, NotPlain)
"""What reading raises where a record is not plain."""

read_fields = msgspec.json.Decoder(Fields).decode
_value = msgspec.json.Decoder(float_hook=number).decode
write = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


def write_plain(value: Any) -> bytes | None:
    """Return the canonical JSON of a value of plain parts, or None if only `guard.canonical` can write it."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a Decimal, or an integer beyond 64 bits, which may be written with an exponent
        text = write(value)
        return text if is_canonical(text) else None
    return text if _keeps_order(text) else None


def read_plain(raw: bytes) -> Plain | None:
    """Return the native record that `raw` is, or None if it is none or only `guard.canonical` can tell."""
    try:
        fields = read_fields(raw)
        payload = _value(fields.payload)
    except UNREADABLE:
        return None
    if type(payload) is not dict or not is_shallow(raw):
        return None
    text = write_plain(payload)
    return Plain(fields, payload, text) if text is not None and has_plain_keys(raw, fields, text) else None


def is_shallow(raw: bytes) -> bool:
    """Return whether a record is surely nested no deeper than `guard.canonical` goes."""
    return len(raw) < 2 * _MAX_BRACKETS or raw.count(b"[") + raw.count(b"{") < _MAX_BRACKETS


def is_canonical(text: bytes) -> bool:
    """Return whether what `write` wrote is surely canonical: no integer with an exponent, keys in order."""
    return not _LONG_INTEGER.search(text) and _keeps_order(text)


def _keeps_order(text: bytes) -> bool:
    return text.isascii() or not _BEYOND_BASIC.search(text)


def has_plain_keys(raw: bytes, fields: Fields, text: bytes) -> bool:
    r"""Return whether no key stands twice in a record, and nothing is hidden in it, given its payload as it is written.

    No key stands twice if there are as many colons in `raw` as in what was read: a key that is dropped takes its colon
    along, and every other colon, in a string or behind a key, is there in both. Only `\u003a` would be one more, and
    `\u` may hide characters that text must not have, so a record with `\u` is not plain.
    """
    if b"\\u" in raw:
        return False
    colons = (
        (5 if fields.schema_version is None else 6)
        + text.count(b":")
        + fields.event_id.count(":")
        + fields.topic.count(":")
        + fields.produced_at.count(":")
        + fields.producer_id.count(":")
    )
    return raw.count(b":") == colons
