"""Ingestion as a lake grows: memory and cost per event, `python -m benchmarks.scale --events 10000000`.

The events land file by file, in order of time or in none: every file then holds times of all months, so that each
commit touches each partition and each id is looked for in all of them. Memory is that of the process and its workers
together (PSS: what they share counts once), seen ten times a second. Cost is compared with that of 100,000 events, the
median of three runs. Ten million take about 5 GB of scratch and some minutes; `make bench` runs one million.
"""

import argparse
import os
import platform as machine
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.__main__ import processor
from benchmarks.ingestion import NOW, Spent, spent
from benchmarks.stream import FILE_EVENTS
from dagster_project.platform import Platform
from ingest.events import CHUNK_RECORDS, ingest_landing
from lake.home import Home
from lake.tables import EVENT_BUS, LOGS
from registry.loader import PACK, load_pack

SMALL = 100_000
AT_ONCE = 20
"""Files that wait at once: all of them would be 3 GB more of scratch."""

MOST_BYTES, MOST_TIMES = 1 << 30, 1.3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="records of about 300 bytes (1,000,000)")
    parser.add_argument("--order", choices=["time", "any", "both"], default="both", help="of the records (both)")
    parser.add_argument("--folder", type=Path, help="for scratch, in place of the system's")
    options = parser.parse_args()
    print(
        f"{processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {machine.python_version()}; commits of up to {CHUNK_RECORDS:,}\n"
    )
    print(f"{'':34}{'rows/s':>10}{'us, wall':>10}{'us, CPU':>10}{'peak MiB':>10}{'files':>8}")
    for order in ("time", "any") if options.order == "both" else (options.order,):
        small = [_run(SMALL, order, options.folder) for _ in range(3)]
        large = _run(options.events, order, options.folder)
        wall = large[0].wall / options.events / (median(run.wall for run, *_ in small) / SMALL)
        of_cpu = large[0].of_cpu / options.events / (median(run.of_cpu for run, *_ in small) / SMALL)
        print(
            f"  the last against 100,000: {wall:.2f} of the wall time, {of_cpu:.2f} of the CPU (target {MOST_TIMES}); "
            f"peak {large[1] / MOST_BYTES:.2f} GiB (target 1)"
        )


def _run(events: int, order: str, scratch: Path | None) -> tuple[Spent, int]:
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        platform = Platform(Home(Path(name)))
        load_pack(platform.registry, PACK, actor="bench", now=NOW)
        platform.lake.ensure(LOGS)
        wall = of_cpu = 0.0
        accepted = peak = 0
        for first in range(0, events, AT_ONCE * FILE_EVENTS):
            count = min(AT_ONCE * FILE_EVENTS, events - first)
            # Made by another process, whose memory is not that of ingestion.
            given = (platform.landing.inbox, count, first, events, order)
            subprocess.run([sys.executable, "-m", "benchmarks.stream", *map(str, given)], check=True)
            with _peak() as seen:
                results = []
                took = spent(lambda: results.append(_ingested(platform)))  # noqa: B023 - it is called at once
            wall, of_cpu, peak = wall + took.wall, of_cpu + took.of_cpu, max(peak, seen[0])
            accepted += results[0]
        assert accepted == events, f"{accepted:,} of {events:,} events were accepted"
        files = sum(month.files for month in platform.lake.stats(EVENT_BUS).values())
        platform.close()
    print(
        f"{events:>12,} events, {order + ' order':13}{events / wall:>10,.0f}{wall / events * 1e6:>10.2f}"
        f"{of_cpu / events * 1e6:>10.2f}{peak / (1 << 20):>10,.0f}{files:>8,}",
        flush=True,
    )
    return Spent(wall, of_cpu), peak


def _ingested(platform: Platform) -> int:
    rooms = {"registry": platform.registry, "lake": platform.lake, "door": platform.door, "now": NOW}
    return ingest_landing(platform.landing, **rooms).records.accepted


@contextmanager
def _peak() -> Iterator[list[int]]:
    """Give the most bytes that this process and those under it held at one time, once the block has ended."""
    seen, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            seen[0] = max(seen[0], sum(map(_pss, _tree(os.getpid()))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def _tree(root: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{root}/task").iterdir())
        children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return []
    return [root, *(pid for child in children for pid in _tree(child))]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    sys.exit(main())
