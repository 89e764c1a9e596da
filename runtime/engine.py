"""The engine: a micro-batch of episodes moves through its workflow as sets.

The frontier holds, per step, the episodes that stand on it. Each turn takes one step, binds its parameters, calls its
skill once for all of them, records the step runs and routes every episode by what came back. There is no clock and no
random number in here: an episode's time runs on from its start by what its steps took, and chance follows from its
seed.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from guard.canonical import canonical, digest_text
from registry.expressions import Template, compile_template
from registry.plans import Plan, PlannedStep
from registry.steps import END, Await, Targets
from runtime.chance import seeds_for
from runtime.documents import Documents, encode
from runtime.protocol import RESULT_SCHEMA, TRANSIENT, Call, ErrorCode, SkillTable

MAX_VISITS = 1_000
"""Step runs after which an episode is taken for one that would never end."""

MAX_KEY = 512
"""Characters of an await's key that the registry keeps."""

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
"""Columns of the episodes to run; `state` is null for a new one, else what `Waiting` kept."""

AWAITED = pl.Schema({"key": pl.String(), "at": pl.Datetime("us", "UTC"), "payload": pl.String()})
"""Columns of awaited events: the value they correlate by, their time and payload."""


class Evaluable(Protocol):
    """What has a value over the members it names: an expression, or a template of several."""

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]: ...

    def evaluate(self, bindings: Mapping[str, Any]) -> Any: ...


FindAwaited = Callable[[Await, Sequence[str]], pl.DataFrame]
"""Returns the events (`AWAITED`) of an await's topic whose correlating members have the values of one of the keys; a
key is `await_key` of these values in the await's order."""


def await_key(values: Sequence[Any]) -> str:
    """Return the text under which an awaited event and the episode that waits for it find each other.

    It is canonical, so that 1 and 1.0 are one key; what is too long to be kept is named by its hash.

    Raises:
        ValueError: JSON has no word for a value.
    """
    key = canonical(list(values))
    return key if len(key) <= MAX_KEY else digest_text(key)


_RESULT = pl.Schema({**RESULT_SCHEMA, "attempt": pl.Int32(), "waited_ms": pl.Int64()})
_SUCCESS, _FAILED, _TIMEOUT, _PARTIAL = "success", "failed", "timeout", "partial"
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_STEP_RUNS = pl.Schema(
    {
        "row": pl.Int64(),
        "step_id": pl.String(),
        "seq": pl.Int32(),
        "start_us": pl.Int64(),
        "end_us": pl.Int64(),
        "status": pl.String(),
        "input": pl.String(),
        **_RESULT,
    }
)


class PlanNotExecutable(ValueError):
    """A plan that is valid but that this engine does not run; names the step."""


class _Arguments(NamedTuple):
    """A step's bound arguments, and the parameters among them as JSON text."""

    arguments: Mapping[str, Any]
    text: str


_UNBOUND = _Arguments({}, "{}")


@dataclass(frozen=True)
class _Bound:
    """A step's parameters with the signature's constant defaults behind them."""

    parameters: Template
    defaults: Mapping[str, Any]

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        return self.parameters.paths

    def evaluate(self, bindings: Mapping[str, Any]) -> _Arguments:
        given = self.parameters.evaluate(bindings)
        return _Arguments({**self.defaults, **given}, encode(given))


def _constant_defaults(step: PlannedStep) -> dict[str, Any]:
    """Return the defaults that are values; one that is the outputs so far is looked up by the skill that needs it."""
    arguments = step.skill.signature.args
    return {arg.name: arg.default for arg in arguments if arg.has_default and compile_template(arg.default).is_constant}


@dataclass(frozen=True)
class Executed:
    """What became of a micro-batch.

    Attributes:
        closed: one row per closed episode: episode_id, ended_at, outcome.
        step_runs: their step runs: episode_id, step_id, seq, attempt, times, status and what the skills returned.
        waiting: one row per episode that waits: episode_id, step_id, await_topic, await_key, waiting_since, due_at and
            state.
    """

    closed: pl.DataFrame
    step_runs: pl.DataFrame
    waiting: pl.DataFrame


