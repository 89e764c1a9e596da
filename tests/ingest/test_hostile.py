"""Ten thousand spoilt records and files: no crash, closed accounting, and what is accepted re-parses to itself."""

import bz2
import gzip
import json
import os
import random
import socket
import tracemalloc
import zlib
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from dagster_project.platform import Platform
from guard.canonical import canonical, digest, parse
from ingest import records as records_module
from ingest.commit import Accounting
from ingest.decoding import read_plain
from ingest.events import Ingestion
from ingest.landing import Landing
from ingest.reading import read_parts
from ingest.records import Limits, Record
from ingest.validation import Accepted
from lake.tables import BATCH, EVENT_BUS, EVENT_DEAD_LETTER, LANDING_FILE
from tests.ingest.test_envelopes import PAYLOAD, avro, cloudevent, flat, parquet, table, typed_row
from tests.senders import NOTE, NOW, RECEIVED_AT, ingest, invoice, line, lines, record

RECORDS = 10_000
TOKENS: list[bytes] = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"\n", b"\r", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b"\\u003a", b"NaN", b"-0", b"1e5", b"1e99999", b"9" * 30, b"0.10", b"01",
    b"18446744073709551616", b"null", b"true", "é🙂！".encode(), b'"topic":"x",', b'"event_id":"E-1",', b"[" * 300,
    b'"schema_version":1,', b'"schema_version":1.0,', b"2025-03-30T02:30:00", b"\xe2\x80\xa8", b" " * 20,
]  # fmt: skip


def spoilt(rng: random.Random, raw: bytes) -> bytes:
    """Return a record with some bytes taken out, doubled, replaced or put in."""
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        place = rng.randrange(len(raw) + 1)
        length = rng.choice((0, 1, 1, 2, 8, 40))
        kind = rng.random()
        put = rng.choice(TOKENS) if kind < 0.6 else raw[place : place + length] * 2 if kind < 0.8 else b""
        raw = raw[:place] + put + raw[place + length :]
    return raw


def seeds() -> list[bytes]:
    free = {"a": [1, 2.5, {"b:c": None}], "é": "x:y", "n": 12.50, "t": "\n\t/"}
    proposal = {"source_id": "S", "proposal_type": "step", "body": free}
    return [
        line(record("E-1")),
        line(record("E-2", payload=invoice(sender="jane@example.com"))),
        line(record("E-3", topic=NOTE, payload=proposal)),
        json.dumps(record("E-4", topic=NOTE, payload=proposal), separators=(",", ":")).encode(),
        line(cloudevent("5")),
    ]


def assert_closed(platform: Platform, total: Accounting) -> None:
    """Check that every record is an event, a dead letter or a duplicate, in the tables as in the accounts."""
    files = platform.registry.frame(LANDING_FILE)
    counted = ["records_read", "records_accepted", "records_rejected", "records_duplicate"]
    assert files.select(pl.col(counted).sum()).row(0) == (
        total.read,
        total.accepted,
        total.rejected,
        total.duplicates,
    )
    assert platform.registry.frame(BATCH)["state"].unique().to_list() == ["done"]
    assert platform.lake.scan(EVENT_BUS).collect().height == total.accepted
    assert platform.lake.scan(EVENT_DEAD_LETTER).collect().height == total.rejected


def test_ten_thousand_spoilt_records_are_all_judged_and_those_accepted_are_what_was_sent(platform: Platform) -> None:
    """Whatever a producer's bug makes of a record, it must stop nothing and change nothing on its way."""
    rng = random.Random(20)
    whole = seeds()
    sent = [spoilt(rng, rng.choice(whole).replace(b'"E-', b'"%d-' % number)) for number in range(RECORDS)]
    # A file is one kind of mess each: a line feed within a record makes two of it.
    for number, start in enumerate(range(0, RECORDS, 500)):
        content = lines(line(record(f"first-{number}")), *sent[start : start + 500])
        platform.landing.put(f"{number}.ndjson", content, received_at=RECEIVED_AT)
    contents = {path.name: path.read_bytes() for path in platform.landing.inbox.iterdir()}
    done = ingest(platform)
    assert done.records.read >= RECORDS
    assert min(done.records.accepted, done.records.rejected) > RECORDS // 10
    assert_closed(platform, done.records)
    names = dict(platform.registry.frame(LANDING_FILE).select("file_id", "file_name").iter_rows())
    for event in platform.lake.scan(EVENT_BUS).filter(topic=NOTE).collect().iter_rows(named=True):
        raw = contents[names[event["file_id"]]][event["file_offset"] :].split(b"\n")[0].strip(b" \t\r\n")
        document = parse(raw)
        assert parse(event["payload"]) == document["payload"]
        assert event["payload"].encode() in raw
    assert ingest(platform) == Ingestion()


