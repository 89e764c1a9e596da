"""Static checks of a workflow: what would go wrong in every run, found before the first one."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from registry.documents import Argument, DocumentRefused, Fault, Signature, StepAction, Trigger, Workflow, fits
from registry.expressions import Expression, ExpressionFault, MemberPath, compile_condition, compile_template
from registry.steps import END, StepLogic, parse_logic

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """What a workflow may refer to.

    Attributes:
        skills: skill id -> its signature.
        roles: role ids.
        schemas: topic -> the JSON Schema of its payloads.
    """

    skills: Mapping[str, Signature]
    roles: Collection[str]
    schemas: Mapping[str, Schema]


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
        yield from _trigger_faults(trigger, known, f"/triggers/{index}/selector")
    payload = _common_payload(workflow, known)
    logics: dict[str, StepLogic] = {}
    for index, step in enumerate(workflow.steps):
        path = f"/steps/{index}"
        if step.workflow_id not in (None, workflow.workflow_id):
            yield _fault(f"{path}/workflow_id", f"names {step.workflow_id}", f"use {workflow.workflow_id}")
        yield from _parameter_faults(step, known, payload, path)
        try:
            logics[step.step_id] = parse_logic(step.next_step_logic)
        except DocumentRefused as refused:
            yield from (replace(fault, path=f"{path}/next_step_logic{fault.path}") for fault in refused.faults)
        else:
            yield from _logic_faults(logics[step.step_id], workflow, known, payload, f"{path}/next_step_logic")
    if len(logics) == len(workflow.steps):  # else the ways are not all known
        yield from _graph_faults(workflow, logics)


def _fault(path: str, problem: str, fix: str) -> Fault:
    return Fault("", path, problem, fix)


def _unknown(path: str, what: str, name: str) -> Fault:
    return _fault(path, f"there is no {what} {name}", f"add the {what} or correct the name")


def _twice(what: str, values: list[Any], path: str) -> Iterator[Fault]:
    for value, count in Counter(values).items():
        if count > 1:
            yield _fault(path, f"{what} {value} stands {count} times", "give each its own")


def _trigger_faults(trigger: Trigger, known: Known, path: str) -> Iterator[Fault]:
    selector = trigger.selector
    needed = {"event": "topic", "webhook": "topic", "condition": "condition", "schedule": "cron"}[trigger.trigger_type]
    if getattr(selector, needed) is None:
        yield _fault(f"{path}/{needed}", f"a trigger of type {trigger.trigger_type} needs it", "add it")
    if selector.topic is not None and selector.topic not in known.schemas:
        yield _unknown(f"{path}/topic", "event schema", selector.topic)
    if selector.condition is not None:
        try:
            condition = compile_condition(selector.condition)
        except ExpressionFault as fault:
            yield _fault(f"{path}/condition", fault.message, "correct the CEL expression; it reads `trigger`")
        else:
            schema = known.schemas.get(selector.topic) if selector.topic else None
            yield from _member_faults(condition, {"trigger": schema}, f"{path}/condition")


def _common_payload(workflow: Workflow, known: Known) -> Schema | None:
    """Return the schema of what triggers the workflow, None if that is not one known topic."""
    topics = {trigger.selector.topic for trigger in workflow.triggers}
    topic = topics.pop() if len(topics) == 1 else None
    return known.schemas.get(topic) if topic else None


def _member_faults(expression: Expression, schemas: Mapping[str, Schema | None], path: str) -> Iterator[Fault]:
    """Find members that a closed schema says will never be there."""
    for variable, member in (read[:2] for read in expression.paths if len(read) > 1):
        schema = schemas.get(variable)
        if schema and schema.get("additionalProperties") is False and member not in schema.get("properties", {}):
            valid = ", ".join(schema.get("properties", {}))
            yield _fault(path, f"{variable}.{member} is in no such payload", f"use one of {valid}")


def _parameter_faults(step: StepAction, known: Known, payload: Schema | None, path: str) -> Iterator[Fault]:
    signature = known.skills.get(step.skill_id)
    if signature is None:
        yield _unknown(f"{path}/skill_id", "skill", step.skill_id)
        return
    given: dict[str, str] = {}
    for name, value in step.parameters.items():
        argument = signature.argument(name)
        if argument is None:
            valid = ", ".join(argument.name for argument in signature.args)
            yield _fault(f"{path}/parameters/{name}", f"{step.skill_id} has no such argument", f"use one of {valid}")
        elif argument.name in given:
            yield _fault(
                f"{path}/parameters/{name}", f"{given[argument.name]} names the same argument", "state it once"
            )
        else:
            given[argument.name] = name
            yield from _argument_faults(argument, value, known, payload, f"{path}/parameters/{name}")
    for argument in signature.args:
        if argument.required and not argument.has_default and argument.name not in given:
            yield _fault(
                f"{path}/parameters/{argument.name}", f"{step.skill_id} requires it", f"add it as a {argument.type}"
            )


def _argument_faults(
    argument: Argument, value: Any, known: Known, payload: Schema | None, path: str
) -> Iterator[Fault]:
    try:
        template = compile_template(value)
    except ExpressionFault as fault:
        yield _fault(path, fault.message, "correct the CEL expression")
        return
    for expression in template.expressions:
        yield from _member_faults(expression, {"trigger": payload}, path)
        if any(read[0] == "event" for read in expression.paths):
            yield _fault(path, "a parameter cannot read event", "read it in the logic of the step that awaits it")
    if not template.is_constant:
        return
    if not fits(value, argument.type):
        yield _fault(path, f"is no {argument.type}", f"give {argument.name} a value of that type")
    elif argument.references == "role" and value not in known.roles:
        yield _unknown(path, "role", value)


def _logic_faults(
    logic: StepLogic, workflow: Workflow, known: Known, payload: Schema | None, path: str
) -> Iterator[Fault]:
    steps = {step.step_id for step in workflow.steps}
    ways = [*logic.ways(), *([("/compensate", logic.compensate)] if logic.compensate else [])]
    for way, target in ways:
        if target != END and target not in steps:
            yield _unknown(f"{path}{way}", "step", target)
    awaited = None
    if logic.awaits:
        awaited = known.schemas.get(logic.awaits.event)
        if awaited is None:
            yield _unknown(f"{path}/await/event", "event schema", logic.awaits.event)
        else:
            for member in logic.awaits.correlate.keys() - awaited.get("properties", {}).keys():
                yield _fault(f"{path}/await/correlate/{member}", "is no member of the event", "use one of its schema")
    for where, expression in logic.expressions():
        yield from _member_faults(expression, {"trigger": payload, "event": awaited}, f"{path}{where}")
        if not logic.awaits and any(read[0] == "event" for read in expression.paths):
            yield _fault(f"{path}{where}", "the step awaits no event to read", 'add "await"')
    if logic.branches and not logic.otherwise and not _is_total(logic, awaited):
        yield _fault(f"{path}/if", "an episode for which no branch holds has no way on", 'add "else"')


def _is_total(logic: StepLogic, awaited: Schema | None) -> bool:
    """Tell whether the branches compare one member with every value it can have."""
    equalities = [branch.condition.equals for branch in logic.branches]
    literals: dict[MemberPath, set[bool | str]] = {}
    for equality in equalities:
        if equality:
            literals.setdefault(equality[0], set()).add(equality[1])
    return any(values >= _domain(path, awaited) for path, values in literals.items())


def _domain(path: MemberPath, awaited: Schema | None) -> set[bool | str]:
    if path[0] == "event" and awaited:
        member = awaited.get("properties", {}).get(path[-1], {}) if len(path) == 2 else {}
        if "enum" in member and path[-1] in awaited.get("required", ()):
            return set(member["enum"])
    return {True, False}


def _graph_faults(workflow: Workflow, logics: Mapping[str, StepLogic]) -> Iterator[Fault]:
    ways = {step_id: [target for _, target in logic.ways() if target in logics] for step_id, logic in logics.items()}
    if not workflow.steps:
        return
    entry = min(workflow.steps, key=lambda step: step.sequence).step_id
    undone_by = {step_id: [logic.compensate] for step_id, logic in logics.items() if logic.compensate in logics}
    reached = {entry}
    frontier = [entry]
    while frontier:
        step_id = frontier.pop()
        new = {*ways[step_id], *filter(None, undone_by.get(step_id, []))} - reached
        reached |= new
        frontier += new
    for index, step in enumerate(workflow.steps):
        if step.step_id not in reached:
            yield _fault(f"/steps/{index}", f"step {step.step_id} is never reached", "lead to it or remove it")
    for index, step in enumerate(workflow.steps):
        if _leads_back(step.step_id, ways):
            problem = f"step {step.step_id} can lead back to itself without end"
            yield _fault(f"/steps/{index}/next_step_logic", problem, "break the loop")


def _leads_back(start: str, ways: Mapping[str, list[str]]) -> bool:
    seen: set[str] = set()
    frontier = list(ways[start])
    while frontier:
        step_id = frontier.pop()
        if step_id == start:
            return True
        if step_id not in seen:
            seen.add(step_id)
            frontier += ways[step_id]
    return False
