"""The door: what keeps its schema's promise goes in verbatim, all else is refused with rule and path and no value."""

import json
import pickle
from datetime import UTC, date, datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import parse
from guard.redaction import Redactor
from ingest.records import Record
from ingest.validation import ENVELOPE, Accepted, Door, Refused, Topic, conflict
from tests.senders import RECEIVED_AT, invoice, line, record, without

SECRET = "jane.doe@example.com"
REDACTOR = Redactor(b"a key of sixteen bytes or more")
INVOICE = {
    "type": "object",
    "properties": {
        "invoice_uri": {"type": "string"},
        "vendor_id": {"type": "string", "enum": ["VEND-1", "VEND-2"]},
        "po_id": {"type": "string", "pattern": "^PO-"},
        "received_at": {"type": "string", "format": "date-time"},
        "amount": {"type": "number", "minimum": 0},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"n/o": {"type": "integer"}}}},
    },
    "required": ["vendor_id"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, tuple[int, dict[str, Any]]] = {
    "ap.invoice.received": (3, INVOICE),
    "anything": (1, {"type": "object"}),
    "person": (2, {"type": "object", "properties": {"mail": {"type": "string", "maxLength": 30, "x-pii": True}}}),
}


def door(first_month: date = date(2000, 1, 1)) -> Door:
    topics = {name: Topic({version: schema}) for name, (version, schema) in SCHEMAS.items()}
    return Door(topics, redactor=REDACTOR, first_month=first_month)


def check(given: dict[str, Any] | bytes, *, received_at: datetime = RECEIVED_AT, **options: Any) -> Accepted | Refused:
    return door(**options).check(Record(0, line(given)), received_at=received_at)


def accepted(given: dict[str, Any] | bytes, **options: Any) -> Accepted:
    verdict = check(given, **options)
    assert isinstance(verdict, Accepted), verdict
    return verdict


def refused(given: dict[str, Any] | bytes, **options: Any) -> Refused:
    verdict = check(given, **options)
    assert isinstance(verdict, Refused), verdict
    return verdict


def test_an_event_that_keeps_its_schema_is_accepted_with_the_version_it_was_held_against() -> None:
    """Whoever reads the payload years later must know what it promises."""
    event = accepted(record("E-7", produced_at="2025-03-01T10:30:00.123456+02:00"))
    assert (event.event_id, event.topic, event.schema_version) == ("E-7", "ap.invoice.received", 3)
    assert event.producer_id == "mail-ingestor"
    assert event.produced_at == datetime(2025, 3, 1, 8, 30, 0, 123_456, tzinfo=UTC)
    assert json.loads(event.payload) == invoice()
    assert len(event.content_hash) == 64


