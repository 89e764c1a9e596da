"""Dead letters that are worked: repaired, replayed, dismissed, and the raw records they point into."""

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.platform import Platform
from ingest.dead_letters import (
    DeadLetter,
    DeadLetterFault,
    Replayed,
    dead_letters,
    dismiss,
    find,
    raw_records,
    refusal_rate,
    repair,
    repaired_record,
    replay,
)
from ingest.events import ingest_landing
from ingest.outbox import deliver_outbox
from lake.home import Home
from lake.tables import EVENT_BUS, LOGS, SCHEMA_REGISTRY
from registry.database import insert
from registry.loader import PACK, load_pack
from registry.outbox import announce

NOW = datetime(2025, 3, 2, 12, tzinfo=UTC)
Content = dict[str, Any]


def invoice(event_id: str, **payload: Any) -> Content:
    """Return a record of ap.invoice.received; a member of None is left out."""
    body = {
        "invoice_uri": "sim://1",
        "vendor_id": "V-1",
        "po_id": "PO-1",
        "received_at": "2025-03-01T09:30:00Z",
    } | payload
    return {
        "event_id": event_id,
        "topic": "ap.invoice.received",
        "produced_at": "2025-03-01T09:30:00Z",
        "producer_id": "mail",
        "payload": {name: value for name, value in body.items() if value is not None},
    }


class Desk:
    """A home whose dead letters are worked on."""

    def __init__(self, root: Path) -> None:
        self.platform = Platform(Home(root))
        load_pack(self.platform.registry, PACK, actor="bootstrap", now=NOW)
        self.platform.lake.ensure(LOGS)
        self.at: dict[str, Any] = {"lake": self.platform.lake, "registry": self.platform.registry}

    def land(self, name: str, *records: Content | bytes, packed: bool = False) -> None:
        lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
        content = b"\n".join(lines) + b"\n"
        self.platform.landing.put(name, gzip.compress(content) if packed else content, received_at=NOW)

    def ingest(self) -> tuple[int, int, int]:
        """Ingest what waits; return accepted, rejected and duplicates."""
        platform = self.platform
        done = ingest_landing(platform.landing, **self.at, door=platform.door, now=NOW).records
        assert done.read == done.accepted + done.rejected + done.duplicates
        return done.accepted, done.rejected, done.duplicates

    def open(self, **filters: Any) -> list[DeadLetter]:
        return dead_letters(self.platform.lake, self.platform.registry, **filters)

    def repair(self, letter: DeadLetter, content: bytes) -> str:
        platform = self.platform
        return repair(
            letter,
            content,
            what="a test",
            door=platform.door(),
            landing=platform.landing,
            actor="tester",
            now=NOW,
            **self.at,
        )

    def replay(self, letters: list[DeadLetter]) -> Replayed:
        platform = self.platform
        doors = {"door": platform.door(), "inner_door": platform.inner_door()}
        return replay(letters, **doors, landing=platform.landing, actor="tester", now=NOW, **self.at)

    def dismiss(self, letters: list[DeadLetter]) -> int:
        return dismiss(
            letters,
            reason="nobody needs it",
            landing=self.platform.landing,
            actor="tester",
            now=NOW,
            **self.at,
        )

    def register(self, topic: str) -> None:
        """Register a schema for a topic that was unknown."""
        audit = {"created_at": NOW, "created_by": "t", "updated_at": NOW, "updated_by": "t"}
        stated = {"version": 1, "semver": "1.0.0", "format": "json", "schema": "{}", "compatibility": "none"}
        with self.platform.registry.transaction() as connection:
            insert(connection, SCHEMA_REGISTRY, [{"subject": topic, **stated, **audit}])

    def events(self) -> set[str]:
        return set(self.platform.lake.scan(EVENT_BUS).collect()["event_id"])

    def raw_files(self) -> set[str]:
        return {path.name for path in self.platform.landing.claimed.rglob("*") if path.is_file()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "home")