def execute(
    plan: Plan, episodes: pl.DataFrame, *, skills: SkillTable, find_awaited: FindAwaited, now: datetime
) -> Executed:
    """Run `episodes` (columns `EPISODES`) through `plan` until each is closed or waits.

    A fault of a skill, an expression or a payload is a failed step run with a code of the taxonomy; the other episodes
    of the batch go on.

    Args:
        now: moment up to which waits may time out; a later deadline keeps its episode open.

    Raises:
        PlanNotExecutable: the plan runs steps side by side, undoes a step or bounds a loop.
    """
    for step in plan.steps:
        if step.logic.loop or step.logic.compensate:
            what = "loop" if step.logic.loop else "compensate"
            raise PlanNotExecutable(f"{plan.workflow_id}: {step.step_id} has {what!r}, which is not run yet; remove it")
        if step.logic.join or any(len(targets) > 1 for targets in _ways(step)):
            raise PlanNotExecutable(
                f"{plan.workflow_id}: {step.step_id} goes to several steps at once; join them into one path"
            )
    return _Batch(plan, episodes, skills, find_awaited, now).run()


def _ways(step: PlannedStep) -> Iterator[Targets]:
    logic = step.logic
    yield from (logic.goto, logic.otherwise, logic.on_error, *(branch.goto for branch in logic.branches))
    if logic.awaits:
        yield logic.awaits.on_timeout


