"""Delivery of the outbox: each announced event reaches `event_bus` once, whatever happens on the way."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from dagster_project.platform import Platform
from guard.canonical import parse
from ingest.events import Ingestion, ingest_landing
from ingest.outbox import deliver_outbox
from lake.tables import BATCH, EVENT_BUS, EVENT_DEAD_LETTER, OBJECT_VERSION, OUTBOX
from registry.access import Denied, Principal, authorise
from registry.outbox import OWN_TOPICS, announce, announce_many
from registry.tokens import issue_token, revoke_tokens
from tests.senders import lines, record

ROOT = Path(__file__).parents[2]
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
DECISION = {"subject_id": "E-1", "decision": "approved", "decided_by": "FA-M-001"}


def deliver(platform: Platform, **options: int) -> Ingestion:
    return deliver_outbox(platform.registry, platform.lake, platform.inner_door(), now=NOW, **options)


def events(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(EVENT_BUS).sort("event_id").collect()


def letters(platform: Platform) -> pl.DataFrame:
    return platform.lake.scan(EVENT_DEAD_LETTER).sort("dead_letter_id").collect()


def batches(platform: Platform) -> pl.DataFrame:
    return platform.registry.frame(BATCH).filter(pl.col("kind") == "outbox")


def waiting(platform: Platform) -> list[str]:
    return platform.registry.frame(OUTBOX)["event_id"].to_list()


def say(platform: Platform, number: int, *, at: datetime = NOW, topic: str = "handoff.decided") -> list[str]:
    """Announce decisions and return their ids."""
    with platform.registry.transaction() as connection:
        return [
            announce(
                connection,
                topic=topic,
                payload=DECISION | {"subject_id": f"E-{n}"},
                producer_id="test",
                now=at,
                key=f"{n}",
            )
            for n in range(number)
        ]


def assert_closed(platform: Platform) -> None:
    """Check that every batch accounts for what it read, and that all it accepted and refused is there."""
    rows = batches(platform)
    assert rows["state"].to_list() == ["done"] * rows.height
    parts = rows["records_accepted"] + rows["records_rejected"] + rows["records_duplicate"]
    assert rows["records_read"].to_list() == parts.to_list()
    delivered = events(platform).filter(pl.col("created_by") == "outbox")
    assert rows["records_accepted"].sum() == delivered.height == delivered["event_id"].n_unique()
    refused = letters(platform).filter(pl.col("created_by") == "outbox")
    assert rows["records_rejected"].sum() == refused.height == refused["dead_letter_id"].n_unique()


def test_the_bootstrap_is_delivered_as_a_batch_of_its_own(platform: Platform) -> None:
    """Who put what into the registry must be answerable from the first object on."""
    versions = platform.registry.frame(OBJECT_VERSION)
    done = deliver(platform)
    told = events(platform)
    assert (done.batches, done.records.read, done.records.accepted) == (1, versions.height, versions.height)
    assert set(told["topic"]) == {"registry.changed"}
    named = {(p["object_type"], p["object_id"], p["version"]) for p in map(parse, told["payload"])}
    assert named == set(versions.select("object_type", "object_id", "version").iter_rows())
    assert waiting(platform) == []
    assert_closed(platform)


def test_an_event_is_delivered_as_it_was_announced(platform: Platform) -> None:
    """Time, producer and every digit of the payload are what an auditor reads."""
    deliver(platform)
    at = NOW - timedelta(days=40, microseconds=1)
    with platform.registry.transaction() as connection:
        payload = {"policy_id": "POL-1", "spec": {"limit": 2**60 + 1, "é": None}}
        event_id = announce(connection, topic="policy.updated", payload=payload, producer_id="u-17", now=at)
    deliver(platform)
    (row,) = events(platform).filter(pl.col("topic") == "policy.updated").iter_rows(named=True)
    assert (row["event_id"], row["producer_id"], row["produced_at"], row["created_at"]) == (event_id, "u-17", at, at)
    assert row["payload"] == '{"policy_id":"POL-1","spec":{"limit":1152921504606846977,"é":null}}'
    assert row["schema_version"] == 1


def test_a_second_delivery_adds_nothing(platform: Platform) -> None:
    """Delivery runs with every loop; most of the time nothing waits."""
    deliver(platform)
    version = platform.lake.version(EVENT_BUS)
    done = deliver(platform)
    assert (done.batches, done.records.read, platform.lake.version(EVENT_BUS)) == (0, 0, version)


def test_what_is_announced_again_after_its_delivery_is_a_duplicate(platform: Platform) -> None:
    """A key names what is announced, also when its row has left the outbox."""
    say(platform, 3)
    deliver(platform)
    say(platform, 3)
    done = deliver(platform)
    assert (done.records.accepted, done.records.duplicates) == (0, 3)
    assert waiting(platform) == []
    assert_closed(platform)


def test_an_event_that_breaks_its_schema_becomes_a_dead_letter_and_is_kept(platform: Platform) -> None:
    """Its only copy is the row; the events beside it go on."""
    deliver(platform)
    with platform.registry.transaction() as connection:
        announce_many(connection, "handoff.decided", [DECISION, {"secret": "x1y2"}], producer_id="t", now=NOW)
        lost = announce(connection, topic="no.such.topic", payload={}, producer_id="t", now=NOW)
    done = deliver(platform)
    assert (done.records.accepted, done.records.rejected) == (1, 2)
    assert done.rules == {"payload_schema": 1, "unknown_topic": 1}
    refused = letters(platform)
    assert set(refused["file_name"]) == {"outbox"}
    assert not any("x1y2" in text for text in refused["evidence"])
    kept = platform.registry.frame(OUTBOX)
    assert lost in kept["event_id"].to_list()
    assert sorted(kept["event_id"]) == sorted(refused["event_id"])
    assert '{"secret":"x1y2"}' in kept["payload"].to_list()
    assert deliver(platform).records.read == 0
    assert_closed(platform)


def test_an_id_that_another_content_holds_is_a_conflict_and_nothing_is_lost(platform: Platform) -> None:
    """Whoever lands an event under an id that follows from a key must not silence the announcement."""
    deliver(platform)
    (taken,) = say(platform, 1)
    forged = record(event_id=taken, topic="handoff.decided", payload=DECISION, produced_at=NOW.isoformat())
    platform.landing.put("forged.ndjson", lines(forged), received_at=NOW)
    ingest_landing(platform.landing, registry=platform.registry, lake=platform.lake, door=platform.door, now=NOW)
    done = deliver(platform)
    assert done.rules == {"id_conflict": 1}
    assert waiting(platform) == [taken]
    assert_closed(platform)


@pytest.mark.parametrize("topic", OWN_TOPICS)
def test_what_the_registry_announces_cannot_be_written_from_outside(platform: Platform, topic: str) -> None:
    """An event that somebody lands must not look like a change that never was."""
    forged = record(event_id="F-1", topic=topic, payload={}, produced_at=NOW.isoformat())
    platform.landing.put("forged.ndjson", lines(forged), received_at=NOW)
    done = ingest_landing(platform.landing, registry=platform.registry, lake=platform.lake, door=platform.door, now=NOW)
    assert done.rules == {"reserved_topic": 1}
    assert events(platform).is_empty()


def test_tokens_and_denials_arrive_as_their_schemas_say(platform: Platform) -> None:
    """An audit event that its own schema refuses would end among the dead letters, unseen."""
    issued = issue_token(
        platform.registry, subject_id="山田", subject_type="person", role_id="FA-M-001", actor="operator:root", now=NOW
    )
    revoke_tokens(platform.registry, token_id=issued.token_id, actor="operator:root", now=NOW)
    for principal in (Principal("山田", "person", "FA-IC-001"), Principal("u", "person", None)):
        for kind, name in (("agent", "A" * 600), ("skill_node", ""), ("role_skill_map", "a/b")):
            with pytest.raises(Denied):
                authorise(platform.registry, principal, "publish", kind, name, now=NOW)
    done = deliver(platform)
    assert done.records.rejected == 0
    topics = events(platform)["topic"].value_counts().rows()
    assert dict(topics)["access.token"] == 2
    assert dict(topics)["access.denied"] == 6
    assert not any(issued.token in payload for payload in events(platform)["payload"])


def test_events_of_several_months_and_batches_all_arrive(platform: Platform) -> None:
    """A batch is bounded; what waits longest goes first."""
    deliver(platform)
    with platform.registry.transaction() as connection:
        for n in range(25):
            payload = DECISION | {"subject_id": f"E-{n}"}
            at = NOW - timedelta(days=13 * n)
            announce(connection, topic="handoff.decided", payload=payload, producer_id="t", now=at)
    done = deliver(platform, batch_events=10)
    assert (done.batches, done.records.accepted) == (3, 25)
    assert sum(done.rows[EVENT_BUS.name].values()) == 25
    assert len(done.rows[EVENT_BUS.name]) > 8
    assert_closed(platform)


# By force

KILLED_DELIVERY = """
import os, signal, sys
from pathlib import Path
from datetime import datetime, UTC
import ingest.outbox as delivery
from dagster_project.platform import Platform
from lake.home import Home
from lake.store import Lake

