"""Validation at the door: a raw record becomes an event that keeps its schema's promise, or a refusal that says why.

Nothing personal passes: what the schema marks is tokenised here, and a refusal names rules, fields and types only.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import msgspec

from guard.canonical import JsonFault, canonical, digest, parse, pointer
from guard.redaction import Redactor, field_name, shape
from ingest.records import Record
from lake.months import Month

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
}
_MASK = "the value"
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII)
_PATH, _MESSAGE = 512, 1024
"""Characters that the columns of a dead letter hold."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that may leave the landing zone."""

    event_id: str
    topic: str
    schema_version: int
    payload: str
    produced_at: datetime
    producer_id: str
    content_hash: str


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
class _Subject:
    version: int
    validator: jsonschema_rs.Validator
    redact: Callable[[Any], Any] | None


class _Payload(msgspec.Struct):
    payload: msgspec.Raw


class Door:
    """Validates records against the envelope, the subject's latest schema and the sane range of times.

    Args:
        schemas: latest version and JSON Schema per subject.
        redactor: tokenises what a schema marks as personal.
        first_month: earliest month a live event may belong to.
        reserved: topics that nobody may send, since the platform alone announces them.
    """

    def __init__(
        self,
        schemas: Mapping[str, tuple[int, Mapping[str, Any]]],
        *,
        redactor: Redactor,
        first_month: Month,
        reserved: Collection[str] = (),
    ) -> None:
        self._reserved = frozenset(reserved)
        self._envelope = jsonschema_rs.validator_for(ENVELOPE, mask=_MASK)
        self._subjects = {
            subject: _Subject(
                version,
                jsonschema_rs.validator_for(dict(schema), validate_formats=True, mask=_MASK),
                redactor.for_schema(schema),
            )
            for subject, (version, schema) in schemas.items()
        }
        self._earliest = datetime(first_month.year, first_month.month, 1, tzinfo=UTC)
        self._decode_payload = msgspec.json.Decoder(_Payload).decode

    def check(self, record: Record, *, received_at: datetime) -> Accepted | Refused:
        """Return what becomes of a record that landed at `received_at`."""
        if record.fault:
            return Refused(record.fault, "", _FILE_FAULTS[record.fault])
        try:
            document = parse(record.raw)
        except JsonFault as fault:
            if not record.is_complete and fault.rule == "not_json":
                return Refused("truncated", "", _FILE_FAULTS["truncated"])
            message = "a key stands twice in one object" if fault.rule == "duplicate_key" else str(fault)
            return Refused(fault.rule, _masked(fault.path), message[:_MESSAGE])
        if not isinstance(document, dict):
            return Refused("not_object", "", "a record is one JSON object on one line", evidence=_evidence(document))
        if not self._envelope.is_valid(document):
            return self._refuse_envelope(document)
        subject = self._subjects.get(document["topic"])
        if subject is None:
            return _refuse(
                document,
                "unknown_topic",
                "/topic",
                f"no schema is registered for it; known: {', '.join(self._subjects)}",
            )
        if document["topic"] in self._reserved:
            return _refuse(
                document,
                "reserved_topic",
                "/topic",
                "only the platform announces it, through the outbox of its registry",
            )
        payload = document["payload"]
        if not subject.validator.is_valid(payload):
            error = next(iter(subject.validator.iter_errors(payload)))
            return _refuse(
                document, "payload_schema", _where(["payload", *error.instance_path]), _said(error), subject.version
            )
        return self._accept(document, record.raw, subject, received_at)

    def _accept(
        self, document: dict[str, Any], raw: bytes, subject: _Subject, received_at: datetime
    ) -> Accepted | Refused:
        try:
            # The pattern comes first: fromisoformat alone takes weeks, and any character for the `T`.
            written = document["produced_at"] if _TIME.fullmatch(document["produced_at"]) else ""
            produced_at = datetime.fromisoformat(written)
        except ValueError:
            return _refuse(document, "bad_time", "/produced_at", "write it as 2025-03-01T09:30:00Z", subject.version)
        if produced_at.tzinfo is None:
            return _refuse(
                document, "bad_time", "/produced_at", "it has no zone; end it with Z or an offset", subject.version
            )
        try:
            produced_at = produced_at.astimezone(UTC)
        except OverflowError:
            produced_at = datetime.max.replace(tzinfo=UTC)
        if not self._earliest <= produced_at <= received_at + MAX_AHEAD:
            return _refuse(
                document,
                "time_out_of_range",
                "/produced_at",
                f"live events lie between {self._earliest:%Y-%m} and one day after they land; history is imported "
                f"with rwcm backfill",
                subject.version,
            )
        payload = document["payload"]
        if subject.redact is None:
            text = bytes(self._decode_payload(raw).payload).decode()
        else:
            payload = subject.redact(payload)
            text = canonical(payload)
        content = {
            "topic": document["topic"],
            "payload": payload,
            "produced_at": produced_at.isoformat(),
            "producer_id": document["producer_id"],
        }
        return Accepted(
            document["event_id"],
            document["topic"],
            subject.version,
            text,
            produced_at,
            document["producer_id"],
            digest(content),
        )

    def _refuse_envelope(self, document: dict[str, Any]) -> Refused:
        for member in ("topic", "event_id"):
            if document.get(member) in (None, "") and member not in document:
                return _refuse(document, f"no_{member}", f"/{member}", f"the record has no {member}")
        error = next(iter(self._envelope.iter_errors(document)))
        return _refuse(document, "envelope", _where(error.instance_path), _said(error))


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
    if kind in ("AdditionalProperties", "UnevaluatedProperties", "PropertyNames"):
        return "a member is not known to the schema; its properties are listed there"
    return error.message


def _evidence(document: Any) -> str:
    return canonical(shape(document))


def _short(value: object, length: int) -> str | None:
    return value[:length] if isinstance(value, str) else None
