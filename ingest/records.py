"""Records of a landed file: lines of JSON, plain or gzipped, read in bounded memory."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MAX_RECORD_BYTES = 1 << 20
_MAX_LINE_BYTES = MAX_RECORD_BYTES + len(b"\r\n")
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Record:
    """One line as it lies in the unpacked file.

    Attributes:
        offset: byte at which it starts.
        raw: the line without its end and the blanks around it; empty where there is a fault.
        fault: rule the line breaks before it is even read as JSON, or None.
        is_complete: whether a line end follows; the last line of a cut file has none.
    """

    offset: int
    raw: bytes
    fault: str | None = None
    is_complete: bool = True


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file; what cannot be read as a file is one record with a fault, so it is counted.

    Faults: `missing`, `unreadable`, `empty_file`, `not_gzip`, `too_large`, and where unpacking ends `truncated` or
    `corrupt`.
    """
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        yield Record(0, b"", "missing")
        return
    except OSError:
        yield Record(0, b"", "unreadable")
        return
    with raw:
        magic = raw.read(2)
        raw.seek(0)
        if magic == _GZIP_MAGIC:
            with gzip.open(raw) as unpacked:
                yield from _lines(unpacked)  # type: ignore[arg-type]
        elif path.name.endswith(".gz"):
            yield Record(0, b"", "not_gzip" if magic else "empty_file")
        else:
            yield from _lines(raw)


def _lines(file: IO[bytes]) -> Iterator[Record]:
    start = 0
    is_empty = True
    try:
        while line := file.readline(_MAX_LINE_BYTES):
            end = start + len(line)
            is_complete = line.endswith(b"\n")
            if len(line.rstrip(b"\r\n")) > MAX_RECORD_BYTES or (len(line) == _MAX_LINE_BYTES and not is_complete):
                while line and not line.endswith(b"\n"):
                    line = file.readline(_MAX_LINE_BYTES)
                    end += len(line)
                is_empty = False
                yield Record(start, b"", "too_large")
            else:
                text = line.removeprefix(_BOM) if start == 0 else line
                text = text.strip(b" \t\r\n")
                if text:
                    is_empty = False
                    yield Record(start, text, is_complete=is_complete)
            start = end
    except EOFError:
        yield Record(start, b"", "truncated", is_complete=False)
    except (zlib.error, gzip.BadGzipFile):
        yield Record(start, b"", "corrupt", is_complete=False)
    else:
        if is_empty:
            yield Record(0, b"", "empty_file")