class _Batch:
    def __init__(
        self, plan: Plan, episodes: pl.DataFrame, skills: SkillTable, find_awaited: FindAwaited, now: datetime
    ) -> None:
        count = episodes.height
        self.plan = plan
        self.steps = {step.step_id: step for step in plan.steps}
        self.order = {step.step_id: position for position, step in enumerate(plan.steps)}
        self.skills = skills
        self.find_awaited = find_awaited
        self.now_us = _microseconds(now)
        self.episodes = episodes
        self.ids: list[str] = episodes["episode_id"].to_list()
        self.trigger = Documents(episodes["payload"].to_list())
        self.inputs = Documents([None] * count)  # of the step at hand, else of the one before
        self.outputs = {step_id: Documents([None] * count) for step_id in self.steps}
        self.latest: list[list[str]] = [[] for _ in range(count)]  # steps with an output, newest last
        self.started = episodes["started_at"].dt.epoch("us").to_numpy()
        self.clock = self.started.copy()
        self.seq = np.zeros(count, dtype=np.int32)
        self.outcome = np.full(count, "", dtype=object)
        self.seeds = episodes["seed"].to_numpy().astype(np.uint64)
        self.frontier: dict[str, list[int]] = {}
        self.records: list[pl.DataFrame] = []
        self.waiting: list[dict[str, Any]] = []

    def run(self) -> Executed:
        states = self.episodes["state"]
        fresh = states.is_null().arg_true().to_list()
        if fresh:
            self.frontier[self.plan.entry.step_id] = fresh
        self._resume(states.is_not_null().arg_true().to_list())
        while self.frontier:
            step_id = min(self.frontier, key=self.order.__getitem__)
            self._turn(self.steps[step_id], self.frontier.pop(step_id))
        return self._result()

    def _turn(self, step: PlannedStep, rows: list[int]) -> None:
        rows = self._within_bound(step, rows)
        if step.denial:
            self._fail_with(step, rows, ErrorCode.PERMISSION_DENIED, [str(step.denial)])
            return
        if not rows:
            return
        arguments, texts, faults = self._bind(step, rows)
        if faults:
            self._fail_with(step, [rows[p] for p in faults], ErrorCode.EXPRESSION, list(faults.values()))
            good = [p for p in range(len(rows)) if p not in faults]
            rows, texts = [rows[p] for p in good], [texts[p] for p in good]
            arguments = {name: [values[p] for p in good] for name, values in arguments.items()}
        if rows:
            for row, text in zip(rows, texts, strict=True):
                self.inputs.put(row, text)
            self._arrive(step, rows, texts, self._call(step, rows, arguments, texts))

    def _within_bound(self, step: PlannedStep, rows: list[int]) -> list[int]:
        runaway = [row for row in rows if self.seq[row] >= MAX_VISITS]
        if runaway:
            self._record_failures(step, runaway, ErrorCode.LOOP_BOUND, [f"stopped after {MAX_VISITS} step runs"])
            self.outcome[runaway] = _FAILED
        return [row for row in rows if self.seq[row] < MAX_VISITS]

    # Binding

    def _bind(self, step: PlannedStep, rows: list[int]) -> tuple[dict[str, list[Any]], list[str], dict[int, str]]:
        """Return the arguments (one value per row each), the bound parameters as JSON text, and faults by position."""
        faults: dict[int, str] = {}
        bound = self._evaluated(_Bound(step.parameters, _constant_defaults(step)), rows, faults)
        given = [item or _UNBOUND for item in bound]
        names = dict.fromkeys(name for item in given for name in item.arguments)
        arguments = {name: [item.arguments.get(name) for item in given] for name in names}
        return arguments, [item.text for item in given], faults

    def _evaluated(
        self,
        expression: Evaluable,
        rows: list[int],
        faults: dict[int, str],
        event: Documents | None = None,
        step_id: str = "",
    ) -> list[Any]:
        """Return the expression's value per row, evaluated once per distinct projection of the members it reads."""
        memo: dict[Any, tuple[Any, str | None]] = {}
        values = []
        for position, row in enumerate(rows):
            members = [self._member(path, row, position, event, step_id) for path in expression.paths]
            key = repr(members)
            if key not in memo:
                bindings: dict[str, Any] = {}
                for path, (is_there, value) in zip(expression.paths, members, strict=True):
                    _nest(bindings, path, is_there, value)
                try:
                    memo[key] = (expression.evaluate(bindings), None)
                except ValueError as fault:  # no value, or one that JSON has no word for
                    memo[key] = (None, str(fault))
            value, fault_text = memo[key]
            if fault_text is not None:
                faults.setdefault(position, fault_text)
            values.append(value)
        return values

    def _member(
        self, path: Sequence[str], row: int, position: int, event: Documents | None, step_id: str
    ) -> tuple[bool, Any]:
        root, *rest = path
        if root == "trigger":
            return self.trigger.member(row, rest)
        if root == "output":
            source = step_id or (self.latest[row][-1] if self.latest[row] else "")
            return self.outputs[source].member(row, rest) if source else (False, None)
        if root == "input":
            return self.inputs.member(row, rest)
        if root == "event":
            return event.member(position, rest) if event else (False, None)
        if root == "episode":
            known = {"id": self.ids[row], "trigger_event_id": self.episodes["trigger_event_id"][row]}
            return (rest[0] in known, known.get(rest[0])) if rest else (True, known)
        return False, None

    def _known(self, rows: list[int]) -> Callable[..., list[Any]]:
        def look_up(*path: str) -> list[Any]:
            values = []
            for row in rows:
                for step_id in reversed(self.latest[row]):
                    is_there, value = self.outputs[step_id].member(row, path)
                    if is_there:
                        break
                else:
                    _, value = self.trigger.member(row, path)
                values.append(value)
            return values

        return look_up

    # Calling

    def _call(
        self, step: PlannedStep, rows: list[int], arguments: Mapping[str, list[Any]], texts: list[str]
    ) -> pl.DataFrame:
        """Return the last result per row; transient failures are tried again, each attempt recorded."""
        result = self._attempt(step, rows, arguments, 1)
        for attempt in range(2, step.retries + 2):
            again = result["error_code"].is_in([code.value for code in TRANSIENT]).arg_true().to_list()
            if not again:
                break
            failed_rows = [rows[position] for position in again]
            self._record(step, failed_rows, [texts[p] for p in again], result[again], [_FAILED] * len(again))
            retried = self._attempt(
                step, failed_rows, {name: [values[p] for p in again] for name, values in arguments.items()}, attempt
            )
            order = pl.Series("order", again, dtype=pl.UInt32)
            kept = result.with_row_index("order").filter(~pl.col("order").is_in(again))
            result = pl.concat([kept, retried.insert_column(0, order)]).sort("order").drop("order")
        return result

    def _attempt(
        self, step: PlannedStep, rows: list[int], arguments: Mapping[str, list[Any]], attempt: int
    ) -> pl.DataFrame:
        skill_id, binding = step.skill.skill_id, step.skill.runtime_binding
        skill = self.skills.find(skill_id, binding)
        if skill is None:
            message = f"no adapter {binding.adapter!r} for {skill_id}; bind one in its runtime_binding"
            return _failures(len(rows), ErrorCode.NOT_BOUND, message, attempt)
        seeds = pl.Series(seeds_for(self.seeds[rows], step.step_id, str(attempt)))
        call = Call(arguments, seeds, self._known(rows), binding)
        try:
            result = skill.run(call)
        except Exception as error:  # noqa: BLE001 - an adapter's fault is a row, not the end of the batch
            code, message = ErrorCode.SKILL_FAULT, f"{skill_id} raised {type(error).__name__}"
        else:
            code, message = ErrorCode.SCHEMA_MISMATCH, f"{skill_id} did not return what it promises"
            if isinstance(result, pl.DataFrame) and result.schema == RESULT_SCHEMA and result.height == len(rows):
                return _without_broken(result, code, message).with_columns(
                    attempt=pl.lit(attempt, dtype=pl.Int32), waited_ms=pl.lit(0, dtype=pl.Int64)
                )
        if skill.is_pure and len(rows) > 1:
            # One row may be to blame: who shares its batch must not feel it.
            middle = len(rows) // 2
            return pl.concat(
                self._attempt(step, rows[part], {name: values[part] for name, values in arguments.items()}, attempt)
                for part in (slice(None, middle), slice(middle, None))
            )
        return _failures(len(rows), code, message, attempt)

    # Recording

    def _record(
        self,
        step: PlannedStep,
        rows: list[int],
        texts: Sequence[str],
        result: pl.DataFrame,
        statuses: Sequence[str],
    ) -> None:
        """Record one step run per row and move the episodes' time on by what it took."""
        latency = result["latency_ms"].fill_null(0).to_numpy() * 1000
        start = self.clock[rows]
        self.records.append(
            result.select(
                pl.Series("row", rows, dtype=pl.Int64),
                pl.lit(step.step_id).alias("step_id"),
                pl.Series("seq", self.seq[rows]),
                pl.Series("start_us", start),
                pl.Series("end_us", start + latency),
                pl.Series("status", statuses, dtype=pl.String),
                pl.Series("input", texts, dtype=pl.String),
                *_RESULT.names(),
            )
        )
        self.clock[rows] = start + latency
        self.seq[rows] += 1

    def _arrive(self, step: PlannedStep, rows: list[int], texts: list[str], result: pl.DataFrame) -> None:
        """Take in the results of a step and send every episode where its logic says."""
        is_error = result["error_code"].is_not_null()
        failed, passed = is_error.arg_true().to_list(), (~is_error).arg_true().to_list()
        if failed:
            failed_rows = [rows[p] for p in failed]
            self._record(step, failed_rows, [texts[p] for p in failed], result[failed], [_FAILED] * len(failed))
            self._fail(step, failed_rows)
        if not passed:
            return
        passed_rows, passed_texts, passed_result = [rows[p] for p in passed], [texts[p] for p in passed], result[passed]
        if step.logic.awaits is not None:
            self._wait(step, step.logic.awaits, passed_rows, passed_texts, passed_result)
            return
        self._record(step, passed_rows, passed_texts, passed_result, [_SUCCESS] * len(passed))
        for row, text in zip(passed_rows, passed_result["output"], strict=True):
            self._put_output(step, row, text)
        self._route(step, passed_rows)

    def _put_output(self, step: PlannedStep, row: int, text: str) -> None:
        self.outputs[step.step_id].put(row, text)
        self.latest[row].append(step.step_id)

    # Routing

    def _route(self, step: PlannedStep, rows: list[int], event: Documents | None = None) -> None:
        remaining = list(range(len(rows)))
        for branch in step.logic.branches:
            faults: dict[int, str] = {}
            standing = [rows[p] for p in remaining]
            part = None if event is None else Documents([event.text(p) for p in remaining])
            values = self._evaluated(branch.condition, standing, faults, part, step.step_id)
            self._fail_with(step, [standing[p] for p in faults], ErrorCode.EXPRESSION, list(faults.values()))
            self._go(
                step, [row for p, row in enumerate(standing) if p not in faults and values[p] is True], branch.goto
            )
            remaining = [r for p, r in enumerate(remaining) if p not in faults and values[p] is not True]
        left = [rows[p] for p in remaining]
        if onward := step.logic.goto or step.logic.otherwise:
            self._go(step, left, onward)
        else:
            self._fail_with(step, left, ErrorCode.NO_BRANCH, ["no condition of the step's logic holds"])

    def _go(self, step: PlannedStep, rows: list[int], targets: Targets) -> None:
        if not rows:
            return
        (target,) = targets
        if target == END:
            # Who ends on a handoff left the work to a person who did not take it up: it is done in part only.
            self.outcome[rows] = _PARTIAL if step.action_type == "handoff" else _SUCCESS
        else:
            self.frontier.setdefault(target, []).extend(rows)

    def _fail(self, step: PlannedStep, rows: list[int]) -> None:
        if not rows:
            return
        if step.logic.on_error in ((), (END,)):
            self.outcome[rows] = _FAILED
        else:
            self._go(step, rows, step.logic.on_error)

    def _fail_with(self, step: PlannedStep, rows: list[int], code: ErrorCode, messages: Sequence[str]) -> None:
        """Record that the step's own logic failed for these episodes, and go where errors go."""
        if rows:
            self._record_failures(step, rows, code, messages)
            self._fail(step, rows)

    def _record_failures(self, step: PlannedStep, rows: list[int], code: ErrorCode, messages: Sequence[str]) -> None:
        result = _failures(len(rows), code, messages[0])
        if len(messages) > 1:
            result = result.with_columns(pl.Series("error_message", messages))
        self._record(step, rows, ["{}"] * len(rows), result, [_FAILED] * len(rows))

    # Waiting

    def _wait(self, step: PlannedStep, wait: Await, rows: list[int], texts: list[str], result: pl.DataFrame) -> None:
        """Resolve the waits that an event or the deadline ends by now; keep the others open."""
        faults: dict[int, str] = {}
        members = [self._evaluated(template, rows, faults) for template in wait.correlate.values()]
        keys = []
        for position, values in enumerate(zip(*members, strict=True)):
            try:
                keys.append(await_key(values))
            except ValueError as fault:
                faults.setdefault(position, str(fault))
                keys.append("")
        if faults:
            self._fail_with(step, [rows[p] for p in faults], ErrorCode.EXPRESSION, list(faults.values()))
            good = [p for p in range(len(rows)) if p not in faults]
            rows, texts, keys, result = (
                [rows[p] for p in good],
                [texts[p] for p in good],
                [keys[p] for p in good],
                result[good],
            )
        since = self.clock[rows] + result["latency_ms"].fill_null(0).to_numpy() * 1000
        due = since + int(Decimal(wait.timeout_h) * 3_600_000_000)
        events = _first_events(self.find_awaited(wait, keys), keys, self.started[rows], due)
        arrived = events["payload"].is_not_null().to_numpy()
        overdue = ~arrived & (due <= self.now_us)
        if arrived.any():
            self._wake(step, rows, texts, result, events, since, arrived.nonzero()[0].tolist())
        if overdue.any():
            self._time_out(step, wait, rows, texts, result, due, overdue.nonzero()[0].tolist())
        for position in (~arrived & ~overdue).nonzero()[0].tolist():
            self._keep(
                step, wait, rows[position], texts[position], result[position], keys[position], since, due, position
            )

    def _wake(
        self,
        step: PlannedStep,
        rows: list[int],
        texts: list[str],
        result: pl.DataFrame,
        events: pl.DataFrame,
        since: NDArray[np.int64],
        positions: list[int],
    ) -> None:
        woken = [rows[p] for p in positions]
        payloads = events["payload"][positions].to_list()
        at = events["at"].dt.epoch("us")[positions].to_numpy()
        done = _until(result[positions], np.maximum(at, since[positions]), self.clock[woken])
        output = [_merged(own, payload) for own, payload in zip(result["output"][positions], payloads, strict=True)]
        done = done.with_columns(output=pl.Series(output, dtype=pl.String))
        self._record(step, woken, [texts[p] for p in positions], done, [_SUCCESS] * len(woken))
        for row, text in zip(woken, output, strict=True):
            self._put_output(step, row, text)
        self._route(step, woken, Documents(payloads))

    def _time_out(
        self,
        step: PlannedStep,
        wait: Await,
        rows: list[int],
        texts: list[str],
        result: pl.DataFrame,
        due: NDArray[np.int64],
        positions: list[int],
    ) -> None:
        late = [rows[p] for p in positions]
        done = _until(result[positions], due[positions], self.clock[late])
        self._record(step, late, [texts[p] for p in positions], done, [_TIMEOUT] * len(late))
        for row, text in zip(late, done["output"], strict=True):
            self._put_output(step, row, text)
        if wait.on_timeout == (END,):
            self.outcome[late] = _PARTIAL
        else:
            self._go(step, late, wait.on_timeout)

    def _keep(
        self,
        step: PlannedStep,
        wait: Await,
        row: int,
        text: str,
        result: pl.DataFrame,
        key: str,
        since: NDArray[np.int64],
        due: NDArray[np.int64],
        position: int,
    ) -> None:
        """Put down all that the engine needs to go on with the episode days later."""
        state = {
            "clock_us": int(self.clock[row]),
            "seq": int(self.seq[row]),
            "outputs": [[step_id, self.outputs[step_id].text(row)] for step_id in self.latest[row]],
            "input": text,
            "result": result.row(0),
        }
        self.waiting.append(
            {
                "row": row,
                "episode_id": self.ids[row],
                "step_id": step.step_id,
                "await_topic": wait.event,
                "await_key": key,
                "waiting_since": _moment(int(since[position])),
                "due_at": _moment(int(due[position])),
                "state": state,
            }
        )

    def _resume(self, rows: list[int]) -> None:
        """Put kept episodes back to where they waited, and look whether their wait has ended."""
        standing: dict[str, list[int]] = {}
        kept: dict[int, dict[str, Any]] = {}
        for row in rows:
            state = kept[row] = json.loads(self.episodes["state"][row])
            self.clock[row], self.seq[row] = state["clock_us"], state["seq"]
            self.inputs.put(row, state["input"])
            for step_id, text in state["outputs"]:
                self.outputs[step_id].put(row, text)
                self.latest[row].append(step_id)
            earlier = pl.DataFrame(state["step_runs"], schema=_STEP_RUNS, orient="row")
            self.records.append(earlier.with_columns(row=pl.lit(row, dtype=pl.Int64)))
            standing.setdefault(state["step_id"], []).append(row)
        for step_id, waiting_rows in standing.items():
            step = self.steps[step_id]
            assert step.logic.awaits is not None
            results = pl.DataFrame([kept[row]["result"] for row in waiting_rows], schema=_RESULT, orient="row")
            self._wait(step, step.logic.awaits, waiting_rows, [kept[row]["input"] for row in waiting_rows], results)

    # Results

    def _result(self) -> Executed:
        records = pl.concat(self.records) if self.records else pl.DataFrame(schema=_STEP_RUNS)
        open_rows = {item["row"] for item in self.waiting}
        kept = records.filter(pl.col("row").is_in(list(open_rows))).partition_by("row", as_dict=True)
        for item in self.waiting:
            earlier = kept.get((item.pop("row"),), pl.DataFrame(schema=_STEP_RUNS))
            item["state"] = json.dumps(
                {
                    **item["state"],
                    "step_id": item["step_id"],
                    "step_runs": earlier.sort("seq").with_columns(row=pl.lit(0)).rows(),
                }
            )
        closed_rows = [row for row in range(len(self.ids)) if row not in open_rows]
        closed = pl.DataFrame(
            {
                "episode_id": [self.ids[row] for row in closed_rows],
                "ended_at": pl.Series(self.clock[closed_rows]).cast(pl.Datetime("us", "UTC")),
                "outcome": pl.Series(self.outcome[closed_rows].tolist(), dtype=pl.String),
            },
            schema_overrides={"episode_id": pl.String},
        )
        step_runs = (
            records.filter(~pl.col("row").is_in(list(open_rows)))
            .with_columns(
                pl.lit(pl.Series(self.ids, dtype=pl.String)).gather(pl.col("row")).alias("episode_id"),
                pl.col("start_us").cast(pl.Datetime("us", "UTC")).alias("started_at"),
                pl.col("end_us").cast(pl.Datetime("us", "UTC")).alias("ended_at"),
            )
            .drop("row", "start_us", "end_us")
        )
        return Executed(closed, step_runs, pl.DataFrame(self.waiting))


