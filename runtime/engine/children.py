"""Children: a step that starts another workflow, and goes on with what became of it.

The child is an episode of its own, run by whoever runs the batch; the parent stays open meanwhile. A child's id follows
from its parent, the step and the visit, so that it is started once.
"""

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import polars as pl

from guard.identity import time_ordered_uuid
from registry.plans import PlannedStep
from runtime.documents import Documents
from runtime.engine.binding import Bound
from runtime.engine.history import Rows
from runtime.engine.recording import RESULT
from runtime.engine.state import State, moment_of
from runtime.protocol import ErrorCode

ADAPTER = "engine"
"""The adapter of a skill that the engine itself is: it starts a workflow."""

MAX_DEPTH = 8
"""How many parents an episode may have."""

_FAILED = '"failed"'


def starts_workflow(step: PlannedStep) -> bool:
    return step.skill.runtime_binding.adapter == ADAPTER


def requests(
    state: State, step: PlannedStep, branches: Rows, bound: Bound, workflows: Collection[str]
) -> tuple[pl.DataFrame, dict[int, tuple[ErrorCode, str]]]:
    """Return results that ask for a child each (`output` is the request), and by row why there can be none."""
    targets = bound.arguments["target_workflow_id"]
    payloads = bound.arguments.get("payload")
    refused: dict[int, tuple[ErrorCode, str]] = {}
    rows: list[dict[str, Any]] = []
    for row, branch in enumerate(branches.tolist()):
        episode = int(state.branches.episode[branch])
        if targets[row] not in workflows:
            refused[row] = ErrorCode.UNKNOWN_WORKFLOW, f"no workflow {targets[row]!r} is active; publish one"
        elif state.nesting[episode] >= MAX_DEPTH:
            refused[row] = ErrorCode.CHILD_DEPTH, f"{MAX_DEPTH} workflows have started each other; start none from here"
        visit = str(state.visits[step.step_id][episode])
        moment = moment_of(int(state.branches.clock[branch]))
        child_id = time_ordered_uuid(moment, "child", state.ids[episode], step.step_id, visit)
        request = {
            "episode_id": child_id,
            "workflow_id": targets[row],
            "started_at": moment.isoformat(),
            "nesting": int(state.nesting[episode]) + 1,
        }
        payload = "{}" if payloads is None else payloads.texts[row]
        output = f'{json.dumps(request)[:-1]}, "payload": {payload}}}'
        rows.append({"output": output, "latency_ms": 0, "attempt": 1, "waited_ms": 0})
    return pl.DataFrame(rows, schema=RESULT), refused


def child_keys(result: pl.DataFrame) -> pl.Series:
    """Return the key that the parent waits for, per request."""
    return pl.select(
        pl.concat_str(pl.lit("["), Documents(result["output"]).member(["episode_id"]), pl.lit("]")).alias("")
    ).to_series()


def have_failed(payloads: pl.Series) -> Any:
    """Return which children failed, by the payloads that tell of their ends."""
    return (Documents(payloads).member(["outcome"]) == _FAILED).to_numpy().astype(np.bool_)
