"""A single step, run by itself: what it is given, what its skill answers, and where its logic leads.

For people who look for a fault. The engine's own batch runs it, with one branch that knows what it is told; nothing is
written to the lake, and no step comes after it. An effect is done only where somebody asks for it, and then under a
key that no episode has: it is another effect than that of any episode.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from registry.documents import RuntimeBinding
from registry.plans import Plan, PlannedStep
from registry.steps import Await
from runtime.engine import AWAITED, EPISODES
from runtime.engine.batch import Batch
from runtime.engine.evaluation import evaluate
from runtime.engine.history import Rows
from runtime.engine.recording import RESULT, SUCCESS
from runtime.engine.state import moment_of
from runtime.engine.waiting import NEVER_US, Cause, Wait
from runtime.protocol import TRANSIENT, Call, Effects, Skill, SkillTable

NAME = "single-step"
"""What effects of a single step are found by: their keys begin with it."""

_ONE: Rows = np.zeros(1, dtype=np.int64)


class EffectWithheld(Exception):
    """A step that would have an effect, where none may be done.

    Attributes:
        given: the step's bound parameters, as JSON text.
    """

    def __init__(self, step: PlannedStep, given: str) -> None:
        system = step.skill.runtime_binding.system
        super().__init__(
            f"{step.step_id} calls {step.skill.skill_id}, which has effects{f' at {system}' if system else ''}; "
            f"it was not called, and would be given {given}"
        )
        self.step_id = step.step_id
        self.skill_id = step.skill.skill_id
        self.given = given


@dataclass(frozen=True)
class Earlier:
    """A step run that came before: what it was given and returned, as JSON texts; `output` is None if it failed."""

    step_id: str
    input: str | None
    output: str | None
    attempt: int = 1


@dataclass(frozen=True)
class Situation:
    """What an episode knows when it comes to a step.

    Attributes:
        payload: that of the event which triggered it, as JSON text.
        now: the episode's time.
        seed: the episode's; chance follows from it.
        earlier: the step runs so far, the oldest first.
    """

    payload: str
    now: datetime
    seed: int = 0
    earlier: Sequence[Earlier] = ()
    episode_id: str = NAME
    trigger_event_id: str | None = None


@dataclass(frozen=True)
class Condition:
    """A condition of the step's logic that was evaluated: whether it holds, or why that cannot be told."""

    expression: str
    holds: bool
    fault: str | None = None


@dataclass(frozen=True)
class Expected:
    """What the episode would wait for: an event of `topic` under `key`, until `due_at` (None: for ever)."""

    topic: str
    key: str
    due_at: datetime | None
    on_timeout: tuple[str, ...]


@dataclass(frozen=True)
class SingleStep:
    """What running a step by itself gave.

    Attributes:
        input: the bound parameters as JSON text; None where the step did not come to be bound.
        status: as a step run would have it; `waiting` where it would go on waiting, `skipped` where the bound of its
            loop was reached.
        output: JSON text, None where there is an error.
        latency_ms: of the call; None, like the error, where nothing was called.
        retries_left: how often the engine would try again before it goes on as `targets` says.
        effect_key: under which the journal of effects keeps what the step did; None if it has no effects.
        conditions: those that were evaluated, up to the first that holds.
        logic_error_code: why the step's logic led nowhere, though its skill succeeded; `logic_error_message` says more.
        targets: the steps that would come next, several where it forks.
        outcome: how the episode would end, if it would.
        awaits: what it would wait for, if it would.
    """

    step_id: str
    skill_id: str
    agent_id: str
    input: str | None
    status: str
    output: str | None
    error_code: str | None
    error_message: str | None
    latency_ms: int | None
    cost_micros: int | None
    retries_left: int
    effect_key: str | None
    conditions: tuple[Condition, ...]
    logic_error_code: str | None
    logic_error_message: str | None
    targets: tuple[str, ...]
    outcome: str | None
    awaits: Expected | None


