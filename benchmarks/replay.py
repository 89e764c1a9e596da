"""`python -m benchmarks.replay`: recorded episodes replayed, against reading their rows and against executing them.

The limit is collecting the same columns of the same rows from the lake. Times are for the machine that is named.
"""

import argparse
import os
import platform as machine
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.__main__ import AS_OF, processor, seconds
from dagster_project.platform import Platform
from ingest.demonstration import land_demonstration
from ingest.events import ingest_landing
from lake.home import Home
from lake.tables import EVENT_BUS, LOGS, RUN_EPISODE, STEP_RUN
from registry.loader import PACK, load_pack
from runtime.execution import execute_pending
from runtime.replay import replay

WORKFLOW = "WF-FIN-001"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="records that become episodes (100,000)")
    parser.add_argument("--passes", type=int, default=3, help="alternating passes, of which the median counts (3)")
    given = parser.parse_args()
    print(f"{processor()}, {os.cpu_count()} cores, Python {machine.python_version()}; {given.events:,} records\n")
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Home(Path(folder) / "home"))
        load_pack(platform.registry, PACK, actor="bench", now=AS_OF)
        platform.lake.ensure(LOGS)
        fixed = platform.home.fix(as_of=AS_OF, seed=7, events=given.events)
        land_demonstration(platform.home, platform.landing, fixed)
        ingest_landing(platform.landing, registry=platform.registry, lake=platform.lake, door=platform.door, now=AS_OF)
        executed = seconds(lambda: execute_pending(platform.lake, platform.registry, skills=platform.skills, now=AS_OF))
        reads, replays = [], []
        for _ in range(given.passes):
            reads.append(seconds(lambda: _read(platform)))
            replays.append(seconds(lambda: _replay(platform)))
        episodes = _replay(platform)
        platform.close()
    read, replayed = median(reads), median(replays)
    print(f"{'':34}{'episodes/s':>12}{'of the limit':>14}")
    for name, took in (("read (limit)", read), ("replayed", replayed), ("executed and recorded", executed)):
        print(f"{name:34}{episodes / took:>12,.0f}{read / took:>14.2f}")
    print(f"\n1,000,000 episodes at this rate: {replayed / episodes * 1_000_000:,.1f} s")


def _read(platform: Platform) -> None:
    for spec, columns in (
        (EVENT_BUS, ["event_id", "payload"]),
        (RUN_EPISODE, ["episode_id", "outcome", "seed", "started_at", "trigger_event_id"]),
        (STEP_RUN, ["episode_id", "seq", "step_id", "status", "input", "output", "latency_ms", "ended_at"]),
    ):
        platform.lake.scan(spec, columns=columns).collect()


def _replay(platform: Platform) -> int:
    found = replay(platform.lake, platform.registry, WORKFLOW, skills=platform.skills)
    if found.not_replayable or found.divergences.height:
        raise SystemExit(
            f"{found.divergences.height} episodes diverge, {dict(found.not_replayable)} cannot be replayed"
        )
    return found.replayed


if __name__ == "__main__":
    main()
