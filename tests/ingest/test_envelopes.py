"""Whatever form records come in, the event is the same: recognised by content, its payload's digits kept."""

import bz2
import gzip
import io
import json
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.platform import Platform
from guard.identity import name_uuid
from ingest.commit import Accounting
from ingest.reading import read_parts
from ingest.records import Limits
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER
from tests.senders import NOTE, RECEIVED_AT, ingest, invoice, line, lines, record, without

AT = datetime(2025, 3, 1, 9, 30, tzinfo=UTC)
NAMES = ["one", "one.ndjson", "one.csv", "one.json"]


def cloudevent(event_id: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/mail",
        "type": "ap.invoice.received",
        "time": "2025-03-01T09:30:00Z",
        "datacontenttype": "application/json",
        "traceparent": "00-1",
        "data": invoice(),
    } | changes


def avro(rows: list[dict[str, Any]], payload: Any, *, codec: str = "deflate") -> bytes:
    fields = [{"name": name, "type": "string"} for name in ("event_id", "topic", "producer_id")]
    fields.append({"name": "produced_at", "type": {"type": "long", "logicalType": "timestamp-micros"}})
    fields.append({"name": "payload", "type": payload})
    file = io.BytesIO()
    fastavro.writer(file, {"type": "record", "name": "E", "fields": fields}, rows, codec=codec, sync_interval=200)
    return file.getvalue()


