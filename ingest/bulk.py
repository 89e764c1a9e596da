"""Judging many records at once: those of the usual form, of topics whose schema has a type.

What becomes of a record is said by the door, one by one. Nearly all are alike, though: a schema that has a type, a
time to the millisecond, no key twice. For those the type does what the door takes a reading, a validation and a walk
for, and the outcome goes into columns. A record that is unusual in anything at all is left to the door, so nothing is
refused here and nothing is decided by two rules.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
import pyarrow as pa

from guard.redaction import Redactor
from ingest.decoding import (
    UNREADABLE,
    Fields,
    has_plain_keys,
    is_canonical,
    is_shallow,
    number,
    read_fields,
    write,
)
from ingest.hashing import sender_json
from ingest.records import MAX_RECORD_BYTES
from ingest.schema_types import SchemaType
from lake.months import Month

EVENTS = pa.schema(
    [
        ("event_id", pa.string()),
        ("topic", pa.string()),
        ("schema_version", pa.int32()),
        ("payload", pa.string()),
        ("produced_at", pa.timestamp("us", tz="UTC")),
        ("producer_id", pa.string()),
        ("content_hash", pa.string()),
        ("file_offset", pa.int64()),
    ]
)

_MOST_TOKENS = 100_000
"""Tokens that are remembered: what is personal recurs, and making a token costs more than all else of its record."""

_AT_ONCE = 1000
"""Records that are put into columns together: few enough to stay in the processor's cache until then."""

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_USUAL_TIMES = frozenset({b"0000-00-00T00:00:00Z", b"0000-00-00T00:00:00.000Z"})
_TO_THE_MONTH, _TO_THE_SECOND = len("2025-03"), len("2025-03-01T09:30:00")
_AROUND = len(b'{"event_id":"","topic":"","payload":,"produced_at":"","producer_id":""}')
_UNUSUAL = (KeyError, ValueError, *UNREADABLE)
"""What a record raises that is left to the door; a ValueError is that of a time."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A version of a topic whose schema has a type."""

    version: int
    decode: Callable[[msgspec.Raw], Any]
    type: SchemaType


class Bulk:
    """Accepts records of the usual form.

    Args:
        types: version and type of the payload, by topic and version; those of the latest by None as well.
        earliest: the time before which no live event lies.
        purged: months of which the door takes no event.
    """

    def __init__(
        self,
        types: Mapping[tuple[str, int | None], tuple[int, SchemaType]],
        *,
        redactor: Redactor,
        earliest: datetime,
        purged: Collection[Month],
    ) -> None:
        self._forms = {
            key: _Form(version, msgspec.json.Decoder(made.type, float_hook=number).decode, made)
            for key, (version, made) in types.items()
        }
        self._redactor = redactor
        self._earliest = earliest
        self._purged = frozenset(f"{month:%Y-%m}".encode() for month in purged)
        self._tokens: dict[str, str] = {}

    def judge(
        self, raws: Sequence[bytes], offsets: Sequence[int], latest: datetime
    ) -> tuple[pa.RecordBatch, list[int]]:
        """Return the records that are accepted, in the columns of `EVENTS`, and the places of those left to the door.

        Args:
            raws: JSON texts, with white space around them or not.
            offsets: where each starts.
            latest: the time behind which no event lies.
        """
        left: list[int] = []
        slices = range(0, len(raws), _AT_ONCE)
        batches = [self._accept(raws[start : start + _AT_ONCE], offsets, start, latest, left) for start in slices]
        return pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], EVENTS), left

    def _accept(
        self, raws: Sequence[bytes], offsets: Sequence[int], first: int, latest: datetime, left: list[int]
    ) -> pa.RecordBatch:
        forms, earliest, purged = self._forms, self._earliest, self._purged
        ids: list[str] = []
        topics: list[str] = []
        versions: list[int] = []
        payloads: list[bytes] = []
        times: list[bytes] = []
        producers: list[str] = []
        hashes: list[str] = []
        starts: list[int] = []
        for place, raw in enumerate(raws, first):
            try:
                fields = read_fields(raw)
                event_id, topic, producer_id = fields.event_id, fields.topic, fields.producer_id
                form = forms[topic, fields.schema_version]
                payload = form.decode(fields.payload)
                moment = datetime.fromisoformat(fields.produced_at)
            except _UNUSUAL:
                left.append(place)
                continue
            stated = fields.produced_at.encode()
            text = write(payload)
            if not (
                stated.translate(_DIGITS_TO_ZERO) in _USUAL_TIMES
                and stated[11:13] < b"24"
                and earliest <= moment <= latest
                and stated[:_TO_THE_MONTH] not in purged
                and not event_id.isspace()
                and (_is_compact(raw, fields, text) or has_plain_keys(raw, fields, text))
                and (form.type.is_closed or (is_shallow(raw) and is_canonical(text)))
                and len(raw) <= MAX_RECORD_BYTES
            ):
                left.append(place)
                continue
            if form.type.marked:
                form.type.redact(payload, self._token)
                text = write(payload)
                payloads.append(text)
            else:
                payloads.append(bytes(fields.payload))
            sender = sender_json(producer_id, topic)
            # `event_hash`, with the time put together from its text in a third of the time.
            fraction = b"000+00:00" if moment.microsecond else b"+00:00"
            until = stated[:-1] if moment.microsecond else stated[:_TO_THE_SECOND]
            hashes.append(
                sha256(b'{"payload":%b,"produced_at":"%b%b",%b' % (text, until, fraction, sender)).hexdigest()
            )
            ids.append(event_id)
            topics.append(topic)
            versions.append(form.version)
            times.append(stated)
            producers.append(producer_id)
            starts.append(offsets[place])
        columns = [
            pa.array(ids, pa.string()),
            pa.array(topics, pa.string()),
            pa.array(versions, pa.int32()),
            pa.array(payloads, pa.binary()).cast(pa.string()),
            pa.array(times, pa.binary()).cast(pa.string()).cast(pa.timestamp("us", "UTC")),
            pa.array(producers, pa.string()),
            pa.array(hashes, pa.string()),
            pa.array(starts, pa.int64()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EVENTS)

    def _token(self, text: str) -> str:
        token = self._tokens.get(text)
        if token is None:
            if len(self._tokens) >= _MOST_TOKENS:
                self._tokens.clear()
            token = self._tokens[text] = self._redactor.token(text)
        return token


def _is_compact(raw: bytes, fields: Fields, text: bytes) -> bool:
    r"""Return whether a record is as short as what was read of it can be written: a quick way to `has_plain_keys`.

    White space, an escape where none is needed and a key that stands twice all take room. Only what must be escaped
    does not tell, `\u0000` among it; so no backslash may be in the payload.
    """
    length = len(fields.event_id) + len(fields.topic) + len(fields.produced_at) + len(fields.producer_id) + len(text)
    return len(raw) == _AROUND + length and b"\\" not in text
