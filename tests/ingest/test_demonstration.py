"""The demonstration's stream: the same world from the same seed, and an ingestion that finds just what was planned."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.platform import Platform
from guard.canonical import parse
from ingest.commit import Accounting
from ingest.demonstration import MONTHS, VENDORS, Stream, land_demonstration
from ingest.landing import Landing
from lake.home import PROJECT_ROOT, Demonstration, Home
from lake.months import add_months, month_of
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER
from tests.senders import ingest

AS_OF = datetime(2025, 6, 17, 14, 35, 12, 345_678, tzinfo=UTC)


def landed(root: Path, *, seed: int = 7, events: int = 300, as_of: datetime = AS_OF) -> tuple[Stream, Home]:
    """Land a demonstration in a home of its own."""
    home = Home(root).prepare()
    stream = land_demonstration(home, Landing(home.landing), Demonstration(as_of, seed, events))
    assert stream is not None
    return stream, home


def content(home: Home) -> dict[str, tuple[bytes, int]]:
    """Return bytes and time of each landed file."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (home.landing / "inbox").iterdir()
        if path.name[0] != "."
    }


def simulated(home: Home) -> dict[str, pl.DataFrame]:
    return {path.name: pl.read_parquet(path) for path in home.simulated.glob("*.parquet")}


