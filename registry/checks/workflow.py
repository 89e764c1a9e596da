"""Static checks of a workflow: what would go wrong in every run, found before the first one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from registry.checks.expressions import condition_problems, uncovered, value_problems, values_of
from registry.checks.graph import flaws, reachable
from registry.checks.known import Known
from registry.checks.scopes import Readable, Scopes, narrowed
from registry.checks.triggers import trigger_faults
from registry.documents import Argument, DocumentRefused, Fault, StepAction, Workflow, fits
from registry.expressions import Expression, ExpressionFault, MemberPath, Template, compile_template
from registry.steps import END, StepLogic, parse_logic


def check_workflow(workflow: Workflow, known: Known, *, document: str) -> list[Fault]:
    """Return everything that is wrong with `workflow`; nothing, if it can run."""
    return [replace(fault, document=document) for fault in _faults(workflow, known)]


def _faults(workflow: Workflow, known: Known) -> Iterator[Fault]:
    if workflow.responsible_role_id not in known.roles:
        yield _unknown("/responsible_role_id", "role", workflow.responsible_role_id)
    if workflow.status == "active" and not workflow.steps:
        yield _fault("/steps", "an active workflow has no steps", "add steps, or leave it a draft")
    yield from _twice("step_id", [step.step_id for step in workflow.steps], "/steps")
    yield from _twice("sequence", [step.sequence for step in workflow.steps], "/steps")
    yield from _twice("trigger_id", [trigger.trigger_id for trigger in workflow.triggers], "/triggers")
    for index, trigger in enumerate(workflow.triggers):
        yield from trigger_faults(trigger, known, f"/triggers/{index}/selector")
    logics: dict[str, StepLogic] = {}
    for index, step in enumerate(workflow.steps):
        try:
            logics[step.step_id] = parse_logic(step.next_step_logic)
        except DocumentRefused as refused:
            for fault in refused.faults:
                yield replace(fault, path=f"/steps/{index}/next_step_logic{fault.path}")
    scopes = Scopes(workflow, known, logics)
    for index, step in enumerate(workflow.steps):
        path = f"/steps/{index}"
        if step.workflow_id not in (None, workflow.workflow_id):
            yield _fault(f"{path}/workflow_id", f"names {step.workflow_id}", f"use {workflow.workflow_id}")
        yield from _parameter_faults(workflow, step, known, scopes.parameters(step.step_id), path)
        if step.step_id in logics:
            yield from _logic_faults(step, logics, known, scopes, f"{path}/next_step_logic")
    if workflow.steps and len(logics) == len(workflow.steps):  # else the ways are not all known
        yield from _graph_faults(workflow, logics, known)


def _fault(path: str, problem: str, fix: str) -> Fault:
    return Fault("", path, problem, fix)


def _unknown(path: str, what: str, name: Any) -> Fault:
    return _fault(path, f"there is no {what} {name}", f"add the {what} or correct the name")


def _twice(what: str, values: list[Any], path: str) -> Iterator[Fault]:
    for value, count in Counter(values).items():
        if count > 1:
            yield _fault(path, f"{what} {value} stands {count} times", "give each its own")


# Parameters


def _parameter_faults(
    workflow: Workflow, step: StepAction, known: Known, readable: Readable, path: str
) -> Iterator[Fault]:
    signature = known.skills.get(step.skill_id)
    if signature is None:
        yield _unknown(f"{path}/skill_id", "skill", step.skill_id)
        return
    given: dict[str, str] = {}
    for name, value in step.parameters.items():
        argument = signature.argument(name)
        where = f"{path}/parameters/{name}"
        if argument is None:
            valid = ", ".join(argument.name for argument in signature.args)
            yield _fault(where, f"{step.skill_id} has no such argument", f"use one of {valid}")
        elif argument.name in given:
            yield _fault(where, f"{given[argument.name]} names the same argument", "state it once")
        else:
            given[argument.name] = name
            yield from _argument_faults(workflow, argument, value, known, readable, where)
    for argument in signature.args:
        if argument.required and not argument.has_default and argument.name not in given:
            where = f"{path}/parameters/{argument.name}"
            yield _fault(where, f"{step.skill_id} requires it", f"add it as a {argument.type}")


def _argument_faults(
    workflow: Workflow, argument: Argument, value: Any, known: Known, readable: Readable, path: str
) -> Iterator[Fault]:
    try:
        template = compile_template(value)
    except ExpressionFault as fault:
        yield _fault(path, fault.message, "correct the CEL expression")
        return
    if any(read[0] == "event" for read in template.paths):
        yield _fault(path, "a parameter cannot read event", "read it in the logic of the step that awaits it")
        return
    faults = [
        _fault(path, p.text, p.fix) for e in template.expressions for p in value_problems(e, narrowed(readable, e))
    ]
    yield from faults
    if not faults:
        yield from _value_faults(workflow, argument, template, known, readable, path)


def _value_faults(
    workflow: Workflow, argument: Argument, template: Template, known: Known, readable: Readable, path: str
) -> Iterator[Fault]:
    """Find values that the argument does not take: of another type, or naming what there is not."""
    values, is_complete = values_of(template, narrowed(readable, *template.expressions)) or (
        _outermost_value(template.source),
        False,
    )
    wrong = [value for value in values if not fits(value, argument.type)]
    if wrong:
        problem = (
            f"is no {argument.type}" if template.is_constant else f"can be {wrong[0]!r}, which is no {argument.type}"
        )
        yield _fault(path, problem, f"give {argument.name} a value of that type")
    elif is_complete and argument.references:
        for value in dict.fromkeys(values):
            yield from _reference_faults(workflow, argument.references, value, known, path)


def _outermost_value(source: Any) -> list[Any]:
    """Return what is certain about a template whose expressions are not known: it is a text, a list or an object."""
    if isinstance(source, str):
        is_one = source.startswith("${") and source.endswith("}") and len(compile_template(source).expressions) == 1
        return [] if is_one else [source]
    return [type(source)()]


def _reference_faults(workflow: Workflow, what: str, value: Any, known: Known, path: str) -> Iterator[Fault]:
    if what == "role":
        if value not in known.roles:
            yield _unknown(path, "role", value)
    elif known.calls is not None:
        called = _workflow_id(value, {*known.calls, workflow.workflow_id})
        if called is None:
            yield _unknown(path, "workflow", value)
        elif workflow.workflow_id in reachable([called], _called({**known.calls, workflow.workflow_id: ()})):
            yield _fault(
                path, f"{value} calls {workflow.workflow_id} again, without end", "call a workflow that does not"
            )


def _workflow_id(name: str, ids: set[str]) -> str | None:
    """Return the workflow that `name` means: its id, or its id and its name as in `WF-GOV-002-SelectReviewers`."""
    found = [workflow_id for workflow_id in ids if name == workflow_id or name.startswith(f"{workflow_id}-")]
    return max(found, key=len, default=None)


def _called(calls: Mapping[str, Any]) -> dict[str, list[str]]:
    ids = set(calls)
    return {
        caller: [called for name in names if (called := _workflow_id(name, ids))] for caller, names in calls.items()
    }


# Logic


def _logic_faults(
    step: StepAction, logics: Mapping[str, StepLogic], known: Known, scopes: Scopes, path: str
) -> Iterator[Fault]:
    logic = logics[step.step_id]
    ways = [*logic.ways(), *([("/compensate", logic.compensate)] if logic.compensate else [])]
    for way, target in ways:
        if target != END and target not in logics:
            yield _unknown(f"{path}{way}", "step", target)
    readable = scopes.conditions(step.step_id)
    if logic.awaits:
        yield from _await_faults(step, logic, known, scopes.correlation(step.step_id), path)
    for index, branch in enumerate(logic.branches):
        where = f"{path}/if/{index}/expr"
        if not logic.awaits and any(read[0] == "event" for read in branch.condition.paths):
            yield _fault(where, "the step awaits no event to read", 'add "await"')
        else:
            yield from (
                _fault(where, p.text, p.fix)
                for p in condition_problems(branch.condition, narrowed(readable, branch.condition))
            )
    if logic.branches and not logic.otherwise:
        yield from _fall_through([branch.condition for branch in logic.branches], readable, f"{path}/if")


def _await_faults(step: StepAction, logic: StepLogic, known: Known, readable: Readable, path: str) -> Iterator[Fault]:
    assert logic.awaits is not None
    payload = known.payload(logic.awaits.event)
    if payload is None:
        yield _unknown(f"{path}/await/event", "event schema", logic.awaits.event)
        return
    for name, template in logic.awaits.correlate.items():
        where = f"{path}/await/correlate/{name}"
        member = payload.member((name,))
        if any(read[0] == "event" for read in template.paths):
            yield _fault(where, "reads the event that it is to find", "read trigger, output, input or episode")
            continue
        if member.presence in ("never", "unlisted"):
            yield _fault(where, "is no member of the event", f"use one of {', '.join(member.known)}")
            continue
        problems = [
            _fault(where, p.text, p.fix) for e in template.expressions for p in value_problems(e, narrowed(readable, e))
        ]
        yield from problems
        values, _ = values_of(template, narrowed(readable, *template.expressions)) or ([], False)
        if not problems and member.types and values and not any(_is_of(value, member.types) for value in values):
            kinds = " or ".join(sorted(member.types))
            yield _fault(
                where, f"is never a {kinds}, as {name} of {logic.awaits.event} is", f"correlate it with a {kinds}"
            )


def _is_of(value: Any, types: frozenset[str]) -> bool:
    names = {"array": "array<any>", "null": ""}
    return any(value is None if kind == "null" else fits(value, names.get(kind, kind)) for kind in types)


def _fall_through(conditions: Sequence[Expression], readable: Readable, path: str) -> Iterator[Fault]:
    """Find an episode for which no branch holds: tried where what is read has few values, else proven by form."""
    left = uncovered(conditions, narrowed(readable, *conditions))
    if left:
        yield _fault(path, f"an episode {left} has no way on: no branch holds", 'add "else"')
    elif left is None and not _is_total(conditions):
        yield _fault(path, "an episode for which no branch holds has no way on", 'add "else"')


def _is_total(conditions: Sequence[Expression]) -> bool:
    """Tell whether the branches compare one member, of which nothing is stated, with both true and false."""
    literals: dict[MemberPath, set[bool | str]] = {}
    for condition in conditions:
        if condition.equals:
            literals.setdefault(condition.equals[0], set()).add(condition.equals[1])
    return any(values >= {True, False} for values in literals.values())


# Ways


def _graph_faults(workflow: Workflow, logics: Mapping[str, StepLogic], known: Known) -> Iterator[Fault]:
    entry = min(workflow.steps, key=lambda step: step.sequence).step_id
    place = {step.step_id: f"/steps/{index}" for index, step in enumerate(workflow.steps)}
    for flaw in flaws(entry, logics):
        is_whole = "never reached" in flaw.problem
        path = place[flaw.step_id] if is_whole else f"{place[flaw.step_id]}/next_step_logic{flaw.path}"
        yield _fault(path, flaw.problem, flaw.fix)
    steps = {step.step_id: step for step in workflow.steps}
    forward = {name: [target for _, target in logic.ways() if target in logics] for name, logic in logics.items()}
    on_the_way = reachable([entry], forward)
    for step_id, logic in logics.items():
        undoing = logic.compensate
        if undoing is None or undoing == step_id or undoing not in on_the_way or logics[undoing].compensate:
            continue
        if known.has_effect(steps[undoing]):
            problem = f"{undoing} undoes {step_id} and also runs by itself, and nothing undoes what it does then"
            fix = 'undo by a step of its own, or give it a "compensate"'
            yield _fault(f"{place[step_id]}/next_step_logic/compensate", problem, fix)
