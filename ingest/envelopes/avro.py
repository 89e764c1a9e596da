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
import pyarrow as pa

from guard.redaction import field_name
from ingest.envelopes import values
from ingest.records import Fault, Part, Record

MAGIC = b"Obj\x01"
_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 64 << 20
"""What a block may have, and unpack to."""
_CODEC_BYTES = 256 << 20
"""What unpacking may take beside that."""

_META = fastavro.parse_schema({"type": "map", "values": "bytes"})
_WEIGHTY = frozenset(("boolean", "int", "long", "float", "double", "bytes", "string"))


class _Damaged(ValueError):
    """A file that breaks the format, or makes more of itself than fits."""


class _UnknownCodec(ValueError):
    """A file that is packed with what is not read here; its text is the codec's name."""


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
            content = unpack(packed)
            # A record has an id, so it has bytes; a count beyond them would never come to its end.
            if count > len(content):
                raise _Damaged
            yield Block(schema, number, count, content)
            number += count
    except _UnknownCodec as unknown:
        yield Fault(0, "unknown_codec", str(unknown))
    except Exception:  # noqa: BLE001 - a header may break the parser of schemas in any way
        yield Fault(number, "bad_container")
    else:
        if number == 0:
            yield Fault(0, "empty_file")


def _header(head: bytes) -> tuple[str, Callable[[bytes], bytes], bytes, int]:
    """Return schema, what unpacks a block, the mark between blocks and where the first one begins."""
    file = io.BytesIO(head)
    file.seek(len(MAGIC))
    meta: Any = fastavro.schemaless_reader(file, _META, None)
    sync, codec = file.read(16), meta.get("avro.codec", b"null").decode()
    if len(sync) < 16:
        raise _Damaged
    if codec not in _UNPACK:
        raise _UnknownCodec(field_name(codec))
    schema = json.loads(meta["avro.schema"])
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(schema, named)
    if not isinstance(schema, dict) or schema.get("type") != "record" or _has_weightless_items(parsed, named):
        raise _Damaged
    return json.dumps(schema), _UNPACK[codec], sync, file.tell()


def _has_weightless_items(schema: Any, named: dict[str, Any]) -> bool:
    """Return whether an array may hold items without bytes: a few bytes would state a billion of them."""
    if isinstance(schema, list):
        return any(_has_weightless_items(branch, named) for branch in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "array" and _is_weightless(schema["items"], named, frozenset()):
        return True
    parts = [field["type"] for field in schema.get("fields", ())]
    parts += [schema[word] for word in ("items", "values", "type") if word in schema]
    return any(_has_weightless_items(part, named) for part in parts)


def _is_weightless(schema: Any, named: dict[str, Any], entered: frozenset[str]) -> bool:
    """Return whether some value of a parsed schema takes no byte: a null, a fixed of none, a record of nothing else."""
    if isinstance(schema, list):
        return False  # the number of the branch takes one
    form = schema["type"] if isinstance(schema, dict) else schema
    if form in ("null", "fixed"):
        return form == "null" or schema["size"] == 0
    if form in ("record", "error"):
        name = schema["name"]
        return name not in entered and all(
            _is_weightless(field["type"], named, entered | {name}) for field in schema["fields"]
        )
    if isinstance(form, str) and form in named:
        return _is_weightless(named[form], named, entered)
    # Any other takes at least one; what is not known here is not trusted.
    return not isinstance(form, str) or form not in (*_WEIGHTY, "enum", "array", "map")


def _inflated(engine: Callable[[], Any]) -> Callable[[bytes], bytes]:
    """Return what unpacks a block by an engine of the standard library."""

    def unpack(packed: bytes) -> bytes:
        content: bytes = engine().decompress(packed, _BLOCK_BYTES)
        if len(content) == _BLOCK_BYTES:
            raise _Damaged
        return content

    return unpack


def _unsnapped(packed: bytes) -> bytes:
    """Return a block packed by Snappy: its length comes first, the check sum of what it unpacks to last."""
    length = _long(io.BytesIO(packed), is_zigzag=False)
    if length is None or length >= _BLOCK_BYTES:
        raise _Damaged
    content: bytes = pa.Codec("snappy").decompress(packed[:-4], length, asbytes=True)
    if zlib.crc32(content) != int.from_bytes(packed[-4:]):
        raise _Damaged
    return content


def _streamed(packed: bytes) -> bytes:
    """Return a block packed by Zstandard, whose header need not say how long it is."""
    with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
        content: bytes = stream.read(_BLOCK_BYTES)
    if len(content) == _BLOCK_BYTES:
        raise _Damaged
    return content


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _inflated(lambda: zlib.decompressobj(-15)),
    "bzip2": _inflated(bz2.BZ2Decompressor),
    "xz": _inflated(lambda: lzma.LZMADecompressor(memlimit=_CODEC_BYTES)),
    "snappy": _unsnapped,
    "zstandard": _streamed,
}
"""The codecs of the specification, each as what unpacks a block."""


def _long(file: IO[bytes], *, is_zigzag: bool = True) -> int | None:
    """Return the next number, in groups of seven bits; None where the file ends."""
    number = shift = 0
    while byte := file.read(1):
        number |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return (number >> 1) ^ -(number & 1) if is_zigzag else number
        if shift > 63:
            raise _Damaged
    if shift:
        raise _Damaged
    return None