def avro_packed(rows: list[dict[str, Any]], codec: str, spoil: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return a container written by the words of Avro's specification, for the codecs that fastavro would need."""
    plain = avro(rows, PAYLOAD, codec="null")
    reader, sync = fastavro.block_reader(io.BytesIO(plain)), bytes(range(16))
    meta = {"avro.codec": codec, "avro.schema": json.dumps(reader.writer_schema)}
    header = b"".join(_long(len(text)) + text.encode() for pair in meta.items() for text in pair)
    content = b"Obj\x01" + _long(len(meta)) + header + b"\0" + sync
    for block in reader:
        packed = spoil(_packed(block.bytes_.getvalue(), codec))
        content += _long(block.num_records) + _long(len(packed)) + packed + sync
    return content


def _long(value: int) -> bytes:
    value, groups = value << 1, []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _packed(content: bytes, codec: str) -> bytes:
    if codec == "snappy":
        return bytes(pa.Codec("snappy").compress(content, asbytes=True)) + zlib.crc32(content).to_bytes(4)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:  # its header does not say how long the content is
        stream.write(content)
    return bytes(sink.getvalue())


PAYLOAD = {
    "type": "record",
    "name": "P",
    "fields": [
        *({"name": name, "type": "string"} for name in ("invoice_uri", "vendor_id", "po_id", "received_at")),
        {"name": "sender", "type": ["null", "string"]},
    ],
}


def typed_row(event_id: str, payload: Any = None) -> dict[str, Any]:
    return record(event_id, produced_at=AT, payload=invoice(sender=None) if payload is None else payload)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def flat(event_id: str, **changes: Any) -> dict[str, Any]:
    row = without(record(event_id), "payload") | {f"payload.{name}": value for name, value in invoice().items()}
    return row | changes


def table(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    return pl.DataFrame(rows).write_csv(separator=delimiter).encode()


def accepted(platform: Platform, content: bytes, name: str = "one") -> pl.DataFrame:
    platform.landing.put(name, content, received_at=RECEIVED_AT)
    done = ingest(platform)
    assert done.records.rejected == 0, platform.lake.scan(EVENT_DEAD_LETTER).collect().to_dicts()
    return platform.lake.scan(EVENT_BUS).sort("event_id").collect()


FORMS: dict[str, bytes] = {
    "native lines": lines(record("A"), record("B")),
    "an array": json.dumps([record("A"), record("B")], indent=1).encode(),
    "an array on one line": json.dumps([record("A"), record("B")]).encode(),
    "an array, packed": gzip.compress(json.dumps([record("A"), record("B")]).encode()),
    "Avro": avro([typed_row("A"), typed_row("B")], PAYLOAD),
    "Avro, not packed": avro([typed_row("A"), typed_row("B")], PAYLOAD, codec="null"),
    "Avro, payload as text": avro([typed_row(name, json.dumps(invoice())) for name in "AB"], "string", codec="xz"),
    **{f"Avro, {codec}": avro_packed([typed_row("A"), typed_row("B")], codec) for codec in ("snappy", "zstandard")},
    "Parquet, payload as struct": parquet([typed_row("A"), typed_row("B")]),
    "Parquet, payload as text": parquet([typed_row(name, json.dumps(invoice())) for name in "AB"]),
    "Parquet, payload as columns": parquet([flat("A"), flat("B")]),
    "CSV": table([flat("A"), flat("B")]),
    "CSV with semicolons, packed": gzip.compress(table([flat("A"), flat("B")], ";")),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES[:2])
def test_records_of_any_form_are_the_same_events(platform: Platform, form: str, name: str) -> None:
    """The hash tells a duplicate from a conflict: the same event in two forms must have one."""
    events = accepted(platform, FORMS[form], name)
    assert events["event_id"].to_list() == ["A", "B"]
    assert [json.loads(payload) for payload in events["payload"]] == [invoice(), invoice()]
    platform.landing.put("again.ndjson", lines(record("A"), record("B")), received_at=RECEIVED_AT)
    assert ingest(platform).records == Accounting(duplicates=2)


@pytest.mark.parametrize(
    "content",
    [
        lines(cloudevent("1"), cloudevent("2")),
        json.dumps([cloudevent("1"), cloudevent("2")], indent=2).encode(),
        json.dumps([cloudevent("1"), cloudevent("2")]).encode(),
    ],
    ids=["lines", "a batch on lines", "a batch"],
)
def test_cloudevents_become_native_records(platform: Platform, content: bytes) -> None:
    """The id of one is unique per source only; two producers that count from 1 must not meet."""
    events = accepted(platform, content)
    assert set(events["event_id"]) == {name_uuid("cloudevent", "/mail", number) for number in "12"}
    assert events.select("topic", "producer_id", "produced_at").unique().rows() == [
        ("ap.invoice.received", "/mail", AT)
    ]
    other = cloudevent("1", source="/other")
    platform.landing.put("other", json.dumps(other, indent=4).encode(), received_at=RECEIVED_AT)
    assert ingest(platform).records == Accounting(accepted=1)


def test_the_data_of_a_cloudevent_is_kept_verbatim(platform: Platform) -> None:
    """As that of a native record."""
    data = '{"source_id":"é",  "proposal_type":"step","body":{"n":9007199254740993,"d":1.50}}'
    raw = json.dumps(cloudevent(type=NOTE, data={})).replace('"data": {}', f'"data": {data}')
    assert accepted(platform, raw.encode())["payload"].to_list() == [data]


@pytest.mark.parametrize(
    ("spoilt", "rule", "path"),
    [
        (cloudevent(specversion="0.3"), "envelope", "/specversion"),
        (without(cloudevent(), "id"), "envelope", "/id"),
        (cloudevent(id=""), "envelope", "/id"),
        (without(cloudevent(), "time"), "envelope", "/time"),
        (cloudevent(time="2025-03-01T09:30:00"), "bad_time", "/produced_at"),
        (cloudevent(type="unknown"), "unknown_topic", "/topic"),
        (cloudevent(data=[1]), "envelope", "/data"),
        (cloudevent(datacontenttype="text/xml"), "envelope", "/datacontenttype"),
        (without(cloudevent(), "data") | {"data_base64": "AA=="}, "envelope", "/data_base64"),
        (without(cloudevent(), "data"), "payload_schema", "/payload"),
        (cloudevent(source="x" * 513), "envelope", "/producer_id"),
        (line(cloudevent())[:-1] + b',"id":"2"}', "duplicate_key", "/id"),
    ],
    ids=lambda spoilt: ascii(spoilt)[:40],
)
def test_a_cloudevent_that_is_no_record_is_refused(platform: Platform, spoilt: Any, rule: str, path: str) -> None:
    """With the attribute that the producer has to mend."""
    platform.landing.put("one", lines(spoilt, cloudevent("9")), received_at=RECEIVED_AT)
    assert ingest(platform).records == Accounting(accepted=1, rejected=1)
    letter = platform.lake.scan(EVENT_DEAD_LETTER).collect().row(0, named=True)
    assert (letter["rule"], letter["path"]) == (rule, path)


def test_cells_are_read_by_the_topics_schema_and_nothing_else(platform: Platform) -> None:
    """`NA` became nothing, 007 became 7 and an order number lost its zeros: whoever guesses types does that."""
    events = accepted(platform, table([flat("NA", **{"payload.po_id": "007"}), flat("1e5", **{"payload.po_id": "NA"})]))
    assert [json.loads(payload)["po_id"] for payload in events.sort("file_offset")["payload"]] == ["007", "NA"]
    assert events["event_id"].to_list() == ["1e5", "NA"]


def test_numbers_of_containers_keep_every_digit(tmp_path: Path) -> None:
    """A decimal that passes through a double is another amount."""
    schema = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 12}
    payload = {"type": "record", "name": "P", "fields": [{"name": "d", "type": schema}, {"name": "n", "type": "long"}]}
    value = {"d": Decimal("123456789012345678.123456789012"), "n": 9_007_199_254_740_993}
    rows = [typed_row("A", value)]
    for number, content in enumerate((avro(rows, payload), parquet(rows))):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        (found,) = [one for part in read_parts(path, Limits(10, 1 << 20)) for one in part]
        assert b'"d":123456789012345678.123456789012' in found.raw
        assert b'"n":9007199254740993' in found.raw


BAD: dict[str, tuple[bytes, str]] = {
    "UTF-16": (lines(record("A")).decode().encode("utf-16"), "not_utf8"),
    "UTF-16 without a mark": (lines(record("A")).decode().encode("utf-16-le"), "not_utf8"),
    "UTF-32": (lines(record("A")).decode().encode("utf-32"), "not_utf8"),
    "lines that end in CR": (lines(record("A"), record("B")).replace(b"\n", b"\r"), "cr_lines"),
    "a table whose lines end in CR": (table([flat("A"), flat("B")]).replace(b"\n", b"\r"), "cr_lines"),
    "Avro of a codec of somebody's own": (
        avro([typed_row("A")], PAYLOAD).replace(b"\x0edeflate", b"\x0elz77-42"),
        "unknown_codec",
    ),
    "a ZIP": (b"PK\x03\x04" + b"\0" * 60, "archive"),
    "gzip in gzip": (gzip.compress(gzip.compress(lines(record("A")))), "packed"),
    "Parquet in gzip": (gzip.compress(parquet([typed_row("A")])), "packed"),
    "half a Parquet": (parquet([typed_row("A")])[:-20], "bad_container"),
    "Avro of no record": (b"Obj\x01" + b"\xff" * 50, "bad_container"),
    "an empty Avro": (avro([], PAYLOAD), "empty_file"),
    "an empty array": (b"[ ]", "empty_file"),
    "a table of no rows": (table([flat("A")]).split(b"\n")[0], "empty_file"),
    "a table with a member twice": (b"event_id,topic,produced_at,producer_id,topic\nA,B,C,D,E\n", "bad_header"),
    "a table with a value that holds": (
        b"event_id,topic,produced_at,producer_id,payload,payload.a\nA,B,C,D,E,F\n",
        "bad_header",
    ),
    "a row that is short": (b"event_id,topic,produced_at,producer_id\nA,B\n", "bad_row"),
    "a cell that is no text": (b"event_id,topic,produced_at,producer_id\nA,B,C,\xff\n", "bad_cell"),
    "a cell without an end": (b'event_id,topic,produced_at,producer_id\nA,B,C,"' + b"x" * 2_000_000, "too_large"),
    "NaN": (
        avro(
            [typed_row("A", {"d": float("nan")})],
            {"type": "record", "name": "P", "fields": [{"name": "d", "type": "double"}]},
        ),
        "no_json",
    ),
    "a billion nulls": (
        avro([typed_row("A", [])], {"type": "array", "items": "null"}),
        "bad_container",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_of_no_records_is_refused_for_what_it_is(platform: Platform, case: str) -> None:
    """The sender has to know what to do, and the files beside it go on."""
    content, rule = BAD[case]
    platform.landing.put("bad", content, received_at=RECEIVED_AT)
    platform.landing.put("sound", lines(record("S")), received_at=RECEIVED_AT)
    done = ingest(platform)
    assert done.records.accepted == 1
    # What follows on a cell without an end is the rest of its row.
    assert rule in done.rules
    assert set(done.rules) <= {rule, "bad_row"}


@pytest.mark.parametrize("codec", ["snappy", "zstandard", "deflate", "bzip2", "xz"])
def test_a_block_that_unpacks_to_more_than_fits_is_not_unpacked(codec: str, tmp_path: Path) -> None:
    """A few kilobytes of zeros hold the memory of the machine."""
    zeros = bytes(300 << 20)
    if codec in ("snappy", "zstandard"):
        content = avro_packed([typed_row("A")], codec, lambda packed: _packed(zeros, codec))
    else:
        packs = {"deflate": lambda data: zlib.compress(data, wbits=-15), "bzip2": bz2.compress, "xz": lzma.compress}
        pack = packs[codec]
        content = avro_packed([typed_row("A")], "zstandard", lambda packed: pack(zeros))
        content = content.replace(_long(9) + b"zstandard", _long(len(codec)) + codec.encode())
    path = tmp_path / "bomb"
    path.write_bytes(content)
    tracemalloc.start()
    found = [one for part in read_parts(path, Limits(10, 1 << 20)) for one in part]
    peak = tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().bytes_allocated()
    tracemalloc.stop()
    assert [one.fault for one in found] == ["bad_container"]
    assert peak < 200 << 20


def test_a_block_whose_check_sum_is_wrong_is_damaged(platform: Platform) -> None:
    """Snappy itself does not notice a flipped bit."""
    content = avro_packed([typed_row("A")], "snappy", lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]))
    platform.landing.put("one", content, received_at=RECEIVED_AT)
    assert ingest(platform).rules == {"bad_container": 1}


def test_the_codec_that_is_not_read_is_named(platform: Platform) -> None:
    """Otherwise its sender looks for damage."""
    platform.landing.put("one", BAD["Avro of a codec of somebody's own"][0], received_at=RECEIVED_AT)
    ingest(platform)
    assert "packed with lz77-42; pack it with" in platform.lake.scan(EVENT_DEAD_LETTER).collect()["message"][0]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ([{"name": "x", "type": "int"}], None),
        ([{"name": "x", "type": ["null", "int"]}], None),
        ([{"name": "x", "type": ["null", "T"]}], None),
        ([], "bad_container"),
        ([{"name": "x", "type": "null"}], "bad_container"),
        ([{"name": "x", "type": {"type": "fixed", "name": "Z", "size": 0}}], "bad_container"),
    ],
    ids=["a number", "a union", "itself", "nothing", "a null", "no bytes"],
)
def test_a_list_of_a_named_type_is_read_unless_its_items_may_have_no_bytes(
    fields: list[dict[str, Any]], fault: str | None, tmp_path: Path
) -> None:
    """Lists of lines of an order are what records are made of; a billion nothings are a trap."""
    named = {"type": "record", "name": "T", "fields": fields}
    payload = {"type": "record", "name": "P", "fields": [
        {"name": "one", "type": named}, {"name": "more", "type": {"type": "array", "items": "T"}},
    ]}  # fmt: skip
    item = {"x": None if fault or isinstance(fields[0]["type"], list) else 5} if fields else {}
    item = {"x": b""} if fields and isinstance(fields[0]["type"], dict) else item
    path = tmp_path / "one"
    path.write_bytes(avro([typed_row("A", {"one": item, "more": [item, item]})], payload))
    found = [one for part in read_parts(path, Limits(10, 1 << 20)) for one in part]
    assert [one.fault for one in found] == [fault]
    assert fault or len(json.loads(found[0].raw)["payload"]["more"]) == 2


def test_a_container_that_is_cut_gives_what_came_before(platform: Platform) -> None:
    """As a cut file of lines does."""
    content = avro([typed_row(f"E-{number}") for number in range(40)], PAYLOAD)
    platform.landing.put("cut", content[: len(content) * 2 // 3], received_at=RECEIVED_AT)
    done = ingest(platform)
    assert 0 < done.records.accepted < 40
    assert done.rules == {"bad_container": 1}