def test_a_repaired_record_becomes_the_event_it_was_meant_to_be(desk: Desk) -> None:
    """A refused invoice would stay refused, or come in under an id that nobody knows."""
    desk.land("a.ndjson", invoice("I-1", po_id=None), invoice("I-2"))
    assert desk.ingest() == (1, 1, 0)
    (letter,) = desk.open()
    assert (letter.event_id, letter.rule) == ("I-1", "payload_schema")
    raw = raw_records([letter], desk.platform.landing)[letter.dead_letter_id]
    desk.repair(letter, repaired_record(letter, raw, {"/payload/po_id": "PO-9"}))
    assert desk.open() == []
    assert desk.ingest() == (1, 0, 0)
    assert desk.events() == {"I-1", "I-2"}


def test_a_record_that_would_be_refused_again_is_not_landed(desk: Desk) -> None:
    """The desk would fill with dead letters of dead letters."""
    desk.land("a.ndjson", invoice("I-1", po_id=None))
    desk.ingest()
    (letter,) = desk.open()
    with pytest.raises(DeadLetterFault, match="payload_schema"):
        desk.repair(letter, json.dumps(invoice("I-1", po_id=None)).encode())
    with pytest.raises(DeadLetterFault, match="it keeps the id 'I-1'"):
        desk.repair(letter, json.dumps(invoice("I-other")).encode())
    assert desk.open() == [letter]
    assert desk.ingest() == (0, 0, 0)


