"""Process event logs of other systems, XES and CSV, read in bounded memory."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

from ingest.logs import csv_table, xes
from ingest.logs.model import ColumnMapping, LogBatch, LogFile, LogReject, Record, UnreadableLog, batches

__all__ = ["ColumnMapping", "LogBatch", "LogReject", "UnreadableLog", "read_log"]


def read_log(
    path: Path, *, mapping: ColumnMapping | None = None, timezone: str = "UTC", batch_rows: int = 50_000
) -> Iterator[LogBatch]:
    """Return the batches of an event log in file order; content decides between XES and CSV, packed or not.

    The first batch is read at once, so that an unreadable file fails here and not in the caller's loop; only
    a CSV file whose text turns out to be in another encoding further on fails there.

    Args:
        path: an XES or CSV file, plain or gzipped.
        mapping: which CSV column holds what; None recognises the common names.
        timezone: IANA zone of times that do not name their offset.
        batch_rows: events, rejects and cases together that a batch holds at the most.

    Raises:
        UnreadableLog: nothing of the file can be imported; the message says what to change.
        ZoneInfoNotFoundError: there is no such zone.
    """
    stretches = batches(_records(path, mapping, ZoneInfo(timezone)), batch_rows)
    first = next(stretches, None)
    return iter(()) if first is None else chain([first], stretches)


def _records(path: Path, mapping: ColumnMapping | None, zone: ZoneInfo) -> Iterator[Record]:
    with LogFile(path) as log:
        if log.is_xml:
            yield from xes.records(log, zone)
        elif path.name.lower().removesuffix(".gz").endswith(".xes"):
            raise UnreadableLog(path, "it is named .xes but is not XML; name it .csv if it is a table")
        else:
            yield from csv_table.records(log, mapping, zone)
