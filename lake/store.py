"""The Delta store: the only writer of the lake.

Every table has one file lock beside it. An append holds it from the look at what is there to the commit, so two
writers of the same rows write them once; maintenance holds it throughout, because two concurrent compactions of a
delta-rs table both commit and double every row. The lock holds on one host; past one host the Dagster pool of the
table does.
"""

import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl
from deltalake import ColumnProperties, CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from filelock import FileLock, Timeout

from lake.keys import KeyIndex
from lake.months import Month
from lake.spec import MONTH, Kind, TableSpec

log = logging.getLogger("rwcm.lake")

LOCK_TIMEOUT_S = 600
COMMIT_RETRIES = 8
_DISCARDED_AT_ONCE = 1_000
_PROPERTIES = {
    "delta.checkpointInterval": "20",
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
    "delta.enableExpiredLogCleanup": "true",
}


@cache
def writer(spec: TableSpec) -> WriterProperties:
    """Return how files of a table are written.

    A dictionary of values that hardly recur is made, outgrows its page and is thrown away: on events that and level 3
    cost three times the processor of level 1 without it, for larger files.
    """
    plain = ColumnProperties(dictionary_enabled=False)
    columns = {column.name: plain for column in spec.columns if column.is_distinct or column.name in spec.key}
    return WriterProperties(compression="ZSTD", compression_level=1, column_properties=columns)


class LakeBusy(RuntimeError):
    """Another process held a table's lock for too long; nothing was written, the call can be repeated."""


class LakeFault(RuntimeError):
    """The store refused a commit. The message names table and cause, never a value."""


@dataclass(frozen=True)
class Appended:
    """What an append did: rows per month that were new, and how many were known already."""

    table: str
    rows_by_month: Mapping[Month, int]
    known: int

    @property
    def rows(self) -> int:
        return sum(self.rows_by_month.values())

    @property
    def months(self) -> list[Month]:
        return sorted(self.rows_by_month)


@dataclass(frozen=True)
class MonthStats:
    """Size of one month of a table: rows, bytes and files."""

    rows: int
    bytes: int
    files: int


