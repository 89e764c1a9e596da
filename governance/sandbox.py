"""The sandbox: a proposed workflow is run on every path that it has, before anybody is asked to approve it.

A test is generated per path and really run: by the engine that runs it in production, on one episode, with adapters
that do nothing but answer what leads along the path. No binding of the document is followed, so nothing outside is
reached. The path that came out must be the one that the document states.

Paths are found by running: at each step the adapter picks the first of the answers that it could give, and the next run
picks another one at the last place where one was left, until none is. Ways of a condition that no made-up answer
leads along have no test, and a workflow with such a way does not pass.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from guard.canonical import canonical
from registry.checks.samples import values_of_schema
from registry.checks.schemas import DEPTH, NotTold, Root
from registry.documents import RuntimeBinding
from registry.expressions import Expression, ExpressionFault, MemberPath
from registry.plans import Plan, PlannedStep, PlannedTrigger
from registry.steps import END, Await, Targets
from runtime.engine import AWAITED, EPISODES, execute
from runtime.protocol import RESULT_SCHEMA, TRANSIENT, Call, ErrorCode, Skill

ADAPTER = "sandbox"
MAX_PATHS = 1_024
"""Paths that are tested at most: a workflow that has more is not one that a reviewer can judge."""

MAX_ROUNDS = 2
"""Rounds that a loop is tried with: once round, and out of it by its bound."""

_START = datetime(2025, 1, 6, 9, tzinfo=UTC)
_LATER = datetime(9000, 1, 1, tzinfo=UTC)
_TRIED = 20_000
_PLAIN: Mapping[str, Any] = {"string": "a", "number": 1, "integer": 1, "boolean": True, "object": {}, "any": "a"}
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_ABSENT = object()


@dataclass(frozen=True)
class PathsTried:
    """What the tests of a workflow's paths came to.

    Attributes:
        paths: paths that were run.
        ways: ways of its steps that these went along.
        outcomes: how the episodes ended.
        faults: what went otherwise than stated, and ways for which no test could be made.
    """

    paths: int
    ways: int
    outcomes: Mapping[str, int]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class _Way:
    """An answer that a step could be given, and where the document says that it leads.

    Attributes:
        name: path of the way within the step's logic, such as `/if/0/goto`.
        output: what the skill returns; None if it fails.
        event: payload of the awaited event; None if none comes.
    """

    name: str
    targets: Targets
    output: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None


@dataclass
class _Run:
    """One test: the answers to give, by their places, and those that were given."""

    script: Sequence[int]
    given: list[tuple[str, _Way, int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def pick(self, step_id: str, ways: Sequence[_Way]) -> _Way:
        place = len(self.given)
        choice = self.script[place] if place < len(self.script) else 0
        self.given.append((step_id, ways[choice], choice))
        self.counts.append(len(ways))
        return ways[choice]

    def following(self) -> list[int] | None:
        """Return the answers of the next test, None if this was the last."""
        for place in reversed(range(len(self.given))):
            choice = self.given[place][2]
            if choice + 1 < self.counts[place]:
                return [picked for _, _, picked in self.given[:place]] + [choice + 1]
        return None


def try_paths(plan: Plan, schemas: Mapping[str, Any]) -> PathsTried:
    """Run a test for every path of a plan.

    Args:
        schemas: topic -> JSON Schema of its payloads, from which payloads are made.
    """
    return _Sandbox(_isolated(plan), schemas).explore()


def _isolated(plan: Plan) -> Plan:
    """Return the plan with no way out: every step is bound to the sandbox, and a loop goes round a few times only."""
    return replace(plan, steps=tuple(map(_isolated_step, plan.steps)))


def _isolated_step(step: PlannedStep) -> PlannedStep:
    binding = RuntimeBinding(adapter=ADAPTER, endpoint=step.step_id)
    logic = step.logic
    if logic.loop is not None:
        logic = replace(logic, loop=replace(logic.loop, max_visits=min(logic.loop.max_visits, MAX_ROUNDS)))
    return replace(step, skill=step.skill.model_copy(update={"runtime_binding": binding}), logic=logic)


class _Sandbox:
    def __init__(self, plan: Plan, schemas: Mapping[str, Any]) -> None:
        self.plan = plan
        self.schemas = schemas
        self.steps = {step.step_id: step for step in plan.steps}
        self.run = _Run(())
        self.payload: Mapping[str, Any] = {}
        self.read = _read_of_outputs(plan)
        self.faults: dict[str, None] = {}
        self.tested: set[tuple[str, str]] = set()
        self.outcomes: Counter[str] = Counter()
        self.paths: set[tuple[tuple[str, str], ...]] = set()

    def explore(self) -> PathsTried:
        for payload in self._payloads():
            self.payload = payload
            script: list[int] | None = []
            while script is not None and not self._is_enough():
                self.run = _Run(script)
                self._test()
                script = self.run.following()
        if self._is_enough():
            self.faults[f"it has more than {MAX_PATHS:,} paths; split it into workflows that call each other"] = None
        else:
            for step in self.plan.steps:
                for name, text in _stated_ways(step):
                    if (step.step_id, name) not in self.tested:
                        self.faults[f"{step.step_id}: no test could be made that goes the way {text}"] = None
        return PathsTried(len(self.paths), len(self.tested), dict(self.outcomes), tuple(self.faults))

    def _is_enough(self) -> bool:
        return len(self.paths) > MAX_PATHS

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        step = self.steps.get(binding.endpoint or "")
        return _Puppet(self, step) if step is not None and binding.adapter == ADAPTER else None

    def _test(self) -> None:
        row = ("sandbox", "sandbox", "sandbox-event", canonical(dict(self.payload)), _START, 0, "0" * 64, None)
        episodes = pl.DataFrame([row], schema=EPISODES, orient="row")
        done = execute(self.plan, episodes, skills=self, find_awaited=self._awaited, now=_LATER)
        path = tuple((step_id, way.name) for step_id, way, _ in self.run.given)
        if path in self.paths:
            return
        self.paths.add(path)
        self.tested.update(path)
        if done.closed.height != 1:
            self.faults[f"the path {_told(path)} does not end"] = None
            return
        self.outcomes[done.closed["outcome"][0]] += 1
        runs = done.step_runs.sort("seq").select("step_id", "error_code", "error_message").rows()
        broken = [run for run in runs if run[1] not in (None, _error(self.steps[run[0]]))]
        for step_id, code, text in broken:
            self.faults[f"{step_id} fails with {code}: {text}"] = None
        went = [step_id for step_id, _, _ in runs]
        if not broken and self._is_one_path() and went != (stated := self._stated_path()):
            told = f"by the document {' → '.join(stated)}, by the engine {' → '.join(went)}"
            self.faults[f"the path {_told(path)} leads elsewhere: {told}"] = None

    def _is_one_path(self) -> bool:
        """Return whether the episode is on one step at a time: else the order of its steps is not stated."""
        return all(
            not step.logic.join and not step.logic.compensate and all(len(to) < 2 for to in _targets(step))
            for step in self.plan.steps
        )

    def _stated_path(self) -> list[str]:
        """Return the steps that the document leads along, given the answers."""
        at: str = self.plan.entry.step_id
        went: list[str] = []
        for _, way, _ in self.run.given:
            if at == END:
                break
            went.append(at)
            at = way.targets[0] if way.targets else END
            while at != END and (loop := self.steps[at].logic.loop) and went.count(at) >= loop.max_visits:
                at = loop.on_exhausted[0]
                self.tested.add((went[-1], "/loop/on_exhausted"))
        return went

    # Answers

    def ways_of(self, step: PlannedStep, arguments: Mapping[str, Any]) -> list[_Way]:
        """Return the answers that a step could be given here, one for each way on; the first one is a success."""
        logic = step.logic
        output = self._output(step)
        ways: list[_Way] = []
        event = _payload(self.schemas.get(logic.awaits.event)) if logic.awaits else None
        if logic.branches:
            conditions = [branch.condition for branch in logic.branches]
            for place, branch in enumerate(logic.branches):
                ways += self._made(f"/if/{place}/goto", branch.goto, conditions, place, output, event, arguments)
            if logic.otherwise:
                ways += self._made("/else", logic.otherwise, conditions, len(conditions), output, event, arguments)
        else:
            ways.append(_Way("/goto", logic.goto, output, event))
        if logic.awaits:
            ways.append(_Way("/await/on_timeout", logic.awaits.on_timeout, output, None))
        ways.append(_Way("/on_error", logic.on_error))
        return ways

    def _made(
        self,
        name: str,
        targets: Targets,
        conditions: Sequence[Expression],
        wanted: int,
        output: Mapping[str, Any],
        event: Mapping[str, Any] | None,
        arguments: Mapping[str, Any],
    ) -> Iterator[_Way]:
        """Yield an answer for which the wanted condition is the first to hold, if one is found."""
        base = {
            "output": {**output, **(event or {})},
            "input": dict(arguments),
            "trigger": self.payload,
            "episode": {"id": "sandbox", "trigger_event_id": "sandbox-event"},
            **({"event": event} if event is not None else {}),
        }
        found = _search(conditions[: wanted + 1], wanted, base, ("output",) if event is None else ("event", "output"))
        if found is None:
            return
        if event is None:
            yield _Way(name, targets, found["output"])
        else:  # what the event carries stands in the output as well
            yield _Way(name, targets, output, {**found["output"], **found["event"]})

    def _output(self, step: PlannedStep) -> dict[str, Any]:
        """Return what the step's skill could return: what its signature promises and later steps read."""
        promised = step.skill.signature.returns
        properties = promised.get("properties", {}) if isinstance(promised, Mapping) else {}
        output: dict[str, Any] = {name: _plain(kind) for name, kind in properties.items()}
        for path in self.read:
            _put(output, path, "a", is_kept=True)
        return output

    def _awaited(self, wait: Await, keys: Sequence[str], since: pl.Series) -> pl.DataFrame:
        """Return the event that the answer has for the wait, under the key that the episode waits for."""
        step_id, way, _ = self.run.given[-1]
        if way.event is None or self.steps[step_id].logic.awaits is not wait:
            return pl.DataFrame(schema=AWAITED)
        correlated = dict(zip(wait.correlate, json.loads(keys[0], parse_float=Decimal), strict=True))
        payload = canonical({**way.event, **correlated})
        return pl.DataFrame([(keys[0], _START, payload)], schema=AWAITED, orient="row")

    # Payloads

    def _payloads(self) -> list[Mapping[str, Any]]:
        """Return the payloads to start with: one per trigger, and one for each condition on them that steps have."""
        conditions = [branch.condition for step in self.plan.steps for branch in step.logic.branches]
        of_trigger = [one for one in conditions if any(path[0] == "trigger" for path in one.paths)]
        found: dict[str, Mapping[str, Any]] = {}
        for trigger in self.plan.triggers or (None,):
            base = self._started_by(trigger)
            if base is None:
                assert trigger is not None
                self.faults[f"{trigger.trigger_id}: no payload could be made that meets its condition"] = None
                continue
            found[canonical(base)] = base
            for condition in of_trigger:
                for wanted in (0, 1):
                    bindings = {"trigger": base, "output": {}, "input": {}, "event": {}}
                    made = _search([condition], wanted, bindings, ("trigger",))
                    if made is not None and _meets(trigger, made["trigger"]):
                        found[canonical(made["trigger"])] = made["trigger"]
        return list(found.values())

    def _started_by(self, trigger: PlannedTrigger | None) -> Mapping[str, Any] | None:
        if trigger is None:
            return {}
        if trigger.trigger_type in ("schedule", "condition"):
            row = dict.fromkeys(trigger.key, "a")
            return {"trigger_id": trigger.trigger_id, "fired_for": _START.isoformat(), "missed": 0, "row": row}
        base = _payload(self.schemas.get(trigger.topic or ""))
        if trigger.condition is None:
            return base
        made = _search([trigger.condition], 0, {"trigger": base}, ("trigger",))
        return None if made is None else made["trigger"]


