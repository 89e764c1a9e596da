"""Records of a landed file, in parts that fit into memory: cut out here, read wherever there is a processor.

A part is a run of whole records as they lie in the file. Cutting costs next to nothing; what costs is reading a part,
and a part can be sent to another process for that.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import IO, Protocol

import msgspec

MAX_RECORD_BYTES = 1 << 20
_MAX_LINE_BYTES = MAX_RECORD_BYTES + len(b"\r\n")
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
READ_BYTES = 256 << 10
"""Bytes that are read, or unpacked, at once."""

BOMB_FLOOR, BOMB_RATIO = 256 << 20, 200
"""A file that has unpacked to so many bytes, and to so many times its size, is no file of records."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as it lies in the unpacked file.

    Attributes:
        offset: byte at which it starts, or its number where records are not lines of text.
        raw: its JSON text without the blanks around it; empty where there is a fault.
        fault: rule the record breaks before it is even read as JSON, or None.
        is_complete: whether its end follows; the last line of a cut file has none.
        is_text: whether all members of the payload are text, to be read by the topic's schema.
        note: what the fault is about, such as the name of a codec; nothing of a value.
    """

    offset: int
    raw: bytes
    fault: str | None = None
    is_complete: bool = True
    is_text: bool = False
    note: str = ""


class Part(Protocol):
    """A run of records of a file, made of plain bytes, so that it can be sent to another process."""

    def __iter__(self) -> Iterator[Record]: ...


@dataclass(frozen=True)
class Limits:
    """What a part may hold: records, and bytes up to the end of the record that exceeds them."""

    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Lines:
    """A block of whole lines, one record each."""

    start: int
    block: bytes

    def __iter__(self) -> Iterator[Record]:
        lines, offsets = self.split()
        return filter(None, map(self.record, lines, offsets))

    def split(self) -> tuple[list[bytes], list[int]]:
        """Return the lines, blank ones among them, and where each starts."""
        lines = self.block.split(b"\n")
        ends = accumulate(map(len, lines), lambda end, length: end + 1 + length, initial=self.start - 1)
        return lines, [end + 1 for end in islice(ends, len(lines))]

    def record(self, line: bytes, offset: int) -> Record | None:
        """Return the record that a line is, None if it is blank."""
        text = (line.removeprefix(_BOM) if offset == 0 else line).strip(_BLANK)
        if text and len(line.rstrip(b"\r")) > MAX_RECORD_BYTES:
            return Record(offset, b"", "too_large")
        is_complete = offset + len(line) < self.start + len(self.block)
        return Record(offset, text, is_complete=is_complete) if text else None


@dataclass(frozen=True, slots=True)
class Fault:
    """What cannot be read, as one record, so that it is counted."""

    offset: int
    rule: str
    note: str = ""

    def __iter__(self) -> Iterator[Record]:
        is_complete = self.rule not in ("truncated", "corrupt")
        yield Record(self.offset, b"", self.rule, is_complete=is_complete, note=self.note)


class Broken(Exception):
    """The bytes of a file end before it does; the rule says how."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def unpacked(raw: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of gzip streams that follow on each other, zeros between them as padding.

    Raises:
        Broken: after everything that could be unpacked.
    """
    engine, is_first, is_between = zlib.decompressobj(31), True, True
    pending, length = b"", 0
    while pending := pending or raw.read(READ_BYTES):
        if is_between and not is_first:
            pending = pending.lstrip(b"\0")
            if not pending:
                continue
        is_first = False
        is_more = True
        while is_more:
            before = engine.copy()
            try:
                block = engine.decompress(pending, READ_BYTES)
            except zlib.error:
                yield _salvaged(before, pending)
                raise Broken("corrupt") from None
            length += len(block)
            if length > BOMB_FLOOR and length > BOMB_RATIO * raw.tell():
                raise Broken("bomb")
            yield block
            pending = engine.unconsumed_tail
            is_more = not engine.eof and (bool(pending) or len(block) == READ_BYTES)
        is_between = engine.eof
        if is_between:
            pending, engine = engine.unused_data, zlib.decompressobj(31)
    if not is_between:
        raise Broken("truncated")


def _salvaged(engine: "zlib._Decompress", packed: bytes) -> bytes:
    """Return what comes out before the damage: unpacking a block that is damaged somewhere gives nothing of it."""
    found = bytearray()
    try:
        for place in range(len(packed)):
            found += engine.decompress(packed[place : place + 1])
    except zlib.error:
        pass
    return bytes(found)


def lines(blocks: Iterator[bytes], limits: Limits) -> Iterator[Part]:
    """Yield the lines of a file in parts, in the memory of one part."""
    start, held = 0, b""
    is_empty = True
    try:
        for gathered in _gathered(blocks, limits):
            held += gathered
            while cut := _end_of_part(held, limits):
                is_empty = is_empty and not _holds_record(start, held[:cut])
                yield Lines(start, held[:cut])
                start, held = start + cut, held[cut:]
            whole = held.rfind(b"\n") + 1
            if len(held) - whole > _MAX_LINE_BYTES:
                if whole:
                    yield Lines(start, held[:whole])
                start, held, is_empty = start + whole, held[whole:], False
                length, held = _pass_over(len(held), blocks)
                yield Fault(start, "too_large")
                start += length
    except Broken as broken:
        whole = held.rfind(b"\n") + 1
        if whole:
            yield Lines(start, held[:whole])
        yield Fault(start + whole, broken.rule)
        return
    if held:
        is_empty = is_empty and not _holds_record(start, held)
        yield Lines(start, held)
    if is_empty:
        yield Fault(0, "empty_file")


def _gathered(blocks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """Yield blocks together, as many as may make a part: looking through what is held costs, so it is not done often.

    Raises:
        Broken: that of the blocks, after all that came before it.
    """
    waiting: list[bytes] = []
    size = records = 0
    try:
        for block in blocks:
            waiting.append(block)
            size += len(block)
            records += block.count(b"\n")
            is_long = size > _MAX_LINE_BYTES and not records
            if size >= limits.bytes or records >= limits.records or is_long:
                yield b"".join(waiting)
                waiting, size, records = [], 0, 0
    except Broken:
        yield b"".join(waiting)
        raise
    yield b"".join(waiting)


def _end_of_part(held: bytes, limits: Limits) -> int:
    """Return where the first part of `held` ends, 0 if that is still to come."""
    cut = held.find(b"\n", limits.bytes - 1) + 1
    if held.count(b"\n", 0, cut or len(held)) < limits.records:
        return cut
    return len(held) - len(held.split(b"\n", limits.records)[-1])


def _pass_over(length: int, blocks: Iterator[bytes]) -> tuple[int, bytes]:
    """Return the length of a line of which `length` bytes were read, end included, and what was read behind it."""
    for block in blocks:
        place = block.find(b"\n") + 1
        if place:
            return length + place, block[place:]
        length += len(block)
    return length, b""


def _holds_record(start: int, block: bytes) -> bool:
    return bool((block.removeprefix(_BOM) if start == 0 else block).strip(_BLANK))
