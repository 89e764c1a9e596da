"""The demonstration's stream: eighteen months of an accounts payable department, from a seed.

It writes what outside systems would hold (invoice documents, purchase orders) and lands what they would send, with the
faults that real streams have: vendors who over-bill, unreadable scans, duplicates, changed events under an old id,
malformed records, late arrivals and files that are no files. The same seed gives the same bytes.
"""

import gzip
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from ingest.landing import Landing
from lake.home import Demonstration, Home
from lake.months import add_months, month_of

MONTHS = 18
VENDORS = 60
FURTHER = 200
"""Invoices that arrive after the eighteen months, for those who want to see what a publication changed."""

_FURTHER_FROM = 9_000_001
TOLERANCE = 0.05
"""What WF-FIN-001 ships with: invoices beyond it wait for a decision, so decisions are made for them."""

_MAILBOX = "mail-ingestor"
_LAUNCHPAD = "finance-launchpad"
_PERIOD = timedelta(days=7)


@dataclass(frozen=True)
class Stream:
    """What was landed, counted as it was planned; the accounting of its ingestion must come to the same."""

    files: int
    records: int
    planned: Mapping[str, int]
    over_billers: tuple[str, ...]


@dataclass
class _World:
    documents: list[tuple[str, str]] = field(default_factory=list)
    purchase_orders: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class _Sent:
    """A record with the time it arrives."""

    arrives_at: datetime
    line: bytes
    kind: str


def land_demonstration(home: Home, landing: Landing, demonstration: Demonstration) -> Stream | None:
    """Write the simulated systems and land the stream; return None if that was done before.

    The marker is written last, so an interrupted call lands everything again, of which what was ingested already is a
    duplicate.
    """
    marker = home.simulated / "landed.json"
    if marker.exists():
        return None
    stream, world, files = _compose(demonstration)
    _write(home, "documents.parquet", world.documents, ["uri", "text"])
    _write(home, "purchase_orders.parquet", world.purchase_orders, ["po_id", "vendor_id", "amount_cents"])
    for name, (content, arrived_at) in files.items():
        landing.put(name, content, received_at=arrived_at)
    marker.write_text(
        json.dumps({"files": stream.files, "records": stream.records, "planned": stream.planned}, indent=2)
    )
    return stream


def _write(home: Home, name: str, rows: list[Any], columns: list[str]) -> None:
    partial_path = home.simulated / f".{name}.partial"
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(partial_path)
    partial_path.rename(home.simulated / name)


def _compose(demonstration: Demonstration) -> tuple[Stream, _World, dict[str, tuple[bytes, datetime]]]:
    rng = random.Random(demonstration.seed)  # noqa: S311 - a world that can be made again, no secret
    as_of = demonstration.as_of
    start = _months_before(as_of, MONTHS)
    vendors, over_billers, noise = _department(rng)
    world = _World()
    sent: list[_Sent] = []
    budget = demonstration.events - 3  # three files hold one unreadable record each
    serial = 0
    while len(sent) < budget:
        serial += 1
        sent.extend(_invoice(rng, serial, start, as_of, vendors, over_billers, noise, world))
    sent = sorted(sent[:budget], key=lambda item: (item.arrives_at, item.line))
    files = _files(rng, sent, start)
    files |= _broken_files(start, sent)
    planned = Counter(item.kind for item in sent) + Counter({"empty_file": 1, "not_gzip": 1, "truncated": 1})
    return Stream(len(files), sum(planned.values()), dict(planned), tuple(over_billers)), world, files


def _department(rng: random.Random) -> tuple[list[str], dict[str, float], float]:
    """Return the vendors, by how much some of them over-bill on average, and how far the others are off."""
    vendors = [f"VEND-{number:03d}" for number in rng.sample(range(100, 999), VENDORS)]
    over_billers = {vendor: rng.uniform(0.028, 0.032) for vendor in sorted(rng.sample(vendors, rng.randint(4, 7)))}
    return vendors, over_billers, rng.uniform(0.010, 0.014)


