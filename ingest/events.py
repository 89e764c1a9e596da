"""Ingestion: landed files become accepted events, dead letters and known duplicates, each record exactly once.

The accounting always closes, per file and per batch: read = accepted + rejected + duplicates. A batch and
its files are named in the registry before anything is read, and every row follows from its record, so a batch that was
interrupted is done again under its name and adds nothing twice.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, count
from typing import Any

import polars as pl
import sqlalchemy as sa

from guard.identity import name_uuid
from ingest.landing import LandedFile, Landing
from ingest.records import Record, read_records
from ingest.validation import Accepted, Door, Refused, conflict
from lake.months import Month, month_of
from lake.spec import TableSpec
from lake.store import Lake
from lake.tables import BATCH, EVENT_BUS, EVENT_DEAD_LETTER, LANDING_FILE
from registry.database import TABLES, Registry

log = logging.getLogger("rwcm.ingest")

CHUNK_RECORDS = 50_000
"""Records held in memory at once, and the most that one commit appends."""

CHUNK_BYTES = 64 << 20
"""Characters of payload held in memory at once: a small file may unpack to more than there is."""

INGESTER = "ingest"


@dataclass
class Accounting:
    """What became of the records of a file or batch."""

    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0

    @property
    def read(self) -> int:
        return self.accepted + self.rejected + self.duplicates

    def add(self, other: "Accounting") -> None:
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.duplicates += other.duplicates


@dataclass
class Ingestion:
    """What an ingestion did: its batches, files, records and rows per table and month."""

    batches: int = 0
    files: int = 0
    records: Accounting = field(default_factory=Accounting)
    rules: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Counter[Month]] = field(default_factory=dict)
    """Rows of these batches per table and month, whether committed now or before an interruption."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A record with its verdict and where it came from; a copy's file has the content of one before it in its batch."""

    file: LandedFile
    offset: int
    verdict: Accepted | Refused
    is_copy: bool


def ingest_landing(
    landing: Landing, *, registry: Registry, lake: Lake, door: Door, now: datetime, chunk: int = CHUNK_RECORDS
) -> Ingestion:
    """Ingest everything that waits in the landing zone, open batches of an interrupted run first.

    Raises:
        LakeBusy, LakeFault: nothing of the chunk at hand was committed; calling again goes on where it stopped.
    """
    done = Ingestion()
    with landing.lock():
        for batch_id, files in _open_batches(registry, landing):
            log.info("batch %s was interrupted: done again", batch_id[:8])
            _run_batch(batch_id, files, landing, registry, lake, door, now, chunk, done)
        while files := landing.waiting():
            batch_id = _name_batch(registry, files, now)
            _run_batch(batch_id, files, landing, registry, lake, door, now, chunk, done)
        _sweep(registry, landing)
    return done


def _name_batch(registry: Registry, files: list[LandedFile], now: datetime) -> str:
    """Record batch and files before any of them is touched; return the batch's id."""
    named = name_uuid("ingest", *(f"{file.file_id}/{file.name}/{file.received_at.timestamp()}" for file in files))
    source = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    with registry.transaction() as connection:
        # The very same files landed again at the very same time are a new batch each time.
        names = chain([named], (name_uuid("ingest", named, str(again)) for again in count(1)))
        is_taken = sa.select(TABLES[BATCH.name].c.batch_id)
        batch_id = next(name for name in names if not connection.scalar(is_taken.filter_by(batch_id=name)))
        connection.execute(
            sa.insert(TABLES[BATCH.name]),
            {
                "batch_id": batch_id,
                "kind": "ingest",
                "state": "open",
                "source": source,
                "months": "{}",
                "opened_at": now,
            },
        )
        audit = {"created_at": now, "created_by": INGESTER, "updated_at": now, "updated_by": INGESTER}
        connection.execute(
            sa.insert(TABLES[LANDING_FILE.name]),
            [
                {
                    "batch_id": batch_id,
                    "file_name": file.name,
                    "file_id": file.file_id,
                    "size_bytes": file.size_bytes,
                    "received_at": file.received_at,
                    "state": "claimed",
                    **audit,
                }
                for file in files
            ],
        )
    return batch_id


def _open_batches(registry: Registry, landing: Landing) -> Iterator[tuple[str, list[LandedFile]]]:
    """Yield batches that were named but not finished, with their files as they were claimed."""
    batch, file = TABLES[BATCH.name], TABLES[LANDING_FILE.name]
    with registry.read() as connection:
        rows = (
            connection.execute(
                sa.select(file)
                .join(batch, batch.c.batch_id == file.c.batch_id)
                .where(batch.c.kind == "ingest", batch.c.state == "open")
                .order_by(batch.c.opened_at, file.c.received_at, file.c.file_name)
            )
            .mappings()
            .all()
        )
    batches: dict[str, list[LandedFile]] = {}
    for row in rows:
        landed = LandedFile(
            landing.inbox / row["file_name"], row["file_name"], row["file_id"], row["size_bytes"], row["received_at"]
        )
        batches.setdefault(row["batch_id"], []).append(landed)
    yield from batches.items()