def test_a_record_read_at_speed_is_what_the_careful_parser_reads(platform: Platform) -> None:
    """The two must agree on every record that the fast one takes, in value, canonical text and hash."""
    rng = random.Random(21)
    whole = seeds()[:4]
    door = platform.door()
    plain = 0
    for _ in range(RECORDS):
        raw = spoilt(rng, rng.choice(whole))
        if (found := read_plain(raw)) is None:
            continue
        plain += 1
        document = parse(raw)
        assert found.payload == document["payload"]
        assert found.canonical.decode() == canonical(document["payload"])
        members = {name: getattr(found.fields, name) for name in document if name != "payload"}
        assert members == {name: value for name, value in document.items() if name != "payload"}
        verdict = door.check(Record(0, raw), received_at=NOW)
        if isinstance(verdict, Accepted) and verdict.topic == NOTE:
            moment = verdict.produced_at.isoformat()
            content = {name: document[name] for name in ("payload", "producer_id", "topic")} | {"produced_at": moment}
            assert verdict.content_hash == digest(content)
    assert plain > RECORDS // 10


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_of_every_form_end_in_closed_accounting(platform: Platform, seed: int) -> None:
    """Bytes that flip, go missing or are doubled, in containers that libraries decode."""
    rng = random.Random(seed)
    whole = [
        gzip.compress(lines(record("A"), record("B"))),
        json.dumps([record("A"), record("B")], indent=1).encode(),
        avro([typed_row(f"E-{number}") for number in range(9)], PAYLOAD),
        avro([typed_row("A")], PAYLOAD, codec="bzip2"),
        parquet([typed_row("A"), typed_row("B")]),
        table([flat("A"), flat("B")]),
        bz2.compress(lines(record("A"))),
        zlib.compress(lines(record("A"))),
    ]
    for number in range(120):
        content = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(content))
            content[place : place + rng.choice((0, 1, 1, 30))] = rng.randbytes(rng.choice((0, 1, 1, 8)))
        platform.landing.put(f"{number}", bytes(content), received_at=RECEIVED_AT + timedelta(seconds=number))
    done = ingest(platform)
    assert done.files == 120
    assert_closed(platform, done.records)