def execute_step(
    plan: Plan,
    step_id: str,
    situation: Situation,
    *,
    skills: SkillTable,
    effects: Effects | None = None,
    workflows: Collection[str] = (),
) -> SingleStep:
    """Run one step of `plan` once, as an episode in this situation would, and say where it would go next.

    Args:
        effects: does what a skill with effects does; without it such a skill is not called.
        workflows: ids of those that a step may start; none is started.

    Raises:
        NotRegistered: the plan has no such step.
        EffectWithheld: the skill has effects and `effects` is None.
    """
    planned = plan.step(step_id)
    step = replace(planned, retries=0, idempotency_key=f"{NAME}/{uuid4()}")
    alone = replace(plan, steps=tuple(step if each.step_id == step_id else each for each in plan.steps))
    noted = _Noted(effects) if effects is not None else None
    batch = Batch(
        alone,
        _episode(situation),
        skills=skills if noted is not None else _Withholding(skills),
        find_awaited=_nothing,
        now=situation.now,
        effects=noted,
        workflows=workflows,
    )
    _restore(batch, situation.earlier)
    place, before = batch.state.order[step_id], int(batch.state.branches.given[0])
    try:
        onward = batch.visit(place, _ONE)
    except _Withheld:
        raise EffectWithheld(step, str(batch.state.inputs.text(int(batch.state.branches.given[0])))) from None
    wait = batch.waits.get(0)
    rows = batch.record.frame().to_dicts()
    told: dict[str, Any] = dict(zip(RESULT.names(), wait.result, strict=True)) if wait else (rows or [{}])[0]
    logic_fault = rows[1] if len(rows) > 1 else {}
    status = "waiting" if wait else told.get("status", "skipped")
    given = int(batch.state.branches.given[0])
    steps = alone.steps
    return SingleStep(
        step_id=step_id,
        skill_id=step.skill.skill_id,
        agent_id=step.agent_id,
        input=wait.given if wait else None if given == before else batch.state.inputs.text(given),
        status=status,
        output=told.get("output"),
        error_code=told.get("error_code"),
        error_message=told.get("error_message"),
        latency_ms=told.get("latency_ms"),
        cost_micros=told.get("cost_micros"),
        retries_left=planned.retries if told.get("error_code") in TRANSIENT else 0,
        effect_key=noted.key if noted is not None else None,
        conditions=_conditions(batch, step) if status == SUCCESS else (),
        logic_error_code=logic_fault.get("error_code"),
        logic_error_message=logic_fault.get("error_message"),
        targets=tuple(steps[turn.place].step_id for turn in onward),
        outcome=batch.state.outcome[0],
        awaits=None if wait is None else _expected(step, wait),
    )


def _expected(step: PlannedStep, wait: Wait) -> Expected:
    return Expected(
        topic=wait.topic,
        key=wait.key,
        due_at=None if wait.due_us >= NEVER_US else moment_of(wait.due_us),
        on_timeout=step.logic.awaits.on_timeout if step.logic.awaits and wait.cause is Cause.EVENT else (),
    )


def _episode(situation: Situation) -> pl.DataFrame:
    row = {
        "episode_id": situation.episode_id,
        "trigger_id": None,
        "trigger_event_id": situation.trigger_event_id,
        "payload": situation.payload,
        "started_at": situation.now,
        "seed": situation.seed,
        "context_hash": None,
        "state": None,
    }
    return pl.DataFrame([row], schema=EPISODES)


def _restore(batch: Batch, earlier: Sequence[Earlier]) -> None:
    """Let the one branch know what came before, and what of it would be undone."""
    state, columns = batch.state, batch.state.branches
    for run in earlier:
        step = state.steps.get(run.step_id)
        if step is not None and run.attempt == 1:
            state.visits[run.step_id][0] += 1
        columns.depth[0] += 1
        state.runs[0] += 1
        if run.input is not None:
            columns.given[_ONE] = state.inputs.add(pl.Series([run.input]), run.step_id)
        if run.output is not None:
            columns.output[_ONE] = state.outputs.add(pl.Series([run.output]), run.step_id, columns.output[_ONE])
            if step is not None:
                batch.undoing.note(step, _ONE)


def _nothing(wait: Await, keys: Sequence[str], episode_ids: pl.Series) -> pl.DataFrame:
    """Find no awaited event: what a step would wait for is told, not looked for."""
    return pl.DataFrame(schema=AWAITED)


def _conditions(batch: Batch, step: PlannedStep) -> tuple[Condition, ...]:
    found: list[Condition] = []
    for branch in step.logic.branches:
        values = evaluate(branch.condition, 1, batch.state.member(_ONE))
        holds = bool(values.are(True)[0])
        found.append(Condition(branch.condition.text, holds, values.faulty().get(0)))
        if holds or found[-1].fault:
            break
    return tuple(found)


class _Withheld(Exception):
    """The batch came to call a skill that it may not call."""


class _Withholding:
    """A table of skills without those that have effects."""

    def __init__(self, skills: SkillTable) -> None:
        self._skills = skills

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        skill = self._skills.find(skill_id, binding)
        if skill is not None and not skill.is_pure:
            raise _Withheld
        return skill


class _Noted:
    """Effects, with the key of the one that was performed."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self.key: str | None = None

    def perform(self, skill: Skill, call: Call, keys: Sequence[str], *, timeout_ms: int | None) -> pl.DataFrame:
        (self.key,) = keys
        return self._effects.perform(skill, call, keys, timeout_ms=timeout_ms)