class _Puppet:
    """A skill that answers what leads along the path under test."""

    is_pure = True

    def __init__(self, sandbox: _Sandbox, step: PlannedStep) -> None:
        self._sandbox = sandbox
        self._step = step

    def run(self, call: Call) -> pl.DataFrame:
        arguments = {name: values[0] for name, values in call.arguments.items()}
        way = self._sandbox.run.pick(self._step.step_id, self._sandbox.ways_of(self._step, arguments))
        row = dict.fromkeys(RESULT_SCHEMA.names()) | {"latency_ms": 1, "cost_micros": 0}
        if way.output is None:
            row |= {"error_code": _error(self._step), "error_message": "the test lets it fail"}
        else:
            row["output"] = canonical(dict(way.output))
        return pl.DataFrame([row], schema=RESULT_SCHEMA)


def _error(step: PlannedStep) -> str:
    """Return an error that the skill may report and that another attempt does not mend."""
    passing = {code.value for code in TRANSIENT}
    return next((code for code in step.skill.signature.errors if code not in passing), ErrorCode.REJECTED.value)


def _targets(step: PlannedStep) -> Iterator[Targets]:
    logic = step.logic
    yield from (logic.goto, logic.otherwise, logic.on_error, *(branch.goto for branch in logic.branches))
    if logic.awaits:
        yield logic.awaits.on_timeout


