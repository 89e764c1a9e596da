"""Delivery: what the registry announced reaches `event_bus`, each event exactly once.

The same rules as for what lands: one door, closed accounting (read = accepted + rejected + duplicates), a batch that is
named before it starts. Its rows are stamped with its name first, so a delivery that was interrupted anywhere is done
again under that name and adds nothing twice. A delivered row leaves the outbox with the record of its batch; a
refused one stays beside its dead letter, since it is the only copy of what it says.
"""

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, count
from typing import Any

import polars as pl
import sqlalchemy as sa

from guard.canonical import digest_text
from guard.identity import name_uuid
from ingest.commit import Accounting
from ingest.events import Ingestion
from ingest.records import Record
from ingest.validation import Accepted, Door, Refused, conflict
from lake.months import Month
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import BATCH, EVENT_BUS, EVENT_DEAD_LETTER, OUTBOX
from registry.database import TABLES, Registry, insert

log = logging.getLogger("rwcm.ingest")

KIND = "outbox"
DELIVERER = "outbox"
BATCH_EVENTS = 10_000
"""Events of one batch: held in memory at once, appended in one commit."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A waiting event with its verdict; `file_id` names its record as the door saw it."""

    event_id: str
    announced_at: datetime
    file_id: str
    verdict: Accepted | Refused


def deliver_outbox(
    registry: Registry, lake: Lake, door: Door, *, now: datetime, batch_events: int = BATCH_EVENTS
) -> Ingestion:
    """Deliver everything that waits in the outbox, open batches of an interrupted run first.

    Args:
        door: validates against the schemas in force; it must let the platform's own topics pass.

    Raises:
        LakeBusy, LakeFault: the batch at hand stays open; calling again goes on with it.
    """
    done = Ingestion()
    for interrupted in _open_batches(registry):
        log.info("batch %s was interrupted: done again", interrupted[:8])
        _run_batch(interrupted, registry, lake, door, now, done)
    while batch_id := _name_batch(registry, now, batch_events):
        _run_batch(batch_id, registry, lake, door, now, done)
    if done.batches:
        log.info("delivered %s events of the outbox", f"{done.records.read:,}")
    return done


def requeue(registry: Registry, event_ids: Collection[str], door: Door) -> dict[str, Refused]:
    """Let refused announcements wait for delivery again, where they would be accepted now.

    Returns:
        What the others would be refused for, by their ids; they stay as they are.
    """
    outbox = TABLES[OUTBOX.name]
    with registry.transaction() as connection:
        query = sa.select(outbox).where(outbox.c.event_id.in_(event_ids), outbox.c.batch_id.is_not(None))
        judged = [_judge(row, door) for row in connection.execute(query).mappings()]
        refused = {item.event_id: item.verdict for item in judged if isinstance(item.verdict, Refused)}
        again = [item.event_id for item in judged if item.event_id not in refused]
        connection.execute(sa.update(outbox).where(outbox.c.event_id.in_(again)).values(batch_id=None))
    return refused


def work_at_hand(registry: Registry) -> str | None:
    """Return what names the events that `deliver_outbox` would deliver, None where none waits."""
    outbox = TABLES[OUTBOX.name]
    query = sa.select(sa.func.count(), sa.func.max(outbox.c.event_id)).where(outbox.c.batch_id.is_(None))
    with registry.read() as connection:
        waiting, latest = connection.execute(query).one()
    interrupted = _open_batches(registry)
    return digest_text(f"{waiting}/{latest}/{interrupted}") if waiting or interrupted else None


def _open_batches(registry: Registry) -> list[str]:
    batch = TABLES[BATCH.name]
    with registry.read() as connection:
        query = sa.select(batch.c.batch_id).filter_by(kind=KIND, state="open").order_by(batch.c.opened_at)
        return list(connection.scalars(query))


