"""What a change of a workflow means for those who start it, wait for it, or answer it.

Its contract is what the outside sees: what starts it, the ways an episode can take, whom it waits for, the effects it
brings about, and the service levels it promises.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from guard.canonical import pointer
from registry.comparison.model import (
    Change,
    Classify,
    Difference,
    Kind,
    Path,
    always,
    by_id,
    difference,
    differences,
    members,
)
from registry.documents import SkillNode, StepAction, Workflow
from registry.steps import parse_logic

EVERY_EFFECT = "*"
"""Stands for what an action may do that its skill does not declare."""

FindSkill = Callable[[str], SkillNode | None]
FindWorkflow = Callable[[str], Workflow | None]
LeadsTo = Callable[[str], set[str]]

_TEXT = always(Change.PATCH, "a text for readers")
_TARGETS = frozenset(("goto", "else", "on_error"))
_INSERTED = "the same way, past a new step"
_WAY = "what happens in which order is the contract"


def effects_of(
    workflow: Workflow, skill: FindSkill, child: FindWorkflow, seen: frozenset[str] = frozenset()
) -> set[str]:
    """Return the effect categories that a workflow's steps, and the workflows it calls, can bring about."""
    found: set[str] = set()
    for step in workflow.steps:
        node = skill(step.skill_id)
        if node is None:
            continue
        given = {node.signature.name_of(name): value for name, value in step.parameters.items()}
        found |= _effects_of_step(node, given)
        target = given.get("target_workflow_id")
        if isinstance(target, str) and target not in seen and (called := child(target)):
            found |= effects_of(called, skill, child, seen | {workflow.workflow_id, target})
    return found


def _effects_of_step(node: SkillNode, given: Mapping[str, Any]) -> set[str]:
    declared = node.runtime_binding.effects
    if not declared or node.signature.argument("action") is None:
        return set(declared.values())
    return {declared.get(given.get("action", ""), EVERY_EFFECT)}


def compare_workflows(
    old: Workflow, new: Workflow, *, skill: FindSkill = lambda _: None, child: FindWorkflow = lambda _: None
) -> Iterator[Difference]:
    """Find the differences between two versions of a workflow.

    Args:
        skill: finds the skills that say what a step brings about.
        child: finds the workflows that it calls.
    """
    yield from members(
        old.model_dump(exclude={"steps", "triggers", "constraints"}),
        new.model_dump(exclude={"steps", "triggers", "constraints"}),
        {
            "workflow_name": _TEXT,
            "objective": _TEXT,
            "lineage": always(Change.PATCH, "where it came from"),
            "genome": always(Change.MINOR, "what it is for; no way changes"),
            "responsible_role_id": always(Change.MINOR, "another role answers for it"),
            "status": _status,
        },
        skip=("workflow_id", "version"),
    )
    constraints = (body.constraints.model_dump(exclude_none=True) for body in (old, new))
    before, now = ({**given, "policy_tags": {tag: tag for tag in given["policy_tags"]}} for given in constraints)
    yield from differences(("constraints",), before, now, _constraint)
    yield from _triggers(old, new)
    yield from _steps(old, new)
    had, has = (effects_of(body, skill, child) for body in (old, new))
    for category in sorted(had ^ has):
        kind = Kind.ADDED if category in has else Kind.REMOVED
        reason = "brings about what it did not before" if kind is Kind.ADDED else "what it brought about stays out"
        old_value, new_value = (None, category) if kind is Kind.ADDED else (category, None)
        yield difference(("effects",), kind, old_value, new_value, always(Change.MAJOR, reason))


