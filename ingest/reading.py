"""Reading a landed file: it is opened without trust, unpacked, and its envelope recognised by its content."""

import os
import re
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from ingest.envelopes import avro, document, parquet, table
from ingest.records import READ_BYTES, Broken, Fault, Limits, Part, lines, unpacked

_NEXT_RECORD = re.compile(rb"\}[ \t]*\r\s*\{")
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER_TEXT = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{", b"[\0", b"\0[", b"\0\0\xfe\xff", b"\0\0\0{", b"\0\0\0[")
"""How a text in UTF-16 or UTF-32 begins."""


def read_parts(path: Path, limits: Limits) -> Iterator[Part]:
    """Yield the parts of a file; what cannot be read as a file is one record with a fault, so it is counted.

    Faults: `missing`, `unreadable`, `empty_file`, `not_gzip`, `not_utf8`, `cr_lines`, `archive`, `packed`,
    `bad_container`, `unknown_codec`, `bad_header`, `too_large`, and where unpacking ends `truncated`,
    `corrupt` or `bomb`.
    """
    try:
        # Not through a link, and without waiting for whoever would write into a pipe.
        raw = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except FileNotFoundError:
        yield Fault(0, "missing")
        return
    except OSError:
        yield Fault(0, "unreadable")
        return
    with raw:
        if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            yield Fault(0, "unreadable")
        elif (magic := _start(raw, 4))[:2] == _GZIP_MAGIC:
            yield from _packed(unpacked(raw), limits)
        elif path.name.endswith(".gz"):
            yield Fault(0, "not_gzip" if magic else "empty_file")
        elif magic == avro.MAGIC:
            yield from avro.parts(raw)
        elif magic == parquet.MAGIC:
            yield from parquet.parts(raw, limits)
        else:
            yield from _text(iter(lambda: raw.read(READ_BYTES), b""), limits)


def _start(raw: IO[bytes], length: int) -> bytes:
    start = raw.read(length)
    raw.seek(0)
    return start


def _packed(blocks: Iterator[bytes], limits: Limits) -> Iterator[Part]:
    head, blocks = _peek(blocks)
    if head.startswith((avro.MAGIC, parquet.MAGIC, _GZIP_MAGIC)):
        yield Fault(0, "packed")
    else:
        yield from _text(blocks, limits)


def _text(blocks: Iterator[bytes], limits: Limits) -> Iterator[Part]:
    head, blocks = _peek(blocks)
    if head.startswith(_ZIP_MAGICS):
        yield Fault(0, "archive")
    elif head.startswith(_OTHER_TEXT):
        yield Fault(0, "not_utf8")
    elif _ends_lines_in_cr(head):
        yield Fault(0, "cr_lines")
    elif delimiter := table.delimiter_of(head):
        yield from table.parts(blocks, delimiter, limits)
    elif document.may_begin(head):
        content, blocks = _gathered(blocks, document.MAX_BYTES)
        parts = document.parts(content, limits) if len(content) <= document.MAX_BYTES else None
        yield from parts if parts is not None else lines(blocks, limits)
    else:
        yield from lines(blocks, limits)


def _ends_lines_in_cr(head: bytes) -> bool:
    """Return whether records that begin like this follow on each other with a CR alone between them."""
    first, _, rest = head.partition(b"\r")
    if b"\n" in head or not rest.strip():
        return False
    return table.delimiter_of(first) is not None or _NEXT_RECORD.search(head) is not None


def _peek(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first block, and all of them."""
    try:
        head = next(blocks, b"")
    except Broken as broken:
        return b"", _ending(broken)
    return head, chain([head], blocks)


def _gathered(blocks: Iterator[bytes], most: int) -> tuple[bytes, Iterator[bytes]]:
    """Return what `blocks` hold, as far as a little more than `most` bytes, and all of them."""
    held = bytearray()
    try:
        for block in blocks:
            held += block
            if len(held) > most:
                break
    except Broken as broken:
        # It is cut or damaged, and so no whole document.
        return b"", chain([bytes(held)], _ending(broken))
    return bytes(held), chain([bytes(held)], blocks)


def _ending(broken: Broken) -> Iterator[bytes]:
    yield b""
    raise broken
