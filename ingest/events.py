"""Ingestion: landed files become accepted events, dead letters and known duplicates, each record exactly once.

The accounting always closes, per file and per batch: read = accepted + rejected + duplicates. A batch and
its files are named in the registry before anything is read, and every row follows from its record, so a batch that was
interrupted is done again under its name and adds nothing twice.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, count
from typing import TypeAlias

import sqlalchemy as sa

from guard.identity import name_uuid
from ingest.commit import INGESTER, Accounting, Committer, Source
from ingest.judging import Judged, Judges
from ingest.landing import LandedFile, Landing
from ingest.reading import read_parts
from ingest.records import Limits
from ingest.validation import Door
from lake.months import Month
from lake.store import Lake
from lake.tables import BATCH, LANDING_FILE
from registry.database import TABLES, Registry

log = logging.getLogger("rwcm.ingest")

_Chunk: TypeAlias = list[tuple[Source, Judged]]

CHUNK_RECORDS = 80_000
"""The most records that one commit appends: fewer make more files and commits, more make more memory."""

CHUNK_BYTES = 64 << 20
"""Bytes of records held in memory for one commit: a small file may unpack to more than there is."""

PART = Limits(records=20_000, bytes=4 << 20)
"""What is read and judged at once."""


@dataclass
class Ingestion:
    """What an ingestion did: its batches, files, records and rows per table and month."""

    batches: int = 0
    files: int = 0
    records: Accounting = field(default_factory=Accounting)
    rules: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Counter[Month]] = field(default_factory=dict)
    """Rows of these batches per table and month, whether committed now or before an interruption."""
    discarded: dict[str, Counter[str]] = field(default_factory=dict)
    """Members that no schema knows and that were dropped, by topic and path."""
    proposed: list[str] = field(default_factory=list)
    """Topics for which a schema was proposed that knows the members which were kept."""


def ingest_landing(
    landing: Landing,
    *,
    registry: Registry,
    lake: Lake,
    door: Callable[[], Door],
    now: datetime,
    chunk: int = CHUNK_RECORDS,
) -> Ingestion:
    """Ingest everything that waits in the landing zone, open batches of an interrupted run first.

    Args:
        door: makes the door once nobody else holds the landing zone: whoever held it may have purged a month.

    Raises:
        LakeBusy, LakeFault: nothing of the chunk at hand was committed; calling again goes on where it stopped.
    """
    done = Ingestion()
    with landing.lock(), Judges[Source](door()) as judges:
        for batch_id, files in _open_batches(registry, landing):
            log.info("batch %s was interrupted: done again", batch_id[:8])
            _run_batch(batch_id, files, landing, registry, lake, judges, now, chunk, done, is_again=True)
        while files := landing.waiting():
            # A clock that is ahead of ours dates nothing into the future.
            files = [replace(file, received_at=min(file.received_at, now)) for file in files]
            batch_id = _name_batch(registry, files, now)
            _run_batch(batch_id, files, landing, registry, lake, judges, now, chunk, done, is_again=False)
        _sweep(registry, landing)
    return done


def open_batches(registry: Registry) -> list[str]:
    """Return the batches that were named but did not end: under way, or interrupted."""
    batch = TABLES[BATCH.name]
    query = sa.select(batch.c.batch_id).filter_by(kind="ingest", state="open").order_by(batch.c.batch_id)
    with registry.read() as connection:
        return list(connection.execute(query).scalars())


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
    judges: Judges[Source],
    now: datetime,
    chunk: int,
    done: Ingestion,
    *,
    is_again: bool,
) -> None:
    places = landing.claim(batch_id, [file.name for file in files])
    originals = {file.file_id: file.name for file in reversed(files) if places[file.name].exists()}
    sources = [Source(file, is_copy=originals.get(file.file_id, file.name) != file.name) for file in files]
    committer = Committer(lake, batch_id, sources, is_again=is_again)
    limits = Limits(min(chunk, PART.records), min(CHUNK_BYTES, PART.bytes))
    # An event lies ahead only if it is later than this moment: the time of a file that was copied may lie years back.
    parts = (
        (source, part, max(source.file.received_at, now))
        for source in sources
        for part in read_parts(places[source.file.name], limits)
    )
    with closing(_one_ahead(_chunks(judges.judge(parts), chunk))) as chunks:
        for judged in chunks:
            committer.commit(judged)
            log.info("ingested %s records", f"{committer.read:,}")
    for file in files:
        # Before the batch is closed: what is closed may be deleted.
        if landing.put_back(batch_id, file):
            log.warning("%s grew while it was read and is read again; name a file when it is complete", file.name)
    # Before the batch is closed: what is done again proposes the same again, which is queued once.
    done.proposed += committer.unknown.propose(registry, batch_id=batch_id, now=now)
    _close_batch(registry, batch_id, committer.accounts, committer.rows, now, records_read=committer.read)
    kept = {name for name, account in committer.accounts.items() if account.rejected}
    landing.release(batch_id, keep=kept)
    done.batches += 1
    done.files += len(files)
    done.rules.update(committer.rules)
    for account in committer.accounts.values():
        done.records.add(account)
    for topic, paths in committer.unknown.discarded.items():
        done.discarded.setdefault(topic, Counter()).update(paths)
    for table, months in committer.rows.items():
        done.rows.setdefault(table, Counter()).update(months)


def _chunks(judged: Iterable[tuple[Source, Judged]], chunk: int) -> Iterator[_Chunk]:
    """Yield parts together that make one commit: up to `chunk` records, fewer where they are large."""
    held: _Chunk = []
    records = size = 0
    for source, part in judged:
        if held and (records + part.read > chunk or size >= CHUNK_BYTES):
            yield held
            held, records, size = [], 0, 0
        held.append((source, part))
        records += part.read
        size += part.events.nbytes
    if held:
        yield held


def _one_ahead(chunks: Iterator[_Chunk]) -> Generator[_Chunk, None, None]:
    """Yield chunks, each while another thread gets the next: records are judged while others are committed."""
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, chunks, None)
            yield chunk


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
