"""The ways of a workflow as a graph: what is never reached, never ends, never meets.

A way is whatever leads from one step to another: `goto`, `if`, `else`, `on_error`, `on_timeout`, `on_exhausted`; what
`compensate` names is led to as well. END ends the episode, on whichever branch it is met.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from registry.steps import StepLogic, Targets

Edges = Mapping[str, Collection[str]]

_ASIDE = ("/on_error", "/await/on_timeout", "/loop/on_exhausted")
"""Ways that a branch leaves by on its own; what they meet is not what the author forked for."""


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the graph at one step: where within its logic, what, and what to do."""

    step_id: str
    path: str
    problem: str
    fix: str


def flaws(entry: str, logics: Mapping[str, StepLogic]) -> Iterator[Flaw]:
    """Yield what is wrong with the ways of a workflow; targets that are no steps are another check's.

    Args:
        entry: the step that an episode starts at.
    """
    everywhere = {step_id: _targets(logic, logics, with_undoing=True) for step_id, logic in logics.items()}
    reached = reachable([entry], everywhere)
    for step_id in logics:
        if step_id not in reached:
            yield Flaw(step_id, "", f"step {step_id} is never reached", "lead to it or remove it")
    yield from _endless(logics, everywhere)
    yield from _forks(logics)
    yield from _joins(logics)
    yield from _undoing(logics)


def reachable(start: Collection[str], edges: Edges, *, barred: Collection[str] = ()) -> set[str]:
    """Return the steps that `start` leads to, itself included; no way leads on from a barred step."""
    reached = set(start)
    frontier = list(reached)
    while frontier:
        step_id = frontier.pop()
        if step_id not in barred:
            new = set(edges[step_id]) - reached
            reached |= new
            frontier += new
    return reached


def _targets(logic: StepLogic, logics: Mapping[str, StepLogic], *, with_undoing: bool) -> list[str]:
    targets = [target for _, target in logic.ways() if target in logics]
    if with_undoing and logic.compensate and logic.compensate in logics:
        targets.append(logic.compensate)
    return targets


def _endless(logics: Mapping[str, StepLogic], edges: Edges) -> Iterator[Flaw]:
    """Find steps of loops without a bound.

    An episode enters a step with `loop` so many times; after that only `on_exhausted` leads on from there. So whoever
    goes on for ever goes round a circle in which these steps have that way alone.
    """
    spent = {
        step_id: [target for target in logics[step_id].loop.on_exhausted if target in logics]  # type: ignore[union-attr]
        if logics[step_id].loop
        else targets
        for step_id, targets in edges.items()
    }
    for step_id, logic in logics.items():
        if step_id in reachable(spent[step_id], spent):
            if logic.loop:
                problem = f"step {step_id}, visited as often as it may, leads back to itself by on_exhausted"
                yield Flaw(step_id, "/loop/on_exhausted", problem, "lead out of the loop")
            else:
                problem = f"step {step_id} can lead back to itself without end"
                yield Flaw(step_id, "", problem, 'break the loop, or bound it by "loop" on one of its steps')


def _forks(logics: Mapping[str, StepLogic]) -> Iterator[Flaw]:
    forward = _forward(logics)
    for step_id, logic in logics.items():
        for path, targets in _fork_targets(logic):
            starts = [target for target in targets if target in logics]
            if len(starts) > 1:
                yield from (Flaw(step_id, path, *words) for words in _of_fork(step_id, starts, logics, forward))


def _of_fork(
    step_id: str, starts: list[str], logics: Mapping[str, StepLogic], forward: Edges
) -> Iterator[tuple[str, str]]:
    named = ", ".join(starts)
    reaches = [reachable([start], forward) for start in starts]
    meeting = set.intersection(*reaches)
    joins = {met for met in meeting if logics[met].join}
    if not joins:
        yield (
            f"the branches {named} run side by side and never join",
            'lead them to one step with "join": "all" or "any"',
        )
        return
    for start in starts:
        if step_id in reachable([start], forward, barred=joins):
            yield f"the branch {start} leads back to {step_id} and forks again", "join it first"
            return
    for (one, reach), (other, other_reach) in itertools.combinations(zip(starts, reaches, strict=True), 2):
        common = {met for met in reach & other_reach if logics[met].join}
        # What one reaches before any join of the two, the other must not reach at all, not even behind a join.
        twice = reachable([one], forward, barred=common) & other_reach
        twice |= reachable([other], forward, barred=common) & reach
        for met in sorted(twice - common):
            fix = f'give {met} a "join", or the branches different steps'
            yield f"the branches {one} and {other} meet at {met}, which would run for each of them", fix


def _fork_targets(logic: StepLogic) -> Iterator[tuple[str, Targets]]:
    yield "/goto", logic.goto
    yield "/else", logic.otherwise
    yield "/on_error", logic.on_error
    for index, branch in enumerate(logic.branches):
        yield f"/if/{index}/goto", branch.goto
    if logic.awaits:
        yield "/await/on_timeout", logic.awaits.on_timeout
    if logic.loop:
        yield "/loop/on_exhausted", logic.loop.on_exhausted


def _forward(logics: Mapping[str, StepLogic]) -> Edges:
    return {
        step_id: [target for path, target in logic.ways() if target in logics and path not in _ASIDE]
        for step_id, logic in logics.items()
    }


def _joins(logics: Mapping[str, StepLogic]) -> Iterator[Flaw]:
    """Find joins at which no two branches can arrive."""
    forward = _forward(logics)
    leading = {step_id: [other for other, targets in forward.items() if step_id in targets] for step_id in logics}
    for step_id, logic in logics.items():
        if not logic.join:
            continue
        if len(leading[step_id]) < 2:
            yield Flaw(step_id, "/join", f"step {step_id} joins branches and has a single way in", "remove the join")
        elif not any(
            sum(step_id in reachable([target], forward) for target in targets if target in logics) > 1
            for other in logics.values()
            for _, targets in _fork_targets(other)
        ):
            problem = f"step {step_id} joins branches, and none that lead here run side by side"
            yield Flaw(step_id, "/join", problem, 'remove the join, or fork by "goto": [...]')


def _undoing(logics: Mapping[str, StepLogic]) -> Iterator[Flaw]:
    for step_id, logic in logics.items():
        if logic.compensate == step_id:
            yield Flaw(step_id, "/compensate", f"step {step_id} undoes itself", "name another step")