def _status(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
    if old == "active":
        return Change.MAJOR, "what starts it is no longer answered"
    return Change.MINOR, "nobody could rely on it before"


def _constraint(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
    if path[1] == "policy_tags":
        is_kept = kind is Kind.ADDED
        return (Change.MINOR, "one more guard") if is_kept else (Change.MAJOR, "a guard is lifted")
    if kind is Kind.ADDED:
        return Change.MINOR, "one more promise"
    if kind is Kind.CHANGED and path[1] in ("latency_ms", "max_error_rate") and new < old:
        return Change.MINOR, "a stronger promise"
    return Change.MAJOR, "a promise is weakened or taken back"


def _triggers(old: Workflow, new: Workflow) -> Iterator[Difference]:
    before, now = (
        by_id((trigger.model_dump(exclude_none=True) for trigger in body.triggers), "trigger_id") for body in (old, new)
    )

    def rule(path: Path, kind: Kind, was: Any, becomes: Any) -> tuple[Change, str]:
        if len(path) == 2:
            if kind is Kind.ADDED:
                return Change.MINOR, "one more way to start it"
            return Change.MAJOR, "what started it no longer does"
        if path[2:] == ("selector", "condition") and kind is Kind.REMOVED:
            return Change.MINOR, "starts on all that it started on, and more"
        return Change.MAJOR, "what started it may no longer do so"

    yield from differences(("triggers",), before, now, rule)


def _steps(old: Workflow, new: Workflow) -> Iterator[Difference]:
    before, now = ({step.step_id: step for step in body.steps} for body in (old, new))
    leads_to = _through_new_steps(before, now)
    for step_id, step in before.items():
        path = ("steps", step_id)
        if step_id in now:
            yield from _step(step, now[step_id], path, leads_to)
        else:
            yield difference(path, Kind.REMOVED, _shown(step), None, always(Change.MAJOR, _WAY))
    for step_id in (step_id for step_id in now if step_id not in before):
        rule = always(Change.MINOR, "what happened before still happens")
        yield difference(("steps", step_id), Kind.ADDED, None, _shown(now[step_id]), rule)
    if old.steps and new.steps and _entry(old) != _entry(new):
        is_kept = leads_to(_entry(new)) == {_entry(old)}
        change, reason = (Change.MINOR, _INSERTED) if is_kept else (Change.MAJOR, _WAY)
        yield difference(("entry",), Kind.CHANGED, _entry(old), _entry(new), always(change, reason))


def _through_new_steps(before: Mapping[str, StepAction], now: Mapping[str, StepAction]) -> LeadsTo:
    """Return what tells where a target leads once the steps that are new are passed: to known steps or to the end."""
    ways: dict[str, set[str]] = {
        step_id: {target for _, target in parse_logic(step.next_step_logic).ways()}
        for step_id, step in now.items()
        if step_id not in before
    }

    def leads_to(target: str) -> set[str]:
        reached, frontier = {target}, [target]
        while frontier:
            further = ways.get(frontier.pop(), set()) - reached
            reached |= further
            frontier += further
        return reached - ways.keys()

    return leads_to


def _entry(workflow: Workflow) -> str:
    return min(workflow.steps, key=lambda step: step.sequence).step_id


def _shown(step: StepAction) -> dict[str, Any]:
    return step.model_dump(include={"action_type", "skill_id", "parameters", "next_step_logic"})


def _step(old: StepAction, new: StepAction, path: Path, leads_to: LeadsTo) -> Iterator[Difference]:
    if old.sequence != new.sequence:
        rule = always(Change.PATCH, "a position for readers")
        yield difference((*path, "sequence"), Kind.MOVED, old.sequence, new.sequence, rule)
    skipped = {"step_id", "workflow_id", "sequence", "next_step_logic"}
    rules = {
        "action_type": always(Change.MINOR, "a classification"),
        "skill_id": always(Change.MAJOR, "another skill does the work"),
        "parameters": always(Change.MINOR, "the same step, set differently"),
        "timeout_ms": _timeout,
        "retries": always(Change.MINOR, "the same step, tried more or less often"),
        "idempotency_key": always(Change.MINOR, "episodes keep the key they started under"),
    }
    before, now = (step.model_dump(exclude=skipped) for step in (old, new))
    yield from (replace(found, path=pointer(path) + found.path) for found in members(before, now, rules))
    yield from _logic(old.next_step_logic, new.next_step_logic, (*path, "next_step_logic"), leads_to)


def _timeout(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
    return (Change.MINOR, "more time than before") if new > old else (Change.MAJOR, "what was in time may be late")


def _logic(old: Any, new: Any, path: Path, leads_to: LeadsTo) -> Iterator[Difference]:
    def target(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
        if kind is Kind.ADDED:
            return Change.MINOR, "one more way"
        reached = set().union(*map(leads_to, new or ()))
        if kind is Kind.CHANGED and reached >= set(old):
            return Change.MINOR, _INSERTED if reached == set(old) else "one more way"
        return Change.MAJOR, _WAY

    def member(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
        name = path[-1]
        if name in _TARGETS or name == "on_timeout":
            return target(path, kind, old, new)
        if name == "timeout_h" and kind is Kind.CHANGED:
            return _timeout(path, kind, old, new)
        if "await" in path:
            return Change.MAJOR, "who answers must answer otherwise"
        if name == "compensate" and kind is Kind.ADDED:
            return Change.MINOR, "what happened can now be undone"
        return Change.MAJOR, _WAY

    before, now = _normal(old), _normal(new)
    yield from _branches(before.pop("if", []), now.pop("if", []), (*path, "if"), target)
    yield from differences(path, before, now, member)


def _normal(value: Any) -> dict[str, Any]:
    """Return step logic as an object in which every way is a list of targets, however it was written."""
    if isinstance(value, str):
        logic = parse_logic(value)
        branches = [{"expr": branch.condition.text, "goto": list(branch.goto)} for branch in logic.branches]
        return {"if": branches} if branches else {"goto": list(logic.goto)}
    normal = dict(value)
    for name in _TARGETS & normal.keys():
        normal[name] = _listed(normal[name])
    if "if" in normal:
        normal["if"] = [{**branch, "goto": _listed(branch["goto"])} for branch in normal["if"]]
    if "await" in normal:
        normal["await"] = {**normal["await"], "on_timeout": _listed(normal["await"]["on_timeout"])}
    return normal


def _listed(targets: Any) -> list[str]:
    return list(targets) if isinstance(targets, list | tuple) else [targets]


def _branches(
    old: list[dict[str, Any]], new: list[dict[str, Any]], path: Path, target: Classify
) -> Iterator[Difference]:
    """Compare branches as a reader pairs them: the same ones, else those of one target, else those of one condition."""
    pairs: dict[int, int] = {}
    for same in (("expr", "goto"), ("goto",), ("expr",)):
        for index, branch in enumerate(new):
            if index not in pairs.values():
                free = (
                    was for was, item in enumerate(old) if was not in pairs and all(item[n] == branch[n] for n in same)
                )
                if (was := next(free, None)) is not None:
                    pairs[was] = index
    for was, branch in enumerate(old):
        if was not in pairs:
            yield difference((*path, str(was)), Kind.REMOVED, branch, None, always(Change.MAJOR, _WAY))
            continue
        found = new[pairs[was]]
        rule = always(Change.MINOR, "the same ways, taken under another condition")
        yield from differences((*path, str(pairs[was]), "expr"), branch["expr"], found["expr"], rule)
        yield from differences((*path, str(pairs[was]), "goto"), branch["goto"], found["goto"], target)
    for index in (index for index in range(len(new)) if index not in pairs.values()):
        yield difference((*path, str(index)), Kind.ADDED, None, new[index], always(Change.MINOR, "one more way"))
    if (order := [pairs[was] for was in sorted(pairs)]) != sorted(order):
        rule = always(Change.MINOR, "the first branch that holds is taken")
        yield difference(path, Kind.MOVED, [item["expr"] for item in old], [item["expr"] for item in new], rule)
