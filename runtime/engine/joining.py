"""Forks and joins: branches that run side by side, and where they meet.

A branch's label says where it comes from: `0` is what an episode begins as, `0.3-1` its second branch of the fork after
three step runs, `0.3-1.5-0` a branch of that. What stands before the last hyphen names the fork.

At `join: all` a branch waits until no other branch of its episode can still come there. At `join: any` the first one
goes on, and those that come later from the same fork end there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from registry.plans import Plan
from registry.steps import END
from runtime.engine.frontier import Kind, TimedFrontier
from runtime.engine.history import Rows
from runtime.engine.state import State


def forks_of(label: str) -> list[str]:
    """Return the forks that a branch comes from, the innermost first."""
    found = []
    while "." in label:
        found.append(label.rpartition("-")[0])
        label = label.rpartition(".")[0]
    return found


def before(fork: str) -> str:
    """Return the label of the branch that a fork split."""
    return fork.rpartition(".")[0]


def is_of(label: str, fork: str) -> bool:
    """Tell whether a branch comes from a fork."""
    return label.startswith(f"{fork}-")


def leads_to(plan: Plan) -> list[frozenset[int]]:
    """Return per step which steps can come after it."""
    order = {step.step_id: place for place, step in enumerate(plan.steps)}
    ways = [{order[target] for _, target in step.logic.ways() if target != END} for step in plan.steps]
    reached = [set(targets) for targets in ways]
    for _ in plan.steps:
        for targets in reached:
            targets |= {further for target in targets for further in ways[target]}
    return [frozenset(targets) for targets in reached]


class Branching:
    """Splits branches and brings them together again; knows which branches an episode has."""

    def __init__(self, state: State, frontier: TimedFrontier) -> None:
        self._state = state
        self._frontier = frontier
        self._after = leads_to(state.plan)
        self._joins = [step.logic.join for step in state.plan.steps]
        self.of_episode: dict[int, set[int]] = defaultdict(set)
        self.parked: dict[int, int] = {}
        """Branches that stand before a join -> its step."""
        self.waiting: dict[int, int] = {}
        """Branches that wait for something outside -> the step that they wait at."""
        self.passed: dict[int, set[tuple[str, int]]] = defaultdict(set)
        """Per episode the joins that a fork's first branch has gone through."""

    def go(self, branches: Rows, places: list[int]) -> None:
        """Send branches on, to several places at once where there are several."""
        starts = [branches]
        if len(places) > 1:
            labels = self._state.labels
            forks = [
                f"{labels[branch]}.{depth}"
                for branch, depth in zip(branches.tolist(), self._state.branches.depth[branches].tolist(), strict=True)
            ]
            for number in range(1, len(places)):
                starts.append(self._state.branches.copy(branches))
                labels += [f"{fork}-{number}" for fork in forks]
            for branch, fork in zip(branches.tolist(), forks, strict=True):
                labels[branch] = f"{fork}-0"
        for start, place in zip(starts, places, strict=True):
            for branch, episode in zip(start.tolist(), self._state.branches.episode[start].tolist(), strict=True):
                self.of_episode[episode].add(branch)
            self._frontier.put(Kind.ARRIVE if self._joins[place] else Kind.RUN, place, start)

    def arrive(self, place: int, branches: Rows) -> None:
        """Let branches come to a join, one of each episode."""
        going = []
        for branch, episode in zip(branches.tolist(), self._state.branches.episode[branches].tolist(), strict=True):
            label = self._state.labels[branch]
            forks = forks_of(label)
            if self._joins[place] == "all":
                self.parked[branch] = place
                continue
            others = [other for other in self.of_episode[episode] if other != branch]
            if others and any((fork, place) in self.passed[episode] for fork in forks):
                self.end([branch])
            else:
                for fork in forks:
                    if any(
                        is_of(self._state.labels[other], fork) and self._can_reach(other, place) for other in others
                    ):
                        self.passed[episode].add((fork, place))
                        label = before(fork)
                self._state.labels[branch] = self._without_ended_forks(label, others)
                going.append(branch)
        self._frontier.put(Kind.RUN, place, np.array(going, dtype=np.int64))

    def end(self, branches: Iterable[int]) -> None:
        """Forget branches that go no further."""
        for branch in branches:
            self.of_episode[int(self._state.branches.episode[branch])].discard(branch)
            self.parked.pop(branch, None)
            self.waiting.pop(branch, None)
            self._frontier.drop(np.array([branch], dtype=np.int64))

    def meet(self, moved: Rows) -> None:
        """Let the branches before a join go on that nobody can come to any more, now that `moved` have moved.

        The joined branch goes on when the last one has come, or when it has turned out that no further one will.
        """
        if not self.parked:
            return
        clock, episode = self._state.branches.clock, self._state.branches.episode
        latest: dict[int, int] = {}
        for branch in moved.tolist():
            latest[int(episode[branch])] = max(latest.get(int(episode[branch]), 0), int(clock[branch]))
        meetings: list[tuple[int, list[int], int]] = []
        for row, moment in sorted(latest.items()):
            for place, arrived in self._ready(row):
                meetings.append((place, arrived, max(moment, *(int(clock[branch]) for branch in arrived))))
        self._join(meetings)

    def _ready(self, episode: int) -> list[tuple[int, list[int]]]:
        """Return the joins of an episode that nobody else can come to, and who stands there in order of arrival."""
        standing: dict[int, list[int]] = defaultdict(list)
        for branch in self.of_episode[episode]:
            if branch in self.parked:
                standing[self.parked[branch]].append(branch)
        under_way = [branch for branch in self.of_episode[episode] if branch not in self.parked]
        unreached = [p for p in standing if not any(self._can_reach(branch, p) for branch in under_way)]
        ready = [p for p in unreached if not any(p in self._after[other] for other in standing if other != p)]
        if not ready and len(unreached) == len(standing):
            ready = sorted(unreached, key=lambda p: (max(map(self._arrival, standing[p])), p))[:1]
        return [(place, sorted(standing[place], key=self._arrival)) for place in sorted(ready)]

    def _arrival(self, branch: int) -> tuple[int, str]:
        return int(self._state.branches.clock[branch]), self._state.labels[branch]

    def _can_reach(self, branch: int, place: int) -> bool:
        if branch in self.waiting:
            return place in self._after[self.waiting[branch]]
        if branch in self.parked:
            return place == self.parked[branch] or place in self._after[self.parked[branch]]
        kind, at = self._frontier.of(branch)
        if kind in (Kind.RUN, Kind.ARRIVE):
            return place == at or place in self._after[at]
        return kind is Kind.WAKE and place in self._after[at]

    def _join(self, meetings: list[tuple[int, list[int], int]]) -> None:
        """Make one branch of those that met: it knows what each knew, the last one to come before the others."""
        columns, outputs = self._state.branches, self._state.outputs
        added: list[list[int]] = []
        for _, arrived, _ in meetings:
            known = outputs.refs(int(columns.output[arrived[0]]))
            ahead: list[int] = []
            for branch in arrived[1:]:
                ahead += [ref for ref in outputs.refs(int(columns.output[branch])) if ref not in {*known, *ahead}]
            added.append(ahead)
        heads = np.array([columns.output[arrived[0]] for _, arrived, _ in meetings], dtype=np.int64)
        for layer in range(max(map(len, added), default=0)):
            rows = np.array([row for row, ahead in enumerate(added) if len(ahead) > layer], dtype=np.int64)
            refs = np.array([added[row][layer] for row in rows.tolist()], dtype=np.int64)
            steps = [outputs.step_of(ref) for ref in refs.tolist()]
            heads[rows] = outputs.add(outputs.member(refs, ()), steps, heads[rows])
        for row, (place, arrived, moment) in enumerate(meetings):
            last = arrived[-1]
            label = min(self._state.labels[branch] for branch in arrived)
            columns.clock[last], columns.output[last] = moment, heads[row]
            columns.depth[last] = max(int(columns.depth[branch]) for branch in arrived)
            self.end(arrived[:-1])
            del self.parked[last]
            others = self.of_episode[int(columns.episode[last])] - {last}
            self._state.labels[last] = self._without_ended_forks(label, others)
            self._frontier.put(Kind.RUN, place, np.array([last], dtype=np.int64))

    def _without_ended_forks(self, label: str, others: Iterable[int]) -> str:
        """Return the label of a branch without the forks that it is the last branch of."""
        labels = [self._state.labels[other] for other in others]
        for fork in forks_of(label):
            if any(is_of(other, fork) for other in labels):
                break
            label = before(fork)
        return label

    def marks(self, episode: int) -> list[list[str]]:
        """Return what must be kept of an episode beside its branches."""
        steps = self._state.plan.steps
        return sorted([fork, steps[place].step_id] for fork, place in self.passed.get(episode, ()))

    def restore(self, episode: int, marks: Iterable[tuple[str, str]], order: Mapping[str, int]) -> None:
        """Take in what was kept of an episode."""
        self.passed[episode] = {(fork, order[step_id]) for fork, step_id in marks}
