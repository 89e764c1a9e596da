"""Validation at the door: a raw record becomes an event that keeps its schema's promise, or a refusal that says why.

Nothing personal passes: what the schema marks is tokenised here, and a refusal names rules, fields and types only.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import msgspec
import pyarrow as pa

from guard.canonical import JsonFault, canonical, parse, pointer
from guard.redaction import Redactor, field_name, shape
from ingest.bulk import Bulk
from ingest.contracts import UNKNOWN_KINDS, Member, Unknown, fit, redacted, told, without
from ingest.decoding import Fields, read_plain, write_plain
from ingest.envelopes import cloudevents, table
from ingest.hashing import event_hash, sender_json
from ingest.records import Record
from ingest.schema_types import schema_type
from lake.months import Month, month_of
from registry.contracts import Contract, contract_of, is_personal, policy_tags

MAX_AHEAD = timedelta(days=1)
"""How far a live event's time may lie ahead of its arrival."""

ENVELOPE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Native event record",
    "type": "object",
    "properties": {
        "event_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "\\S"},
        "topic": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "\\S"},
        "payload": {"type": "object"},
        "produced_at": {"type": "string", "maxLength": 64},
        "producer_id": {"type": "string", "minLength": 1, "maxLength": 512},
        "schema_version": {"type": "integer", "minimum": 1, "maximum": 2147483647},
    },
    "required": ["event_id", "topic", "payload", "produced_at", "producer_id"],
    "additionalProperties": False,
}
"""JSON Schema of a record as producers send it."""

_FILE_FAULTS = {
    "missing": "the file was taken out of the inbox before it could be read; land it again",
    "unreadable": "the file may not be read by this user; land it again with the right to read it",
    "empty_file": "the file holds no record; a file of no events need not be sent",
    "not_gzip": "the name ends in .gz but the content is not gzip; name it without .gz or compress it",
    "truncated": "the file ends in the middle; send it again whole, records before the cut are duplicates then",
    "corrupt": "the gzip stream is damaged here; send the file again, records before are duplicates then",
    "too_large": "a record may have 1 MiB at the most; refer to large content by its uri",
    "not_utf8": "the text is UTF-16 or UTF-32; send UTF-8",
    "cr_lines": "its lines end in CR alone; end them in LF, or in CR and LF",
    "archive": "this is a ZIP archive; send its files one by one, packed with gzip if need be",
    "packed": "this is packed twice; send the file without gzip around it",
    "bad_container": "the Avro or Parquet file is damaged, or of a kind that is not read, from here on; send it again",
    "unknown_codec": "the Avro file is packed with {note}; pack it with deflate, bzip2, xz, snappy or zstandard",
    "bad_header": "the first line of the table names a member twice, or as a value and as a group of values",
    "bad_row": "the row has not as many cells as the first line names members",
    "bad_cell": "a cell is not UTF-8",
    "no_json": "a value has no form in JSON, such as NaN, or a member is stated twice",
    "bomb": "the file unpacks to two hundred times its size and more from here on; send its records in several files",
}
_MASK = "the value"
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII)
_PATH, _MESSAGE = 512, 1024
"""Characters that the columns of a dead letter hold."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An event that may leave the landing zone."""

    event_id: str
    topic: str
    schema_version: int
    payload: str
    produced_at: datetime
    producer_id: str
    content_hash: str