def test_what_is_no_plain_file_is_left_alone(platform: Platform, tmp_path: Path) -> None:
    """A link could bring in any file of the machine, and a pipe would keep the batch waiting for ever."""
    inbox = platform.landing.inbox
    secret = tmp_path / "secret"
    secret.write_bytes(lines(record("STOLEN")))
    (inbox / "link").symlink_to(secret)
    (inbox / "dangling").symlink_to(tmp_path / "nothing")
    (inbox / "folder").mkdir()
    os.mkfifo(inbox / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(inbox)  # a socket's path is short
        listener.bind("socket")
        os.chdir(here)
        platform.landing.put("sound", lines(record("A")), received_at=RECEIVED_AT)
        assert ingest(platform).records == Accounting(accepted=1)
    assert sorted(path.name for path in inbox.iterdir()) == ["dangling", "folder", "link", "pipe", "socket"]
    for name in ("link", "pipe", "folder", "socket"):
        (found,) = [one for part in read_parts(inbox / name, Limits(1, 1)) for one in part]
        assert found.fault == "unreadable"


def test_a_bomb_is_refused_where_it_begins_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of gzip holds a gigabyte of lines: what came before the limit is kept, the rest is not unpacked."""
    monkeypatch.setattr(records_module, "BOMB_FLOOR", 4 << 20)
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(line(record("A")) + b"\n" + b"\n" * (64 << 20)))
    found = [one for part in read_parts(path, Limits(20_000, 4 << 20)) for one in part]
    assert [one.fault for one in found] == [None, "bomb"]
    again = [one for part in read_parts(path, Limits(2_000, 100_000)) for one in part]
    assert again == found


def test_a_line_of_two_gigabytes_is_passed_over_in_the_memory_of_one_part(tmp_path: Path) -> None:
    """A file without an end of line must cost its reader time and nothing else."""
    path, length, first = tmp_path / "line", 2 << 30, line(record("A")) + b"\n"
    with path.open("wb") as file:
        file.write(first)
        file.seek(length, os.SEEK_CUR)  # a hole of zeros, which takes no room on the disk
        file.write(b"\n" + line(record("B")) + b"\n")
    tracemalloc.start()
    found = [one for part in read_parts(path, Limits(20_000, 4 << 20)) for one in part]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [one.fault for one in found] == [None, "too_large", None]
    assert [one.offset for one in found] == [0, len(first), len(first) + length + 1]
    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("produced_at", "rule"),
    [
        ("2025-03-01T09:30:00", "bad_time"),
        ("2025-03-30T02:30:00 Europe/Berlin", "bad_time"),
        ("2025-10-26T02:30:00+02:00", "time_out_of_range"),
        ("2025-03-30T02:30:00+01:00", None),
        ("2025-03-01T09:30:60Z", "bad_time"),
        ("2025-03-01T24:00:00Z", "bad_time"),
        ("2025-03-01T09:30:00+24:00", "bad_time"),
        ("1740821400", "bad_time"),
    ],
)
def test_a_time_is_one_moment_or_refused(platform: Platform, produced_at: str, rule: str | None) -> None:
    """Without an offset the hour that a change of clocks repeats is two moments."""
    platform.landing.put("1", lines(record("A", produced_at=produced_at)), received_at=RECEIVED_AT)
    assert list(ingest(platform).rules) == ([rule] if rule else [])


def test_clocks_that_are_wrong_date_nothing_into_the_future_or_long_ago(platform: Platform) -> None:
    """A copied file keeps the time of its source, and a server without a battery starts in 1970."""
    platform.landing.put("old", lines(record("A")), received_at=RECEIVED_AT - timedelta(days=20_000))
    platform.landing.put("ahead", lines(record("B")), received_at=NOW + timedelta(days=9_000))
    assert ingest(platform).records == Accounting(accepted=2)
    produced_at = platform.lake.scan(EVENT_BUS).collect()["produced_at"][0]
    assert dict(platform.lake.scan(EVENT_BUS).select("event_id", "created_at").collect().iter_rows()) == {
        "A": produced_at,
        "B": NOW,
    }


def test_mixed_topics_in_one_file_are_each_held_to_their_own_schema(platform: Platform) -> None:
    """A file is how records travel and says nothing of what they are."""
    proposal = {"source_id": "S", "proposal_type": "step", "body": {}}
    content = lines(record("A"), record("B", topic=NOTE, payload=proposal), record("C", payload=proposal))
    platform.landing.put("mixed", content, received_at=RECEIVED_AT)
    done = ingest(platform)
    assert (done.records, done.rules) == (Accounting(accepted=2, rejected=1), {"payload_schema": 1})


def test_integers_of_any_size_are_kept_or_refused_by_the_schema_alone(platform: Platform) -> None:
    """2^63 and beyond: a parser that wraps or rounds them makes another event of it."""
    bodies = [str(number) for number in (2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40)]
    proposal = {"source_id": "S", "proposal_type": "step", "body": {"n": 0}}
    raws = [
        line(record(f"E-{number}", topic=NOTE, payload=proposal)).replace(b": 0", f": {body}".encode())
        for number, body in enumerate(bodies)
    ]
    platform.landing.put("1", lines(*raws), received_at=RECEIVED_AT)
    assert ingest(platform).records == Accounting(accepted=len(bodies))
    held = platform.lake.scan(EVENT_BUS).sort("event_id").collect()["payload"]
    assert [parse(payload)["body"]["n"] for payload in held] == [int(body) for body in bodies]


class GrowingLanding(Landing):
    """A landing zone in which somebody writes on to a file once it was claimed."""

    more = lines(record("B"), record("C"))

    def claim(self, batch_id: str, names: list[str]) -> dict[str, Path]:
        places = super().claim(batch_id, names)
        with places["log"].open("ab") as file:
            file.write(self.more)
        self.more = b""
        return places


@pytest.mark.parametrize("end", [len(line(record("A"))) + 1, 30], ids=["between records", "within a record"])
def test_a_file_that_grows_while_it_is_read_loses_nothing(platform: Platform, end: int) -> None:
    """A producer that forgot to rename when it was complete: the rest was deleted with the file."""
    whole = lines(record("A"), record("B"), record("C"))
    landing = GrowingLanding(platform.home.landing)
    landing.more = whole[end:]
    landing.put("log", whole[:end], received_at=RECEIVED_AT)
    done = ingest(platform, landing=landing)
    assert set(platform.lake.scan(EVENT_BUS).collect()["event_id"]) == {"A", "B", "C"}
    assert_closed(platform, done.records)