@pytest.mark.parametrize(
    ("spoilt", "rule", "path"),
    [
        (b"{", "not_json", ""),
        (b'"text"', "not_object", ""),
        (b"[]", "not_object", ""),
        (b"null", "not_object", ""),
        (without(record(), "topic"), "no_topic", "/topic"),
        (without(record(), "event_id"), "no_event_id", "/event_id"),
        (without(record(), "payload"), "envelope", ""),
        (without(record(), "produced_at"), "envelope", ""),
        (without(record(), "producer_id"), "envelope", ""),
        (record() | {"priority": 1}, "envelope", ""),
        (record(topic=None), "envelope", "/topic"),
        (record(topic=""), "envelope", "/topic"),
        (record(topic=["ap.invoice.received"]), "envelope", "/topic"),
        (record(topic="x" * 129), "envelope", "/topic"),
        (record(event_id=7), "envelope", "/event_id"),
        (record(event_id=""), "envelope", "/event_id"),
        (record(event_id="  "), "envelope", "/event_id"),
        (record(event_id="x" * 65), "envelope", "/event_id"),
        (record(payload="{}"), "envelope", "/payload"),
        (record(payload=[]), "envelope", "/payload"),
        (record(produced_at=1_740_821_400), "envelope", "/produced_at"),
        (record(producer_id={"id": 1}), "envelope", "/producer_id"),
        (record(topic="ap.invoice.recieved"), "unknown_topic", "/topic"),
        (record(topic="AP.INVOICE.RECEIVED"), "unknown_topic", "/topic"),
        (record(payload=without(invoice(), "vendor_id")), "payload_schema", "/payload"),
        (record(payload=invoice(extra=1)), "payload_schema", "/payload"),
        (record(payload=invoice(po_id=4711)), "payload_schema", "/payload/po_id"),
        (record(payload=invoice(vendor_id="VEND-9")), "payload_schema", "/payload/vendor_id"),
        (record(payload=invoice(received_at="yesterday")), "payload_schema", "/payload/received_at"),
        (record(payload=invoice(amount=-1)), "payload_schema", "/payload/amount"),
        (record(payload=invoice(amount="1")), "payload_schema", "/payload/amount"),
        (record(payload=invoice(lines=[{}, {"n/o": 1.5}])), "payload_schema", "/payload/lines/1/name of 3"),
        (line(record())[:-1] + b',"topic":"anything"}', "duplicate_key", "/topic"),
        (line(record()).replace(b'{"invoice', b'{"po_id":"PO-2","invoice'), "duplicate_key", "/payload/po_id"),
        (line(record(payload=invoice(amount=0))).replace(b'"amount": 0', b'"amount": NaN'), "bad_number", ""),
        (line(record(payload=invoice(amount=0))).replace(b'"amount": 0', b'"amount": 1e99999'), "bad_number", ""),
        (line(record(payload=invoice(po_id="PO-@"))).replace(b"@", b"\\u0000"), "bad_text", "/payload/po_id"),
        (line(record(payload=invoice(po_id="PO-@"))).replace(b"@", b"\\ud800"), "bad_text", "/payload/po_id"),
        (line(record()).replace(b"VEND", b"\xff\xfe"), "bad_text", ""),
        (b"[" * 100_000, "too_deep", ""),
        (record(topic="anything", payload=json.loads('{"a":' * 250 + "1" + "}" * 250)), "too_deep", ""),
        (record(produced_at=""), "bad_time", "/produced_at"),
        (record(produced_at="yesterday, at nine"), "bad_time", "/produced_at"),
        (record(produced_at="2025-02-29T00:00:00Z"), "bad_time", "/produced_at"),
        (record(produced_at="2025-03-01T09:30:00"), "bad_time", "/produced_at"),
        (record(produced_at="2025-03-01"), "bad_time", "/produced_at"),
        (record(produced_at="2025-03-01T25:00:00Z"), "bad_time", "/produced_at"),
        (record(produced_at="2025-W09-6T09:30:00Z"), "bad_time", "/produced_at"),
        (record(produced_at="20250301T093000Z"), "bad_time", "/produced_at"),
        (record(produced_at="2025-03-01x09:30:00Z"), "bad_time", "/produced_at"),
        (record(produced_at="２０２５-03-01T09:30:00Z"), "bad_time", "/produced_at"),
    ],
)
def test_a_refusal_names_rule_and_path(spoilt: dict[str, Any] | bytes, rule: str, path: str) -> None:
    """Whoever repairs the record needs both, and no exception may stop the batch."""
    verdict = refused(spoilt)
    assert (verdict.rule, verdict.path) == (rule, path)
    assert verdict.message


def test_a_refusal_keeps_what_could_be_read() -> None:
    """A dead letter is found by its event, topic and producer."""
    verdict = refused(record("E-9", payload=invoice(po_id=4711)))
    assert (verdict.event_id, verdict.topic) == ("E-9", "ap.invoice.received")
    assert (verdict.producer_id, verdict.schema_version) == ("mail-ingestor", 3)
    unread = refused(record(event_id=["E"], topic=1, producer_id=None))
    assert (unread.event_id, unread.topic, unread.producer_id, unread.schema_version) == (None, None, None, None)