class Lake:
    """The tables of one lake, by spec.

    Args:
        root: folder that holds one Delta table per spec.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, spec: TableSpec) -> Path:
        return self.root / spec.name

    @contextmanager
    def lock(self, spec: TableSpec) -> Iterator[None]:
        """Hold the table's lock.

        Raises:
            LakeBusy: somebody else held it for `LOCK_TIMEOUT_S`.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / f".{spec.name}.lock", timeout=LOCK_TIMEOUT_S, is_singleton=True)
        try:
            lock.acquire()
        except Timeout:
            raise LakeBusy(f"{spec.name} was locked for {LOCK_TIMEOUT_S} s by another process; try again") from None
        try:
            yield
        finally:
            lock.release()

    def exists(self, spec: TableSpec) -> bool:
        return DeltaTable.is_deltatable(str(self.path(spec)))

    def ensure(self, specs: Iterable[TableSpec]) -> None:
        """Create the tables that are not there yet."""
        for spec in specs:
            if not self.exists(spec):
                with self.lock(spec):
                    if not self.exists(spec):
                        self._create(spec)

    def _create(self, spec: TableSpec) -> None:
        """Create a table beside its place and move it there, so that none is ever seen without its constraint."""
        partial = self.root / f".{spec.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        indexed = [*spec.key, *(c.name for c in spec.columns if c.kind in (Kind.TIMESTAMP, Kind.DATE))]
        table = DeltaTable.create(
            str(partial),
            schema=spec.arrow_schema(),
            partition_by=[MONTH] if spec.is_monthly else None,
            name=spec.name,
            description=spec.description,
            # The log keeps minima and maxima; of payloads and names it must not, or a purge would leave them behind.
            configuration={**_PROPERTIES, "delta.dataSkippingStatsColumns": ",".join(dict.fromkeys(indexed))},
        )
        if spec.time_column:
            # Not `date_trunc`: it counts nanoseconds and fails before 1677 and after 2262.
            year, month = (f"CAST(date_part('{part}', {spec.time_column}) AS INT)" for part in ("year", "month"))
            table.alter.add_constraint({"month_is_of_its_time": f"{MONTH} = make_date({year}, {month}, 1)"})
        partial.rename(self.path(spec))

    def scan(
        self, spec: TableSpec, *, months: Iterable[Month] | None = None, columns: Sequence[str] | None = None
    ) -> pl.LazyFrame:
        """Return the rows of `months` (all by default) as a lazy frame; other months' files are not opened.

        A table that does not exist yet is empty.
        """
        files = self.files(spec)
        if months is not None:
            files = files.filter(pl.col(MONTH).is_in(list(months)))
        return self._frame(spec, files["path"]).select(list(columns) if columns is not None else spec.names)

    def _frame(self, spec: TableSpec, files: Iterable[str], *, name: str | None = None) -> pl.LazyFrame:
        """Return the rows of data files, with the file of each in a column `name` if one is given."""
        paths = [self.path(spec) / file for file in files]
        if not paths:
            return spec.empty().lazy()
        # Not `pl.scan_delta`: it does not find files whose folder has a space or a letter beyond ASCII in its name.
        return pl.scan_parquet(
            paths,
            schema=spec.polars_schema(),
            hive_partitioning=spec.is_monthly,
            hive_schema={MONTH: pl.Date()} if spec.is_monthly else None,
            glob=False,
            missing_columns="insert",
            include_file_paths=name,
        )

    def find(self, spec: TableSpec, keys: pl.Series, *, columns: Sequence[str]) -> pl.DataFrame:
        """Return `columns` of the rows whose key is one of `keys`, whatever month they lie in.

        For a table whose keys recur. An index says which files to look into; it lies beside the table and can be
        deleted.
        """
        (key,) = spec.key
        if keys.is_empty():
            return spec.empty().select(columns)
        with self.lock(spec):
            index = KeyIndex(self.root / f".{spec.name}.keys", lambda files: self._keys(spec, files))
            files = index.files(keys, among=self.files(spec)["path"].to_list())
        held = self._frame(spec, files).join(pl.LazyFrame({key: keys.unique()}), on=key, how="semi")
        return held.select(columns).collect()

    def _keys(self, spec: TableSpec, files: Sequence[str]) -> pl.DataFrame:
        (key,) = spec.key
        keys = self._frame(spec, files, name="file").select(pl.col("file"), pl.col(key).alias("key")).collect()
        places = {str(self.path(spec) / file): file for file in files}
        return keys.with_columns(pl.col("file").replace_strict(places, return_dtype=pl.String))

    def append(self, spec: TableSpec, frame: pl.DataFrame, *, batch_id: str, is_new: bool = False) -> Appended:
        """Append the rows of `frame` whose key the table does not hold yet, in one commit.

        The look and the commit stand under one lock, so a retry, or a second writer with the same rows, adds nothing.
        A key is looked for in the months of the frame: ids follow from content, so the same id has the same month.
        Where keys recur it is looked for in all of them.

        Args:
            is_new: take each key for new and met once: whoever says so looked for them with `find`, under the lock of
                the table that it still holds.

        Raises:
            SchemaMismatch: the frame is not what the spec states.
            LakeBusy: the lock was not to be had.
            LakeFault: the commit was refused.
        """
        rows = spec.conform(frame)
        total = rows.height
        if not is_new:
            rows = rows.unique(subset=list(spec.key), keep="first", maintain_order=True)
        with self.lock(spec):
            if not self.exists(spec):
                self._create(spec)
            if rows.height and not is_new:
                held = self._held(spec, rows)
                rows = rows.join(held, on=list(spec.key), how="anti", maintain_order="left")
            if rows.height:
                order = [spec.time_column] if spec.time_column else list(spec.key)
                self._commit(spec, rows.sort(order, maintain_order=True), batch_id=batch_id)
        counted = rows.group_by(MONTH).len().sort(MONTH).rows() if spec.is_monthly else []
        return Appended(spec.name, dict(counted), total - rows.height)

    def _held(self, spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the keys of `rows` that the table may hold."""
        if spec.keys_recur:
            return self.find(spec, rows[spec.key[0]], columns=spec.key)
        return self.scan(spec, months=spec.months(rows) if spec.is_monthly else None, columns=spec.key).collect()

    def _commit(self, spec: TableSpec, rows: pl.DataFrame, *, batch_id: str) -> None:
        for attempt in range(COMMIT_RETRIES):
            try:
                write_deltalake(
                    DeltaTable(str(self.path(spec))),
                    rows,
                    mode="append",
                    writer_properties=writer(spec),
                    commit_properties=CommitProperties(custom_metadata={"batch_id": batch_id}),
                )
                return
            except CommitFailedError:
                # A delete on another month makes delta-rs refuse an append that it does not touch.
                log.info("commit to %s conflicted, attempt %d of %d", spec.name, attempt + 1, COMMIT_RETRIES)
                time.sleep(min(2.0, 0.05 * 2**attempt))
            except DeltaError as error:
                # The engine's text quotes rows; what a value is must not travel with the fault.
                raise LakeFault(f"{spec.name} refused {rows.height} rows ({type(error).__name__})") from None
        raise LakeFault(f"{spec.name} could not commit {rows.height} rows in {COMMIT_RETRIES} attempts")

    def discard(self, spec: TableSpec, *, batch_id: str, episodes: Sequence[str] | None = None) -> None:
        """Take back the rows of a batch that did not come to its end, of `episodes` only if these are given.

        Nothing else refers to them yet.
        """
        with self.lock(spec):
            if self.exists(spec):
                table = DeltaTable(str(self.path(spec)))
                of_batch = f"batch_id = '{uuid.UUID(batch_id)}'"
                if episodes is None:
                    table.delete(of_batch)
                for start in range(0, len(episodes or ()), _DISCARDED_AT_ONCE):
                    named = ", ".join(f"'{uuid.UUID(e)}'" for e in (episodes or ())[start : start + _DISCARDED_AT_ONCE])
                    table.delete(f"{of_batch} AND episode_id IN ({named})")

    def mirror(self, spec: TableSpec, frame: pl.DataFrame) -> bool:
        """Make the table hold exactly the rows of `frame`; return whether anything changed.

        For copies of small registry tables. An unchanged table gets no new version; one that an earlier release made
        takes the columns that its spec states now.
        """
        rows = spec.conform(frame).sort(list(spec.key))
        with self.lock(spec):
            if not self.exists(spec):
                self._create(spec)
            table = DeltaTable(str(self.path(spec)))
            is_current = [field.name for field in table.schema().fields] == spec.names
            if is_current and rows.equals(self.scan(spec).sort(list(spec.key)).collect()):
                return False
            write_deltalake(
                table,
                rows,
                mode="overwrite",
                schema_mode=None if is_current else "overwrite",
                predicate="1=1",  # without a predicate delta-rs does not check an overwrite for conflicts
                writer_properties=writer(spec),
            )
        return True

    def stats(self, spec: TableSpec) -> dict[Month | None, MonthStats]:
        """Return rows, bytes and files per month (one entry under None for an unpartitioned table), from the log."""
        return {
            month: MonthStats(*row)
            for month, *row in self.files(spec)
            .group_by(MONTH)
            .agg(pl.col("num_records").sum(), pl.col("size_bytes").sum(), pl.len())
            .sort(MONTH)
            .iter_rows()
        }

    def fingerprints(self, spec: TableSpec, *, by: str = MONTH) -> dict[Month, str]:
        """Return a hash per month over the files that may hold rows of it; a month with the same hash did not change.

        Args:
            by: `month`, or another DATE column of months such as `episode_month`: its months are read from the files'
                statistics, so a file that spans several counts for each of them.
        """
        files = self.files(spec)
        if by != MONTH:
            of_file = pl.date_ranges(f"min.{by}", f"max.{by}", interval="1mo").alias(MONTH)
            files = files.select("path", of_file).explode(MONTH).drop_nulls(MONTH)
        paths = files.sort("path").group_by(MONTH, maintain_order=True).agg("path")
        return {month: hashlib.sha256("\n".join(group).encode()).hexdigest() for month, group in paths.iter_rows()}

    def files(self, spec: TableSpec) -> pl.DataFrame:
        """Return one row per data file: path, size_bytes, num_records, month, and bounds as Delta names them.

        Bounds are those of DATE and TIMESTAMP columns; null where a file states none.
        """
        kinds: dict[Kind, pl.DataType] = {Kind.DATE: pl.Date(), Kind.TIMESTAMP: pl.Datetime("us", "UTC")}
        empty = pl.DataFrame(
            schema={"path": pl.String, "size_bytes": pl.Int64, "num_records": pl.Int64, MONTH: pl.Date}
            | {f"{bound}.{c.name}": kinds[c.kind] for c in spec.columns if c.kind in kinds for bound in ("min", "max")}
        )
        if not self.exists(spec):
            return empty
        actions = pl.DataFrame(DeltaTable(str(self.path(spec))).get_add_actions(flatten=True))
        if actions.is_empty():
            return empty
        month = pl.col(f"partition.{MONTH}") if spec.is_monthly else pl.lit(None, dtype=pl.Date)
        return actions.with_columns(month.alias(MONTH)).select(empty.columns).cast(empty.schema)

    def version(self, spec: TableSpec) -> int | None:
        """Return the table's Delta version, or None where there is no table."""
        return DeltaTable(str(self.path(spec))).version() if self.exists(spec) else None

    def compact(self, spec: TableSpec, months: Sequence[date] | None = None) -> int:
        """Rewrite the small files of `months` (all if None) into large ones; return how many files went.

        Raises:
            LakeFault: the row count changed; the table was restored to what it was.
        """
        with self.lock(spec):
            if not self.exists(spec) or (months is not None and not months):
                return 0
            table = DeltaTable(str(self.path(spec)))
            version, rows = table.version(), table.count()
            filters = [(MONTH, "in", [month.isoformat() for month in months])] if months else None
            metrics = table.optimize.compact(partition_filters=filters, writer_properties=writer(spec))
            if table.version() != version and table.count() != rows:
                table.restore(version)
                raise LakeFault(f"compacting {spec.name} changed its row count; version {version} was restored")
            return int(metrics["numFilesRemoved"])