def _failures(count: int, code: ErrorCode, message: str, attempt: int = 1) -> pl.DataFrame:
    """Return results that are all the same failure."""
    values: dict[str, Any] = {
        "error_code": code.value,
        "error_message": message,
        "latency_ms": 0,
        "attempt": attempt,
        "waited_ms": 0,
    }
    return pl.select(
        pl.lit(values.get(name), dtype=dtype).repeat_by(count).explode().alias(name) for name, dtype in _RESULT.items()
    )


def _without_broken(result: pl.DataFrame, code: ErrorCode, message: str) -> pl.DataFrame:
    """Return the results with the rows that are none, an output that is no JSON object or a time that runs back, as
    failures."""
    broken = [
        (latency_ms or 0) < 0 or (error_code is None and not _holds_object(output))
        for output, error_code, latency_ms in result.select("output", "error_code", "latency_ms").iter_rows()
    ]
    if not any(broken):
        return result
    failed = {"output": None, "error_code": code.value, "error_message": message, "latency_ms": 0}
    is_broken = pl.Series(broken)
    return result.with_columns(
        pl.when(is_broken).then(pl.lit(value, dtype=RESULT_SCHEMA[name])).otherwise(name).alias(name)
        for name, value in failed.items()
    )


def _holds_object(text: str | None) -> bool:
    try:
        return text is not None and _decode_members(text) is not None
    except msgspec.DecodeError:
        return False