def land_further(home: Home, landing: Landing, demonstration: Demonstration) -> int:
    """Land the invoices that arrive after the eighteen months, until the demonstration's `continued_at`, once.

    They come from the same vendors, who go on as before: of those who over-bill, some exceed the tolerance learned.

    Returns:
        How many records were landed now.
    """
    marker = home.simulated / "continued.json"
    if demonstration.continued_at is None or marker.exists():
        return 0
    vendors, over_billers, noise = _department(random.Random(demonstration.seed))  # noqa: S311 - as above
    rng = random.Random(f"{demonstration.seed}/further")  # noqa: S311
    span = demonstration.continued_at - demonstration.as_of
    world, lines = _World(), []
    for serial in range(_FURTHER_FROM, _FURTHER_FROM + FURTHER):
        vendor, produced_at = rng.choice(vendors), demonstration.as_of + span * rng.uniform(0.01, 1)
        ordered = max(5_000, round(rng.lognormvariate(12.4, 1.0)))
        excess = rng.gauss(over_billers[vendor], 0.009) if vendor in over_billers else rng.gauss(0.0, noise)
        lines.append(_line(_record(world, _uuid(rng), serial, vendor, ordered, excess, produced_at)))
    _extend(home, "documents.parquet", world.documents, ["uri", "text"])
    _extend(home, "purchase_orders.parquet", world.purchase_orders, ["po_id", "vendor_id", "amount_cents"])
    landing.put("ap-further.ndjson", b"".join(line + b"\n" for line in lines), received_at=demonstration.continued_at)
    marker.write_text(json.dumps({"records": len(lines)}))
    return len(lines)


def _record(
    world: _World, event_id: str, serial: int, vendor: str, ordered: int, excess: float, produced_at: datetime
) -> dict[str, Any]:
    """Return the record of an invoice, and put its document and order into the world."""
    po_id, uri = f"PO-{serial:07d}", f"sim://ap-inbox/{serial:07d}.pdf"
    world.purchase_orders.append((po_id, vendor, ordered))
    world.documents.append((uri, _document(serial, vendor, po_id, round(ordered * (1 + excess)), True)))
    return {
        "event_id": event_id,
        "topic": "ap.invoice.received",
        "payload": {"invoice_uri": uri, "vendor_id": vendor, "po_id": po_id, "received_at": _iso(produced_at)},
        "produced_at": _iso(produced_at),
        "producer_id": _MAILBOX,
    }


def _extend(home: Home, name: str, rows: list[Any], columns: list[str]) -> None:
    """Add rows to what a simulated system holds; what an interrupted call added is not added again."""
    held = pl.read_parquet(home.simulated / name)
    more = pl.DataFrame(rows, schema=held.schema, orient="row")
    _write(home, name, pl.concat([held, more]).unique(columns[0], keep="first", maintain_order=True).rows(), columns)


def _months_before(moment: datetime, months: int) -> datetime:
    month = add_months(month_of(moment), -months)
    return moment.replace(year=month.year, month=month.month, day=min(moment.day, 28))


def _invoice(
    rng: random.Random,
    serial: int,
    start: datetime,
    as_of: datetime,
    vendors: list[str],
    over_billers: Mapping[str, float],
    noise: float,
    world: _World,
) -> list[_Sent]:
    """Return the records of one invoice: its arrival, and what follows from it."""
    event_id = _uuid(rng)
    vendor, po_id, uri = rng.choice(vendors), f"PO-{serial:07d}", f"sim://ap-inbox/{serial:07d}.pdf"
    # Business grows: a uniform number to a power below one has a density that rises towards the end.
    produced_at = _office_hours(rng, start + (as_of - start) * rng.random() ** 0.7)
    ordered = max(5_000, round(rng.lognormvariate(12.4, 1.0)))
    excess = rng.gauss(over_billers[vendor], 0.009) if vendor in over_billers else rng.gauss(0.0, noise)
    if rng.random() < 0.02:
        excess = rng.choice((-1, 1)) * rng.uniform(0.08, 0.6)
    billed = round(ordered * (1 + excess))
    is_legible = rng.random() > 0.006
    world.purchase_orders.append((po_id, vendor, ordered))
    world.documents.append((uri, _document(serial, vendor, po_id, billed, is_legible)))
    record: dict[str, Any] = {
        "event_id": event_id,
        "topic": "ap.invoice.received",
        "payload": {
            "invoice_uri": uri,
            "vendor_id": vendor,
            "po_id": po_id,
            "received_at": _iso(produced_at),
            "sender": f"billing@{vendor.lower()}.example",
        },
        "produced_at": _iso(produced_at, zone=rng.random() < 0.1),
        "producer_id": _MAILBOX,
    }
    fault = rng.random()
    if fault < 0.015:
        kind, spoil = _FAULTS[int(fault / 0.015 * len(_FAULTS))]
        return [_Sent(produced_at, spoil(record), kind)]
    is_late = rng.random() < 0.015
    arrives_at = min(as_of, produced_at + timedelta(days=rng.uniform(8, 75) if is_late else 0))
    sent = [_Sent(arrives_at, _line(record), "accepted")]
    if rng.random() < 0.02:
        sent.append(_Sent(min(as_of, arrives_at + timedelta(hours=rng.uniform(0, 200))), _line(record), "duplicate"))
    if rng.random() < 0.001:
        changed = record | {"payload": record["payload"] | {"po_id": f"PO-{serial:07d}-B"}}
        sent.append(_Sent(as_of, _line(changed), "id_conflict"))
    if not is_legible or abs(billed - ordered) > TOLERANCE * ordered:
        sent.extend(_decision(rng, event_id, produced_at, as_of))
    return sent


