"""Reads CSV event tables: every cell is text, since guessing types turns case `007` into 7.

Arrow takes a quote that is never closed for a value that ends with the file. So a last row of our own is
appended: if it arrives, the file was whole; if the value before it has swallowed it, the file was cut.
"""

import codecs
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from datetime import datetime, tzinfo

import msgspec
import pyarrow as pa
from pyarrow import csv as pc

from ingest.logs.model import (
    ColumnMapping,
    Event,
    LogFile,
    LogReject,
    Record,
    Rule,
    UnreadableLog,
    since_epoch,
    utc_micros,
)

_BLOCK_BYTES = 4 << 20
"""Bytes that Arrow parses at a time, and so the longest row."""

_GROWTH = 4
"""Bytes that one byte of another encoding becomes in UTF-8, at the most."""

_END = "\x1eend of the log\x1e"

_KNOWN = {
    "case_id": ("case:concept:name", "caseid", "case", "caseidentifier"),
    "activity": ("concept:name", "activity", "activityname", "event", "eventname"),
    "occurred_at": (
        "time:timestamp",
        "timestamp",
        "completetimestamp",
        "completedat",
        "completetime",
        "time",
        "eventtime",
        "occurredat",
        "starttimestamp",
        "startedat",
        "starttime",
    ),
    "lifecycle": ("lifecycle:transition", "lifecycle"),
    "resource": ("org:resource", "resource"),
}
"""Names of columns without blanks, hyphens, underscores and capitals; the earlier one wins."""

_YEAR_FIRST = re.compile(r"^(\d{4})/(\d\d)/(\d\d)", re.ASCII)
_DAY_FIRST = re.compile(r"^(\d\d)([-.])(\d\d)\2(\d{4})", re.ASCII)
_json = msgspec.json.Encoder().encode


def records(log: LogFile, mapping: ColumnMapping | None, zone: tzinfo) -> Iterator[Record]:
    """Yield the events in file order; rows are counted without the header and blank lines.

    Times may be ISO 8601, `2011/10/11 13:45:40`, `11-10-2011 13:45` or `11.10.2011 13:45:40`. Any other form
    takes a `time_format`; `11/10/2011` is one of them, since it means November to some.

    Raises:
        UnreadableLog: no table, or one whose columns are not known, or text in another encoding.
    """
    codec = _codec(log, mapping)
    start = log.head.decode(codec, "ignore").lstrip("\ufeff")
    delimiter = (mapping and mapping.delimiter) or _delimiter(start)
    aside: deque[pc.InvalidRow] = deque()

    def set_aside(row: pc.InvalidRow) -> str:
        aside.append(row)
        return "skip"

    try:
        table = pc.open_csv(
            pa.PythonFile(_Utf8(log, codec), mode="r"),
            # Only a single thread numbers the rows it sets aside.
            pc.ReadOptions(use_threads=False, block_size=_GROWTH * _BLOCK_BYTES),
            pc.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=set_aside),
            pc.ConvertOptions(default_column_type=pa.string(), strings_can_be_null=False, check_utf8=False),
        )
    except pa.ArrowInvalid as fault:
        reason = f"{log.cut or f'it is no table ({fault})'}; check its quotes or export it again"
        raise UnreadableLog(log.path, reason) from fault
    header = table.schema.names
    if header[-1].endswith(_END):
        reason = log.cut or "a quote in its header is never closed"
        raise UnreadableLog(log.path, f"{reason}; export it again")
    row = _Row(header, _mapping(log, header, mapping), zone)
    position = 0
    stop = "a quote is opened and never closed"
    try:
        for batch in table:
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                # Arrow counts from 1 and counts the header.
                while aside and aside[0].number == position + 2:
                    yield _bad_row(position, aside.popleft())
                    position += 1
                if not cells[-1].endswith(_END):
                    yield row.read(position, cells)
                    position += 1
    except pa.ArrowInvalid:
        stop = f"a row is longer than {_BLOCK_BYTES >> 20} MiB, or {stop}"
    is_whole = bool(aside) and aside[-1].text == _END and not log.cut
    for bad in aside:
        if not bad.text.endswith(_END):
            yield _bad_row(position, bad)
            position += 1
    if not is_whole:
        yield _reject(position, "truncated", None, f"nothing was read from here on: {log.cut or stop}")


