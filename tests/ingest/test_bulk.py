"""Records judged many at once: what is accepted there, the door accepts alike, and the door has the last word."""

import json
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.redaction import Redactor
from ingest.bulk import EVENTS
from ingest.judging import judge
from ingest.records import MAX_RECORD_BYTES, Lines, Record
from ingest.validation import Accepted, Door, Refused, Topic
from tests.senders import RECEIVED_AT, line, lines, record

CONTACT = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8, "x-pii": True},
        "note": {"type": ["string", "null"], "x-pii": True},
        "home": {
            "type": "object",
            "properties": {"street": {"type": "string", "x-pii": True}, "floor": {"type": "integer", "minimum": 0}},
            "required": ["street"],
        },
        "kind": {"type": "string", "enum": ["person", "firm"]},
        "since": {"type": "string", "format": "date"},
        "seen_at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "is_active": {"type": "boolean"},
    },
    "required": ["name", "kind"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"id": {"type": "integer"}, "rest": {"type": "object"}}, "required": ["id"]}
TOPICS = {
    "contact": Topic({1: CONTACT | {"required": ["name"]}, 2: CONTACT}),
    "open": Topic({1: OPEN}),
    "dropping": Topic({1: CONTACT | {"x-contract": "discard_value"}}),
    "keeping": Topic({1: CONTACT | {"x-contract": "evolve"}}),
    "hidden": Topic({1: CONTACT}, is_personal=True),
    "untyped": Topic({1: {"type": "object", "minProperties": 1}}),
    "reserved": Topic({1: CONTACT}),
}
DOOR = Door(
    TOPICS,
    redactor=Redactor(b"a key of sixteen bytes or more"),
    first_month=date(2000, 1, 1),
    reserved=("reserved",),
    purged=[date(2025, 2, 1)],
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.sampled_from(
    ["", " ", "a:b", '"', "\\", "\\u0041", "\x00", "\x1f", "\x7f", "\u2028", "\ue000", "😀", "é", "1" * 20, "/"]
)
NUMBERS = st.sampled_from(["0", "-0", "7", "1.0", "1e3", "0.10", "-0.0", "1.5", "1e-7", "9" * 15, "9" * 16, "1" * 25])
DAYS = ["2025-03-01", "2024-02-29", "2023-02-29", "2000-02-29", "2025-04-31", "2025-3-1", "2025-W09-6", ""]
TIMES = [
    *("2025-02-28T23:59:59Z", "2025-01-31T23:59:59.999Z"),
    *("2025-03-01T09:30:00Z", "2025-03-01T09:30:00.250Z", "2025-03-01T09:30:00.000Z", "2025-03-01T09:30:00.25Z"),
    *("2025-03-01T09:30:00.123456Z", "2025-03-01T09:30:00.1234567Z", "2025-03-01T09:30:00+02:00"),
    *("2025-03-01T09:30:00z", "2025-03-01t09:30:00Z", "2025-03-01 09:30:00Z", "2025-03-01T24:00:00Z"),
    *("2025-03-01T23:59:60Z", "2025-03-01T09:30:00", "2025-03-01", "1999-12-31T23:59:59.999Z", "0000-01-01T00:00:00Z"),
    *("2025-02-29T09:30:00Z", "2025-03-11T11:59:59.999Z", "2025-03-11T12:00:00Z", "2025-03-11T12:00:00.001Z"),
    *(
        "2025-W09-6T09:30:00.250Z",
        "2025-03-01T09:30:00,250Z",
        "٢025-03-01T09:30:00Z",
        "20250301T093000.250000Z",
        "noon",
    ),
]


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """Return JSON of a value, with white space and escapes where senders put them."""
    gap = draw(st.sampled_from(["", "", "", " ", "\t"]))
    if isinstance(value, Mapping):
        members = [f"{json.dumps(key)}{gap}:{gap}{draw(written(item))}" for key, item in value.items()]
        if members and draw(st.integers(0, 30)) == 0:
            members.append(draw(st.sampled_from(members)))
        return "{" + gap + f"{gap},".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(draw(written(item)) for item in value) + gap + "]"
    if isinstance(value, Raw):
        return str(value)
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


class Raw(str):
    """Text that is JSON already: a number as it is spelled."""


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS.map(Raw) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
CONTACTS = st.fixed_dictionaries(
    {"name": st.text("abc:", min_size=1, max_size=4) | TEXT, "kind": st.sampled_from(["person", "firm", "firm", "no"])},
    optional={
        "note": st.none() | TEXT,
        "home": st.fixed_dictionaries({"street": TEXT}, optional={"floor": NUMBERS.map(Raw)}) | ANYTHING,
        "since": st.sampled_from(DAYS),
        "seen_at": st.sampled_from(TIMES),
        "tags": st.lists(TEXT, max_size=4),
        "is_active": st.booleans() | ANYTHING,
        "extra": ANYTHING,
    },
)
OPENS = st.fixed_dictionaries(
    {"id": st.integers(0, 9) | NUMBERS.map(Raw)},
    optional={"rest": st.dictionaries(TEXT, ANYTHING, max_size=3), "more": ANYTHING},
)
RECORDS = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["E-1", "E:2"]) | TEXT | st.just("x" * 65),
        "topic": st.sampled_from([*TOPICS, *TOPICS, "contact", "contact", "open", "nobody"]),
        "payload": CONTACTS | OPENS,
        "produced_at": st.sampled_from([*TIMES[:5], *TIMES]),
        "producer_id": st.sampled_from(["crm", "crm:1"]) | TEXT,
    },
    optional={"schema_version": st.sampled_from([1, 2, 3, 0, None, "1", Raw("1.0")]), "priority": st.just(1)},
).flatmap(written)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a record with a few of its bytes changed, taken out or doubled."""
    text = bytearray(draw(RECORDS).encode())
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text) - 1))
        if draw(st.booleans()):
            text[place] = draw(st.sampled_from(list(b'":,{}[]\\ u0a.\x00\xff\r')))
        else:
            end = place + draw(st.integers(0, 12))
            text[place:end] = draw(st.sampled_from([b"", bytes(text[place:end]) * 2]))
    return bytes(text).replace(b"\n", b"")


def one_by_one(content: bytes) -> tuple[list[tuple[Any, ...]], list[tuple[int, Refused]]]:
    """Return the events and refusals of a file as the door has them, record by record."""
    events, refused = [], []
    for found in Lines(0, content):
        verdict = DOOR.check(found, received_at=RECEIVED_AT)
        if isinstance(verdict, Refused):
            refused.append((found.offset, verdict))
        else:
            events.append((*(getattr(verdict, name) for name in Accepted.__struct_fields__), found.offset))
    return events, refused


@settings(max_examples=300)
@given(st.lists(RECORDS.map(str.encode) | damaged(), max_size=6))
def test_many_at_once_are_judged_as_each_alone(records: list[bytes]) -> None:
    """The quick way would let through what the door refuses, or store what it would have written otherwise."""
    content = b"".join(each.replace(b"\n", b" ") + b"\n" for each in records)
    judged = judge(DOOR, Lines(0, content), RECEIVED_AT)
    events, refused = one_by_one(content)
    assert list(zip(*(judged.events[name].to_pylist() for name in EVENTS.names), strict=True)) == events
    assert judged.refused == refused
    assert judged.read == len(events) + len(refused)


def contact(**changes: Any) -> dict[str, Any]:
    return record(topic="contact", payload={"name": "Jane", "kind": "person"} | changes)


def left(*records: Any) -> list[int]:
    """Return the places of the records that are left to the door."""
    raws = [line(each) for each in records]
    return DOOR.accept(raws, list(range(len(raws))), received_at=RECEIVED_AT)[1]


def test_usual_records_are_judged_at_once_and_others_left_to_the_door() -> None:
    """If all were left to the door, the comparison above would compare it with itself."""
    usual = [
        contact(),
        contact(note=None, since="2024-02-29", seen_at="2025-03-01T09:30:00.123456789Z", tags=["a"], is_active=True),
        contact(home={"street": "Elm", "floor": 2}) | {"produced_at": "2025-03-01T09:30:00.250Z"},
        contact() | {"schema_version": 1},
        json.dumps(contact(), separators=(",", ":")).encode() + b"\r",
        record(topic="open", payload={"id": 1, "rest": {"a": [1.5, {"b": None}]}}),
        record(topic="dropping", payload={"name": "Jane", "kind": "firm"}),
    ]
    unusual = [
        contact(extra=1),
        contact() | {"produced_at": "2025-03-01T09:30:00+00:00"},
        contact() | {"produced_at": "2025-02-28T23:59:59.999Z"},  # of a month that was purged
        record(topic="hidden", payload={"name": "Jane", "kind": "firm"}),
        record(topic="untyped", payload={"name": "Jane"}),
        record(topic="reserved", payload={"name": "Jane", "kind": "firm"}),
        line(contact())[:-1] + b',"topic":"contact"}',
        line(contact()).replace(b"Jane", b"\\u004aane"),
        b"",
    ]
    assert left(*usual) == []
    assert left(*unusual) == list(range(len(unusual)))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_what_is_hidden_in_a_compact_record_is_found(separators: tuple[str, str]) -> None:
    r"""`\u0000` takes as much room escaped as it takes anyhow, so the length of a record does not tell."""
    for text in ("\x00", "a\x00b"):
        (place,) = left(json.dumps(contact(note=text), separators=separators).encode())
        assert place == 0
    judged = judge(DOOR, Lines(0, lines(contact(note="\x00"))), RECEIVED_AT)
    assert [refused.rule for _, refused in judged.refused] == ["bad_text"]


def test_events_keep_the_order_of_their_file() -> None:
    """Of two events with one id the first is accepted: which that is must not follow from how it was judged."""
    rng = random.Random(5)
    records = [contact() | {"event_id": f"E-{number}"} for number in range(2_500)]
    for each in rng.sample(records, 300):
        each["produced_at"] = "2025-03-01T10:30:00+01:00"  # left to the door
    judged = judge(DOOR, Lines(0, lines(*records)), RECEIVED_AT)
    assert judged.events["event_id"].to_pylist() == [each["event_id"] for each in records]
    assert judged.events["file_offset"].to_pylist() == [found.offset for found in Lines(0, lines(*records))]


def test_a_record_that_is_too_large_is_refused_though_it_could_be_read() -> None:
    """The limit holds for every record, not only for those that are read slowly."""
    large = contact(tags=["x" * MAX_RECORD_BYTES])
    assert left(large) == [0]
    judged = judge(DOOR, Lines(0, lines(large)), RECEIVED_AT)
    assert [refused.rule for _, refused in judged.refused] == ["too_large"]


def test_a_time_that_lies_ahead_by_a_day_is_the_last() -> None:
    """The bound is the door's; one millisecond of difference would be two rules."""
    last = RECEIVED_AT + timedelta(days=1)
    times = [last, last + timedelta(milliseconds=1), datetime(2000, 1, 1, tzinfo=UTC)]
    texts = [f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z" for time in times]
    assert left(*(contact() | {"produced_at": text} for text in texts)) == [1]


def test_tokens_are_those_of_the_door() -> None:
    """A token that depends on the way would break every join on it."""
    given = contact(note="a: b", home={"street": "Elm"})
    (payload,) = DOOR.accept([line(given)], [0], received_at=RECEIVED_AT)[0]["payload"].to_pylist()
    verdict = DOOR.check(Record(0, line(given)), received_at=RECEIVED_AT)
    assert isinstance(verdict, Accepted)
    assert payload == verdict.payload
    assert [name for name, text in json.loads(payload).items() if str(text).startswith("pii:")] == ["name", "note"]
    assert json.loads(payload)["home"]["street"].startswith("pii:")