@pytest.mark.parametrize(
    ("produced_at", "is_accepted"),
    [
        ("1999-12-31T23:59:59.999999Z", False),
        ("2000-01-01T00:00:00Z", True),
        ("2000-01-01T01:59:59+02:00", False),
        ("1999-12-31T23:00:00-01:00", True),
        ("2025-03-11T12:00:00Z", True),
        ("2025-03-11T12:00:00.000001Z", False),
        ("2025-03-11T14:00:00+02:00", True),
        ("1970-01-01T00:00:00Z", False),
        ("9999-12-31T23:59:59Z", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("9999-12-31T23:59:59-14:00", False),
    ],
)
def test_live_events_lie_between_the_first_month_and_one_day_ahead(produced_at: str, is_accepted: bool) -> None:
    """A clock set to 1970 or 2099 would open a partition that nobody ever looks at."""
    verdict = check(record(produced_at=produced_at))
    assert isinstance(verdict, Accepted) == is_accepted
    if isinstance(verdict, Refused):
        assert (verdict.rule, verdict.path) == ("time_out_of_range", "/produced_at")


def test_an_event_of_a_purged_month_is_refused_to_the_second() -> None:
    """What was purged cannot be compared with: an event of it that is sent again would run again."""
    topics = {name: Topic({version: schema}) for name, (version, schema) in SCHEMAS.items()}
    made = Door(topics, redactor=REDACTOR, first_month=date(2000, 1, 1), purged=[date(2024, 3, 1)])
    for door_ in (made, pickle.loads(pickle.dumps(made))):
        for produced_at, rule in (
            ("2024-02-29T23:59:59.999999Z", None),
            ("2024-03-01T00:00:00Z", "month_purged"),
            ("2024-03-31T23:59:59.999999Z", "month_purged"),
            ("2024-04-01T00:30:00+01:00", "month_purged"),
            ("2024-04-01T00:00:00Z", None),
        ):
            verdict = door_.check(Record(0, line(record(produced_at=produced_at))), received_at=RECEIVED_AT)
            assert (verdict.rule if isinstance(verdict, Refused) else None) == rule, produced_at


def test_the_first_month_of_live_events_can_be_set() -> None:
    """It is what RWCM_FIRST_MONTH says."""
    assert isinstance(check(record(produced_at="2025-02-28T23:59:59Z"), first_month=date(2025, 3, 1)), Refused)
    assert isinstance(check(record(produced_at="2025-03-01T00:00:00Z"), first_month=date(2025, 3, 1)), Accepted)


@pytest.mark.parametrize(
    "payload",
    [
        '{"n":9007199254740993}',
        '{"n":123456789012345678901234567890,"d":0.1234567890123456789012345678901234567890}',
        '{"d":1.50,"e":1E5,"z":-0,"f":1e-400}',
        '{"b" : 1,  "a":2 , "nested":{ "z":[1,  2],"a":null } }',
        '{"s":"\\u00fc\\ud83d\\ude42 ü🙂\\/ NA null"}',
        '{"":"","empty":{},"list":[]}',
        '{"9":1,"10":2}',
    ],
)
def test_a_payload_is_kept_verbatim(payload: str) -> None:
    """A number that was rounded, or keys in another order, is no longer what the producer signed."""
    raw = line(record(topic="anything", payload={})).replace(b"{}", payload.encode())
    assert accepted(raw).payload == payload


def test_a_payload_is_found_under_an_escaped_key() -> None:
    """Validated by one parser and cut out by another, it must be the same member."""
    raw = line(record(topic="anything", payload={"a": 1})).replace(b'"payload"', b'"p\\u0061yload"')
    assert accepted(raw).payload == '{"a": 1}'


def test_a_redacted_payload_keeps_every_digit() -> None:
    """It is written anew, from its exact values."""
    raw = line(record(topic="person", payload={"mail": SECRET, "n": 0})).replace(
        b'"n": 0', b'"n": 123456789012345678901.10, "m": 9007199254740993'
    )
    event = accepted(raw)
    assert parse(event.payload) == {
        "mail": REDACTOR.token(SECRET),
        "n": parse("123456789012345678901.1"),
        "m": 9_007_199_254_740_993,
    }


def test_personal_data_does_not_pass() -> None:
    """What goes through here is in the lake for ever."""
    event = accepted(record(topic="person", payload={"mail": SECRET}))
    assert SECRET not in repr(event)
    assert REDACTOR.token(SECRET) in event.payload


@pytest.mark.parametrize(
    "spoilt",
    [
        record(topic="person", payload={"mail": SECRET * 2}),
        record(topic="person", payload={"mail": [SECRET]}),
        record(topic="person", payload={"mail": SECRET}, produced_at=SECRET),
        record(topic="unknown", payload={"mail": SECRET}),
        record(topic="person", payload={"mail": SECRET}, extra=SECRET),
        record(payload=invoice() | {SECRET: 1}),
        record() | {SECRET: 1},
        record(payload=invoice(lines=[{SECRET: 1}, {"n/o": SECRET}])),
        line(record(topic="anything", payload={SECRET: "@"})).replace(b"@", b"\\ud800"),
        f'{{"{SECRET}":1,"{SECRET}":2}}'.encode(),
        record(payload=invoice(vendor_id=SECRET)),
        record(payload=invoice(received_at=SECRET)),
        record(payload=invoice(po_id=SECRET)),
        record(payload=invoice(amount=SECRET)),
        record(payload=[SECRET]),
        record(topic="person", payload={"mail": SECRET}, produced_at="1970-01-01T00:00:00Z"),
        line(record(topic="person", payload={"mail": SECRET}))[:-30],
        line(record(topic="person", payload={"mail": SECRET})).replace(b"},", b","),
        line(record(topic="person", payload={"mail": SECRET})).replace(b"jane", b"jane\\q"),
        line(record(topic="person", payload={"mail": SECRET})).replace(b"jane", b"jane\\ud800"),
        line(record(topic="person", payload={"mail": SECRET, "n": 0})).replace(b'"n": 0', b'"n": NaN'),
        line(record(topic="person", payload={"mail": SECRET}))[:-2] + b',"mail":"' + SECRET.encode() + b'"}}',
        line(json.dumps(SECRET).encode()),
        line(json.dumps([SECRET]).encode()),
    ],
    ids=lambda spoilt: ascii(line(spoilt)[-30:]),
)
def test_a_refusal_holds_no_value(spoilt: dict[str, Any] | bytes) -> None:
    """Dead letters are read by more people than may see the record."""
    assert "jane" not in repr(refused(spoilt))


def test_a_conflict_holds_no_value_either() -> None:
    """Its evidence is made of the payload that was accepted at the door."""
    verdict = conflict(accepted(record("E-7", payload=invoice(po_id="PO-secret"))))
    assert (verdict.rule, verdict.path, verdict.event_id) == ("id_conflict", "/event_id", "E-7")
    assert "secret" not in repr(verdict)
    assert json.loads(verdict.evidence or "")["po_id"] == "string of 9"


def test_the_evidence_tells_how_the_record_was_built() -> None:
    """Without it a repair starts from nothing once the raw file is gone."""
    verdict = refused(record("E-7", payload=invoice(po_id=4711)))
    assert json.loads(verdict.evidence or "") == {
        "event_id": "string of 3",
        "topic": "string of 19",
        "payload": {
            "invoice_uri": "string of 20",
            "vendor_id": "string of 6",
            "po_id": "number",
            "received_at": "string of 20",
        },
        "produced_at": "string of 20",
        "producer_id": "string of 13",
    }


LONG = "x" * 5_000


@pytest.mark.parametrize(
    "spoilt",
    [
        record() | {LONG: 1},
        record() | {f"{LONG}{number}": 1 for number in range(50)},
        record(topic="anything", payload={LONG: "@"}),
        record(topic=LONG),
        record(producer_id=LONG),
        f'{{"{LONG}":1,"{LONG}":2}}'.encode(),
        f'{{"{LONG}":"\\ud800"}}'.encode(),
        b'{"\\ud800":1,"\\ud800":2}',
        ('{"' + LONG + '\\ud800":1}').encode(),
    ],
    ids=lambda spoilt: ascii(line(spoilt)[:40]),
)
def test_a_refusal_fits_its_columns_however_odd_the_record(spoilt: dict[str, Any] | bytes) -> None:
    """One hostile record would make the append of all others fail."""
    verdict = check(spoilt)
    if isinstance(verdict, Accepted):
        verdict = refused(line(spoilt).replace(b"@", b"\\ud800"))
    assert len(verdict.path) <= 512
    assert len(verdict.message) <= 1_024
    assert len(verdict.topic or "") <= 128
    assert len(verdict.producer_id or "") <= 512
    assert len(verdict.event_id or "") <= 64
    "".join(str(part) for part in (verdict.path, verdict.message, verdict.evidence)).encode()


def test_a_record_cut_at_any_byte_at_the_end_of_a_file_is_truncated() -> None:
    """The sender is told to send the file again, not to mend its JSON; also where a character was cut in two."""
    whole = line(record("Ë-🙂", payload=invoice(po_id="PO-ü🙂")))
    for cut in range(1, len(whole)):
        verdict = door().check(Record(0, whole[:cut], is_complete=False), received_at=RECEIVED_AT)
        assert isinstance(verdict, Refused)
        assert verdict.rule == "truncated", whole[:cut]
        in_the_middle = door().check(Record(0, whole[:cut]), received_at=RECEIVED_AT)
        assert isinstance(in_the_middle, Refused)
        assert in_the_middle.rule == "not_json"
    last = door().check(Record(0, whole, is_complete=False), received_at=RECEIVED_AT)
    assert isinstance(last, Accepted)


@pytest.mark.parametrize(
    "fault", ["missing", "unreadable", "empty_file", "not_gzip", "truncated", "corrupt", "too_large"]
)
def test_a_fault_of_the_file_is_a_refusal_with_the_way_out(fault: str) -> None:
    """A file that holds no record at all still has to be accounted for."""
    verdict = door().check(Record(17, b"", fault), received_at=RECEIVED_AT)
    assert isinstance(verdict, Refused)
    assert (verdict.rule, verdict.path) == (fault, "")
    assert len(verdict.message) > 20


def test_the_same_content_has_the_same_hash_however_it_is_written() -> None:
    """A producer that sends again writes keys, white space and time as it likes: a duplicate, no conflict."""
    one = accepted(record(payload=invoice(amount=100), produced_at="2025-03-01T09:30:00Z"))
    again = accepted(
        json.dumps(
            dict(reversed(record(payload=invoice(amount=1.0e2), produced_at="2025-03-01T11:30:00.000+02:00").items())),
            indent=1,
        )
        .replace("\n", " ")
        .encode()
    )
    assert one.content_hash == again.content_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": invoice(po_id="PO-2")},
        {"payload": invoice(amount=1)},
        {"produced_at": "2025-03-01T09:30:00.000001Z"},
        {"producer_id": "another"},
        {"topic": "anything"},
    ],
    ids=str,
)
def test_another_content_has_another_hash(changes: dict[str, Any]) -> None:
    """A changed event under an old id would be dropped as a duplicate."""
    assert accepted(record(**changes)).content_hash != accepted(record()).content_hash


