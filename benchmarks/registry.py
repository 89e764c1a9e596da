"""Speed of the registry: `python -m benchmarks.registry`. Times are for the machine that is named, cold and whole.

A load of the shipped pack is the command in a process of its own on a home that is empty. Generated workflows are
WF-FIN-001 under other ids with tolerances and conditions of their own; what is published goes the whole way: submitted,
approved, checked again, written with lineage and announcements.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.database import Registry
from registry.documents import Workflow, read_document
from registry.gates import GATES, GateDecision, load_grounds, record_decisions, record_review
from registry.loader import PACK, load_pack
from registry.permissions import Principal, load_permissions
from registry.proposals import decide, find
from registry.publication import publish_all, submit_all

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 10
OWNER, PUBLISHER = Principal("owner", "person", "FA-D-001"), Principal("publisher", "person", "QA-M-001")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000, help="generated versions (10,000)")
    versions = parser.parse_args().versions
    print(
        f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'':44}{'seconds':>10}{'of CPU':>10}{'per second':>12}")
        _row("shipped pack, cold command", *_cold(folder))
        generated = _generated(folder / "pack", versions)
        registry = Registry.open(folder / "workflows.db")
        spent = _spent(lambda: load_pack(registry, generated, actor="bench", now=NOW))
        _row(f"{versions:,} workflows, one pack", *spent, versions)
        registry.close()
        _row(f"{versions:,} versions, published in {ROUNDS} sets", *_published(folder, versions // ROUNDS), versions)


def _row(name: str, seconds: float, of_cpu: float, versions: int = 0) -> None:
    rate = f"{versions / seconds:12,.0f}" if versions else ""
    print(f"{name:44}{seconds:10.1f}{of_cpu:10.1f}{rate}", flush=True)


def _cold(folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "app.cli", "registry", "load"]
    environment = {**os.environ, "RWCM_HOME": str(folder / "home")}
    return _spent(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))


def _generated(folder: Path, count: int) -> Path:
    """Return a copy of the shipped pack with `count` workflows more."""
    shutil.copytree(PACK, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for number in range(count):
        (folder / "workflows" / f"WF-GEN-{number}.json").write_text(json.dumps(_workflow(number)))
    return folder


def _workflow(number: int, revision: int = 0) -> dict[str, Any]:
    text = (PACK / "workflows/WF-FIN-001.json").read_text()
    for old, new in (
        ("WF-FIN-001", f"WF-GEN-{number}"),
        ("Automated Invoice Processing", f"Generated {number}"),
        ('"F-0', f'"WF-GEN-{number}/'),
        ("TR-FIN-001", f"TR-GEN-{number}"),
        ('"1.3.0"', f'"1.{revision}.0"'),
    ):
        text = text.replace(old, new)
    document = json.loads(text)
    document["steps"][1]["parameters"]["tolerance"] = (number % 900 + revision + 1) / 10_000
    document["triggers"][0]["selector"]["condition"] = f'vendor_id == "VEND-{number}"'
    return document


def _published(folder: Path, workflows: int) -> tuple[float, float]:
    registry = Registry.open(folder / "versions.db")
    load_pack(registry, PACK, actor="bench", now=NOW)
    spent = _spent(lambda: [_publish_set(registry, workflows, revision) for revision in range(ROUNDS)])
    registry.close()
    return spent


def _publish_set(registry: Registry, workflows: int, revision: int) -> None:
    documents = [
        read_document(Workflow, json.dumps(_workflow(number, revision)), name=f"WF-GEN-{number}")
        for number in range(workflows)
    ]
    drafts = submit_all(registry, documents, principal=OWNER, now=NOW)
    ids = [draft.publication_id for draft in drafts]
    with registry.transaction() as connection:
        grounds, reviewers = load_grounds(connection, now=NOW), load_permissions(connection, now=NOW).reviewers
        for queued in find(connection, *ids):
            on: dict[str, Any] = {"grounds_hash": grounds.hash_of(queued), "now": NOW}
            record_decisions(
                connection, queued, [GateDecision(gate, True, "passed", {}) for gate in GATES], by="bench", **on
            )
            for role in reviewers:
                by = Principal(f"reviewer-{role}", "person", role)
                record_review(
                    connection,
                    queued,
                    reviewer_role_id=role,
                    principal=by,
                    decision="approved",
                    reason="looked at",
                    **on,
                )
            decide(
                connection,
                queued.publication_id,
                proposal_hash=queued.proposal_hash,
                decision="approved",
                decided_by="reviewer",
                now=NOW,
            )
    publish_all(registry, ids, principal=PUBLISHER, now=NOW)


def _spent(action: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that an action took, and those of the processor, its children's included."""
    before, start = os.times(), time.perf_counter()
    action()
    seconds, after = time.perf_counter() - start, os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
