"""What a log is once read, and what its two readers share: the file's bytes and the meaning of a time."""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

import polars as pl

Rule = Literal["no_case_id", "no_activity", "bad_time", "bad_row", "truncated", "not_utf8", "id_conflict"]

EVENTS = {
    "position": pl.Int64(),
    "case_id": pl.String(),
    "activity": pl.String(),
    "lifecycle": pl.String(),
    "resource": pl.String(),
    "occurred_at": pl.Datetime("us", "UTC"),
    "attributes": pl.String(),
}
CASES = {"case_id": pl.String(), "attributes": pl.String()}

_HEAD_BYTES = 1 << 16
_MARKS_AND_BLANKS = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
_WAYS_OUT: dict[type[OSError], str] = {
    FileNotFoundError: "there is no such file; check the path",
    IsADirectoryError: "it is a directory; name the log file inside it",
    PermissionError: "permission is denied; allow this user to read it",
}

# fromisoformat alone takes any character for the `T`, and a row of digits for a date.
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UnreadableLog(ValueError):
    """Says in one sentence why nothing of a file can be imported, and what to change.

    Attributes:
        path: the file.
        reason: what is wrong with it and the way out.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read as an event log: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Says which CSV column holds what, for files whose headers do not.

    Attributes:
        case_id: column that ties the events of a case together.
        activity: column that names what happened.
        occurred_at: column of the event's time.
        lifecycle: column of the transition (`start`, `complete`, ...).
        resource: column of whoever did it.
        time_format: `strptime` format; the only way to read times whose order of day and month is ambiguous.
        encoding: Python's name of the text encoding.
        delimiter: what separates columns; None sniffs it from the header.
    """

    case_id: str
    activity: str
    occurred_at: str | None = None
    lifecycle: str | None = None
    resource: str | None = None
    time_format: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None

    @classmethod
    def named(cls, *, case: str, activity: str, time: str, time_format: str) -> Self | None:
        """Return the mapping of what a form or a command line names, where an empty text names nothing.

        Raises:
            ValueError: a column is named without those of case and activity.
        """
        if not (case or activity or time or time_format):
            return None
        if not (case and activity):
            raise ValueError("name the columns of both case and activity, or none")
        return cls(case, activity, occurred_at=time or None, time_format=time_format or None)


class Event(NamedTuple):
    """An accepted event, as a row of `EVENTS`; `occurred_at` in microseconds since 1970 UTC."""

    position: int
    case_id: str
    activity: str
    lifecycle: str | None
    resource: str | None
    occurred_at: int | None
    attributes: str


class Case(NamedTuple):
    """What is known of a case as a whole, as a row of `CASES`."""

    case_id: str
    attributes: str


@dataclass(frozen=True, slots=True)
class LogReject:
    """An event set aside, or the point where reading had to stop, so that nothing is lost silently.

    Attributes:
        position: 0-based place of the event in the file, or of the first one not read where reading stopped.
        offset: line of an XES file, 1-based data row of a CSV file.
        rule: the rule that is broken.
        path: where, in the format's own terms: an XPath, or row and column.
        message: what is wrong; it never repeats a value, which may be personal.
    """

    position: int
    offset: int | None
    rule: Rule
    path: str
    message: str


Record = Event | Case | LogReject


@dataclass(frozen=True, slots=True)
class LogBatch:
    """A stretch of a log in file order.

    Attributes:
        events: accepted events, columns of `EVENTS`.
        rejects: what was set aside within the stretch.
        cases: XES traces that end within the stretch, columns of `CASES`; a CSV file has none.
    """

    events: pl.DataFrame
    rejects: list[LogReject]
    cases: pl.DataFrame


def batches(records: Iterator[Record], size: int) -> Iterator[LogBatch]:
    """Yield the records in stretches of `size`, so that memory follows the batch and not the file."""
    while stretch := list(islice(records, size)):
        yield LogBatch(
            events=pl.DataFrame([r for r in stretch if isinstance(r, Event)], schema=EVENTS, orient="row"),
            rejects=[r for r in stretch if isinstance(r, LogReject)],
            cases=pl.DataFrame([r for r in stretch if isinstance(r, Case)], schema=CASES, orient="row"),
        )


def utc_micros(text: str, zone: tzinfo) -> int:
    """Return an ISO 8601 time in microseconds since 1970 UTC; finer digits are cut off.

    A time without offset is local to `zone`, a date alone its midnight. Where clocks go back, the first of
    the two readings counts; in the gap where they go forward, the offset before it does, as in `zoneinfo`.

    Raises:
        ValueError: no such time, or outside of the years 1 to 9999.
    """
    parts = _ISO.fullmatch(text.strip())
    if parts is None:
        raise ValueError("it is not written like 2011-10-11T13:45:40.276+02:00")
    date, time, offset = parts.groups("")
    try:
        moment = datetime.fromisoformat(f"{date}T{time or '00:00'}{offset}")
    except ValueError:
        raise ValueError("there is no such date or time of day") from None
    return since_epoch(moment, zone)


def since_epoch(moment: datetime, zone: tzinfo) -> int:
    """Return microseconds since 1970 UTC of a moment, local to `zone` if it has none of its own.

    Raises:
        ValueError: in UTC the moment lies outside of the years 1 to 9999.
    """
    try:
        utc = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it lies outside of the years 1 to 9999") from None
    if (utc.year, utc.month) == (9999, 12):
        # The last month that a date can name has no end, and no window; it is a placeholder for never.
        raise ValueError("a time in December 9999, which stands for none")
    return (utc - _EPOCH) // _MICROSECOND


class LogFile:
    """The bytes of a log, unpacked if their first two say gzip, since names lie.

    Packed bytes that break off or are damaged simply end, and `cut` says why; what came before is delivered.

    Attributes:
        path: the file.
        head: the first bytes, up to 64 KiB, for telling what it is; `read` starts with them again.
        cut: why the bytes ended too early, else None.

    Raises:
        UnreadableLog: the file cannot be opened, is empty, or is named `.gz` without being gzip.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut: str | None = None
        self._ahead = b""
        try:
            file = path.open("rb")
        except OSError as error:
            raise UnreadableLog(path, _WAYS_OUT.get(type(error), str(error))) from error
        is_packed = file.peek(2)[:2] == b"\x1f\x8b"
        self._stream = gzip.GzipFile(fileobj=file) if is_packed else file
        self._file = file
        self.head = self._ahead = self.read(_HEAD_BYTES)
        reason = None
        if not self.head.strip(_MARKS_AND_BLANKS):
            reason = f"{self.cut or 'it is empty'}; export it again"
        elif path.suffix.lower() == ".gz" and not is_packed:
            reason = "it is named .gz but its content is not gzip; name it without .gz or compress it"
        if reason:
            self.close()
            raise UnreadableLog(path, reason)

    @property
    def is_xml(self) -> bool:
        """Whether the first character that is not blank opens an element."""
        return self.head.lstrip(_MARKS_AND_BLANKS)[:1] == b"<"

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only where the log ends."""
        parts = [self._ahead[:size]]
        self._ahead = self._ahead[size:]
        missing = size - len(parts[0])
        try:
            # read1 hands out what was unpacked before the damage; read would lose it with the error.
            while missing and not self.cut and (part := self._stream.read1(missing)):
                parts.append(part)
                missing -= len(part)
        except EOFError:
            self.cut = "the gzip stream ends in the middle"
        except (gzip.BadGzipFile, zlib.error):
            self.cut = "the gzip stream is damaged"
        return b"".join(parts)

    def close(self) -> None:
        """Give the file back; an unpacker does not close what it reads from."""
        self._stream.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
