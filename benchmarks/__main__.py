"""`make bench`: ingestion and execution against writing the same rows without any check.

The limit of ingestion is DuckDB reading the same landed files and writing them as partitioned Parquet with zstd; that
of execution is deltalake writing the same frames in the same number of commits. Absolute rates are for the machine
that is named.
"""

import argparse
import gzip
import os
import platform as machine
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
from deltalake import write_deltalake

from dagster_project.platform import Platform
from ingest.demonstration import land_demonstration
from ingest.events import ingest_landing
from lake.home import Home
from lake.spec import MONTH
from lake.tables import LOGS, RUN_EPISODE, STEP_RUN
from registry.loader import PACK, load_pack
from runtime.execution import execute_pending

ROUNDS = 3
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="records to land (100,000)")
    events = parser.parse_args().events
    print(f"{processor()}, {os.cpu_count()} cores, Python {machine.python_version()}; {events:,} records\n")
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Home(Path(folder) / "home"))
        load_pack(platform.registry, PACK, actor="bench", now=AS_OF)
        platform.lake.ensure(LOGS)
        platform.home.fix(as_of=AS_OF, seed=7, events=events)
        land_demonstration(platform.home, platform.landing, platform.home.fix(as_of=AS_OF, seed=7, events=events))
        print(f"{'':34}{'rows/s':>12}{'of the limit':>14}")
        _bench_ingestion(platform, Path(folder), events)
        _bench_execution(platform, Path(folder))
        platform.close()


def _bench_ingestion(platform: Platform, folder: Path, events: int) -> None:
    plain = folder / "plain"
    plain.mkdir()
    for path in platform.landing.inbox.iterdir():
        content = path.read_bytes()
        with (plain / path.name.removesuffix(".gz")).open("wb") as file:
            file.write(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    before = seconds(lambda: copy_unchecked(f"{plain}/ap-2*.ndjson", folder / "unchecked"))
    spent = seconds(
        lambda: ingest_landing(
            platform.landing, registry=platform.registry, lake=platform.lake, door=platform.door, now=AS_OF
        )
    )
    # Once before and once after, so that a machine with other work to do slows down both.
    limit = (before + seconds(lambda: copy_unchecked(f"{plain}/ap-2*.ndjson", folder / "unchecked again"))) / 2
    _row("ingest: DuckDB, no checks (limit)", events / limit)
    _row("ingest: validated, redacted, once", events / spent, limit / spent)


def copy_unchecked(source: str, target: Path) -> None:
    """Write NDJSON as Parquet by month, with nothing checked but what cannot be read left out."""
    with duckdb.connect() as connection:
        connection.execute(
            """
            copy (
                select *, date_trunc('month', try_cast(produced_at as timestamptz))::date as month
                from read_json(?, format = 'newline_delimited', ignore_errors = true, columns = {
                    event_id: 'varchar', topic: 'varchar', payload: 'json', produced_at: 'varchar',
                    producer_id: 'varchar'
                })
            ) to '"""
            + str(target).replace("'", "''")
            + "' (format parquet, compression zstd, partition_by (month))",
            [source],
        )


def _bench_execution(platform: Platform, folder: Path) -> None:
    """Execute what was ingested, and write the same frames in the same commits, in turns: both meet one load."""
    executed, written = [], []
    rows = 0
    for turn in range(ROUNDS):
        home = shutil.copytree(platform.home.root, folder / f"turn {turn}")
        copy = Platform(Home(home))
        executed.append(seconds(partial(execute_pending, copy.lake, copy.registry, skills=copy.skills, now=AS_OF)))
        commits = [
            (spec.name, part)
            for spec in (STEP_RUN, RUN_EPISODE)
            for part in copy.lake.scan(spec).collect().partition_by("batch_id")
        ]
        rows = sum(part.height for name, part in commits if name == STEP_RUN.name)
        copy.close()
        shutil.rmtree(home)
        written.append(seconds(partial(_write_unchecked, commits, folder / "delta")))
    spent, limit = statistics.median(executed), statistics.median(written)
    _row("execute: deltalake, no checks (limit)", rows / limit)
    _row("execute: step runs", rows / spent, limit / spent)


def _write_unchecked(commits: Sequence[tuple[str, pl.DataFrame]], target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for name, frame in commits:
        write_deltalake(target / name, frame, partition_by=[MONTH], mode="append")


def seconds(action: Callable[[], object]) -> float:
    """Return what an action takes on the clock."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _row(name: str, rate: float, ratio: float | None = None) -> None:
    print(f"{name:38}{rate:>12,.0f}" + (f"{ratio:>10.3f}" if ratio is not None else ""))


def processor() -> str:
    """Return what the machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return machine.processor() or machine.machine()


if __name__ == "__main__":
    main()
