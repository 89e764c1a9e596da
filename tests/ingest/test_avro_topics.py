"""Topics whose schema is Avro: held against it, redacted and fitted at the door like any other."""

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.platform import Platform
from guard.canonical import parse
from ingest.commit import Accounting
from ingest.events import Ingestion
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER
from registry.documents import DocumentRefused, EventSchema
from tests.ingest.test_contracts import published
from tests.senders import RECEIVED_AT, ingest, lines, record

TOPIC = "shop.order.placed"
SECRET = "jane.doe+private@example.com"
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "buyer", "type": ["null", "string"], "default": None, "x-pii": True},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "due", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "pieces", "type": "int", "default": 1},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["new", "paid"]}},
    ],
}
PLACED = datetime(2025, 3, 1, 9, 30, tzinfo=UTC)


def register(platform: Platform, schema: Any = ORDER, **members: Any) -> None:
    published(platform, EventSchema, {"subject": TOPIC, "format": "avro", "schema": schema, **members})


def order(**changes: Any) -> dict[str, Any]:
    """Return a payload as it is told in JSON."""
    return {
        "order_id": "O-1",
        "buyer": SECRET,
        "amount": 12.5,
        "placed_at": "2025-03-01T09:30:00+00:00",
        "due": "2025-03-31",
        "state": "new",
    } | changes


def sent(event_id: str, **changes: Any) -> dict[str, Any]:
    return record(event_id, topic=TOPIC, payload=order(**changes))


def typed(event_id: str) -> dict[str, Any]:
    payload = order(amount=Decimal("12.50"), placed_at=PLACED, due=date(2025, 3, 31))
    return record(event_id, topic=TOPIC, payload=payload, produced_at=PLACED)


def container(*rows: dict[str, Any], payload: Any = ORDER) -> bytes:
    fields = [{"name": name, "type": "string"} for name in ("event_id", "topic", "producer_id")]
    fields.append({"name": "produced_at", "type": {"type": "long", "logicalType": "timestamp-micros"}})
    file = io.BytesIO()
    schema = {"type": "record", "name": "E", "fields": [*fields, {"name": "payload", "type": payload}]}
    fastavro.writer(file, schema, rows)
    return file.getvalue()


def parquet(*rows: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file.getvalue()


def cells(event_id: str) -> bytes:
    flat = {name: value for name, value in sent(event_id).items() if name != "payload"}
    return pl.DataFrame([flat | {f"payload.{name}": value for name, value in order().items()}]).write_csv().encode()


def land(platform: Platform, *contents: bytes) -> Ingestion:
    for number, content in enumerate(contents):
        platform.landing.put(f"{number}", content, received_at=RECEIVED_AT)
    return ingest(platform)


def payloads(platform: Platform) -> dict[str, Any]:
    rows = platform.lake.scan(EVENT_BUS).select("event_id", "payload").collect()
    return {event_id: parse(payload) for event_id, payload in rows.iter_rows()}


def letters(platform: Platform) -> list[tuple[str, str, str]]:
    rows = platform.lake.scan(EVENT_DEAD_LETTER).sort("file_offset").collect()
    return list(rows.select("rule", "path", "message").iter_rows())


def test_an_event_is_the_same_in_any_form_and_its_marked_member_is_a_token_in_each(platform: Platform) -> None:
    """A topic must not be more open, or less private, for the language of its schema."""
    register(platform)
    container_of_one = container(typed("Avro") | {"payload": typed("")["payload"] | {"pieces": 1}})
    assert land(platform, lines(sent("JSON")), container_of_one, parquet(typed("Parquet")), cells("CSV")).records == (
        Accounting(accepted=4)
    ), letters(platform)
    found = payloads(platform)
    assert {payload.pop("buyer")[:4] for payload in found.values()} == {"pii:"}
    assert found["Avro"].pop("pieces") == 1
    expected = order(amount=Decimal("12.5"))
    del expected["buyer"]
    assert all(payload == expected for payload in found.values())
    assert SECRET not in json.dumps(platform.lake.scan(EVENT_BUS).collect().rows(), default=str)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"amount": 0.125}, "/payload/amount"),
        ({"amount": 10_000_000}, "/payload/amount"),
        ({"placed_at": 1740821400000}, "/payload/placed_at"),
        ({"due": "31.03.2025"}, "/payload/due"),
        ({"pieces": 2**31}, "/payload/pieces"),
        ({"state": SECRET}, "/payload/state"),
        ({"buyer": 5}, "/payload/buyer"),
        ({"order_id": None}, "/payload/order_id"),
        ({"coupon": SECRET}, "/payload"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_payload_that_avro_could_not_have_written_is_refused_with_its_place(
    platform: Platform, changes: dict[str, Any], path: str
) -> None:
    """Its consumers decode by the schema: what the door lets through stops them."""
    register(platform)
    assert land(platform, lines(sent("A", **changes), sent("B"))).records == Accounting(accepted=1, rejected=1)
    ((rule, place, message),) = letters(platform)
    assert (rule, place) == ("payload_schema", path)
    assert SECRET not in message and message


def test_a_member_that_must_be_there_is_missed_and_one_with_a_default_is_not(platform: Platform) -> None:
    """The reader of an absent field takes its default; nothing is filled in here."""
    register(platform)
    short = {name: value for name, value in order().items() if name not in ("buyer", "due")}
    missing = {name: value for name, value in order().items() if name != "order_id"}
    records = [record("A", topic=TOPIC, payload=short), record("B", topic=TOPIC, payload=missing)]
    assert land(platform, lines(*records)).records == Accounting(accepted=1, rejected=1)
    assert payloads(platform)["A"] == short | {"amount": Decimal("12.5")}


def test_unknown_members_are_discarded_where_the_record_says_so(platform: Platform) -> None:
    """Words of the root work in either language."""
    register(platform, ORDER | {"x-contract": "discard_value"})
    done = land(platform, lines(sent("A", coupon=SECRET, state="paid"), sent("B", state=5, coupon=1)))
    assert done.records == Accounting(accepted=1, rejected=1)
    assert {topic: dict(paths) for topic, paths in done.discarded.items()} == {TOPIC: {"/coupon": 1}}
    assert "coupon" not in payloads(platform)["A"]


def test_a_tagged_topic_is_redacted_as_a_whole(platform: Platform) -> None:
    """Text is a token; dates, numbers and what an enum spells out stay readable."""
    register(platform, ORDER | {"x-policy-tags": ["pii_contact"]})
    land(platform, lines(sent("A")))
    found = payloads(platform)["A"]
    assert [found[name][:4] for name in ("order_id", "buyer")] == ["pii:", "pii:"]
    assert (found["state"], found["due"], found["amount"]) == ("new", "2025-03-31", Decimal("12.5"))


@pytest.mark.parametrize(
    ("schema", "place", "problem"),
    [
        (ORDER | {"x-contract": "evolve"}, "/schema/x-contract", "JSON Schema only"),
        (ORDER | {"x-contract": "melt"}, "/schema/x-contract", "no contract"),
        ({"type": "map", "values": "string"}, "/schema", "no record"),
    ],
    ids=["evolve", "melt", "map"],
)
def test_an_avro_schema_that_the_door_could_not_keep_is_not_registered(
    platform: Platform, schema: Any, place: str, problem: str
) -> None:
    """Found when it is proposed, not by the first dead letter."""
    with pytest.raises(DocumentRefused) as refused:
        register(platform, schema)
    assert any(fault.path == place and problem in fault.problem for fault in refused.value.faults), refused.value.faults
