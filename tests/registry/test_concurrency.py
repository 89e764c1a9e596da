"""Four processes that submit, approve and publish at once lose nothing, and none meets a locked database."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import polars as pl

from guard.canonical import parse
from lake.tables import OBJECT_VERSION, OUTBOX, POLICY, PUBLICATION_QUEUE, WORKFLOW
from registry.database import Registry

ROOT = Path(__file__).parents[2]
PROCESSES, WORKFLOWS, SHARED = 4, 4, 4

WORK = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from registry.database import Registry
from registry.documents import DocumentRefused, Policy, Workflow
from registry.loader import PACK
from registry.permissions import Principal
from registry.proposals import ProposalClosed
from registry.publication import publish, submit
from tests.approvals import approve

location, number, workflows, shared = sys.argv[1], *map(int, sys.argv[2:])
registry, now = Registry.open(location), datetime.now(UTC)
base = json.loads((PACK / "workflows/WF-FIN-001.json").read_text())
policy = json.loads((PACK / "policies/POL-FINANCE-001.json").read_text())

def bring(kind, document, by, role):
    proposer = Principal(by, "person", "FA-D-001")
    draft = submit(registry, kind, json.dumps(document), name="file", principal=proposer, now=now)
    approve(registry, draft.publication_id, now, by=by)
    return publish(registry, draft.publication_id, principal=Principal("publisher", "person", role), now=now)

for index in range(workflows):
    name = f"WF-P{number}-{index}"
    step = {**base["steps"][0], "step_id": f"{name}/1", "next_step_logic": "END"}
    own = {"workflow_id": name, "workflow_name": name, "version": "1.0.0", "steps": [step], "triggers": []}
    bring(Workflow, {**base, **own}, f"p{number}", "QA-M-001")

for index in range(shared):
    policy["spec"]["max_tolerance"] = (number * shared + index + 1) / 1000
    while True:  # another process may have moved the policy on since it was submitted
        try:
            published = bring(Policy, policy, f"p{number}", "SEC-M-001")
        except ProposalClosed as closed:
            assert closed.rule in ("base", "decision"), closed
        else:
            print(json.dumps([published.version, policy["spec"]["max_tolerance"]]))
            break
"""


def test_four_processes_lose_nothing(loaded: Registry, location: Path | str, now: datetime) -> None:
    """Each publication is a version, a row, a decision and an event, though others write at the same time."""
    before = loaded.frame(OBJECT_VERSION).height
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(location), str(number), str(WORKFLOWS), str(SHARED)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    done = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, [error for _, error in done]
    published = [json.loads(line) for output, _ in done for line in output.splitlines()]
    versions = loaded.frame(OBJECT_VERSION)
    assert versions.height == before + PROCESSES * (WORKFLOWS + SHARED)
    names = {f"WF-P{number}-{index}" for number in range(PROCESSES) for index in range(WORKFLOWS)}
    assert names <= set(loaded.frame(WORKFLOW)["workflow_id"])
    # The shared policy was moved on by one after the other: every version once, each with the value its writer saw.
    history = versions.filter(object_id="POL-FINANCE-001", reason="publication")
    stored = {row["version"]: parse(row["document"])["spec"]["max_tolerance"] for row in history.to_dicts()}
    assert {version: float(value) for version, value in stored.items()} == dict(published)
    assert sorted(map(int, stored)) == list(range(2, 2 + PROCESSES * SHARED))
    replaced = {row["version"]: parse(row["lineage"])["replaces"] for row in history.to_dicts()}
    assert all(int(old) == int(version) - 1 for version, old in replaced.items())
    newest = stored[str(1 + PROCESSES * SHARED)]
    (current,) = loaded.frame(POLICY).filter(policy_id="POL-FINANCE-001")["spec"]
    assert parse(current)["max_tolerance"] == newest
    queue = loaded.frame(PUBLICATION_QUEUE)
    assert queue["decision"].to_list() == ["published"] * PROCESSES * (WORKFLOWS + SHARED)
    changed = loaded.frame(OUTBOX).filter(pl.col("topic") == "registry.changed")
    assert changed.height == versions.height
