"""The outbox: an announcement is there exactly when the change that it announces is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from guard.canonical import JsonFault, parse
from lake.tables import OBJECT_VERSION, OUTBOX
from registry.database import TABLES, Registry
from registry.outbox import REGISTRY_CHANGED, announce, announce_many, announce_versions

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


class Interrupted(Exception):
    pass


@contextmanager
def rolled_back(registry: Registry) -> Iterator[sa.Connection]:
    with pytest.raises(Interrupted), registry.transaction() as connection:
        yield connection
        raise Interrupted


def test_an_announcement_waits_once_its_transaction_commits(registry: Registry) -> None:
    """Without it a change would be made that nobody hears of."""
    with registry.transaction() as connection:
        event_id = announce(connection, topic="a.b", payload={"z": 1, "a": "é"}, producer_id="me", now=NOON)
    (row,) = registry.frame(OUTBOX).iter_rows(named=True)
    assert (row["event_id"], row["topic"], row["producer_id"], row["produced_at"]) == (event_id, "a.b", "me", NOON)
    assert row["payload"] == '{"a":"é","z":1}'
    assert row["batch_id"] is None


def test_an_announcement_goes_with_the_transaction_that_is_rolled_back(registry: Registry) -> None:
    """Without it an event would tell of a change that never was."""
    with rolled_back(registry) as connection:
        announce(connection, topic="a.b", payload={}, producer_id="me", now=NOON)
        announce_many(connection, "a.b", [{}, {}], producer_id="me", now=NOON)
    assert registry.frame(OUTBOX).is_empty()


def test_what_has_a_key_is_announced_once_and_what_has_none_each_time(registry: Registry) -> None:
    """Two denials of the same thing are two events; a version that is announced again is one."""
    with registry.transaction() as connection:
        named = {
            announce(connection, topic="a.b", payload={}, producer_id="me", now=NOON + timedelta(hours=h), key="k")
            for h in range(3)
        }
        other = announce(connection, topic="a.c", payload={}, producer_id="me", now=NOON, key="k")
        own = {announce(connection, topic="a.b", payload={}, producer_id="me", now=NOON) for _ in range(3)}
        announce_many(connection, "a.b", [{}] * 4, producer_id="me", now=NOON)
    assert len(named) == 1
    assert other not in named
    assert len(own) == 3
    assert registry.frame(OUTBOX).height == 1 + 1 + 3 + 4


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object()])
def test_what_is_no_json_is_refused_before_it_is_written(registry: Registry, value: object) -> None:
    """It could never be delivered, and the change would wait for it forever."""
    with pytest.raises(JsonFault), registry.transaction() as connection:
        announce(connection, topic="a.b", payload={"value": value}, producer_id="me", now=NOON)
    assert registry.frame(OUTBOX).is_empty()


def test_a_version_is_announced_by_whom_and_when_its_row_says(loaded: Registry) -> None:
    """The audit must agree with the history it tells of, to the hash of the document."""
    with loaded.read() as connection:
        versions = connection.execute(sa.select(TABLES[OBJECT_VERSION.name])).mappings().all()
    with loaded.transaction() as connection:
        connection.execute(sa.delete(TABLES[OUTBOX.name]))
        announce_versions(connection, [dict(row) for row in versions])
        announce_versions(connection, [dict(row) for row in versions[:5]])
    told = {row["event_id"]: row for row in loaded.frame(OUTBOX).iter_rows(named=True)}
    assert len(told) == len(versions)
    assert {row["topic"] for row in told.values()} == {REGISTRY_CHANGED}
    payloads = {
        (p["object_type"], p["object_id"], p["version"]): p for p in (parse(r["payload"]) for r in told.values())
    }
    for row in versions:
        payload = payloads[row["object_type"], row["object_id"], row["version"]]
        assert payload["document_hash"] == row["document_hash"]
        assert (payload["actor"], payload["reason"], payload["change"]) == ("bootstrap", "bootstrap", "initial")
        assert payload["publication_id"] is None
