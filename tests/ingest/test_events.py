"""Ingestion: every record that landed is an event, a dead letter or a known duplicate, once, whatever happens."""

import gzip
import json
import multiprocessing
import os
import random
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from filelock import FileLock, Timeout
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.platform import Platform
from guard.redaction import Redactor
from ingest.commit import Accounting
from ingest.events import Ingestion
from ingest.landing import Landing
from ingest.validation import Door, Topic
from lake.home import Home
from lake.store import Appended, Lake
from lake.tables import BATCH, EVENT_BUS, EVENT_DEAD_LETTER, LANDING_FILE, LOGS
from registry.loader import PACK, load_pack
from tests.senders import NOTE, NOW, RECEIVED_AT, ingest, invoice, line, lines, open_platform, record, without

MARCH, APRIL = date(2025, 3, 1), date(2025, 4, 1)
SECRET = "jane.doe+private@example.com"
MARCH_1 = datetime(2025, 3, 1, 12, tzinfo=UTC)


def land(platform: Platform, name: str, content: bytes, *, received_at: datetime = RECEIVED_AT) -> Path:
    return platform.landing.put(name, content, received_at=received_at)


def events(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(EVENT_BUS).sort("event_id").collect()


def letters(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(EVENT_DEAD_LETTER).sort("file_name", "file_offset").collect()


def versions(platform: Platform) -> list[int | None]:
    return [platform.lake.version(spec) for spec in LOGS]


def assert_closed(platform: Platform, total: Accounting) -> None:
    """Check read = accepted + rejected + duplicates per file, batch and month, and that the lake holds these rows."""
    batches = platform.registry.frame(BATCH)
    files = platform.registry.frame(LANDING_FILE)
    counted = ["records_read", "records_accepted", "records_rejected", "records_duplicate"]
    for frame in (batches, files):
        assert frame.filter(pl.col("records_read") != pl.sum_horizontal(counted[1:])).is_empty()
    by_files = files.group_by("batch_id").agg(pl.col(counted).sum()).sort("batch_id")
    assert by_files.equals(batches.select("batch_id", *counted).sort("batch_id"))
    assert batches["state"].to_list() == ["done"] * batches.height
    rows: dict[str, dict[str, Counter[str]]] = {}
    for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
        for batch_id, month in platform.lake.scan(spec, columns=["batch_id", "month"]).collect().iter_rows():
            by_table = rows.setdefault(batch_id, {EVENT_BUS.name: Counter(), EVENT_DEAD_LETTER.name: Counter()})
            by_table[spec.name][f"{month:%Y-%m}"] += 1
    for batch in batches.iter_rows(named=True):
        held = rows.pop(batch["batch_id"], {EVENT_BUS.name: Counter(), EVENT_DEAD_LETTER.name: Counter()})
        assert json.loads(batch["months"]) == held
        assert held[EVENT_BUS.name].total() == batch["records_accepted"]
        assert held[EVENT_DEAD_LETTER.name].total() == batch["records_rejected"]
    assert not rows
    assert platform.lake.scan(EVENT_BUS).collect()["event_id"].is_unique().all()
    assert platform.lake.scan(EVENT_DEAD_LETTER).collect()["dead_letter_id"].is_unique().all()
    sums = files.select(pl.col(counted).sum()).row(0)
    assert sums == (total.read, total.accepted, total.rejected, total.duplicates)


FAULTS: dict[str, tuple[bytes, str, str]] = {
    "not JSON": (b"{not json}", "not_json", ""),
    "no topic": (line(without(record("B"), "topic")), "no_topic", "/topic"),
    "no id": (line(without(record("B"), "event_id")), "no_event_id", "/event_id"),
    "unknown topic": (line(record("B", topic="ap.invoice.recieved")), "unknown_topic", "/topic"),
    "schema broken": (line(record("B", payload=without(invoice(), "po_id"))), "payload_schema", "/payload"),
    "wrong type": (line(record("B", payload=invoice(po_id=4711))), "payload_schema", "/payload/po_id"),
    "wrong type of id": (line(record("B") | {"event_id": 7}), "envelope", "/event_id"),
    "id taken": (line(record("A", producer_id="another")), "id_conflict", "/event_id"),
    "duplicate key": (line(record("B"))[:-1] + b',"topic":"handoff.decided"}', "duplicate_key", "/topic"),
    "before the first month": (
        line(record("B", produced_at="1999-12-31T23:59:59Z")),
        "time_out_of_range",
        "/produced_at",
    ),
    "too far ahead": (
        line(record("B", produced_at="2025-04-02T00:00:00.000001Z")),
        "time_out_of_range",
        "/produced_at",
    ),
    "no time": (line(record("B", produced_at="at nine")), "bad_time", "/produced_at"),
    "NaN": (line(record("B")).replace(b'"PO-1"', b"NaN"), "bad_number", ""),
    "huge exponent": (line(record("B")).replace(b'"PO-1"', b"1e" + b"9" * 30), "bad_number", ""),
    "U+0000": (line(record("B")).replace(b"PO-1", b"\\u0000"), "bad_text", "/payload/po_id"),
    "lone surrogate": (line(record("B")).replace(b"PO-1", b"\\ud800"), "bad_text", "/payload/po_id"),
    "lone surrogates as keys": (b'{"\\ud800":1,"\\ud800":2}', "duplicate_key", "/name of 6"),
    "not UTF-8": (line(record("B")).replace(b"PO-1", b"\xff\xfe"), "bad_text", ""),
    "deep nesting": (b"[" * 100_000 + b"]" * 100_000, "too_deep", ""),
    "2 MB": (b'{"a":"' + b"x" * 2_000_000 + b'"}', "too_large", ""),
    "a list": (b"[1,2]", "not_object", ""),
    "BOM within": (b"\xef\xbb\xbf" + line(record("B")), "not_json", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_record_that_is_refused_stands_with_file_offset_rule_and_path_and_stops_nothing(
    platform: Platform, fault: str
) -> None:
    """One bad record would hold up the day's events, or vanish without anybody knowing."""
    content, rule, path = FAULTS[fault]
    land(platform, "faulty.ndjson", lines(record("A"), content, record("C")))
    land(platform, "sound.ndjson", lines(record("D")))
    done = ingest(platform)
    assert done.records == Accounting(accepted=3, rejected=1)
    assert done.rules == {rule: 1}
    assert events(platform)["event_id"].to_list() == ["A", "C", "D"]
    (letter,) = letters(platform).iter_rows(named=True)
    assert (letter["file_name"], letter["file_offset"]) == ("faulty.ndjson", len(lines(record("A"))))
    assert (letter["rule"], letter["path"]) == (rule, path)
    assert letter["received_at"] == letter["created_at"] == RECEIVED_AT
    assert letter["message"]
    kept = next(platform.landing.claimed.rglob("faulty.ndjson")).read_bytes()
    assert kept[letter["file_offset"] :].startswith(content)
    assert_closed(platform, Accounting(accepted=3, rejected=1))


@pytest.mark.parametrize(
    ("name", "content", "accepted", "letter"),
    [
        ("empty.ndjson", b"", 0, ("empty_file", 0)),
        ("empty.ndjson.gz", b"", 0, ("empty_file", 0)),
        ("blank.ndjson", b"\n \n", 0, ("empty_file", 0)),
        ("false.ndjson.gz", lines(record("A")), 0, ("not_gzip", 0)),
        ("cut.ndjson", lines(record("A")) + line(record("B"))[:50], 1, ("truncated", len(lines(record("A"))))),
        (
            "cut within a character.ndjson",
            lines(record("A")) + line(record("Bü"))[:17],
            1,
            ("truncated", len(lines(record("A")))),
        ),
        (
            "cut.ndjson.gz",
            gzip.compress(lines(record("A"), record("B")))[:-4],
            2,
            ("truncated", 2 * len(lines(record("A")))),
        ),
        ("cut in its head.ndjson.gz", gzip.compress(lines(record("A")))[:5], 0, ("truncated", 0)),
        (
            "garbage behind.ndjson.gz",
            gzip.compress(lines(record("A"))) + b"garbage",
            1,
            ("corrupt", len(lines(record("A")))),
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_file_that_is_cut_empty_or_no_gzip_is_one_dead_letter(
    platform: Platform, name: str, content: bytes, accepted: int, letter: tuple[str, int]
) -> None:
    """What came before the cut is kept, and the cut itself is known."""
    land(platform, name, content)
    land(platform, "sound.ndjson", lines(record("D")))
    assert ingest(platform).records == Accounting(accepted=accepted + 1, rejected=1)
    assert letters(platform).select("file_name", "rule", "file_offset").rows() == [(name, *letter)]
    assert_closed(platform, Accounting(accepted=accepted + 1, rejected=1))


def test_all_faults_in_one_file_are_all_told(platform: Platform) -> None:
    """Dead letters of one chunk are appended together; none may push out another."""
    contents = [content for content, _, _ in FAULTS.values()]
    land(platform, "all.ndjson", lines(record("A"), *contents))
    assert ingest(platform, chunk=7).rules == Counter(rule for _, rule, _ in FAULTS.values())
    offsets = [len(lines(record("A"), *contents[:number])) for number in range(len(contents))]
    assert letters(platform).select("file_offset", "rule", "path").rows() == [
        (offset, rule, path) for offset, (_, rule, path) in zip(offsets, FAULTS.values(), strict=True)
    ]
    assert_closed(platform, Accounting(accepted=1, rejected=len(FAULTS)))


def test_a_record_sent_again_is_a_duplicate_wherever_it_stands(platform: Platform) -> None:
    """In the same chunk, a later chunk, another file or another batch, written as the producer likes."""
    again = json.dumps(dict(reversed(record("A", produced_at="2025-03-01T10:30:00+01:00").items()))).encode()
    land(platform, "1.ndjson", lines(record("A"), record("A"), record("B"), again))
    land(platform, "2.ndjson", lines(again, record("C")))
    assert ingest(platform, chunk=2).records == Accounting(accepted=3, duplicates=3)
    land(platform, "3.ndjson", lines(record("A"), again))
    assert ingest(platform).records == Accounting(duplicates=2)
    assert events(platform)["event_id"].to_list() == ["A", "B", "C"]
    assert_closed(platform, Accounting(accepted=3, duplicates=5))


def test_an_id_with_another_content_is_refused_across_months_and_the_first_one_stays(platform: Platform) -> None:
    """Overwriting would change history; dropping it as a duplicate would lose an event."""
    land(platform, "1.ndjson", lines(record("A"), record("A", payload=invoice(po_id="PO-2"))))
    assert ingest(platform).records == Accounting(accepted=1, rejected=1)
    before = events(platform)
    land(platform, "2.ndjson", lines(record("A", produced_at="2024-11-30T12:00:00Z")))
    land(platform, "3.ndjson", lines(record("A", produced_at="2025-03-10T12:00:00Z"), record("A")))
    assert ingest(platform).records == Accounting(rejected=2, duplicates=1)
    assert events(platform).equals(before)
    assert letters(platform).select("file_name", "rule", "event_id", "topic", "schema_version").rows() == [
        (f"{number}.ndjson", "id_conflict", "A", "ap.invoice.received", 1) for number in (1, 2, 3)
    ]
    assert_closed(platform, Accounting(accepted=1, rejected=3, duplicates=1))


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_the_same_file_under_two_names_is_known_by_its_content(platform: Platform, is_one_batch: bool) -> None:
    """A producer that is not sure sends again; each copy's records were counted as accepted."""
    content = lines(record("A"), b"{broken", record("B"), record("A"))
    land(platform, "first.ndjson", content)
    if not is_one_batch:
        assert ingest(platform).records == Accounting(accepted=2, rejected=1, duplicates=1)
    land(platform, "second.ndjson", content)
    land(platform, "third.ndjson", content, received_at=RECEIVED_AT + timedelta(hours=1))
    ingest(platform, chunk=3)
    by_file = platform.registry.frame(LANDING_FILE).sort("file_name")
    assert by_file.select("file_name", "records_accepted", "records_rejected", "records_duplicate", "state").rows() == [
        ("first.ndjson", 2, 1, 1, "kept"),
        ("second.ndjson", 0, 0, 4, "deleted"),
        ("third.ndjson", 0, 0, 4, "deleted"),
    ]
    assert_closed(platform, Accounting(accepted=2, rejected=1, duplicates=9))


def test_a_second_run_changes_nothing(platform: Platform) -> None:
    """Schedules run ingestion over and over; versions that move rebuild marts for nothing."""
    content = lines(record("A"), b"{broken", record("A", producer_id="other"))
    land(platform, "1.ndjson", content)
    ingest(platform)
    before, held = versions(platform), (events(platform), letters(platform))
    assert ingest(platform) == Ingestion()
    assert versions(platform) == before
    land(platform, "1.ndjson", content)
    land(platform, "2.ndjson.gz", gzip.compress(content))
    assert ingest(platform).records == Accounting(duplicates=4, rejected=2)
    again = versions(platform)
    assert again[0] == before[0]
    assert events(platform).equals(held[0])
    land(platform, "1.ndjson", content)
    assert ingest(platform).records == Accounting(duplicates=3)
    assert versions(platform) == again
    assert letters(platform).filter(pl.col("file_name") == "1.ndjson").equals(held[1])


def test_the_same_file_at_the_same_time_again_and_again_is_a_batch_each_time(platform: Platform) -> None:
    """A demonstration's clock stands still; the third time its batch had the name of the second, for ever."""
    for number in range(4):
        land(platform, "1.ndjson", lines(record("A")))
        assert ingest(platform).records == (Accounting(duplicates=1) if number else Accounting(accepted=1))
    assert_closed(platform, Accounting(accepted=1, duplicates=3))
    assert platform.registry.frame(BATCH).height == 4


@pytest.mark.parametrize(
    ("produced_at", "month", "text"),
    [
        ("2025-02-28T23:59:59.999999Z", date(2025, 2, 1), "2025-02-28 23:59:59.999999"),
        ("2025-03-01T00:00:00Z", MARCH, "2025-03-01 00:00:00"),
        ("2025-03-01T01:59:59.999999+02:00", date(2025, 2, 1), "2025-02-28 23:59:59.999999"),
        ("2025-03-01T02:00:00+02:00", MARCH, "2025-03-01 00:00:00"),
        ("2025-02-28T22:00:00-02:00", MARCH, "2025-03-01 00:00:00"),
        ("2024-12-31T23:30:00-01:00", date(2025, 1, 1), "2025-01-01 00:30:00"),
        ("2024-02-29T23:59:59.9999999Z", date(2024, 2, 1), "2024-02-29 23:59:59.999999"),
        ("2000-01-01T00:00:00Z", date(2000, 1, 1), "2000-01-01 00:00:00"),
    ],
)
def test_an_event_is_in_the_month_of_its_utc_time(platform: Platform, produced_at: str, month: date, text: str) -> None:
    """A row in the wrong month is rebuilt, counted and purged with strangers."""
    land(platform, "1.ndjson", lines(record("A", produced_at=produced_at)))
    done = ingest(platform)
    assert done.rows[EVENT_BUS.name] == {month: 1}
    assert events(platform).select("month", "produced_at").rows() == [
        (month, datetime.fromisoformat(text).replace(tzinfo=UTC))
    ]
    assert_closed(platform, Accounting(accepted=1))


def test_an_accepted_event_holds_what_was_sent_and_where_it_lay(platform: Platform) -> None:
    """A row must lead back to its record, and its payload be the one that was sent."""
    payload = '{"source_id":"é","proposal_type":"step","body":{"n":9007199254740993,"d":0.10000000000000000001}}'
    raw = line(record("NA", topic=NOTE, payload={})).replace(b"{}", payload.encode())
    content = b"\xef\xbb\xbf" + line(record("A")) + b"\r\n" + raw + b"\r\n" + line(record("🙂"))
    land(platform, "1.ndjson", content)
    assert ingest(platform).records == Accounting(accepted=3)
    event = events(platform).row(1, named=True)
    assert event["payload"] == payload
    assert event["file_offset"] == content.index(raw)
    assert len(event.pop("content_hash")) == 64
    assert event.pop("file_id") == platform.registry.frame(LANDING_FILE)["file_id"][0]
    assert event.pop("batch_id") == platform.registry.frame(BATCH)["batch_id"][0]
    assert event == {
        "event_id": "NA",
        "topic": NOTE,
        "schema_version": 1,
        "payload": payload,
        "produced_at": datetime(2025, 3, 1, 9, 30, tzinfo=UTC),
        "producer_id": "mail-ingestor",
        "file_offset": content.index(raw),
        "created_at": RECEIVED_AT,
        "created_by": "ingest",
        "month": MARCH,
    }
    assert events(platform)["event_id"].to_list() == ["A", "NA", "🙂"]


def test_dead_letters_lie_in_the_month_their_file_landed(platform: Platform) -> None:
    """Their own time cannot be read."""
    land(platform, "1.ndjson", b"{\n", received_at=datetime(2025, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    land(platform, "2.ndjson", b"[\n", received_at=datetime(2025, 4, 1, tzinfo=UTC))
    assert ingest(platform).rows[EVENT_DEAD_LETTER.name] == {MARCH: 1, APRIL: 1}
    assert letters(platform)["month"].to_list() == [MARCH, APRIL]


def test_landing_is_private_and_keeps_only_what_dead_letters_point_into(platform: Platform) -> None:
    """Raw records are the one place where personal data lies in the clear."""
    previous = os.umask(0)
    try:
        land(platform, "sound.ndjson", lines(record("A")))
        land(platform, "faulty.ndjson", lines(record("B"), b"{"))
        assert {path.stat().st_mode & 0o777 for path in platform.landing.inbox.iterdir()} == {0o600}
        ingest(platform)
    finally:
        os.umask(previous)
    folders = [path for path in (platform.home.landing, *platform.home.landing.rglob("*")) if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    files = [path.name for path in platform.home.landing.rglob("*") if path.is_file() and path.name[0] != "."]
    assert files == ["faulty.ndjson"]
    states = platform.registry.frame(LANDING_FILE).select("file_name", "state").sort("file_name").rows()
    assert states == [("faulty.ndjson", "kept"), ("sound.ndjson", "deleted")]


def test_a_file_that_is_still_being_written_is_left_alone(platform: Platform) -> None:
    """Half a file would be a truncated one, and its second half never be read."""
    (platform.landing.inbox / ".1.ndjson.partial").write_bytes(line(record("A"))[:20])
    (platform.landing.inbox / "folder").mkdir()
    assert ingest(platform) == Ingestion()
    assert (platform.landing.inbox / ".1.ndjson.partial").exists()
    for name in ("", ".hidden", "a/b", "../a", "/etc/passwd"):
        with pytest.raises(ValueError, match="plain name"):
            platform.landing.put(name, b"")


@pytest.mark.parametrize(
    "name", [b"caf\xe9.ndjson", b"\xff" * 255, "ü🙂 $(x);'\".ndjson".encode(), b"a\nb.ndjson", b"x" * 255]
)
def test_a_file_of_any_name_is_ingested(platform: Platform, name: bytes) -> None:
    """A name that is not UTF-8 could not be recorded, and no file after it was read any more."""
    Path(os.fsdecode(os.fsencode(platform.landing.inbox) + b"/" + name)).write_bytes(lines(record("A"), b"{"))
    land(platform, "sound.ndjson", lines(record("B")), received_at=NOW)
    assert ingest(platform).records == Accounting(accepted=2, rejected=1)
    assert_closed(platform, Accounting(accepted=2, rejected=1))
    assert (
        letters(platform)["file_name"].to_list()
        == platform.registry.frame(LANDING_FILE).filter(pl.col("records_rejected") > 0)["file_name"].to_list()
    )


def test_files_are_taken_in_the_order_they_landed_in_batches_of_bounded_size(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one holds an id; and a year of files in one batch would be one transaction."""
    monkeypatch.setattr("ingest.landing.BATCH_FILES", 2)
    for number, name in enumerate(["d", "a", "c", "b", "e"]):
        received_at = RECEIVED_AT + timedelta(microseconds=number)
        land(platform, name, lines(record("X", producer_id=name), record(name)), received_at=received_at)
    assert ingest(platform).batches == 3
    assert events(platform).filter(pl.col("event_id") == "X")["producer_id"].to_list() == ["d"]
    assert_closed(platform, Accounting(accepted=6, rejected=4))
    files = platform.registry.frame(LANDING_FILE).join(platform.registry.frame(BATCH), on="batch_id")
    assert sorted(files.group_by("batch_id").agg("file_name")["file_name"].list.sort().to_list()) == [
        ["a", "d"],
        ["b", "c"],
        ["e"],
    ]


def test_raw_files_of_a_batch_that_is_not_known_stay(platform: Platform) -> None:
    """With a registry that was lost or is another one, sweeping would delete the only copy of their records."""
    unknown = platform.landing.claimed / "a batch of another registry"
    unknown.mkdir()
    (unknown / "1.ndjson").write_bytes(lines(record("A")))
    (platform.landing.claimed / ".DS_Store").write_bytes(b"")
    land(platform, "2.ndjson", lines(record("B")))
    ingest(platform)
    assert (unknown / "1.ndjson").read_bytes() == lines(record("A"))


def test_a_file_taken_away_after_it_was_named_is_a_dead_letter(platform: Platform) -> None:
    """Its batch would stay open for ever, and with it every file that landed after."""
    land(platform, "1.ndjson", lines(record("A")))
    land(platform, "2.ndjson", lines(record("B")))
    with pytest.raises(Interrupted):
        ingest(platform, landing=FragileLanding(platform.home.landing, "after naming the batch"))
    (platform.landing.inbox / "1.ndjson").unlink()
    land(platform, "3.ndjson", lines(record("C")))
    assert ingest(platform).records == Accounting(accepted=2, rejected=1)
    assert letters(platform).select("file_name", "rule").rows() == [("1.ndjson", "missing")]
    assert_closed(platform, Accounting(accepted=2, rejected=1))


def test_a_small_file_that_unpacks_to_more_than_fits_is_taken_in_parts(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk counts records; fifty thousand of a megabyte each are fifty gigabytes."""
    monkeypatch.setattr("ingest.events.CHUNK_BYTES", 100_000)
    large = {"source_id": "S", "proposal_type": "step", "body": {"text": "x" * 30_000}}
    records = [record(f"E-{number}", topic=NOTE, payload=large) for number in range(12)]
    land(platform, "1.ndjson.gz", gzip.compress(lines(*records)))
    before = platform.lake.version(EVENT_BUS) or 0
    assert ingest(platform).records == Accounting(accepted=12)
    assert (platform.lake.version(EVENT_BUS) or 0) - before == 3
    assert_closed(platform, Accounting(accepted=12))


def said_anywhere(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of all that a home holds outside of landing, Parquet unpacked."""
    for path in root.rglob("*"):
        if path.is_file() and not path.is_relative_to(root / "landing"):
            yield str(path), path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                yield str(path), str(pl.read_parquet(path, hive_partitioning=False).rows())


def test_personal_data_is_in_no_byte_outside_of_landing(platform: Platform) -> None:
    """Neither as an event nor as its refusal, in no log, statistic or database page."""
    person = invoice(sender=SECRET)
    land(
        platform,
        "1.ndjson",
        lines(
            record("A", payload=person),
            record("A", payload=person, producer_id="other"),
            record("B", payload=person | {"po_id": 7}),
            record("C", payload=person | {"sender": [SECRET]}),
            record("D", payload=person | {"extra": SECRET}),
            record("E", payload=person, topic="unknown"),
            record("F", payload=person, produced_at="1970-01-01T00:00:00Z"),
            line(record("G", payload=person)).replace(b'"PO-1"', b"NaN"),
            line(record("H", payload=person)).replace(b"PO-1", b"\\ud800"),
            line(record("I", payload=person)).replace(b'"PO-1"', f'"PO-1","sender":"{SECRET}"'.encode()),
            line(record("J", payload=person))[:-20],
            record("K", payload=[SECRET]),
            json.dumps(SECRET).encode(),
        )
        + line(record("L", payload=person))[:-9],
    )
    assert ingest(platform).records == Accounting(accepted=1, rejected=13)
    platform.registry.close()
    said = list(said_anywhere(platform.home.root))
    assert [place for place, text in said if SECRET in text or "private@" in text] == []
    token = Redactor.from_file(platform.home.redaction_key).token(SECRET)
    assert any(token in text for place, text in said if "event_bus" in place)
    assert SECRET.encode() in next(platform.landing.claimed.rglob("1.ndjson")).read_bytes()
    for evidence in letters(platform)["evidence"].drop_nulls():
        assert set(leaves(json.loads(evidence))) <= {"number", "string", "array", "object", "boolean", "null"}


def leaves(value: Any) -> Iterator[str]:
    """Yield the first word of every scalar."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield str(value).split()[0]


# Interruptions

CHUNK = 29
KILLS = 40
TURNS = 5 * KILLS
"""How often it is tried at the most: a process that is done before it is killed does not count."""
SMALL_CHUNK = 5
"""So small that there is something left to do after `KILLS` kills, every third of them after one more commit."""


def stream() -> dict[str, bytes]:
    """Return files with everything in them: faults, duplicates and conflicts within and across files, copies."""
    rng = random.Random(11)
    files: dict[str, bytes] = {}
    faults = small_faults()
    ids = 0
    for number in range(6):
        records: list[bytes] = []
        for _ in range(30):
            ids += 1
            month = rng.choice(["2024-12", "2025-01", "2025-02", "2025-03"])
            sent = line(record(f"E-{ids}", produced_at=f"{month}-0{rng.randint(1, 9)}T09:30:00Z"))
            kind = rng.random()
            records.append(sent)
            if kind < 0.15:
                records.append(rng.choice(faults))
            elif kind < 0.25:
                records.append(sent)
            elif kind < 0.35:
                records.append(line(record(f"E-{rng.randint(1, ids)}", producer_id=f"other {ids}")))
        files[f"{number}.ndjson"] = lines(*records)
    files["6 is 1.ndjson.gz"] = gzip.compress(files["1.ndjson"], mtime=0)
    files["7 is 3.ndjson"] = files["3.ndjson"]
    files["8 is 4 cut.ndjson.gz"] = gzip.compress(files["4.ndjson"], mtime=0)[:-200]
    files["9.ndjson"] = b""
    return files


def small_faults() -> list[bytes]:
    return [content for content, rule, _ in FAULTS.values() if len(content) < 10_000 and rule != "id_conflict"]


def expected() -> Accounting:
    return counted(stream().values())


def counted(files: Iterable[bytes]) -> Accounting:
    """Return the accounting of files in their order, counted by the rules as they are written down."""
    count = Counter[str]()
    held: dict[str, bytes] = {}
    refused: set[tuple[bytes, int]] = set()
    for content in files:
        text = zlib.decompressobj(31).decompress(content) if content[:2] == b"\x1f\x8b" else content
        *records, rest = text.split(b"\n")
        for place, raw in enumerate(records + [b"(no record, or half a one)"] * (rest != b"" or not text)):
            is_event = raw not in small_faults() and raw[:1] == b"{"
            event_id = json.loads(raw)["event_id"] if is_event else ""
            if is_event and event_id not in held:
                held[event_id] = raw
                count["accepted"] += 1
            elif (is_event and held[event_id] == raw) or (content, place) in refused:
                count["duplicates"] += 1
            else:
                refused.add((content, place))
                count["rejected"] += 1
    return Accounting(**count)


def land_stream(root: Path) -> Platform:
    """Return a home in which the stream has landed, with no table made yet."""
    platform = Platform(Home(root))
    load_pack(platform.registry, PACK, actor="test", now=NOW)
    platform.home.redaction_key.write_text("one key for every home of these tests")
    for number, (name, content) in enumerate(stream().items()):
        land(platform, name, content, received_at=RECEIVED_AT + timedelta(seconds=number // 3))
    return platform


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A home that ingested the stream without any interruption."""
    platform = land_stream(tmp_path_factory.mktemp("undisturbed") / "home")
    ingest(platform, chunk=CHUNK)
    yield platform
    platform.close()


@pytest.fixture
def disturbed(tmp_path: Path) -> Iterator[Platform]:
    """A home in which the same stream waits."""
    platform = land_stream(tmp_path / "disturbed")
    yield platform
    platform.close()


def assert_same(platform: Platform, undisturbed: Platform) -> None:
    """Check that two homes hold the same rows, the same accounting and the same raw files, and that it closes."""
    for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
        ours, theirs = (home.lake.scan(spec).sort(*spec.key).collect() for home in (platform, undisturbed))
        assert ours.to_dicts() == theirs.to_dicts()
    for spec in (BATCH, LANDING_FILE):
        assert platform.registry.frame(spec).to_dicts() == undisturbed.registry.frame(spec).to_dicts()
    left, kept = (
        sorted(path.name for path in home.landing.root.rglob("*") if path.is_file() and path.name[0] != ".")
        for home in (platform, undisturbed)
    )
    assert left == kept
    assert_closed(platform, expected())


def test_the_stream_without_any_interruption_adds_up(undisturbed: Platform) -> None:
    """What the interrupted runs are compared with must itself be right."""
    assert_same(undisturbed, undisturbed)
    assert min(expected().accepted, expected().rejected, expected().duplicates) > 30


POOL = [line(record(f"E-{number % 4}", producer_id=f"P-{number // 4}")) for number in range(8)] + small_faults()[:4]


@settings(max_examples=20)
@given(
    files=st.lists(st.lists(st.sampled_from(POOL), max_size=6), max_size=6),
    runs=st.sets(st.integers(0, 5)),
    chunk=st.integers(1, 7),
)
def test_the_accounting_closes_for_any_files_in_any_runs_and_chunks(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[bytes]], runs: set[int], chunk: int
) -> None:
    """How records are spread over files, runs and chunks must not make a difference to any of them."""
    platform = open_platform(tmp_path_factory.mktemp("any") / "home")
    contents = [lines(*records) for records in files]
    for number, content in enumerate(contents):
        land(platform, f"{number}", content, received_at=RECEIVED_AT + timedelta(seconds=number))
        if number in runs:
            ingest(platform, chunk=chunk)
    ingest(platform, chunk=chunk)
    assert_closed(platform, counted(contents))
    held: dict[str, str] = {}
    for raw in (raw for records in files for raw in records if raw in POOL[:8]):
        held.setdefault(json.loads(raw)["event_id"], json.loads(raw)["producer_id"])
    assert dict(events(platform).select("event_id", "producer_id").iter_rows()) == held
    platform.close()


class Interrupted(Exception):
    """Stands for a process that ends."""


class FragileLake(Lake):
    """A lake whose process ends after the `nth` append of rows to a table."""

    def __init__(self, root: Path, table: str, nth: int) -> None:
        super().__init__(root)
        self.table = table
        self.left = nth

    def append(self, spec: Any, frame: pl.DataFrame, *, batch_id: str, **options: Any) -> Appended:
        appended = super().append(spec, frame, batch_id=batch_id, **options)
        self.left -= spec.name == self.table and appended.rows > 0
        if not self.left:
            raise Interrupted
        return appended


class FragileLanding(Landing):
    """A landing zone whose process ends at a point."""

    def __init__(self, root: Path, point: str) -> None:
        super().__init__(root)
        self.point = point

    def claim(self, batch_id: str, names: list[str]) -> dict[str, Path]:
        if self.point == "after naming the batch":
            raise Interrupted
        places = super().claim(batch_id, names[:4] if self.point == "within the claim" else names)
        if self.point in ("within the claim", "after the claim"):
            raise Interrupted
        return places

    def release(self, batch_id: str, *, keep: set[str]) -> None:
        if self.point == "within the release":
            keep = keep | {path.name for path in list((self.claimed / batch_id).iterdir())[2:]}
            super().release(batch_id, keep=keep)
        raise Interrupted


POINTS: dict[str, Callable[[Platform], dict[str, Any]]] = {
    **{
        point: lambda platform, point=point: {"landing": FragileLanding(platform.home.landing, point)}  # type: ignore[misc]
        for point in (
            "after naming the batch",
            "within the claim",
            "after the claim",
            "after the close",
            "within the release",
        )
    },
    **{
        f"after append {nth} to {table}": lambda platform, table=table, nth=nth: {  # type: ignore[misc]
            "lake": FragileLake(platform.home.lake, table, nth)
        }
        for table in ("event_bus", "event_dead_letter")
        for nth in (1, 2, 5)
    },
}


@pytest.mark.parametrize("point", POINTS)
def test_an_interrupted_run_done_again_is_as_if_nothing_had_happened(
    disturbed: Platform, undisturbed: Platform, point: str
) -> None:
    """Whatever step is the last one, the next run must neither lose a record nor count it twice."""
    with pytest.raises(Interrupted):
        ingest(disturbed, chunk=CHUNK, **POINTS[point](disturbed))
    ingest(disturbed, chunk=CHUNK + 11)  # another size, as another version of the program may have
    assert_same(disturbed, undisturbed)
    before = versions(disturbed)
    assert ingest(disturbed) == Ingestion()
    assert versions(disturbed) == before


def test_a_run_interrupted_at_every_point_in_turn_still_ends_well(disturbed: Platform, undisturbed: Platform) -> None:
    """A machine that goes down again while it recovers is an ordinary bad night."""
    for point in POINTS:
        with pytest.raises(Interrupted):
            ingest(disturbed, chunk=CHUNK, **POINTS[point](disturbed))
        if point == "after the claim":
            break
    for nth in (1, 3):
        with pytest.raises(Interrupted):
            ingest(disturbed, chunk=CHUNK, lake=FragileLake(disturbed.home.lake, "event_bus", nth))
        with pytest.raises(Interrupted):
            ingest(disturbed, chunk=CHUNK, lake=FragileLake(disturbed.home.lake, "event_dead_letter", nth))
    ingest(disturbed, chunk=CHUNK)
    assert_same(disturbed, undisturbed)


def test_the_door_is_made_once_nobody_else_holds_the_landing_zone(platform: Platform) -> None:
    """Made before, it would not know of a purge that it waited for, and take events of the month that went."""
    made: list[Door] = []

    def door() -> Door:
        with pytest.raises(Timeout):
            FileLock(platform.landing.root / ".landing.lock").acquire(timeout=0)
        made.append(platform.door())
        return made[-1]

    ingest(platform, door=door)
    assert len(made) == 1


@pytest.mark.parametrize("point", ["after append 2 to event_bus", "after append 2 to event_dead_letter"])
def test_what_an_interrupted_batch_committed_stands_though_the_rules_changed_meanwhile(
    disturbed: Platform, undisturbed: Platform, point: str
) -> None:
    """A new redaction key gives every event another hash: the batch's own rows were conflicts with themselves."""
    with pytest.raises(Interrupted):
        ingest(disturbed, chunk=CHUNK, **POINTS[point](disturbed))
    held = {spec.name: disturbed.lake.scan(spec).collect() for spec in (EVENT_BUS, EVENT_DEAD_LETTER)}
    key = Redactor(b"quite another key of these tests")
    marked = {"type": "object", "properties": {"vendor_id": {"type": "string", "x-pii": True}}}
    door = Door({"ap.invoice.received": Topic({2: marked})}, redactor=key, first_month=date(2000, 1, 1))
    ingest(disturbed, chunk=CHUNK + 3, door=lambda: door)
    for spec in (EVENT_BUS, EVENT_DEAD_LETTER):
        now = disturbed.lake.scan(spec).collect()
        assert now.join(held[spec.name], on=spec.names, how="semi", nulls_equal=True).height == held[spec.name].height
    files = disturbed.registry.frame(LANDING_FILE)
    total = Accounting(
        *files.select(pl.sum(f"records_{kind}") for kind in ("accepted", "rejected", "duplicate")).row(0)
    )
    assert_closed(disturbed, total)
    assert total.read == expected().read


def test_what_lands_during_an_interruption_is_ingested_after_what_was_interrupted(platform: Platform) -> None:
    """The first content of an id holds, and the interrupted batch was first."""
    land(platform, "1.ndjson", lines(record("A"), record("B")))
    with pytest.raises(Interrupted):
        ingest(platform, landing=FragileLanding(platform.home.landing, "after the claim"))
    land(platform, "1.ndjson", lines(record("A", producer_id="other"), record("C")), received_at=MARCH_1)
    done = ingest(platform)
    assert (done.batches, done.records) == (2, Accounting(accepted=3, rejected=1))
    assert events(platform)["producer_id"].to_list() == ["mail-ingestor"] * 3
    assert_closed(platform, Accounting(accepted=3, rejected=1))


def ingest_in_process(root: Path, ready: Any, chunk: int = CHUNK) -> None:
    """Ingest what waits in the home at `root`, saying when it begins."""
    platform = Platform(Home(root))
    ready.set()
    ingest(platform, chunk=chunk)
    platform.close()


def start(root: Path) -> multiprocessing.process.BaseProcess:
    """Return a process that has begun to ingest."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=ingest_in_process, args=(root, ready))
    process.start()
    assert ready.wait(60)
    return process


def ingest_many_times(root: Path, turns: Any, begun: Any) -> None:
    """Ingest what waits, in a fork per turn that the parent may kill; importing once is what makes it many."""
    for _ in range(turns):
        begun.recv()
        process = multiprocessing.get_context("fork").Process(
            target=ingest_in_process, args=(root, _Nothing(), SMALL_CHUNK)
        )
        process.start()
        begun.send(process.pid)
        process.join()
        begun.send(process.exitcode)


class _Nothing:
    def set(self) -> None: ...


def test_a_process_killed_at_any_moment_leaves_nothing_that_the_next_run_does_not_mend(
    disturbed: Platform, undisturbed: Platform
) -> None:
    """Between the steps that a test can name lie those that nobody thought of.

    The processes are forks of one that imported everything and touched nothing, so that forty of them take seconds;
    each is killed a random time after it began, or after a commit was seen.
    """
    rng = random.Random()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    nursery = context.Process(target=ingest_many_times, args=(disturbed.home.root, TURNS, theirs), daemon=False)
    nursery.start()
    log = disturbed.lake.path(EVENT_BUS) / "_delta_log"
    kills = 0
    for turn in range(TURNS):
        wanted = len(list(log.glob("*.json"))) + (turn % 3 == 2)
        ours.send("go")
        pid = ours.recv()
        deadline = time.monotonic() + rng.uniform(0.0, 0.6)
        while time.monotonic() < deadline or (turn % 3 == 2 and len(list(log.glob("*.json"))) < wanted):
            if ours.poll(0.002):
                break
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        kills += ours.recv() == -signal.SIGKILL
        if kills >= KILLS:
            break
    nursery.kill()
    nursery.join(60)
    ingest(disturbed, chunk=SMALL_CHUNK)
    assert_same(disturbed, undisturbed)
    assert kills >= KILLS


def test_two_processes_at_once_ingest_every_record_once(disturbed: Platform, undisturbed: Platform) -> None:
    """The UI and the command line run at the same time; each file must be claimed by one of them."""
    processes = [start(disturbed.home.root) for _ in range(2)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert_same(disturbed, undisturbed)