def _until(result: pl.DataFrame, ended_us: NDArray[np.int64], started_us: NDArray[np.int64]) -> pl.DataFrame:
    """Return the results with the wait in their latency, and how much of it was waiting."""
    latency_ms = pl.Series((ended_us - started_us) // 1000, dtype=pl.Int64)
    return result.with_columns(waited_ms=latency_ms - pl.col("latency_ms").fill_null(0), latency_ms=latency_ms)


def _first_events(
    events: pl.DataFrame, keys: Sequence[str], started: NDArray[np.int64], due: NDArray[np.int64]
) -> pl.DataFrame:
    """Return per key the first event (at, payload) between the start of its episode and its deadline, else null.

    An event that came before the wait began counts: who decides can be faster than the books. One from before the
    episode was about something else.
    """
    windows = pl.DataFrame(
        {"key": keys, "started": started, "due": due}, schema_overrides={"key": pl.String}
    ).with_row_index()
    at = pl.col("at").dt.epoch("us")
    first = (
        windows.join(events, on="key", how="inner")
        .filter(at.is_between("started", "due"))
        .sort("index", "at", "payload")
        .unique("index", keep="first")
        .select("index", "at", "payload")
    )
    return windows.select("index").join(first, on="index", how="left", maintain_order="left")


def _nest(bindings: dict[str, Any], path: Sequence[str], is_there: bool, value: Any) -> None:
    """Put `value` at `path`; of an absent member only the way to it is made."""
    target = bindings
    for name in path[:-1]:
        target = target.setdefault(name, {})
    if is_there:
        target[path[-1]] = value


def _merged(own: str | None, event: str) -> str:
    """Return the step's output with the members of the awaited event's payload in it."""
    return encode({**json.loads(own or "{}", parse_float=Decimal), **json.loads(event, parse_float=Decimal)})


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=microseconds)