class Fitted(Accepted, frozen=True, gc=False):
    """An event that had members which its schema does not know, accepted under the topic's contract."""

    unknown: tuple[Unknown, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a record was refused, with what could be read of it."""

    rule: str
    path: str
    message: str
    topic: str | None = None
    event_id: str | None = None
    producer_id: str | None = None
    schema_version: int | None = None
    evidence: str | None = None


@dataclass(frozen=True)
class Topic:
    """What is registered of a topic: the JSON Schema of each version of its payloads, in order.

    Attributes:
        is_personal: whether its term in the ontology is tagged so; a schema may say it too.
    """

    versions: Mapping[int, Mapping[str, Any]]
    is_personal: bool = False

    def hides(self, version: int) -> bool:
        """Return whether a payload of a version is personal as a whole: nobody evades that by naming an old version."""
        said = (self.versions[version], self.versions[max(self.versions)])
        return self.is_personal or any(is_personal(policy_tags(schema)) for schema in said)


@dataclass(frozen=True)
class _Subject:
    """A version of a topic's schema, compiled."""

    version: int
    schema: Mapping[str, Any]
    validator: jsonschema_rs.Validator
    redact: Callable[[Any], Any] | None
    contract: Contract
    is_hidden: bool
    """Whether its payloads are personal as a whole."""


class _Payload(msgspec.Struct):
    payload: msgspec.Raw


class Door:
    """Validates records against the envelope, their topic's schema and the sane range of times.

    A record is held against the version of the schema that it names, the latest if it names none.

    Args:
        topics: what is registered, by topic.
        redactor: tokenises what a schema marks as personal.
        first_month: earliest month a live event may belong to.
        reserved: topics that nobody may send, since the platform alone announces them.
        purged: months whose events went. Nobody can tell any more which of them were accepted, so that one that is
            sent again would run again.
    """

    def __init__(
        self,
        topics: Mapping[str, Topic],
        *,
        redactor: Redactor,
        first_month: Month,
        reserved: Collection[str] = (),
        purged: Collection[Month] = (),
    ) -> None:
        self._given = (dict(topics), redactor, first_month, tuple(reserved), tuple(purged))
        self._purged = frozenset(purged)
        self._hide = redactor.hide
        self._reserved = frozenset(reserved)
        self._envelope = jsonschema_rs.validator_for(ENVELOPE, mask=_MASK)
        self._subjects = {
            name: {
                version: _Subject(
                    version,
                    schema,
                    jsonschema_rs.validator_for(dict(schema), validate_formats=True, mask=_MASK),
                    redactor.for_schema(schema, is_personal=topic.hides(version)),
                    contract_of(schema),
                    topic.hides(version),
                )
                for version, schema in topic.versions.items()
            }
            for name, topic in topics.items()
        }
        self._latest = {name: versions[max(versions)] for name, versions in self._subjects.items()}
        self._earliest = datetime(first_month.year, first_month.month, 1, tzinfo=UTC)
        self._bulk = Bulk(
            {
                (name, key): (subject.version, made)
                for name, versions in self._subjects.items()
                for key, subject in ({None: self._latest[name]} | versions).items()
                if name not in self._reserved and not subject.is_hidden and (made := schema_type(subject.schema))
            },
            redactor=redactor,
            earliest=self._earliest,
            purged=self._purged,
        )
        self._decode_payload = msgspec.json.Decoder(_Payload).decode

    def __reduce__(self) -> tuple[Callable[..., "Door"], tuple[Any, ...]]:
        """Send what the door is made from: compiled schemas cannot be sent to another process."""
        return _door, self._given

    def accept(
        self, raws: Sequence[bytes], offsets: Sequence[int], *, received_at: datetime
    ) -> tuple[pa.RecordBatch, list[int]]:
        """Return those of some records that are accepted for being of the usual form, and the places of the others.

        `check` says the same of the former, and what becomes of the latter.
        """
        return self._bulk.judge(raws, offsets, received_at + MAX_AHEAD)

    def check(self, record: Record, *, received_at: datetime) -> Accepted | Refused:
        """Return what becomes of a record that landed at `received_at`."""
        if record.fault:
            return Refused(record.fault, "", _FILE_FAULTS[record.fault].format(note=record.note))
        if record.is_text:
            record = self._typed(record)
        if (plain := read_plain(record.raw)) and self._keeps_envelope(plain.fields):
            return self._judge(plain.fields, plain.payload, plain.canonical, received_at)
        try:
            document = parse(record.raw)
        except JsonFault as fault:
            if not record.is_complete and fault.rule == "not_json":
                return Refused("truncated", "", _FILE_FAULTS["truncated"])
            message = "a key stands twice in one object" if fault.rule == "duplicate_key" else str(fault)
            return Refused(fault.rule, _masked(fault.path), message[:_MESSAGE])
        if not isinstance(document, dict):
            return Refused("not_object", "", "a record is one JSON object on one line", evidence=_evidence(document))
        if cloudevents.MARK in document:
            return self._check_cloudevent(document, record.raw, received_at)
        if not self._envelope.is_valid(document):
            return self._refuse_envelope(document)
        sent = Fields(**document | {"payload": self._decode_payload(record.raw).payload})
        return self._judge(sent, document["payload"], canonical(document["payload"]).encode(), received_at)

    def _check_cloudevent(self, event: dict[str, Any], raw: bytes, received_at: datetime) -> Accepted | Refused:
        try:
            sent = cloudevents.native(event, raw)
        except cloudevents.NoNativeForm as fault:
            return Refused("envelope", f"/{fault.attribute}", str(fault), evidence=_evidence(event))
        payload = event.get("data", {})
        document = _document(sent, payload)
        if not self._envelope.is_valid(document):
            return self._refuse_envelope(document)
        return self._judge(sent, payload, canonical(payload).encode(), received_at)

    def _typed(self, record: Record) -> Record:
        """Return a record of texts with the payload that its topic's schema reads in them."""
        document = msgspec.json.decode(record.raw)
        subject = self._latest.get(document.get("topic", ""))
        if subject is None or not isinstance(document.get("payload"), dict):
            return Record(record.offset, record.raw)
        payload = table.typed(document["payload"], subject.schema)
        try:
            return Record(record.offset, msgspec.json.encode(document | {"payload": payload}))
        except msgspec.MsgspecError:
            return Record(record.offset, record.raw)

    def _keeps_envelope(self, sent: Fields) -> bool:
        """Return whether `ENVELOPE` holds, as far as the types of the members do not say so already.

        What it says no to is held against `ENVELOPE` itself: an id may be blank to one of the two alone.
        """
        return sent.topic in self._subjects and not sent.event_id.isspace()

    def _judge(self, sent: Fields, payload: Any, text: bytes, received_at: datetime) -> Accepted | Refused:
        """Return what becomes of a record that keeps the envelope; `text` is its payload's canonical JSON."""
        versions = self._subjects.get(sent.topic)
        if versions is None:
            return _refuse(
                _document(sent, payload),
                "unknown_topic",
                "/topic",
                f"no schema is registered for it; known: {', '.join(self._subjects)}",
            )
        if sent.topic in self._reserved:
            return _refuse(
                _document(sent, payload),
                "reserved_topic",
                "/topic",
                "only the platform announces it, through the outbox of its registry",
            )
        subject = self._latest[sent.topic] if sent.schema_version is None else versions.get(int(sent.schema_version))
        if subject is None:
            return _refuse(
                _document(sent, payload),
                "unknown_version",
                "/schema_version",
                f"the topic's schema has no such version; registered: {', '.join(map(str, versions))}",
            )
        members: list[Member] = []
        if not subject.validator.is_valid(payload):
            found = _misfit(payload, subject)
            if isinstance(found, jsonschema_rs.ValidationError):
                return _refuse(
                    _document(sent, payload),
                    "payload_schema",
                    _where(["payload", *found.instance_path]),
                    _said(found),
                    subject.version,
                )
            members = found
        produced_at = _moment(sent.produced_at)
        if isinstance(produced_at, str):
            return _refuse(_document(sent, payload), "bad_time", "/produced_at", produced_at, subject.version)
        if not self._earliest <= produced_at <= received_at + MAX_AHEAD:
            return _refuse(
                _document(sent, payload),
                "time_out_of_range",
                "/produced_at",
                f"live events lie between {self._earliest:%Y-%m} and one day after they land; history is imported "
                f"with rwcm backfill",
                subject.version,
            )
        if self._purged and month_of(produced_at) in self._purged:
            return _refuse(
                _document(sent, payload),
                "month_purged",
                "/produced_at",
                f"the events of {produced_at:%Y-%m} were purged when their time was over, so that it cannot be told "
                "whether this one was accepted before; dismiss it",
                subject.version,
            )
        if members:
            return self._fitted(sent, payload, members, subject, produced_at)
        if subject.redact is None:
            kept = bytes(sent.payload).decode()
        else:
            text = _text(subject.redact(payload))
            kept = text.decode()
        return Accepted(
            sent.event_id,
            sent.topic,
            subject.version,
            kept,
            produced_at,
            sent.producer_id,
            self._content_hash(sent, text, produced_at),
        )

    def _fitted(
        self, sent: Fields, payload: Any, members: list[Member], subject: _Subject, produced_at: datetime
    ) -> Fitted:
        """Return a record that keeps its schema but for members which that does not know, as the contract has it."""
        is_kept = subject.contract is Contract.EVOLVE
        # A payload that is personal as a whole loses them with the rest; they would be tokens of tokens.
        hide = (lambda value: value) if subject.is_hidden else self._hide
        fitting = redacted(payload, members, hide) if is_kept else without(payload, members)
        text = _text(subject.redact(fitting) if subject.redact else fitting)
        # What the latest version does not know is proposed; an older one is not changed any more.
        is_proposed = is_kept and subject is self._latest[sent.topic]
        return Fitted(
            sent.event_id,
            sent.topic,
            subject.version,
            text.decode(),
            produced_at,
            sent.producer_id,
            self._content_hash(sent, text, produced_at),
            tuple(told(sent.topic, member, is_kept=is_kept, is_proposed=is_proposed) for member in members),
        )

    def _content_hash(self, sent: Fields, payload: bytes, produced_at: datetime) -> str:
        return event_hash(payload, produced_at, sender_json(sent.producer_id, sent.topic))

    def _refuse_envelope(self, document: dict[str, Any]) -> Refused:
        for member in ("topic", "event_id"):
            if document.get(member) in (None, "") and member not in document:
                return _refuse(document, f"no_{member}", f"/{member}", f"the record has no {member}")
        error = next(iter(self._envelope.iter_errors(document)))
        return _refuse(document, "envelope", _where(error.instance_path), _said(error))


def _door(
    topics: Mapping[str, Topic],
    redactor: Redactor,
    first_month: Month,
    reserved: Collection[str],
    purged: Collection[Month],
) -> Door:
    return Door(topics, redactor=redactor, first_month=first_month, reserved=reserved, purged=purged)


def _misfit(payload: Any, subject: _Subject) -> list[Member] | jsonschema_rs.ValidationError:
    """Return the members that keep a payload from being valid where the contract forgives them, or what is wrong."""
    if subject.contract is Contract.FREEZE:
        return next(iter(subject.validator.iter_errors(payload)))
    return fit(payload, subject.validator)


def _text(payload: Any) -> bytes:
    return write_plain(payload) or canonical(payload).encode()


def _moment(text: str) -> datetime | str:
    """Return the time that `text` states, in UTC, or how to state it."""
    try:
        # The pattern comes first: fromisoformat alone takes weeks, and any character for the `T`.
        moment = datetime.fromisoformat(text if _TIME.fullmatch(text) else "")
    except ValueError:
        return "write it as 2025-03-01T09:30:00Z"
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return "it has no zone; end it with Z or an offset"
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _document(sent: Fields, payload: Any) -> dict[str, Any]:
    """Return a record as it was sent."""
    document = msgspec.structs.asdict(sent) | {"payload": payload}
    return {member: value for member, value in document.items() if value is not None}


def conflict(event: Accepted) -> Refused:
    """Return the refusal of an event whose id is taken by another content."""
    return Refused(
        "id_conflict",
        "/event_id",
        "another event with this id was accepted before; a changed event needs an id of its own",
        topic=event.topic,
        event_id=event.event_id,
        producer_id=event.producer_id,
        schema_version=event.schema_version,
        evidence=_evidence(parse(event.payload)),
    )


def _refuse(document: dict[str, Any], rule: str, path: str, message: str, version: int | None = None) -> Refused:
    return Refused(
        rule,
        path[:_PATH],
        message[:_MESSAGE],
        topic=_short(document.get("topic"), 128),
        event_id=_short(document.get("event_id"), 64),
        producer_id=_short(document.get("producer_id"), 512),
        schema_version=version,
        evidence=_evidence(document),
    )


def _where(path: Iterable[str | int]) -> str:
    """Return the JSON pointer of a violation; a key that is no field's name is told by its length."""
    return pointer(field_name(part) if isinstance(part, str) else part for part in path)


def _masked(path: str) -> str:
    return _where(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])[:_PATH]


def _said(error: jsonschema_rs.ValidationError) -> str:
    """Return the validator's message, which names the members of an object that it does not know by their keys."""
    kind = type(error.kind).__name__
    if kind in UNKNOWN_KINDS or kind == "PropertyNames":
        return "a member is not known to the schema; its properties are listed there"
    return error.message


def _evidence(document: Any) -> str:
    return canonical(shape(document))


def _short(value: object, length: int) -> str | None:
    return value[:length] if isinstance(value, str) else None
