"""The frontier: which branches stand where, and whose turn it is.

Where a plan never forks, any step's branches may have their turn: episodes do not see each other. Where it forks, the
branches of an episode do: the first one at a join goes on, and an end stops the others. Then each episode's earliest
branch has its turn, whatever else is in the batch.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.engine.history import Rows
from runtime.engine.state import State


class Kind(IntEnum):
    """What happens to a branch next, in the order in which things that happen at one moment do."""

    NOTHING = 0
    END = 1
    ARRIVE = 2
    WAKE = 3
    RUN = 4


class Turn(NamedTuple):
    """Branches to which the same happens at the same place: a step's number, or an outcome's."""

    kind: Kind
    place: int
    branches: Rows


class Frontier:
    """The frontier of a plan without forks."""

    def __init__(self) -> None:
        self._standing: dict[tuple[Kind, int], list[Rows]] = {}

    def put(self, kind: Kind, place: int, branches: Rows) -> None:
        if len(branches):
            self._standing.setdefault((kind, place), []).append(branches)

    def take(self) -> Turn | None:
        if not self._standing:
            return None
        first = min(self._standing)
        return Turn(*first, np.concatenate(self._standing.pop(first)))


class TimedFrontier:
    """The frontier of a plan with forks: of each episode only the earliest branch is taken."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._kind = np.zeros(0, dtype=np.int8)
        self._place = np.zeros(0, dtype=np.int32)
        self._wakes_at: dict[int, int] = {}

    def put(self, kind: Kind, place: int, branches: Rows) -> None:
        self._grow()
        self._kind[branches], self._place[branches] = kind, place

    def put_wakes(self, place: int, branches: Rows, at: Rows) -> None:
        """Let branches wake at a moment of their own."""
        self.put(Kind.WAKE, place, branches)
        self._wakes_at.update(zip(branches.tolist(), at.tolist(), strict=True))

    def drop(self, branches: Rows) -> None:
        self.put(Kind.NOTHING, 0, branches)

    def of(self, branch: int) -> tuple[Kind, int]:
        """Return what happens to a branch next, and where."""
        self._grow()
        return Kind(int(self._kind[branch])), int(self._place[branch])

    def take(self) -> Turn | None:
        self._grow()
        live = np.flatnonzero(self._kind != Kind.NOTHING)
        if not len(live):
            return None
        first = live[self._first_of_each(live)]
        kinds, places = self._kind[first], self._place[first]
        kind = kinds.min()
        place = places[kinds == kind].min()
        taken = first[(kinds == kind) & (places == place)]
        self._kind[taken] = Kind.NOTHING
        return Turn(Kind(int(kind)), int(place), taken)

    def _first_of_each(self, live: Rows) -> NDArray[np.int64]:
        """Return where among `live` the earliest branch of each episode is."""
        episode, moment = self._state.branches.episode[live], self._state.branches.clock[live].copy()
        for place in np.flatnonzero(self._kind[live] == Kind.WAKE).tolist():
            moment[place] = self._wakes_at[int(live[place])]
        keys: list[NDArray[Any]] = [self._place[live], self._kind[live], moment, episode]
        order = np.lexsort(keys)
        same = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
        if same.any():
            labels = np.array([self._state.labels[branch] for branch in live.tolist()])
            order = np.lexsort([labels, *keys])
        is_first = np.r_[True, episode[order][1:] != episode[order][:-1]]
        return order[is_first]

    def _grow(self) -> None:
        missing = len(self._state.branches.episode) - len(self._kind)
        if missing:
            self._kind = np.concatenate([self._kind, np.zeros(missing, dtype=np.int8)])
            self._place = np.concatenate([self._place, np.zeros(missing, dtype=np.int32)])