def test_a_conflict_is_repaired_under_another_id(desk: Desk) -> None:
    """The one rule that only a new id mends would have no way out."""
    desk.land("a.ndjson", invoice("I-1"), invoice("I-1", vendor_id="V-2"))
    assert desk.ingest() == (1, 1, 0)
    (letter,) = desk.open(rule="id_conflict")
    raw = raw_records([letter], desk.platform.landing)[letter.dead_letter_id]
    desk.repair(letter, repaired_record(letter, raw, {"/event_id": "I-1b"}))
    assert desk.ingest() == (1, 0, 0)
    assert desk.events() == {"I-1", "I-1b"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_replayed_record_is_the_one_that_came_to_the_byte(desk: Desk, packed: bool) -> None:
    """A number of thirty digits would come back rounded, or another line of the file would be sent."""
    record = (
        b'{"event_id":"X-1","topic":"new.topic","producer_id":"p","produced_at":"2025-03-01T00:00:00Z",'
        b'"payload": {"n":0.123456789012345678901234567890}}'
    )
    desk.land("a.ndjson", invoice("I-1"), record, invoice("I-2"), packed=packed)
    assert desk.ingest() == (2, 1, 0)
    (letter,) = desk.open()
    assert raw_records([letter], desk.platform.landing) == {letter.dead_letter_id: record}
    assert desk.replay([letter]).file_name is None, "nothing has changed, yet it was landed"
    desk.register("new.topic")
    name = desk.replay([letter]).file_name
    assert name is not None
    assert (desk.platform.landing.inbox / name).read_bytes() == record + b"\n"
    assert desk.ingest() == (1, 0, 0)
    assert desk.events() == {"I-1", "X-1", "I-2"}


def test_what_would_be_refused_again_stays_open(desk: Desk) -> None:
    """A replay into the same wall would make the record vanish from the list of what is to be done."""
    desk.land("a.ndjson", invoice("I-1", po_id=None), invoice("I-2"), invoice("I-2", vendor_id="V-2"))
    assert desk.ingest() == (1, 2, 0)
    letters = desk.open()
    done = desk.replay(letters)
    assert done.landed == ()
    assert sorted(verdict.rule for _, verdict in done.refused) == ["id_conflict", "payload_schema"]
    assert desk.open() == letters
    assert desk.ingest() == (0, 0, 0)


def test_what_the_registry_announced_waits_in_the_outbox_again(desk: Desk) -> None:
    """A change whose announcement met a missing schema would never be in the audit."""
    deliver_outbox(**desk.at, door=desk.platform.inner_door(), now=NOW)
    with desk.platform.registry.transaction() as connection:
        announce(connection, topic="new.topic", payload={"n": 1}, producer_id="t", now=NOW, key="n")
    assert deliver_outbox(**desk.at, door=desk.platform.inner_door(), now=NOW).records.rejected == 1
    (letter,) = desk.open()
    assert [verdict.rule for _, verdict in desk.replay([letter]).refused] == ["unknown_topic"]
    assert desk.open() == [letter]
    desk.register("new.topic")
    assert desk.replay([letter]).landed == (letter,)
    assert desk.open() == []
    assert deliver_outbox(**desk.at, door=desk.platform.inner_door(), now=NOW).records.accepted == 1
    assert letter.event_id in desk.events()


def test_the_raw_file_goes_with_its_last_open_letter(desk: Desk) -> None:
    """Personal data would lie in the landing zone for ever, or a letter would point at nothing."""
    desk.land("a.ndjson", invoice("I-1", po_id=None), invoice("I-2", vendor_id=None))
    desk.land("b.ndjson", invoice("I-3", po_id=None))
    desk.ingest()
    first, *_ = desk.open(producer_id="mail")
    assert desk.raw_files() == {"a.ndjson", "b.ndjson"}
    by_event = {letter.event_id: letter for letter in desk.open()}
    assert desk.dismiss([by_event["I-1"]]) == 1
    assert desk.raw_files() == {"a.ndjson", "b.ndjson"}
    assert desk.dismiss([by_event["I-2"]]) == 1
    assert desk.raw_files() == {"b.ndjson"}
    assert first.event_id in by_event


def test_a_letter_is_settled_once(desk: Desk) -> None:
    """Two people at the same list would land a record twice, or undo each other's decision."""
    desk.land("a.ndjson", invoice("I-1", po_id=None), invoice("I-2", po_id=None))
    desk.ingest()
    letters = desk.open()
    desk.dismiss(letters[:1])
    settled = find(desk.platform.lake, desk.platform.registry, letters[0].dead_letter_id)
    assert settled.state == "dismissed"
    with pytest.raises(DeadLetterFault, match="was dismissed before"):
        desk.repair(settled, b"{}")
    assert desk.replay([settled]) == Replayed((), (), None)
    assert desk.dismiss([settled]) == 0


def test_a_letter_about_a_whole_file_says_what_to_do(desk: Desk) -> None:
    """A truncated file has no record to send again; trying would land an empty one."""
    desk.platform.landing.put("cut.ndjson.gz", gzip.compress(b'{"a": 1}\n' * 99)[:-12], received_at=NOW)
    desk.ingest()
    letters = [letter for letter in desk.open() if letter.rule == "truncated"]
    with pytest.raises(DeadLetterFault, match="have the file sent again"):
        desk.replay(letters)


def test_a_record_whose_file_is_gone_says_so(desk: Desk) -> None:
    """The retention of raw records would look like a broken command."""
    desk.land("a.ndjson", invoice("I-1", po_id=None))
    desk.ingest()
    for path in desk.platform.landing.claimed.rglob("a.ndjson"):
        path.unlink()
    with pytest.raises(DeadLetterFault, match="ask its producer to send it again"):
        desk.replay(desk.open())
    assert len(desk.open()) == 1


@pytest.mark.parametrize(
    ("changes", "removed", "expected"),
    [
        ({"/a": 1}, (), '{"a":1,"b":[1,{"c":2}],"x/y":0,"~":0}'),
        ({"/b/1/c": "ü"}, (), '{"a":9007199254740993,"b":[1,{"c":"ü"}],"x/y":0,"~":0}'),
        ({"/x~1y": None, "/~0": 5}, (), '{"a":9007199254740993,"b":[1,{"c":2}],"x/y":null,"~":5}'),
        ({}, ("/b/0", "/a"), '{"b":[{"c":2}],"x/y":0,"~":0}'),
    ],
)
def test_a_member_is_found_by_its_pointer_and_the_rest_stays(
    changes: dict[str, Any], removed: tuple[str, ...], expected: str
) -> None:
    """A repair would change what nobody asked it to: RFC 6901 says how names with / and ~ are written."""
    raw = b'{"a":9007199254740993,"b":[1,{"c":2}],"x/y":0,"~":0}'
    assert repaired_record(letter_of("payload_schema"), raw, changes, removed).decode() == expected


@pytest.mark.parametrize("pointer", ["a", "/no/where", "/b/7", "/b/-1", "/a/b"])
def test_a_pointer_that_leads_nowhere_is_refused(pointer: str) -> None:
    """A typing error would add a member that the schema does not know, or end in a traceback."""
    with pytest.raises(DeadLetterFault):
        repaired_record(letter_of("payload_schema"), b'{"a":1,"b":[1]}', {}, [pointer])
    if pointer not in ("/no/where",):
        with pytest.raises(DeadLetterFault):
            repaired_record(letter_of("payload_schema"), b'{"a":1,"b":[1]}', {pointer: 1})


def letter_of(rule: str) -> DeadLetter:
    return DeadLetter(
        "d" * 36, rule, "", "", None, None, None, None, None, "a", "f", 0, NOW, "b", NOW.date().replace(day=1), "open"
    )


def test_the_rate_counts_what_closed_in_its_window(desk: Desk) -> None:
    """An old wave of bad records would alarm for ever, or a new one would not."""
    desk.land("a.ndjson", invoice("I-1", po_id=None), invoice("I-2"), invoice("I-3"), b"no json")
    desk.ingest()
    found = refusal_rate(desk.platform.registry, since=NOW)
    assert (found.records_read, found.records_rejected, found.rate) == (4, 2, 0.5)
    assert refusal_rate(desk.platform.registry, since=NOW + timedelta(microseconds=1)).rate == 0.0


@pytest.fixture
def run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs `rwcm dead-letters` on the desk's home."""
    from click.testing import CliRunner

    from app.cli import main

    monkeypatch.setenv("RWCM_HOME", str(desk.platform.home.root))
    return lambda *words: CliRunner().invoke(main, ["dead-letters", *words])


def test_the_commands_list_show_repair_and_dismiss(desk: Desk, run: Callable[..., Any], tmp_path: Path) -> None:
    """Who has only the README could not get a record out of the desk."""
    desk.platform.home.fix(as_of=NOW, seed=1, events=100)  # the clock of this home stands at NOW
    desk.land("a.ndjson", invoice("I-1", po_id=None), invoice("I-2", po_id=None), invoice("I-3", po_id=None))
    desk.ingest()
    listed = json.loads(run("list", "--json", "--topic", "ap.invoice.received").output)
    by_event = {letter["event_id"]: letter["dead_letter_id"] for letter in listed}
    assert set(by_event) == {"I-1", "I-2", "I-3"}
    shown = run("show", by_event["I-1"][:12])
    assert "payload_schema" in shown.output
    assert "sim://1" not in shown.output, "a value was shown without being asked for"
    assert json.loads(run("show", "--raw", by_event["I-1"]).output) == invoice("I-1", po_id=None)

    assert run("repair", by_event["I-1"]).exit_code == 2
    assert run("repair", by_event["I-1"], "--set", "/payload/po_id").exit_code == 2
    assert run("repair", by_event["I-1"], "--set", '/payload/po_id="PO-1"').exit_code == 0
    corrected = tmp_path / "I-2.json"
    corrected.write_text(json.dumps(invoice("I-2"), indent=2))
    assert run("repair", by_event["I-2"], "--file", str(corrected)).exit_code == 0
    os.mkfifo(tmp_path / "pipe")
    assert run("repair", by_event["I-3"], "--file", str(tmp_path / "pipe")).exit_code == 2, "a pipe was waited for"
    assert run("dismiss", by_event["I-3"], "--reason", "cancelled").exit_code == 0
    assert run("dismiss", "--reason", "everything").exit_code == 2
    assert desk.ingest() == (2, 0, 0)
    assert desk.events() == {"I-1", "I-2"}
    assert run("list").output.strip() == "No dead letters."
    assert {letter["state"] for letter in json.loads(run("list", "--state", "all", "--json").output)} == {
        "repaired",
        "dismissed",
    }
