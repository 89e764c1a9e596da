"""Avro object container files: blocks of records behind a schema."""

import bz2
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import fastavro

from ingest.envelopes import values
from ingest.records import Fault, Part, Record

MAGIC = b"Obj\x01"
_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 64 << 20
"""What a block may have, and unpack to."""

_META = fastavro.parse_schema({"type": "map", "values": "bytes"})
_UNPACK: dict[str, Callable[[], Any]] = {
    "deflate": lambda: zlib.decompressobj(-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}


class _Damaged(ValueError):
    """A file that breaks the format, or makes more of itself than fits."""


@dataclass(frozen=True, slots=True)
class Block:
    """The records of a block; they are decoded where they are read."""

    schema: str
    first: int
    count: int
    content: bytes

    def __iter__(self) -> Iterator[Record]:
        schema, file = fastavro.parse_schema(json.loads(self.schema)), io.BytesIO(self.content)
        for number in range(self.first, self.first + self.count):
            try:
                row: Any = fastavro.schemaless_reader(file, schema, None)
            except Exception:  # noqa: BLE001 - whatever the bytes make of the decoder, the file is damaged here
                yield Record(number, b"", "bad_container")
                return
            yield values.record(number, row)


def parts(file: IO[bytes]) -> Iterator[Part]:
    """Yield the blocks of a file, up to where it is damaged."""
    number = 0
    try:
        schema, unpack, sync, start = _header(file.read(_HEADER_BYTES))
        file.seek(start)
        while (count := _long(file)) is not None:
            size = _long(file)
            if size is None or not 0 <= size <= _BLOCK_BYTES or count < 0:
                raise _Damaged
            packed = file.read(size)
            if len(packed) < size or file.read(16) != sync:
                raise _Damaged
            content = packed if unpack is None else _unpacked(unpack(), packed)
            # A record has an id, so it has bytes; a count beyond them would never come to its end.
            if count > len(content):
                raise _Damaged
            yield Block(schema, number, count, content)
            number += count
    except Exception:  # noqa: BLE001 - a header may break the parser of schemas in any way
        yield Fault(number, "bad_container")
    else:
        if number == 0:
            yield Fault(0, "empty_file")


def _header(head: bytes) -> tuple[str, Callable[[], Any] | None, bytes, int]:
    """Return schema, what unpacks a block, the mark between blocks and where the first one begins."""
    file = io.BytesIO(head)
    file.seek(len(MAGIC))
    meta: Any = fastavro.schemaless_reader(file, _META, None)
    sync, codec = file.read(16), meta.get("avro.codec", b"null").decode()
    if len(sync) < 16 or (codec != "null" and codec not in _UNPACK):
        raise _Damaged
    schema = json.loads(meta["avro.schema"])
    fastavro.parse_schema(schema)
    if not isinstance(schema, dict) or schema.get("type") != "record" or _has_weightless_items(schema):
        raise _Damaged
    return json.dumps(schema), _UNPACK.get(codec), sync, file.tell()


def _has_weightless_items(schema: Any) -> bool:
    """Return whether an array may hold items without bytes: a few bytes would state a billion of them."""
    if isinstance(schema, list):
        return any(map(_has_weightless_items, schema))
    if not isinstance(schema, dict):
        return False
    items = schema.get("items") if schema.get("type") == "array" else "string"
    if isinstance(items, str):
        # A named type may be a record of nothing; only the plain ones are sure to have bytes.
        is_weightless = items not in ("boolean", "int", "long", "float", "double", "bytes", "string")
    else:
        is_weightless = isinstance(items, dict) and (
            items.get("type") == "null"
            or items.get("size") == 0
            or (items.get("type") == "record" and all(field.get("type") == "null" for field in items["fields"]))
        )
    return is_weightless or any(_has_weightless_items(part) for part in schema.values())


def _unpacked(engine: Any, packed: bytes) -> bytes:
    content: bytes = engine.decompress(packed, _BLOCK_BYTES)
    if len(content) == _BLOCK_BYTES:
        raise _Damaged
    return content


def _long(file: IO[bytes]) -> int | None:
    """Return the next number, zigzag in groups of seven bits; None where the file ends."""
    number = shift = 0
    while byte := file.read(1):
        number |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return (number >> 1) ^ -(number & 1)
        if shift > 63:
            raise _Damaged
    if shift:
        raise _Damaged
    return None