def _run_batch(
    batch_id: str,
    files: list[LandedFile],
    landing: Landing,
    registry: Registry,
    lake: Lake,
    door: Door,
    now: datetime,
    chunk: int,
    done: Ingestion,
) -> None:
    places = landing.claim(batch_id, [file.name for file in files])
    accounts = {file.name: Accounting() for file in files}
    rows: dict[str, Counter[Month]] = {EVENT_BUS.name: Counter(), EVENT_DEAD_LETTER.name: Counter()}
    originals = {file.file_id: file.name for file in reversed(files)}
    judged = (
        _Judged(file, record.offset, verdict, is_copy=originals[file.file_id] != file.name)
        for file in files
        for record, verdict in _judge(read_records(places[file.name]), door, file.received_at)
    )
    total = 0
    for part in _parts(judged, chunk):
        _commit(part, batch_id, lake, accounts, rows, done.rules)
        total += len(part)
        log.info("ingested %s records", f"{total:,}")
    _close_batch(registry, batch_id, accounts, rows, now, records_read=total)
    landing.release(batch_id, keep={name for name, account in accounts.items() if account.rejected})
    done.batches += 1
    done.files += len(files)
    for account in accounts.values():
        done.records.add(account)
    for table, months in rows.items():
        done.rows.setdefault(table, Counter()).update(months)


def _judge(records: Iterable[Record], door: Door, received_at: datetime) -> Iterator[tuple[Record, Accepted | Refused]]:
    for record in records:
        yield record, door.check(record, received_at=received_at)


def _parts(judged: Iterable[_Judged], chunk: int) -> Iterator[list[_Judged]]:
    """Yield the records in parts of `chunk`, or fewer where their payloads are large."""
    part: list[_Judged] = []
    size = 0
    for item in judged:
        part.append(item)
        size += len((item.verdict.payload if isinstance(item.verdict, Accepted) else item.verdict.evidence) or "")
        if len(part) == chunk or size >= CHUNK_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _commit(
    part: list[_Judged],
    batch_id: str,
    lake: Lake,
    accounts: Mapping[str, Accounting],
    rows: Mapping[str, Counter[Month]],
    rules: Counter[str],
) -> None:
    """Commit a chunk: events whose id is new, dead letters that are new; count every record once."""
    events = [item for item in part if isinstance(item.verdict, Accepted)]
    refused = [item for item in part if isinstance(item.verdict, Refused)]
    # The look for known ids and the commit stand under one lock: two ingesters with the same event write it once.
    with lake.lock(EVENT_BUS):
        fresh, conflicts = _split_events(events, batch_id, lake, accounts)
        frame = _event_rows(fresh, batch_id)
        lake.append(EVENT_BUS, frame, batch_id=batch_id)
        rows[EVENT_BUS.name].update(map(month_of, frame["produced_at"]))
    with lake.lock(EVENT_DEAD_LETTER):
        letters = _split_dead_letters(refused + conflicts, batch_id, lake, accounts)
        frame = _dead_letter_rows(letters, batch_id)
        lake.append(EVENT_DEAD_LETTER, frame, batch_id=batch_id)
        rows[EVENT_DEAD_LETTER.name].update(map(month_of, frame["received_at"]))
        rules.update(frame["rule"])


def _split_events(
    events: list[_Judged], batch_id: str, lake: Lake, accounts: Mapping[str, Accounting]
) -> tuple[list[_Judged], list[_Judged]]:
    """Return the events to accept and those whose id another content holds; count accepted and duplicates.

    The same id with the same content is a duplicate, in this chunk and against every month kept. A row that this very
    batch committed before it was interrupted counts as accepted again, and the append will find it there; a copy's
    rows lie at the same place in the same content and are none of its own.
    """
    known = _known_events([item.verdict.event_id for item in events if isinstance(item.verdict, Accepted)], lake)
    fresh, conflicts = [], []
    for item in events:
        event = item.verdict
        assert isinstance(event, Accepted)
        place = (event.content_hash, batch_id, item.file.file_id, item.offset)
        held = known.setdefault(event.event_id, place)
        if held == place and not item.is_copy:
            accounts[item.file.name].accepted += 1
            fresh.append(item)
        elif held[0] == event.content_hash:
            accounts[item.file.name].duplicates += 1
        else:
            conflicts.append(replace(item, verdict=conflict(event)))
    return fresh, conflicts


def _known_events(ids: list[str], lake: Lake) -> dict[str, tuple[str, str, str, int]]:
    columns = ["event_id", "content_hash", "batch_id", "file_id", "file_offset"]
    wanted = pl.LazyFrame({"event_id": ids}, schema={"event_id": pl.String}).unique()
    held = lake.scan(EVENT_BUS, columns=columns).join(wanted, on="event_id", how="semi")
    rows = held.collect(engine="streaming") if ids else pl.DataFrame()  # the ids of all history do not fit in memory
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in rows.iter_rows()}


