"""What a text in a cell means: values of a column as text, and texts that a spreadsheet would change, made safe.

Two layers. `to_text` and `from_text` turn a column's values into texts and back; all forms share them. `to_cell` and
`from_cell` make a text safe in a cell of CSV or XLSX: nothing is taken for a formula, cut off or lost.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from guard.canonical import JsonFault, canonical, parse
from lake.spec import Column, Kind
from registry.types import RATIO_STEP

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?(Z|[+-]\d\d(?::?\d\d)?)", re.ASCII)
_UNSAFE = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)|x(?=005F_)")
"""What a spreadsheet, or a tool on its way, changes or drops: control characters but tab and line feed, byte order
marks, and what looks like an escape of XLSX."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BITS = {Kind.INT: 31, Kind.BIGINT: 63}
_TRUTH = {"true": True, "false": False}


def to_text(column: Column, value: Any) -> str | None:
    """Return a column's value as text, None for null. Every digit is kept."""
    if value is None:
        return None
    kind = column.kind
    if kind is Kind.BOOL:
        return "true" if value else "false"
    if kind is Kind.TIMESTAMP:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    if kind is Kind.DATE:
        return value.isoformat()
    if kind in (Kind.RATIO, Kind.DOUBLE):
        return canonical(value)
    if kind is Kind.BINARY:
        return base64.b64encode(value).decode()
    return str(value)


def from_text(column: Column, text: str) -> Any:
    """Return the value that a text states.

    Raises:
        ValueError: it states none of the column's kind.
    """
    return _READERS[column.kind](column, text)


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "...")


def _fitting(column: Column, text: str) -> str:
    if column.enum and text not in column.enum:
        raise ValueError(f"{_shown(text)} is none of {', '.join(column.enum)}")
    if column.length and len(text) > column.length:
        raise ValueError(f"has {len(text)} characters and may have {column.length}")
    return text


def _json(column: Column, text: str) -> str:
    """Return JSON text as it stands; the short form of a step's logic becomes the JSON text that it is within one."""
    if column.name == "next_step_logic" and text.lstrip()[:1] not in ("{", "[", '"'):
        return canonical(text)
    parse(text)
    return text


def _truth(column: Column, text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(f"{_shown(text)} is neither true nor false")
    return _TRUTH[text.lower()]


def _whole_number(column: Column, text: str) -> int:
    bits = _BITS[column.kind]
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no whole number")
    number = int(text) if len(text) < 25 else 1 << bits
    if not -(1 << bits) <= number < 1 << bits:
        raise ValueError(f"{_shown(text)} has more than {bits} bits")
    return number


def _number(column: Column, text: str) -> float:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{_shown(text)} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{_shown(text)} is no number")
    if column.kind is Kind.RATIO and not 0 <= number <= 1:
        raise ValueError(f"{_shown(text)} is no number in 0..1")
    if column.kind is Kind.RATIO and number != number.quantize(RATIO_STEP):
        raise ValueError(f"{_shown(text)} has more than four decimals")
    return float(number)


def _moment(column: Column, text: str) -> datetime:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(text)} is no moment with a zone such as 2026-01-31T00:00:00Z")
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ''}{match[4]}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{_shown(text)} is in no calendar") from None


def _date(column: Column, text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no date such as 2026-01-31")
    return date.fromisoformat(text)


def _bytes(column: Column, text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"{_shown(text)} is no base64") from None
    if column.length and len(value) > column.length:
        raise ValueError(f"has {len(value)} bytes and may have {column.length}")
    return value


_READERS: Mapping[Kind, Callable[[Column, str], Any]] = {
    Kind.TEXT: _fitting,
    Kind.JSON: _json,
    Kind.BOOL: _truth,
    Kind.INT: _whole_number,
    Kind.BIGINT: _whole_number,
    Kind.DOUBLE: _number,
    Kind.RATIO: _number,
    Kind.TIMESTAMP: _moment,
    Kind.DATE: _date,
}


def to_cell(text: str | None) -> str:
    """Return a text as a cell of a spreadsheet; see docs/forms.md.

    Nothing is an empty cell, an empty text a lone apostrophe. What begins like a formula, or with an apostrophe, has an
    apostrophe before it; what holds characters that get lost is a JSON string behind an apostrophe.
    """
    if text is None:
        return ""
    if _UNSAFE.search(text):
        return "'" + _UNSAFE.sub(_escaped, json.dumps(text, ensure_ascii=False))
    return "'" + text if not text or text.startswith(("'", *_FORMULA)) else text


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def from_cell(cell: str, *, is_number: bool = False, is_typed: bool = False) -> str | None:
    """Return the text of a cell.

    Args:
        is_number: whether the column holds numbers, which may begin with a sign.
        is_typed: whether the file says of the cell that it is text, so that it cannot be a formula.

    Raises:
        ValueError: it is a formula, or an escaped text that is none.
    """
    if not cell:
        return None
    if cell.startswith("'\""):
        try:
            text = parse(cell[1:])
        except JsonFault as fault:
            raise ValueError(f"begins like an escaped text and is no JSON string: {fault}") from None
        if not isinstance(text, str):
            raise ValueError("begins like an escaped text and is no JSON string")
        return text
    if cell.startswith("'"):
        return cell[1:]
    if cell.startswith(_FORMULA) and not (is_number or is_typed):
        raise ValueError(f"{_shown(cell)} is a formula; formulas are not evaluated")
    return cell


def refused_characters(text: str) -> str | None:
    """Return what keeps a text from being stored, None if nothing does."""
    if "\x00" in text:
        return "holds U+0000"
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        return "holds a lone surrogate"
    return None