def _stated_ways(step: PlannedStep) -> Iterator[tuple[str, str]]:
    """Yield (name, words) of every way that a step's logic states."""
    logic = step.logic
    for place, branch in enumerate(logic.branches):
        yield f"/if/{place}/goto", f"if {branch.condition.text}"
    if logic.goto:
        yield "/goto", "goto"
    if logic.otherwise:
        yield "/else", "else"
    if logic.awaits:
        yield "/await/on_timeout", "on_timeout"
    yield "/on_error", "on_error"


def _told(path: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{step_id}{way}" for step_id, way in path)


def _read_of_outputs(plan: Plan) -> list[MemberPath]:
    """Return the members of outputs that parameters and correlations read: without them a later step would fail."""
    paths = [path for step in plan.steps for path in step.parameters.paths]
    paths += [
        path
        for step in plan.steps
        if step.logic.awaits
        for template in step.logic.awaits.correlate.values()
        for path in template.paths
    ]
    return sorted({path[1:] for path in paths if path[0] == "output" and len(path) > 1})


def _plain(kind: Any) -> Any:
    """Return a value of a type as signatures write it: a name, or a JSON Schema."""
    if isinstance(kind, Mapping):
        if kind.get("enum"):
            return kind["enum"][0]
        kind = kind.get("type", "any")
    text = str(kind)
    if text.startswith(("array", "list")):
        return []
    return _PLAIN.get(text, {} if text.startswith("map") else "a")


def _payload(schema: Any) -> dict[str, Any]:
    """Return a payload that a schema lets through, as far as it says enough."""
    try:
        made = values_of_schema(schema, Root(schema), {}, DEPTH) if isinstance(schema, Mapping) else []
    except NotTold:
        made = []
    return dict(made[0]) if made and isinstance(made[0], Mapping) else {}


def _meets(trigger: PlannedTrigger | None, payload: Mapping[str, Any]) -> bool:
    if trigger is None or trigger.condition is None or trigger.mart:
        return True
    return _value(trigger.condition, {"trigger": payload}) is True


def _search(
    conditions: Sequence[Expression], wanted: int, base: Mapping[str, Any], roots: Sequence[str]
) -> Mapping[str, Any] | None:
    """Return bindings for which the wanted condition is the first that holds, with what `roots` hold made up.

    Args:
        wanted: its place; beyond the last one, none is to hold.
    """
    paths = sorted({path for one in conditions for path in one.paths if path[0] in roots and len(path) > 1})
    choices = [_candidates(path, conditions) for path in paths]
    for values in itertools.islice(itertools.product(*choices), _TRIED):
        bindings = {root: _copied(value) for root, value in base.items()}
        for path, value in zip(paths, values, strict=True):
            _put(bindings, path, value)
            if path[0] == "event" and "output" in bindings:  # an awaited event's members stand in the output too
                _put(bindings, ("output", *path[1:]), value)
        held = [_value(one, bindings) for one in conditions]
        if held == [place == wanted for place in range(len(conditions))]:
            return bindings
    return None


def _candidates(path: MemberPath, conditions: Sequence[Expression]) -> list[Any]:
    """Return values that may make a difference at a member: those it is compared with, their neighbours, plain ones."""
    literals = [
        value
        for one in conditions
        for comparison in one.comparisons
        if comparison.path in (path, path[1:])
        for value in comparison.literals
    ]
    numbers = [Decimal(text) for one in conditions for text in _NUMBER.findall(one.text)]
    numbers += [near for number in numbers for near in (number + 1, number - 1)]
    made = [*literals, *numbers, True, False, 1, 0, -1, "a", "", None, [], {}, _ABSENT]
    seen: list[tuple[str, Any]] = []
    for value in made:
        if (marked := (type(value).__name__, value)) not in seen:
            seen.append(marked)
    return [value for _, value in seen]


def _value(condition: Expression, bindings: Mapping[str, Any]) -> Any:
    try:
        return condition.evaluate(bindings)
    except (ExpressionFault, ValueError):
        return None


def _put(target: dict[str, Any], path: Sequence[str], value: Any, *, is_kept: bool = False) -> None:
    """Put a value at a path, or take the member out; with `is_kept` only where nothing is."""
    for name in path[:-1]:
        inner = target.get(name)
        if not isinstance(inner, dict):
            if is_kept and inner not in (None, "a"):
                return
            inner = target[name] = {}
        target = inner
    if value is _ABSENT:
        target.pop(path[-1], None)
    elif not (is_kept and path[-1] in target):
        target[path[-1]] = value


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
