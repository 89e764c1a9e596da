"""Parquet: a row is a record; its payload is a struct, a JSON text, or columns such as `payload.vendor_id`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.envelopes import values
from ingest.records import Fault, Limits, Part, Record

MAGIC = b"PAR1"
_ROWS = 256
"""Rows that are decoded at once: a dictionary may make a megabyte of each."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that follow on each other."""

    first: int
    batch: pa.RecordBatch

    def __iter__(self) -> Iterator[Record]:
        for number, row in enumerate(self.batch.to_pylist(maps_as_pydicts="strict"), self.first):
            yield values.record(number, row)


def parts(file: IO[bytes], limits: Limits) -> Iterator[Part]:
    """Yield the rows of a file, up to where it is damaged."""
    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches(min(_ROWS, limits.records)):
            yield Rows(number, batch)
            number += batch.num_rows
    except (pa.ArrowException, OSError, ValueError):
        yield Fault(number, "bad_container")
    else:
        if number == 0:
            yield Fault(0, "empty_file")