home, point = Path(sys.argv[1]), sys.argv[2]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def after(owner, name, times=1):
    real, calls = getattr(owner, name), []
    def wrapped(*args, **kwargs):
        result = real(*args, **kwargs)
        calls.append(1)
        if len(calls) == times:
            die()
        return result
    setattr(owner, name, wrapped)

def before(owner, name):
    setattr(owner, name, lambda *args, **kwargs: die())

if point == "before naming": before(delivery, "_name_batch")
if point == "inside naming": before(delivery, "insert")
if point == "after naming": after(delivery, "_name_batch")
if point == "after reading": after(delivery, "_rows")
if point == "after the events": after(Lake, "append", 1)
if point == "after the dead letters": after(Lake, "append", 2)
if point == "inside the record": before(delivery.sa, "delete")
if point == "after the record": after(delivery, "_close")
if point == "in the second batch": after(Lake, "append", 3)

platform = Platform(Home(home))
print("ready", flush=True)
delivery.deliver_outbox(
    platform.registry, platform.lake, platform.inner_door(), now=datetime(2025, 6, 1, 12, tzinfo=UTC), batch_events=40
)
print("done", flush=True)
"""


def start(platform: Platform, point: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED_DELIVERY, str(platform.home.root), point],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def world(platform: Platform) -> tuple[list[str], int]:
    """Let good and bad events wait; return the ids that must arrive and how many must be refused."""
    say(platform, 50)
    with platform.registry.transaction() as connection:
        announce_many(connection, "handoff.decided", [{"bad": n} for n in range(7)], producer_id="t", now=NOW)
    held = platform.registry.frame(OUTBOX)
    return sorted(held.filter(~pl.col("payload").str.contains('"bad"'))["event_id"]), 7


@pytest.mark.parametrize(
    "point",
    [
        "before naming",
        "inside naming",
        "after naming",
        "after reading",
        "after the events",
        "after the dead letters",
        "inside the record",
        "after the record",
        "in the second batch",
    ],
)
def test_a_delivery_killed_anywhere_and_repeated_adds_nothing_twice(platform: Platform, point: str) -> None:
    """A lost audit event is a change that nobody hears of; a doubled one starts a workflow twice."""
    wanted, refused = world(platform)
    process = start(platform, point)
    assert process.wait(60) == -signal.SIGKILL
    deliver(platform, batch_events=40)
    assert events(platform)["event_id"].to_list() == wanted
    assert letters(platform).height == refused
    assert len(waiting(platform)) == refused
    assert_closed(platform)


def test_deliveries_side_by_side_killed_at_any_moment_deliver_everything_once(platform: Platform) -> None:
    """Schedules overlap and machines die whenever they like."""
    wanted, refused = world(platform)
    chance = random.Random(5)
    for _ in range(3):
        pair = [start(platform) for _ in range(2)]
        for process in pair:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.15))
        for process in pair:
            process.kill()
            process.wait(60)
            process.stdout.close()
    deliver(platform, batch_events=40)
    assert events(platform)["event_id"].to_list() == wanted
    assert letters(platform).height == refused
    assert_closed(platform)