def _decision(rng: random.Random, subject_id: str, produced_at: datetime, as_of: datetime) -> Iterable[_Sent]:
    """Yield what finance decides on an invoice handed to it; one in eight is left until it times out."""
    if rng.random() < 0.125:
        return
    decided_at = produced_at + timedelta(minutes=10, hours=min(70.0, rng.expovariate(1 / 9)))
    if decided_at < as_of:
        decision = "approved" if rng.random() < 0.7 else "rejected"
        record = {
            "event_id": _uuid(rng),
            "topic": "handoff.decided",
            "payload": {"subject_id": subject_id, "decision": decision, "decided_by": "FA-M-001"},
            "produced_at": _iso(decided_at),
            "producer_id": _LAUNCHPAD,
        }
        yield _Sent(decided_at, _line(record), "accepted")


def _document(serial: int, vendor: str, po_id: str, billed: int, is_legible: bool) -> str:
    text = (
        f"INVOICE {serial:07d}\nVendor: {vendor}\nPurchase order: {po_id}\n"
        f"Total: EUR {billed // 100:,}.{billed % 100:02d}\n"
    )
    return text if is_legible else text.replace("Total", "T0~al").replace("EUR", "E#R")


def _office_hours(rng: random.Random, moment: datetime) -> datetime:
    day = moment - timedelta(days=max(0, moment.weekday() - 4))
    opening = day.replace(hour=6, minute=0, second=0, microsecond=0)
    return min(
        opening + timedelta(seconds=rng.betavariate(2, 2.6) * 13 * 3600, milliseconds=rng.randrange(1000)), moment
    )


def _without(record: Mapping[str, Any], *members: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in members}


def _payload(record: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return dict(record) | {"payload": {k: v for k, v in (record["payload"] | changes).items() if v is not None}}


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def _changed(change: Callable[[Mapping[str, Any]], Mapping[str, Any]], record: Mapping[str, Any]) -> bytes:
    return _line(change(record))


_FAULTS: tuple[tuple[str, Callable[[Mapping[str, Any]], bytes]], ...] = (
    ("not_json", lambda record: _line(record)[: len(_line(record)) // 2]),
    ("no_topic", partial(_changed, lambda record: _without(record, "topic"))),
    ("no_event_id", partial(_changed, lambda record: _without(record, "event_id"))),
    ("unknown_topic", partial(_changed, lambda record: dict(record) | {"topic": "ap.invoice.recieved"})),
    ("payload_schema", partial(_changed, lambda record: _payload(record, vendor_id=None))),
    ("payload_schema", partial(_changed, lambda record: _payload(record, po_id=4711))),
    ("bad_time", partial(_changed, lambda record: dict(record) | {"produced_at": "yesterday, at nine"})),
    ("time_out_of_range", partial(_changed, lambda record: dict(record) | {"produced_at": "1970-01-01T00:00:00Z"})),
    ("duplicate_key", lambda record: _line(record)[:-1] + b',"topic":"ap.invoice.received"}'),
    ("bad_text", lambda record: _line(record).replace(b'"VEND', b'"\xff\xfeVEND')),
    ("bad_number", lambda record: _line(record).replace(b'"po_id":', b'"amount":NaN,"po_id":')),
)


def _files(rng: random.Random, sent: list[_Sent], start: datetime) -> dict[str, tuple[bytes, datetime]]:
    """Return the weekly files of the mail ingestor, every fifth one compressed."""
    weeks: dict[int, list[_Sent]] = {}
    for item in sent:
        weeks.setdefault((item.arrives_at - start) // _PERIOD, []).append(item)
    files = {}
    for week, items in sorted(weeks.items()):
        content = b"".join(item.line + b"\n" for item in items)
        name = f"ap-{start + week * _PERIOD:%Y-%m-%d}.ndjson"
        if rng.random() < 0.2:
            name, content = f"{name}.gz", gzip.compress(content, mtime=0)
        files[name] = (content, items[-1].arrives_at)
    return files


def _broken_files(start: datetime, sent: list[_Sent]) -> dict[str, tuple[bytes, datetime]]:
    last = sent[-1].arrives_at if sent else start
    return {
        "ap-empty.ndjson": (b"", last),
        "ap-not-compressed.ndjson.gz": (b'{"event_id":"x"}\n', last),
        "ap-cut.ndjson": (b'{"event_id":"cut-in-the-mid', last),
    }


def _iso(moment: datetime, *, zone: bool = False) -> str:
    if zone:
        return (moment + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+02:00"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
