"""The engine: a micro-batch of episodes moves through its workflow as sets.

The frontier holds, per step, the branches of episodes that stand on it. Each turn takes one step, binds its parameters,
calls its skill once for all of them, records the step runs and routes every branch by what came back. There is no clock
and no random number in here: an episode's time runs on from its start by what its steps took, and chance follows from
its seed.

`batch` says what a turn does, `frontier` whose turn it is; `binding` and `evaluation` read what episodes know, which
`history` keeps; `calling` calls skills; `joining`, `waiting` and `undoing` are what the step language has beside a
plain way on; `recording`, `keeping` and `results` are what comes out.
"""

from collections.abc import Collection
from datetime import datetime

import numpy as np
import polars as pl

from registry.plans import Plan
from runtime.engine.batch import Batch
from runtime.engine.calling import effect_keys
from runtime.engine.keeping import take_up
from runtime.engine.results import Executed, results
from runtime.engine.waiting import AWAITED, CHILD_CLOSED, FindAwaited, await_key, await_keys, internal_await
from runtime.protocol import Effects, SkillTable

__all__ = [
    "AWAITED",
    "CHILD_CLOSED",
    "EPISODES",
    "Executed",
    "FindAwaited",
    "await_key",
    "await_keys",
    "effect_keys",
    "execute",
    "internal_await",
]

EPISODES = pl.Schema(
    {
        "episode_id": pl.String(),
        "trigger_id": pl.String(),
        "trigger_event_id": pl.String(),
        "payload": pl.String(),
        "started_at": pl.Datetime("us", "UTC"),
        "seed": pl.Int64(),
        "context_hash": pl.String(),
        "state": pl.String(),
    }
)
"""Columns of the episodes to run; `state` is null for a new one, else what was kept of it when it was put down.

A child has a column `nesting` beside them: how many parents it has."""


def execute(
    plan: Plan,
    episodes: pl.DataFrame,
    *,
    skills: SkillTable,
    find_awaited: FindAwaited,
    now: datetime,
    effects: Effects | None = None,
    workflows: Collection[str] = (),
) -> Executed:
    """Run `episodes` (columns `EPISODES`) through `plan` until each is closed or waits.

    A fault of a skill, an expression or a payload is a failed step run with a code of the taxonomy; the other episodes
    of the batch go on.

    Args:
        now: moment up to which waits may time out; a later deadline keeps its episode open.
        workflows: ids of those that a step may start.
        effects: does what skills with effects do, each effect once; without it they are called as they stand.
    """
    batch = Batch(
        plan, episodes, skills=skills, find_awaited=find_awaited, now=now, effects=effects, workflows=workflows
    )
    is_new = episodes["state"].is_null()
    batch.begin(is_new.arg_true().to_numpy().astype(np.int64))
    take_up(batch, (~is_new).arg_true().to_numpy().astype(np.int64))
    batch.run()
    return results(batch)