def _name_batch(registry: Registry, now: datetime, batch_events: int) -> str | None:
    """Stamp the events that wait longest with a new batch and return its id, None where nothing waits."""
    batch, outbox = TABLES[BATCH.name], TABLES[OUTBOX.name]
    with registry.transaction() as connection:
        waiting = (
            sa.select(outbox.c.event_id)
            .where(outbox.c.batch_id.is_(None))
            .order_by(outbox.c.produced_at, outbox.c.event_id)
            .limit(batch_events)
            .with_for_update(skip_locked=True)  # SQLite has one writer and ignores it
        )
        event_ids: list[str] = list(connection.scalars(waiting))
        if not event_ids:
            return None
        named = name_uuid(KIND, *event_ids)
        # What has a key may be announced, and delivered, again.
        names = chain([named], (name_uuid(KIND, named, str(again)) for again in count(1)))
        is_taken = sa.select(batch.c.batch_id)
        batch_id = next(name for name in names if not connection.scalar(is_taken.filter_by(batch_id=name)))
        row = {"batch_id": batch_id, "kind": KIND, "state": "open", "source": OUTBOX.name, "opened_at": now}
        insert(connection, BATCH, [row])
        connection.execute(sa.update(outbox).where(outbox.c.event_id.in_(event_ids)).values(batch_id=batch_id))
    return batch_id


def _run_batch(batch_id: str, registry: Registry, lake: Lake, door: Door, now: datetime, done: Ingestion) -> None:
    judged = [_judge(row, door) for row in _rows(registry, batch_id)]
    accepted = [item for item in judged if isinstance(item.verdict, Accepted)]
    refused = [item for item in judged if isinstance(item.verdict, Refused)]
    # The look for known ids and the commit stand under one lock, as for what lands.
    with lake.lock(EVENT_BUS):
        fresh, conflicts, known_events = _split_known(accepted, batch_id, lake)
        events = _event_rows(fresh, batch_id)
        lake.append(EVENT_BUS, events, batch_id=batch_id)
    refused += conflicts
    with lake.lock(EVENT_DEAD_LETTER):
        fresh_letters, known_letters = _split_known_letters(refused, batch_id, lake)
        letters = _dead_letter_rows(fresh_letters, batch_id)
        lake.append(EVENT_DEAD_LETTER, letters, batch_id=batch_id)
    account = Accounting(len(fresh), len(fresh_letters), known_events + known_letters)
    rows = {
        spec.name: Counter(spec.conform(frame)[MONTH].to_list())
        for spec, frame in ((EVENT_BUS, events), (EVENT_DEAD_LETTER, letters))
    }
    if _close(registry, batch_id, account, rows, refused, now, records_read=len(judged)):
        done.batches += 1
        done.records.add(account)
        done.rules.update(letters["rule"])
        for table, months in rows.items():
            done.rows.setdefault(table, Counter()).update(months)


def _rows(registry: Registry, batch_id: str) -> Sequence[sa.RowMapping]:
    outbox = TABLES[OUTBOX.name]
    with registry.read() as connection:
        query = sa.select(outbox).filter_by(batch_id=batch_id).order_by(outbox.c.event_id)
        return connection.execute(query).mappings().all()


def _judge(row: sa.RowMapping, door: Door) -> _Judged:
    """Hold an announcement to its schema, as the record that it would have landed as."""
    envelope = {name: row[name] for name in ("event_id", "topic", "producer_id")}
    envelope["produced_at"] = row["produced_at"].isoformat()
    # The payload goes in as it was written, no digit read and written again.
    raw = f'{json.dumps(envelope)[:-1]}, "payload": {row["payload"]}}}'.encode()
    verdict = door.check(Record(0, raw), received_at=row["created_at"])
    return _Judged(row["event_id"], row["created_at"], digest_text(raw), verdict)


def _split_known(items: Sequence[_Judged], batch_id: str, lake: Lake) -> tuple[list[_Judged], list[_Judged], int]:
    """Return the events to append, those whose id another content holds, and how many are known already.

    A row that this batch committed before it was interrupted is to append again: the append finds it there.
    """
    wanted = pl.Series([item.event_id for item in items], dtype=pl.String)
    held = lake.find(EVENT_BUS, wanted, columns=["event_id", "content_hash", "batch_id"])
    known = {event_id: (content, batch) for event_id, content, batch in held.iter_rows()}
    fresh, conflicts, duplicates = [], [], 0
    for item in items:
        assert isinstance(item.verdict, Accepted)
        content, batch = known.get(item.event_id, (item.verdict.content_hash, batch_id))
        if content != item.verdict.content_hash:
            refused = conflict(item.verdict)
            conflicts.append(_Judged(item.event_id, item.announced_at, item.file_id, refused))
        elif batch == batch_id:
            fresh.append(item)
        else:
            duplicates += 1
    return fresh, conflicts, duplicates