def test_a_redacted_value_still_tells_contents_apart() -> None:
    """The hash is over the tokens, so it holds no personal data and yet sees a change."""
    hashes = {accepted(record(topic="person", payload={"mail": mail})).content_hash for mail in ("a@b.c", "a@b.d")}
    assert len(hashes) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
DOOR = door()


@given(st.binary(max_size=60))
def test_any_bytes_are_judged(raw: bytes) -> None:
    """There is no record that may stop a batch."""
    assert isinstance(DOOR.check(Record(0, raw), received_at=RECEIVED_AT), Accepted | Refused)


@given(st.sampled_from(sorted(record())), JSON)
def test_any_value_of_any_member_is_judged(member: str, value: Any) -> None:
    """The same for what is JSON but not what was expected; an id that looks empty to a database is an id."""
    raw = json.dumps(record(topic="anything", payload={}) | {member: value}).encode()
    verdict = DOOR.check(Record(0, raw), received_at=RECEIVED_AT)
    if isinstance(verdict, Accepted):
        assert jsonschema_rs.is_valid(ENVELOPE, json.loads(raw))
        assert json.loads(verdict.payload) == json.loads(raw)["payload"]


@pytest.mark.parametrize("event_id", ["NA", "null", "nan", "None", "007", "1e5", "TRUE", "é", "🙂" * 64, "a b"])
def test_an_id_is_text_whatever_it_looks_like(event_id: str) -> None:
    """Libraries that guess turn `NA` into nothing and 007 into 7."""
    assert accepted(record(event_id)).event_id == event_id


@pytest.mark.parametrize(
    "number", ["9" * 400, "-" + "9" * 400, "0." + "1" * 400, "1e308", "1e-308", "1e9999", "18446744073709551616"]
)
def test_a_number_of_any_size_is_held_against_its_schema(number: str) -> None:
    """The validator must neither fail on it nor take it for something else."""
    raw = line(record(payload=invoice(amount=0))).replace(b'"amount": 0', b'"amount": ' + number.encode())
    verdict = check(raw)
    assert isinstance(verdict, Refused) == number.startswith("-")
    if isinstance(verdict, Accepted):
        assert number in verdict.payload