def _split_dead_letters(
    refused: list[_Judged], batch_id: str, lake: Lake, accounts: Mapping[str, Accounting]
) -> list[_Judged]:
    """Return the refusals to record; the same record of the same file content refused before is a duplicate."""
    ids = [_dead_letter_id(item) for item in refused]
    wanted = pl.LazyFrame({"dead_letter_id": ids}, schema={"dead_letter_id": pl.String}).unique()
    held = (
        lake.scan(EVENT_DEAD_LETTER, columns=["dead_letter_id", "batch_id", "file_name"])
        .join(wanted, on="dead_letter_id", how="semi")
        .collect()
    )
    known = {letter: (batch, name) for letter, batch, name in held.iter_rows()}
    fresh = []
    for letter, item in zip(ids, refused, strict=True):
        place = (batch_id, item.file.name)
        if known.setdefault(letter, place) == place:
            accounts[item.file.name].rejected += 1
            fresh.append(item)
        else:
            accounts[item.file.name].duplicates += 1
    return fresh


def _dead_letter_id(item: _Judged) -> str:
    return name_uuid("dead_letter", item.file.file_id, str(item.offset))


def _event_rows(items: list[_Judged], batch_id: str) -> pl.DataFrame:
    rows = [
        (
            event.event_id,
            event.topic,
            event.schema_version,
            event.payload,
            event.produced_at,
            event.producer_id,
            event.content_hash,
            item.file.file_id,
            item.offset,
            batch_id,
            item.file.received_at,
            INGESTER,
        )
        for item in items
        for event in [item.verdict]
        if isinstance(event, Accepted)
    ]
    return _frame(rows, EVENT_BUS)


def _dead_letter_rows(items: list[_Judged], batch_id: str) -> pl.DataFrame:
    rows = [
        (
            _dead_letter_id(item),
            fault.rule,
            fault.path,
            fault.message,
            fault.topic,
            fault.event_id,
            fault.producer_id,
            fault.schema_version,
            fault.evidence,
            item.file.name,
            item.file.file_id,
            item.offset,
            item.file.received_at,
            batch_id,
            item.file.received_at,
            INGESTER,
        )
        for item in items
        for fault in [item.verdict]
        if isinstance(fault, Refused)
    ]
    return _frame(rows, EVENT_DEAD_LETTER)


def _frame(rows: list[tuple[Any, ...]], spec: TableSpec) -> pl.DataFrame:
    schema = spec.polars_schema()
    del schema["month"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _close_batch(
    registry: Registry,
    batch_id: str,
    accounts: Mapping[str, Accounting],
    rows: Mapping[str, Counter[Month]],
    now: datetime,
    *,
    records_read: int,
) -> None:
    """Record the accounting of batch and files in one transaction; from then on the batch is done.

    What was read is counted where it was read, so that the test of the accounting mart can fail.
    """
    total = Accounting()
    batch, file = TABLES[BATCH.name], TABLES[LANDING_FILE.name]
    with registry.transaction() as connection:
        for name, account in accounts.items():
            total.add(account)
            connection.execute(
                sa.update(file)
                .where(file.c.batch_id == batch_id, file.c.file_name == name)
                .values(state="kept" if account.rejected else "deleted", **_counts(account))
            )
        months = {
            table: {f"{month:%Y-%m}": count for month, count in sorted(counted.items())}
            for table, counted in rows.items()
        }
        connection.execute(
            sa.update(batch)
            .where(batch.c.batch_id == batch_id)
            .values(
                state="done",
                closed_at=now,
                months=json.dumps(months),
                **{**_counts(total), "records_read": records_read},
            )
        )


def _counts(account: Accounting) -> dict[str, int]:
    return {
        "records_read": account.read,
        "records_accepted": account.accepted,
        "records_rejected": account.rejected,
        "records_duplicate": account.duplicates,
    }


def _sweep(registry: Registry, landing: Landing) -> None:
    """Delete raw files whose batch was recorded but whose deletion was interrupted.

    Files of a batch that this registry does not know are nobody's to delete: they may be the only copy.
    """
    file, batch = TABLES[LANDING_FILE.name], TABLES[BATCH.name]
    for folder in landing.claimed.iterdir():
        with registry.read() as connection:
            states = connection.execute(
                sa.select(file.c.file_name, file.c.state, batch.c.state)
                .join(batch, batch.c.batch_id == file.c.batch_id)
                .where(file.c.batch_id == folder.name)
            ).all()
        if states:
            keep = {str(name) for name, state, of_batch in states if state != "deleted" or of_batch == "open"}
            landing.release(folder.name, keep=keep)
