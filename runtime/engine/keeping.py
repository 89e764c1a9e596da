"""Keeping: an episode that waits is put down as text, and taken up days later as if it had not been."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from runtime.engine.batch import Batch
from runtime.engine.history import NOTHING, Rows
from runtime.engine.recording import RESULT, STEP_RUNS
from runtime.engine.state import ROOT, moment_of
from runtime.engine.undoing import Effect
from runtime.engine.waiting import Cause, Wait

_ATTEMPT, _LATENCY = STEP_RUNS.names().index("attempt"), RESULT.names().index("latency_ms")
_WAIT = ("cause", "step_id", "topic", "key", "since_us", "due_us", "given", "result")

WAITING = pl.Schema(
    {
        "episode_id": pl.String(),
        "branch": pl.String(),
        "step_id": pl.String(),
        "await_topic": pl.String(),
        "await_key": pl.String(),
        "waiting_since": pl.Datetime("us", "UTC"),
        "due_at": pl.Datetime("us", "UTC"),
        "state": pl.String(),
    }
)


def put_down(batch: Batch, records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per wait (`WAITING`); all rows of an episode hold its whole state."""
    if not batch.waits:
        return pl.DataFrame(schema=WAITING)
    columns, labels = batch.state.branches, batch.state.labels
    waiting: dict[int, list[int]] = {}
    for branch in batch.waits:
        waiting.setdefault(int(columns.episode[branch]), []).append(branch)
    runs = records.filter(pl.col("row").is_in(list(waiting))).sort("start_us", "seq", maintain_order=True)
    by_row = runs.with_columns(row=pl.lit(0, dtype=pl.Int64), of=pl.col("row")).partition_by("of", as_dict=True)
    rows = []
    for episode, branches in sorted(waiting.items()):
        earlier = by_row[(episode,)].drop("of").rows() if (episode,) in by_row else []
        state = json.dumps(_state(batch, episode, branches, earlier))
        for branch in sorted(branches, key=lambda branch: labels[branch]):
            wait = batch.waits[branch]
            rows.append(
                (
                    batch.state.ids[episode],
                    labels[branch],
                    wait.step_id,
                    wait.topic,
                    wait.key,
                    moment_of(wait.since_us),
                    moment_of(wait.due_us),
                    state,
                )
            )
    return pl.DataFrame(rows, schema=WAITING, orient="row")


def _state(batch: Batch, episode: int, branches: Sequence[int], runs: Sequence[Any]) -> dict[str, Any]:
    state = batch.state
    steps = state.plan.steps
    standing = sorted(batch.branching.of_episode[episode]) if batch.branching else branches
    return {
        "runs": int(state.runs[episode]),
        "visits": {step_id: int(visits[episode]) for step_id, visits in state.visits.items() if visits[episode]},
        "passed": batch.branching.marks(episode) if batch.branching else [],
        "effects": [
            [e.ended_us, e.depth, steps[e.place].step_id, steps[e.undone_by].step_id, state.outputs.chain(e.output)]
            for e in batch.undoing.effects.get(episode, ())
        ],
        "step_runs": runs,
        "branches": [_branch(batch, branch) for branch in standing],
    }


def _branch(batch: Batch, branch: int) -> dict[str, Any]:
    state, columns = batch.state, batch.state.branches
    kept = {
        "label": state.labels[branch],
        "clock_us": int(columns.clock[branch]),
        "depth": int(columns.depth[branch]),
        "undoes": bool(columns.is_undoing[branch]),
        "outputs": state.outputs.chain(int(columns.output[branch])),
        "input": state.inputs.text(int(columns.given[branch])),
    }
    if wait := batch.waits.get(branch):
        return {**kept, "wait": [getattr(wait, name) for name in _WAIT]}
    assert batch.branching is not None
    return {**kept, "at": state.plan.steps[batch.branching.parked[branch]].step_id}


def take_up(batch: Batch, rows: Rows) -> None:
    """Put episodes back to where they were put down, and look whether their waits are over."""
    waits: dict[int, Wait] = {}
    for row in rows.tolist():
        kept = _current(json.loads(batch.state.episodes["state"][row]))
        _restore_episode(batch, row, kept)
        branches = [row]
        if len(kept["branches"]) > 1:
            copies = np.full(len(kept["branches"]) - 1, row, dtype=np.int64)
            branches += batch.state.branches.copy(copies).tolist()
            batch.state.labels += [ROOT] * len(copies)
        for branch, item in zip(branches, kept["branches"], strict=True):
            _restore_branch(batch, branch, item)
            if batch.branching:
                batch.branching.of_episode[row].add(branch)
            if "wait" in item:
                kept_wait = dict(zip(_WAIT, item["wait"], strict=True))
                waits[branch] = Wait(
                    **kept_wait | {"cause": Cause(kept_wait["cause"]), "result": tuple(kept_wait["result"])}
                )
            else:
                assert batch.branching is not None
                batch.branching.parked[branch] = batch.state.order[item["at"]]
    batch.resume(waits)


def _restore_episode(batch: Batch, row: int, kept: Mapping[str, Any]) -> None:
    state = batch.state
    state.runs[row] = kept["runs"]
    for step_id, visits in kept["visits"].items():
        state.visits[step_id][row] = visits
    if batch.branching:
        batch.branching.restore(row, kept["passed"], state.order)
    for ended_us, depth, step_id, undone_by, outputs in kept["effects"]:
        effect = Effect(ended_us, depth, state.order[step_id], state.order[undone_by], state.outputs.restore(outputs))
        batch.undoing.effects[row].append(effect)
    runs = pl.DataFrame(kept["step_runs"], schema=STEP_RUNS, orient="row")
    batch.record.restore(runs.with_columns(row=pl.lit(row, dtype=pl.Int64)))


def _restore_branch(batch: Batch, branch: int, kept: Mapping[str, Any]) -> None:
    state, columns = batch.state, batch.state.branches
    state.labels[branch] = kept["label"]
    columns.clock[branch], columns.depth[branch] = kept["clock_us"], kept["depth"]
    columns.is_undoing[branch] = kept["undoes"]
    columns.output[branch] = state.outputs.restore(kept["outputs"])
    given = kept["input"]
    columns.given[branch] = NOTHING if given is None else state.inputs.add(pl.Series([given]))[0]


def _current(kept: dict[str, Any]) -> dict[str, Any]:
    """Return what was kept in its current form; up to version 0.1 an episode was one branch that waits for an event."""
    if "branches" in kept:
        return kept
    visits = Counter(run[1] for run in kept["step_runs"] if run[_ATTEMPT] == 1)
    visits[kept["step_id"]] += 1
    started_us = kept["clock_us"] + (kept["result"][_LATENCY] or 0) * 1000
    wait = [
        Cause.EVENT,
        kept["step_id"],
        kept["await_topic"],
        kept["await_key"],
        started_us,
        kept["due_us"],
        kept["input"],
        kept["result"],
    ]
    branch = {
        "label": ROOT,
        "clock_us": kept["clock_us"],
        "depth": kept["seq"],
        "undoes": False,
        "outputs": kept["outputs"],
        "input": kept["input"],
        "wait": wait,
    }
    return {
        "runs": kept["seq"],
        "visits": dict(visits),
        "passed": [],
        "effects": [],
        "step_runs": kept["step_runs"],
        "branches": [branch],
    }