def _split_known_letters(items: Sequence[_Judged], batch_id: str, lake: Lake) -> tuple[list[_Judged], int]:
    """Return the refusals to record, and how many were recorded before."""
    ids = [_dead_letter_id(item) for item in items]
    held = lake.find(EVENT_DEAD_LETTER, pl.Series(ids, dtype=pl.String), columns=["dead_letter_id", "batch_id"])
    known = dict(held.iter_rows())
    fresh = [item for letter, item in zip(ids, items, strict=True) if known.get(letter, batch_id) == batch_id]
    return fresh, len(items) - len(fresh)


def _dead_letter_id(item: _Judged) -> str:
    return name_uuid("dead_letter", item.file_id, "0")


def _event_rows(items: Iterable[_Judged], batch_id: str) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for item in items:
        event = item.verdict
        assert isinstance(event, Accepted)
        rows.append(
            {
                "event_id": event.event_id,
                "topic": event.topic,
                "schema_version": event.schema_version,
                "payload": event.payload,
                "produced_at": event.produced_at,
                "producer_id": event.producer_id,
                "content_hash": event.content_hash,
                "file_id": item.file_id,
                "file_offset": 0,
                "batch_id": batch_id,
                "created_at": item.announced_at,
                "created_by": DELIVERER,
            }
        )
    return pl.DataFrame(rows, schema=_without_month(EVENT_BUS.polars_schema()))


def _dead_letter_rows(items: Iterable[_Judged], batch_id: str) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for item in items:
        fault = item.verdict
        assert isinstance(fault, Refused)
        rows.append(
            {
                "dead_letter_id": _dead_letter_id(item),
                "rule": fault.rule,
                "path": fault.path,
                "message": fault.message,
                "topic": fault.topic,
                "event_id": fault.event_id,
                "producer_id": fault.producer_id,
                "schema_version": fault.schema_version,
                "evidence": fault.evidence,
                "file_name": OUTBOX.name,
                "file_id": item.file_id,
                "file_offset": 0,
                "received_at": item.announced_at,
                "batch_id": batch_id,
                "created_at": item.announced_at,
                "created_by": DELIVERER,
            }
        )
    return pl.DataFrame(rows, schema=_without_month(EVENT_DEAD_LETTER.polars_schema()))


def _without_month(schema: pl.Schema) -> pl.Schema:
    return pl.Schema({name: kind for name, kind in schema.items() if name != MONTH})


def _close(
    registry: Registry,
    batch_id: str,
    account: Accounting,
    rows: dict[str, Counter[Month]],
    refused: Sequence[_Judged],
    now: datetime,
    *,
    records_read: int,
) -> bool:
    """Record the batch and take its delivered events out of the outbox, in one transaction.

    Returns:
        False where another delivery of the same batch came first; then nothing is done.
    """
    batch, outbox = TABLES[BATCH.name], TABLES[OUTBOX.name]
    months = {
        table: {f"{month:%Y-%m}": counted for month, counted in sorted(of_table.items())}
        for table, of_table in rows.items()
    }
    with registry.transaction() as connection:
        closed = connection.execute(
            sa.update(batch)
            .filter_by(batch_id=batch_id, state="open")
            .values(
                state="done",
                closed_at=now,
                months=json.dumps(months),
                records_read=records_read,
                records_accepted=account.accepted,
                records_rejected=account.rejected,
                records_duplicate=account.duplicates,
            )
        )
        if not closed.rowcount:
            return False
        kept = [item.event_id for item in refused]
        connection.execute(sa.delete(outbox).filter_by(batch_id=batch_id).where(outbox.c.event_id.not_in(kept)))
    return True
