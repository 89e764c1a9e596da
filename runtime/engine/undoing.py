"""Compensation: what a failed episode did is undone, the last effect first.

A step that has a `compensate` is noted when it is done. Once its episode has failed, one branch goes through the steps
that undo it, each from what the step it undoes had returned; where that leads on to further steps, they run as well.
What cannot be undone is recorded as failed, and the rest is undone all the same.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from registry.plans import PlannedStep
from runtime.engine.history import Rows
from runtime.engine.state import State


class Effect(NamedTuple):
    """What is to be undone: when it was done, by which step of the plan's order, and by which step it is undone."""

    ended_us: int
    depth: int
    place: int
    undone_by: int
    output: int


class Undoing:
    """Knows what each episode did that can be undone."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.effects: dict[int, list[Effect]] = defaultdict(list)

    def note(self, step: PlannedStep, branches: Rows) -> None:
        """Remember that the step was done, now that it is recorded."""
        if step.logic.compensate is None:
            return
        columns, order = self._state.branches, self._state.order
        for branch in branches[~columns.is_undoing[branches]].tolist():
            self.effects[int(columns.episode[branch])].append(
                Effect(
                    int(columns.clock[branch]),
                    int(columns.depth[branch]),
                    order[step.step_id],
                    order[step.logic.compensate],
                    int(columns.output[branch]),
                )
            )

    def next(self, branches: Rows) -> dict[int, Rows]:
        """Take the effect that each of `branches` undoes next; return by step who goes there."""
        columns = self._state.branches
        going: dict[int, list[int]] = defaultdict(list)
        for branch in branches.tolist() if self.effects else ():
            left = self.effects.get(int(columns.episode[branch]))
            if not left:
                continue
            latest = max(left)
            left.remove(latest)
            if not columns.is_undoing[branch]:
                columns.is_undoing[branch] = True
                columns.clock[branch] = max(int(columns.clock[branch]), latest.ended_us)
            columns.output[branch] = latest.output
            going[latest.undone_by].append(branch)
        return {place: np.array(members, dtype=np.int64) for place, members in sorted(going.items())}
