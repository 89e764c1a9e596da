"""CSV: the first line names the members, a row is a record, a cell is text until the topic's schema says otherwise."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.records import MAX_RECORD_BYTES, Broken, Fault, Limits, Part, Record

_NAMED = frozenset({"event_id", "topic", "produced_at", "producer_id"})
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that follow on each other, under the members that the first line names."""

    members: tuple[str, ...]
    first: int
    rows: tuple[tuple[str, ...] | None, ...]

    def __iter__(self) -> Iterator[Record]:
        for number, row in enumerate(self.rows, self.first):
            yield self._record(number, row)

    def _record(self, number: int, row: tuple[str, ...] | None) -> Record:
        if row is None:
            return Record(number, b"", "too_large")
        if len(row) != len(self.members):
            return Record(number, b"", "bad_row")
        document: dict[str, Any] = {}
        # An empty cell is a member that is absent; `NA` is text like any other.
        for member, cell in zip(self.members, row, strict=True):
            if cell:
                inner = document
                for name in member.split(".")[:-1]:
                    inner = inner.setdefault(name, {})
                inner[member.split(".")[-1]] = int(cell) if member == "schema_version" and cell.isdecimal() else cell
        try:
            raw = msgspec.json.encode(document)
            return (
                Record(number, raw, is_text=True) if len(raw) <= MAX_RECORD_BYTES else Record(number, b"", "too_large")
            )
        except UnicodeEncodeError:
            return Record(number, b"", "bad_cell")


def delimiter_of(head: bytes) -> str | None:
    """Return what separates the cells of a file that begins like this, None if it is no table of records."""
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip(b"\r")
    for delimiter in _DELIMITERS:
        cells = _members(line.decode("utf-8", "replace"), delimiter)
        if cells >= _NAMED:
            return delimiter
    return None


def _members(line: str, delimiter: str) -> set[str]:
    return {cell.strip().strip('"') for cell in line.split(delimiter)}


def parts(blocks: Iterator[bytes], delimiter: str, limits: Limits) -> Iterator[Part]:
    """Yield the rows of a table, and a fault where unpacking ends."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    broken: list[str] = []
    reader = csv.reader(_lines(blocks, broken), delimiter=delimiter)
    members = tuple(name.strip() for name in next(reader, []))
    if len(set(members)) < len(members) or any(_is_within(one, other) for one in members for other in members):
        yield Fault(0, "bad_header")
        return
    number, held, size = 0, list[tuple[str, ...] | None](), 0
    while True:
        try:
            row = next(reader)
            if not row:
                continue
            held.append(tuple(row))
            size += sum(map(len, row))
        except StopIteration:
            break
        except csv.Error:
            held.append(None)
        if len(held) == limits.records or size >= limits.bytes:
            yield Rows(members, number, tuple(held))
            number, held, size = number + len(held), [], 0
    if held:
        yield Rows(members, number, tuple(held))
    if broken:
        yield Fault(number + len(held), broken[0])
    elif not number and not held:
        yield Fault(0, "empty_file")


def _is_within(one: str, other: str) -> bool:
    return other.startswith(f"{one}.")


def _lines(blocks: Iterator[bytes], broken: list[str]) -> Iterator[str]:
    """Yield the lines of a text, ends included; one that is too long comes in pieces that the reader refuses."""
    held, is_first = b"", True
    try:
        for block in blocks:
            held = held + block
            if is_first:
                held, is_first = held.removeprefix(b"\xef\xbb\xbf"), False
            *lines, held = held.split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "surrogateescape") + "\n"
            if len(held) > MAX_RECORD_BYTES:
                yield held.decode("utf-8", "surrogateescape")
                held = b""
    except Broken as end:
        broken.append(end.rule)
        return
    if held:
        yield held.decode("utf-8", "surrogateescape")


def typed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return what the cells under a payload mean by its schema; a cell that does not fit stays text and is refused.

    Numbers are taken over digit by digit, objects and lists as the JSON that stands in the cell.
    """
    if isinstance(value, dict):
        stated = schema.get("properties", {})
        return {name: typed(item, stated.get(name, {})) for name, item in value.items()}
    kinds = schema.get("type", "string")
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if "string" in kinds:
        return value
    if kinds & {"integer", "number"} and _NUMBER.fullmatch(value):
        return msgspec.Raw(value.encode())
    if "boolean" in kinds and value in _WORDS:
        return _WORDS[value]
    if kinds & {"object", "array"} and value[:1] in "[{":
        return msgspec.Raw(value.encode())
    return value