class _Utf8:
    """The file's text in the UTF-8 that Arrow takes, ended by a row of our own.

    Arrow drops an LF that opens a block after a CR, even within quotes; the newline decoder parts them never.
    """

    closed = False

    def __init__(self, log: LogFile, codec: str) -> None:
        self._log = log
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)(), translate=False)
        self._bytes = 0
        self._is_ended = False

    def read(self, size: int) -> bytes:
        """Return the next part of the text, at most `size` bytes; empty says that it ended."""
        if self._is_ended:
            return b""
        raw = self._log.read(size // _GROWTH)
        self._bytes += len(raw)
        # Arrow wants a row end in each part, so our own row may not come as a part of its own.
        self._is_ended = len(raw) < size // _GROWTH
        try:
            text = self._decoder.decode(raw)
        except UnicodeDecodeError as fault:
            at = self._bytes - len(fault.object) + fault.start
            raise UnreadableLog(
                self._log.path, f"byte {at} is not {fault.encoding}; name its encoding in a column mapping"
            ) from fault
        return (text + self._end() if self._is_ended else text).encode()

    def _end(self) -> str:
        if self._decoder.getstate()[0]:
            self._log.cut = self._log.cut or "the text ends within a character"
        return _END if self._log.cut else self._decoder.decode(b"", final=True) + "\n" + _END


class _Row:
    """Reads the rows of a table whose columns are known."""

    def __init__(self, header: list[str], mapping: ColumnMapping, zone: tzinfo) -> None:
        self._header = header
        self._mapping = mapping
        self._zone = zone

    def read(self, position: int, cells: tuple[str, ...]) -> Event | LogReject:
        """Return the event of a row, or the first rule it breaks."""
        columns = self._mapping
        row: dict[str | None, str] = dict(zip(self._header, cells, strict=True))
        case_id, activity = row[columns.case_id], row[columns.activity]
        time = row.get(columns.occurred_at, "").strip()
        if not case_id.strip():
            return _reject(position, "no_case_id", columns.case_id, "the cell is empty")
        if not activity.strip():
            return _reject(position, "no_activity", columns.activity, "the cell is empty")
        try:
            occurred_at = self._micros(time) if time else None
        except ValueError as fault:
            message = f"{fault}; time_format of a column mapping says how it is"
            return _reject(position, "bad_time", columns.occurred_at, message)
        attributes = {column: cell for column, cell in row.items() if cell and column != columns.case_id}
        return Event(
            position,
            case_id,
            activity,
            row.get(columns.lifecycle) or None,
            row.get(columns.resource) or None,
            occurred_at,
            _json(attributes).decode(),
        )

    def _micros(self, time: str) -> int:
        form = self._mapping.time_format
        if form is None:
            return utc_micros(_DAY_FIRST.sub(r"\4-\3-\1", _YEAR_FIRST.sub(r"\1-\2-\3", time)), self._zone)
        try:
            moment = datetime.strptime(time, form)
        except ValueError:
            raise ValueError(f"it is not written like {form}") from None
        return since_epoch(moment, self._zone)


def _reject(position: int, rule: Rule, column: str | None, message: str) -> LogReject:
    row = position + 1
    return LogReject(position, row, rule, f"row {row}" + (f', column "{column}"' if column else ""), message)


def _bad_row(position: int, row: pc.InvalidRow) -> LogReject:
    message = f"it has {row.actual_columns} cells where the header has {row.expected_columns}"
    return _reject(position, "bad_row", None, message)


def _codec(log: LogFile, mapping: ColumnMapping | None) -> str:
    try:
        return codecs.lookup(mapping.encoding if mapping else "utf-8").name
    except LookupError as fault:
        raise UnreadableLog(log.path, f"{fault}; name one that Python knows, such as cp1252") from fault


def _delimiter(text: str) -> str:
    """Return the separator that splits the header into the most columns."""

    def columns(delimiter: str) -> int:
        return len(next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)), []))

    return max(",;\t|", key=columns)


def _mapping(log: LogFile, header: list[str], mapping: ColumnMapping | None) -> ColumnMapping:
    """Return the mapping if the table has its columns, else the one its header suggests."""
    present = ", ".join(map(repr, header))
    if twice := [name for name, times in Counter(header).items() if times > 1]:
        names = ", ".join(map(repr, twice))
        raise UnreadableLog(log.path, f"several columns are named {names}; rename all but one")
    if len(header) < 2:
        raise UnreadableLog(log.path, f"its only column is {present}; name its delimiter in a column mapping")
    if mapping is None:
        plain = {re.sub(r"[\s_-]", "", name).casefold(): name for name in reversed(header)}
        found = {role: plain[k] for role, known in _KNOWN.items() for k in reversed(known) if k in plain}
        if not {"case_id", "activity"} <= found.keys():
            raise UnreadableLog(
                log.path,
                f"no column is known for the case or the activity; pass a mapping for its columns {present}",
            )
        return ColumnMapping(**found)
    mapped = (mapping.case_id, mapping.activity, mapping.occurred_at, mapping.lifecycle, mapping.resource)
    if missing := [column for column in mapped if column is not None and column not in header]:
        names = ", ".join(map(repr, missing))
        raise UnreadableLog(log.path, f"it has no column {names}; map some of its columns {present}")
    return mapping