def sent(home: Home) -> list[Any]:
    """Return the records that can be read as JSON."""
    records = []
    for data, _ in content(home).values():
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        for raw in text.split(b"\n"):
            with suppress(ValueError):
                records.append(json.loads(raw))
    return records


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Every number that the documentation shows is from a seed; it must come out again."""
    (one, first), (other, second) = landed(tmp_path / "1"), landed(tmp_path / "2")
    assert one == other
    assert content(first) == content(second)
    assert {name: frame.rows() for name, frame in simulated(first).items()} == {
        name: frame.rows() for name, frame in simulated(second).items()
    }


def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """The order of a set does, and so would everything drawn after it."""
    script = (
        "import hashlib, sys\n"
        "from pathlib import Path\n"
        "from tests.ingest.test_demonstration import content, landed\n"
        "files = content(landed(Path(sys.argv[1]))[1])\n"
        "print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=PROJECT_ROOT,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    here = content(landed(tmp_path / "here")[1])
    assert told == {hashlib.sha256(repr(sorted(here.items())).encode()).hexdigest()}


def test_another_seed_gives_other_vendors(tmp_path: Path) -> None:
    """What is proposed must follow from the data; with one world nobody could tell."""
    (one, first), (other, second) = landed(tmp_path / "1", seed=1), landed(tmp_path / "2", seed=2)
    vendors = [set(simulated(home)["purchase_orders.parquet"]["vendor_id"]) for home in (first, second)]
    assert set(one.over_billers) <= vendors[0]
    assert set(one.over_billers) != set(other.over_billers)
    assert len(vendors[0] & vendors[1]) < len(vendors[0] | vendors[1]) / 4
    assert {len(found) for found in vendors} <= set(range(VENDORS + 1))
    shared = {data for data, _ in content(first).values()} & {data for data, _ in content(second).values()}
    assert len(shared) == 3  # the files without a single event


@pytest.mark.parametrize(
    ("events", "seed"),
    [(100, 0), (100, 1), (100, 2), (101, 3), (1_000, 1), (1_000, 7), (1_000, 12_345), (5_000, 7)],
)
def test_ingestion_finds_exactly_what_was_planned(platform: Platform, events: int, seed: int) -> None:
    """The stream says what it hides; an ingestion that counts otherwise is wrong, or the demonstration is."""
    stream = land_demonstration(platform.home, platform.landing, Demonstration(AS_OF, seed, events))
    assert stream is not None
    assert stream.records == events == sum(stream.planned.values())
    assert stream.files == len(content(platform.home))
    done = ingest(platform, now=AS_OF)
    planned = Counter(stream.planned)
    accepted, duplicates = planned.pop("accepted"), planned.pop("duplicate", 0)
    assert done.rules == planned
    assert done.records == Accounting(accepted=accepted, rejected=planned.total(), duplicates=duplicates)
    assert done.files == stream.files
    assert sum(done.rows[EVENT_BUS.name].values()) == accepted
    assert platform.lake.scan(EVENT_DEAD_LETTER).collect()["rule"].value_counts().sort("rule").rows() == sorted(
        planned.items()
    )


@pytest.mark.parametrize(
    "as_of",
    [
        datetime(2024, 2, 29, 12, tzinfo=UTC),
        datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2025, 8, 31, 3, tzinfo=UTC),
        datetime(2025, 6, 15, 5, tzinfo=UTC),
    ],
    ids=str,
)
def test_the_plan_holds_at_any_moment_it_is_fixed_to(platform: Platform, as_of: datetime) -> None:
    """`make run` fixes it to the clock: on a leap day, at new year and on a Sunday before the office opens."""
    stream = land_demonstration(platform.home, platform.landing, Demonstration(as_of, 7, 400))
    assert stream is not None
    done = ingest(platform, now=as_of)
    assert (done.records.accepted, done.records.duplicates) == (
        stream.planned["accepted"],
        stream.planned.get("duplicate", 0),
    )
    times = platform.lake.scan(EVENT_BUS).collect()["produced_at"]
    earliest = month_of(min(times))
    assert max(times) <= as_of
    # A weekend moves back to its Friday, at the most into the month before.
    assert add_months(month_of(as_of), -MONTHS - 1) <= earliest


def test_every_kind_of_fault_is_in_a_large_stream(tmp_path: Path) -> None:
    """A fault that never occurs in the demonstration is one that it does not show."""
    stream, _ = landed(tmp_path, events=20_000)
    assert set(stream.planned) == {
        "accepted",
        "duplicate",
        "id_conflict",
        "not_json",
        "no_topic",
        "no_event_id",
        "unknown_topic",
        "payload_schema",
        "bad_time",
        "time_out_of_range",
        "duplicate_key",
        "bad_text",
        "bad_number",
        "empty_file",
        "not_gzip",
        "truncated",
    }


def test_the_simulated_systems_hold_what_the_events_name(tmp_path: Path) -> None:
    """An invoice whose document does not exist would fail for a reason that no stream of the real world has."""
    _, home = landed(tmp_path, events=1_000)
    tables = simulated(home)
    uris = set(tables["documents.parquet"]["uri"])
    orders = dict(tables["purchase_orders.parquet"].select("po_id", "vendor_id").iter_rows())
    received = [each for each in sent(home) if each.get("topic") == "ap.invoice.received"]
    whole = [each["payload"] for each in received if {"vendor_id", "po_id"} <= each["payload"].keys()]
    assert len(whole) > 800
    assert {payload["invoice_uri"] for payload in whole} <= uris
    named = [payload for payload in whole if isinstance(payload["po_id"], str) and payload["po_id"][-2:] != "-B"]
    assert all(orders[payload["po_id"]] == payload["vendor_id"] for payload in named if payload["vendor_id"][0] == "V")
    decided = {each["payload"]["subject_id"] for each in sent(home) if each.get("topic") == "handoff.decided"}
    assert decided <= {each.get("event_id") for each in received}
    assert decided


def test_a_demonstration_lands_once(tmp_path: Path) -> None:
    """A second run changes nothing."""
    _, home = landed(tmp_path)
    before = content(home)
    for path in (home.landing / "inbox").iterdir():
        path.unlink()
    assert land_demonstration(home, Landing(home.landing), Demonstration(AS_OF, 7, 300)) is None
    assert content(home) == {}
    assert before


def test_a_landing_that_was_interrupted_adds_no_event_when_done_again(platform: Platform) -> None:
    """The marker is written last; what was ingested already is known."""
    demonstration = Demonstration(AS_OF, 7, 300)
    stream = land_demonstration(platform.home, platform.landing, demonstration)
    assert stream is not None
    for path in sorted((platform.home.landing / "inbox").glob("*.ndjson*"))[::2]:
        path.unlink()
    (platform.home.simulated / "landed.json").unlink()
    first = ingest(platform, now=AS_OF).records
    again = land_demonstration(platform.home, platform.landing, demonstration)
    assert again == stream
    second = ingest(platform, now=AS_OF).records
    assert first.accepted + second.accepted == stream.planned["accepted"]
    assert first.rejected + second.rejected == sum(
        count for kind, count in stream.planned.items() if kind not in ("accepted", "duplicate")
    )


def test_personal_data_of_the_demonstration_does_not_pass(platform: Platform) -> None:
    """Its senders are made up, but they are marked, and so are tokens in the lake."""
    land_demonstration(platform.home, platform.landing, Demonstration(AS_OF, 7, 300))
    assert any(b"billing@" in data for data, _ in content(platform.home).values())
    ingest(platform, now=AS_OF)
    payloads = platform.lake.scan(EVENT_BUS).filter(pl.col("topic") == "ap.invoice.received").collect()["payload"]
    assert {parse(payload)["sender"][:4] for payload in payloads} == {"pii:"}
    assert not any("billing@" in payload for payload in payloads)
