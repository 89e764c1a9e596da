"""Ingestion against its limit and a peer: `python -m benchmarks.ingestion`.

The limit is what DuckDB takes to read the same NDJSON and write it as Parquet, zstd, partitioned by month, with nothing
checked. Passes alternate, so that a machine with other work to do slows down both, and medians are compared. Rows that
were ingested are validated, redacted where the schema says so, de-duplicated and committed to Delta. The peer is dlt's
filesystem destination with Delta tables and a schema contract, in an environment of its own.
"""

import argparse
import json
import os
import platform as machine
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.__main__ import copy_unchecked, processor
from benchmarks.stream import Mix, land
from dagster_project.platform import Platform
from ingest.events import ingest_landing
from lake.home import Home
from lake.tables import LOGS
from registry.loader import PACK, load_pack

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PEER = Path(".venv-bench/bin/python")
TARGET, PEER_TARGET = 0.25, 15


@dataclass(frozen=True)
class Spent:
    """Seconds that something took, and those of the processor, children included."""

    wall: float
    of_cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingestion", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="records of about 300 bytes (1,000,000)")
    parser.add_argument("--passes", type=int, default=3, help="of each side (3)")
    parser.add_argument("--peer-events", type=int, default=100_000, help="records for dlt (100,000)")
    options = parser.parse_args()
    print(
        f"{processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {machine.python_version()}, DuckDB {duckdb.__version__}; {options.events:,} records\n"
    )
    print(f"{'':46}{'rows/s':>12}{'us of CPU':>12}{'ratio':>8}")
    rates = {mix: _against_limit(mix, options.events, options.passes) for mix in Mix}
    if PEER.exists():
        _against_peer(options.peer_events, rates[Mix.HALF])
    else:
        print(f"\nno peer: {PEER} is made by `make bench`")


def _against_limit(mix: Mix, events: int, passes: int) -> float:
    """Print how ingestion compares with its limit; return its rate."""
    limits: list[Spent] = []
    ours: list[Spent] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        size = land(source, events, mix=mix)
        for number in range(passes):
            limits.append(spent(lambda: copy_unchecked(f"{source}/*.ndjson", folder / "unchecked")))
            shutil.rmtree(folder / "unchecked")
            home = folder / f"home-{number}"
            ours.append(_ingested(home, source, events))
            shutil.rmtree(home)
    limit, own = median(each.wall for each in limits), median(each.wall for each in ours)
    marked = {Mix.HALF: "half of them with a marked member", Mix.ALL: "all of them", Mix.NONE: "none of them"}[mix]
    _row(f"DuckDB, no checks ({size / events:.0f} bytes/record)", events, limit, limits)
    _row(f"ingested, {marked}", events, own, ours, limit / own)
    if mix is Mix.HALF:
        print(f"{'':46}{'target':>24}{TARGET:>8.2f}")
    return events / own


def _ingested(root: Path, source: Path, events: int) -> Spent:
    platform = Platform(Home(root))
    load_pack(platform.registry, PACK, actor="bench", now=NOW)
    platform.lake.ensure(LOGS)
    for path in source.iterdir():
        os.link(path, platform.landing.inbox / path.name)
    rooms = {"registry": platform.registry, "lake": platform.lake, "door": platform.door, "now": NOW}
    results = []
    time_spent = spent(lambda: results.append(ingest_landing(platform.landing, **rooms)))
    platform.close()
    assert results[0].records.accepted == events, results[0].records
    return time_spent


def _against_peer(events: int, own_rate: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        land(source, events)
        print(f"\n{'dlt, schema contract, Delta on files':46}{'rows/s':>12}{'us of CPU':>12}{'we do':>8}")
        for form, means in (("json", "payload unchecked"), ("typed", "payload under the contract")):
            command = [PEER, Path(__file__).with_name("peer_dlt.py"), source, folder / form, form]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            assert said["rows"] == events, said
            rate = events / said["seconds"]
            print(f"{means:46}{rate:>12,.0f}{said['of_cpu'] / events * 1e6:>12.1f}{own_rate / rate:>7.1f}x")
    print(f"{'':46}{'target':>24}{PEER_TARGET:>7}x")


def spent(action: Callable[[], object]) -> Spent:
    """Return what an action takes."""
    before, start = os.times(), time.perf_counter()
    action()
    seconds, after = time.perf_counter() - start, os.times()
    return Spent(seconds, sum(after[:4]) - sum(before[:4]))


def _row(name: str, events: int, seconds: float, passes: list[Spent], ratio: float | None = None) -> None:
    of_cpu = median(each.of_cpu for each in passes) / events * 1e6
    print(f"{name:46}{events / seconds:>12,.0f}{of_cpu:>12.2f}" + (f"{ratio:>8.2f}" if ratio else ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
