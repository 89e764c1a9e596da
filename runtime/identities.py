"""Identifiers and hashes by the column: the same as `guard.identity` and `guard.canonical` give one by one."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from guard.canonical import digest, parse
from guard.identity import NAMESPACE

Bytes = NDArray[np.uint8]
"""A digest, or a text of one length, per row."""

_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)
_HYPHENS = (8, 13, 18, 23)
_ODD = (
    r"\\u|[^\x00-\x{FFFF}]"
    r"|[:\[,]\s*-?(\d+(\.\d+)?[eE][-+]?\d+\s*[,}\]]|\d[\d.]{14}|0\.000|\d+\.0+\s*[,}\]])"
    r"|[:\[,]\s*-0[^.]"
)
"""Finds the texts whose canonical form an encoder of doubles may not give: numbers of more than 14 digits, with an
exponent or without a fraction but with a point, minus zero, and names that do not sort by their bytes. Where a number
ends is looked at as well, or a tenth of all tokens (`pii:9e...`) would be taken for one."""


def name_uuids(*parts: pl.Series) -> pl.Series:
    """Return `guard.identity.name_uuid` of each row's parts."""
    names = _named(parts, under=NAMESPACE.bytes)
    digests = _rows([hashlib.sha1(name, usedforsecurity=False).digest() for name in names], 20)
    return _uuids(digests[:, :16], version=5)


def time_ordered_uuids(moments: pl.Series, *parts: pl.Series) -> pl.Series:
    """Return `guard.identity.time_ordered_uuid` of each row's moment and parts."""
    digests = _rows([hashlib.sha256(name).digest() for name in _named(parts)], 32)
    milliseconds = (moments.dt.epoch("us").to_numpy() // 1000).astype(">i8").view(np.uint8).reshape(-1, 8)
    return _uuids(np.concatenate([milliseconds[:, 2:], digests[:, :10]], axis=1), version=7)


def seeds_of(texts: pl.Series) -> pl.Series:
    """Return the first 60 bits of the SHA-256 of each text."""
    digests = _rows([hashlib.sha256(text).digest() for text in texts.cast(pl.Binary).to_list()], 32)
    return pl.Series((digests[:, :8].copy().view(">u8").ravel() >> np.uint64(4)).astype(np.int64))


def digests_under(prefix: str, texts: pl.Series) -> pl.Series:
    """Return the SHA-256 of `prefix` and the digest of each JSON text's canonical form, as hexadecimal digits."""
    begun = hashlib.sha256(prefix.encode())

    def hashed(text: str) -> str:
        whole = begun.copy()
        whole.update(text.encode())
        return whole.hexdigest()

    return pl.Series([hashed(text) for text in canonical_digests(texts)], dtype=pl.String)


def canonical_digests(texts: pl.Series) -> list[str]:
    """Return `guard.canonical.digest` of the value of each JSON text."""
    is_odd = texts.str.contains(_ODD)
    load, dump, sort = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS
    return [
        digest(parse(text)) if odd else hashlib.sha256(dump(load(text), option=sort)).hexdigest()
        for text, odd in zip(texts, is_odd, strict=True)
    ]


def hexadecimal(numbers: pl.Series) -> pl.Series:
    """Return unsigned 64-bit numbers as 16 hexadecimal digits each."""
    return _texts(_digits(numbers.to_numpy().astype(">u8").view(np.uint8).reshape(-1, 8)))


def _named(parts: Iterable[pl.Series], *, under: bytes = b"") -> list[bytes]:
    """Return `under` and the parts of each row as one text, each part preceded by its length."""
    pieces = [piece for part in parts for piece in (part.str.len_chars().cast(pl.String), pl.lit(":"), part)]
    return pl.select((pl.lit(under) + pl.concat_str(pieces).cast(pl.Binary)).alias("")).to_series().to_list()


def _rows(digests: Sequence[bytes], width: int) -> Bytes:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, width)


def _uuids(rows: Bytes, *, version: int) -> pl.Series:
    """Return rows of 16 bytes as UUIDs of a version."""
    rows = rows.copy()
    rows[:, 6] = rows[:, 6] & 0x0F | version << 4
    rows[:, 8] = rows[:, 8] & 0x3F | 0x80
    digits = _digits(rows)
    texts = np.full((len(rows), 36), ord("-"), dtype=np.uint8)
    for shift, (start, end) in enumerate(pairwise((-1, *_HYPHENS, 36))):
        texts[:, start + 1 : end] = digits[:, start + 1 - shift : end - shift]
    return _texts(texts)


def _digits(rows: Bytes) -> Bytes:
    return np.ascontiguousarray(_HEX[rows]).view(np.uint8).reshape(len(rows), 2 * rows.shape[1])


def _texts(rows: Bytes) -> pl.Series:
    """Return rows of ASCII bytes as texts."""
    count, length = rows.shape
    offsets = np.arange(count + 1, dtype=np.int64) * length
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    series = pl.from_arrow(pa.Array.from_buffers(pa.large_string(), count, buffers))
    assert isinstance(series, pl.Series)
    return series
