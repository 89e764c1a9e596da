"""The engine against an interpreter that goes one episode and one step at a time, over random workflows.

What the engine must not do is what these find: let episodes that share a batch feel each other, tell another history
when a batch is cut or reordered, or go on differently after an episode was put down.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runtime.engine.batch
from guard.canonical import canonical, parse
from lake.store import Lake
from registry.plans import Plan, PlannedStep
from runtime.engine import Executed, execute
from runtime.protocol import Call
from runtime.recorded import Recorded, calls_of, calls_of_any
from tests.builders import LATER, NINE, Table, awaited, episodes, nothing_awaited, plan, resumed, rows, step
from tests.runtime.reference import Interpreter

MOST = 25
"""Step runs of an episode at most, in these tests."""

HOURS = st.integers(1, 4)
EXPRESSIONS = ("n == 0", "output.n == trigger.k", "event.n == 1", "input.k == 1", "pass == true", "n > 0 || n == 0")
PARAMETERS = ({}, {"k": "${trigger.k}"}, {"n": "${output.n}"}, {"whole": "${output}", "k": 1}, {"t": "n=${output.n}"})
CORRELATED = ("${episode.id}", "${trigger.k}", "${output.n}")


def answered(planned: PlannedStep, seed: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tests' skill answers: all that it does follows from its seed."""
    error = {0: "BAD_INPUT", 1: "CONNECTIVITY", 2: "CONNECTIVITY"}.get(seed // 16 % 9)
    output = {"n": seed // 256 % 3, "pass": seed // 1024 % 2 == 0, "step": planned.step_id}
    return {"output": None if error else output, "error_code": error, "latency_ms": (0, 10, 10, 35)[seed % 4]}


class Skill:
    is_pure = True

    def __init__(self, planned: Plan) -> None:
        self.plan = planned

    def run(self, call: Call) -> pl.DataFrame:
        arguments = [{name: column[row] for name, column in call.arguments.items()} for row in range(call.rows)]
        told = [
            answered(self.plan.step(call.step_id), seed, given)
            for seed, given in zip(call.seeds, arguments, strict=True)
        ]
        return rows([{**item, "output": item["output"] and json.dumps(item["output"])} for item in told])


@st.composite
def plans(draw: st.DrawFn, *, forks: bool = True) -> Plan:
    """Return any plan: forks, joins, waits, loops, errors and compensation, proven by no static check."""
    ids = [f"S{number}" for number in range(draw(st.integers(2, 6)))]
    steps = []
    for number, step_id in enumerate(ids):
        onward = ids[number + 1 :] if draw(st.integers(0, 3)) else ids
        single = st.sampled_from(["END", *onward])
        several = st.lists(st.sampled_from(onward or ids), min_size=1, max_size=3, unique=True)
        target = st.one_of(single, several) if forks else single
        logic: dict[str, Any] = {}
        if draw(st.booleans()):
            logic["if"] = [{"expr": draw(st.sampled_from(EXPRESSIONS)), "goto": draw(target)}]
            if draw(st.booleans()):
                logic["else"] = draw(target)
        else:
            logic["goto"] = draw(target)
        if draw(st.booleans()):
            logic["on_error"] = draw(target)
        if draw(st.integers(0, 3)) == 0:
            logic["await"] = {
                "event": "told",
                "correlate": {"ref": draw(st.sampled_from(CORRELATED))},
                "timeout_h": draw(HOURS),
                "on_timeout": draw(target),
            }
        if draw(st.integers(0, 2)) == 0:
            logic["join"] = draw(st.sampled_from(("all", "any")))
        if draw(st.integers(0, 3)) == 0:
            logic["loop"] = {"max_visits": draw(st.integers(1, 3)), "on_exhausted": draw(target)}
        if draw(st.integers(0, 2)) == 0:
            logic["compensate"] = draw(st.sampled_from(ids))
        parameters = draw(st.sampled_from(PARAMETERS))
        action = draw(st.sampled_from(("tool_call", "handoff")))
        steps.append(step(step_id, logic, parameters=parameters, retries=draw(st.integers(0, 2)), action=action))
    return plan(*steps)


EVENTS = st.lists(
    st.tuples(HOURS, st.sampled_from(("E-1", "E-2", 0, 1, 2)), st.integers(0, 2)).map(
        lambda drawn: (NINE + timedelta(hours=drawn[0]), {"ref": drawn[1], "n": drawn[2]})
    ),
    max_size=5,
)
PAYLOADS = st.lists(st.sampled_from(({"k": 0}, {"k": 1}, {"k": 2.0}, {})), min_size=1, max_size=5)
SALTS = st.integers(0, 2**40)


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.engine.batch, "MAX_VISITS", MOST)


def batch_of(payloads: Sequence[Mapping[str, Any]], salt: int) -> pl.DataFrame:
    return episodes(*payloads).with_columns((pl.col("seed") + salt).alias("seed"))


def engine(planned: Plan, batch: pl.DataFrame, find: Any, now: datetime = LATER) -> Executed:
    return execute(planned, batch, skills=Table({"SK-TEST-001": Skill(planned)}), find_awaited=find, now=now)


def told(done: Executed) -> dict[str, Any]:
    """Return per episode how it ended and its step runs, in the words of the reference."""
    ends = {episode_id: (at, outcome) for episode_id, at, outcome in done.closed.rows()}
    histories: dict[str, list[Any]] = {episode_id: [] for episode_id in ends}
    for run in done.step_runs.sort("episode_id", "seq").iter_rows(named=True):
        assert run["seq"] == len(histories[run["episode_id"]])
        histories[run["episode_id"]].append(
            (
                run["step_id"],
                run["started_at"],
                run["ended_at"],
                run["attempt"],
                run["status"],
                run["error_code"],
                canonical(parse(run["input"])),
                run["output"] and canonical(parse(run["output"])),
            )
        )
    return {episode_id: (*ends[episode_id], settled(histories[episode_id])) for episode_id in ends}


def settled(history: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return step runs in order; of one step's at one moment, which a plan that forks wildly has, in any fixed one."""
    return [run for _, same in groupby(history, key=lambda run: run[:4]) for run in sorted(same, key=repr)]


def expected(planned: Plan, batch: pl.DataFrame, events: Sequence[tuple[datetime, Mapping[str, Any]]]) -> Any:
    found = {}
    for episode in batch.iter_rows(named=True):
        (at, outcome), runs = Interpreter(planned, episode, answered, events, most=MOST).run()
        history = [
            (
                run["step_id"],
                run["start"],
                run["end"],
                run["attempt"],
                run["status"],
                run["error_code"],
                canonical(run["input"]),
                None if run["output"] is None else canonical(run["output"]),
            )
            for run in runs
        ]
        found[episode["episode_id"]] = (at, outcome, settled(history))
    return found


FIXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


@FIXED
@given(planned=plans(), payloads=PAYLOADS, events=EVENTS, salt=SALTS)
def test_a_batch_tells_what_each_episode_alone_would(planned: Plan, payloads: Any, events: Any, salt: int) -> None:
    """A branch would be lost, a join would go on too early, or an effect would not be undone."""
    batch = batch_of(payloads, salt)
    assert told(engine(planned, batch, awaited(*events))) == expected(planned, batch, events)


@FIXED
@given(planned=plans(forks=False), payloads=PAYLOADS, events=EVENTS, salt=SALTS)
def test_so_does_a_batch_of_a_plan_without_forks(planned: Plan, payloads: Any, events: Any, salt: int) -> None:
    """The frontier of such plans is another one, and faster: it would tell another history."""
    batch = batch_of(payloads, salt)
    assert told(engine(planned, batch, awaited(*events))) == expected(planned, batch, events)


@FIXED
@given(planned=plans(), payloads=PAYLOADS, events=EVENTS, salt=SALTS, data=st.data())
def test_neither_cut_nor_order_of_a_batch_matters(
    planned: Plan, payloads: Any, events: Any, salt: int, data: st.DataObject
) -> None:
    """A rerun with other batch boundaries would tell another history."""
    batch = batch_of(payloads, salt)
    whole = told(engine(planned, batch, awaited(*events)))
    order = data.draw(st.permutations(range(batch.height)))
    size = data.draw(st.integers(1, batch.height))
    parts = [told(engine(planned, part, awaited(*events))) for part in batch[list(order)].iter_slices(size)]
    assert {name: history for part in parts for name, history in part.items()} == whole


@FIXED
@given(planned=plans(), payloads=PAYLOADS, events=EVENTS, salt=SALTS, stops=st.lists(st.integers(0, 9), max_size=3))
def test_being_put_down_leaves_no_trace(planned: Plan, payloads: Any, events: Any, salt: int, stops: list[int]) -> None:
    """An episode that waited for a person would go on from another place, or without what it knew."""
    batch = batch_of(payloads, salt)
    history = {}
    left = batch
    for now in [NINE + timedelta(minutes=30 * stop) for stop in sorted(stops)]:
        known = [event for event in events if event[0] <= now]
        done = engine(planned, left, awaited(*known) if known else nothing_awaited, now)
        history |= told(done)
        left = resumed(batch, done.waiting)
    history |= told(engine(planned, left, awaited(*events)))
    assert history == told(engine(planned, batch, awaited(*events)))


class NoAdapters:
    """A replay that asked a skill again would be no replay."""

    def find(self, skill_id: str, binding: Any) -> None:
        return None


class Bus:
    """The awaited events of a test, as the event bus holds them."""

    def __init__(self, events: Sequence[tuple[datetime, Mapping[str, Any]]]) -> None:
        self._find = awaited(*events) if events else nothing_awaited

    def carrying(self, wait: Any, keys: Sequence[str]) -> pl.DataFrame:
        return self._find(wait, keys, pl.Series(keys, dtype=pl.String))


def on_record(batch: pl.DataFrame, done: Executed) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the episodes that ended and their step runs, as an execution would have recorded them."""
    error = pl.struct(code="error_code", message="error_message").struct.json_encode()
    runs = done.step_runs.with_columns(
        error=pl.when(pl.col("error_code").is_not_null()).then(error),
        telemetry=pl.struct("waited_ms").struct.json_encode(),
    )
    closed = batch.join(done.closed.select("episode_id"), on="episode_id", how="semi", maintain_order="left")
    return closed, runs


def replayed(planned: Plan, batch: pl.DataFrame, done: Executed, events: Any, folder: Path) -> Executed:
    """Run episodes again from what an execution would have recorded of them."""
    closed, runs = on_record(batch, done)
    past = Recorded(planned, runs, closed, skills=NoAdapters(), recompute=False)
    find = past.awaiting(Lake(folder), Bus(events))  # type: ignore[arg-type]
    return execute(planned, closed, skills=past, find_awaited=find, now=LATER)


@FIXED
@given(planned=plans(forks=False), payloads=PAYLOADS, events=EVENTS, salt=SALTS)
def test_a_replay_from_the_records_tells_the_same(
    planned: Plan, payloads: Any, events: Any, salt: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A fault of parameters, of a condition or of a key would shift which call an answer belongs to."""
    batch = batch_of(payloads, salt)
    done = engine(planned, batch, awaited(*events))
    assert told(replayed(planned, batch, done, events, tmp_path_factory.getbasetemp())) == told(done)


@FIXED
@given(planned=plans(), payloads=PAYLOADS, events=EVENTS, salt=SALTS, are_parked=st.booleans())
def test_what_went_straight_on_is_read_as_everything_else(
    planned: Plan, payloads: Any, events: Any, salt: int, are_parked: bool
) -> None:
    """Most episodes would be replayed from other answers than the rest; the short way must lead to the same place."""
    batch = batch_of(payloads, salt)
    closed, runs = on_record(batch, engine(planned, batch, awaited(*events)))
    if are_parked:  # until a person had said what became of an effect: the episode stood still before a step
        later = [pl.col(name) + pl.duration(minutes="seq") for name in ("started_at", "ended_at")]
        runs = runs.with_columns(later)
    read = calls_of(planned, runs.sample(fraction=1, shuffle=True, seed=salt), closed)
    # By all columns: visits are counted per step, so that two branches on one step may have the same attempt twice.
    looked_at = calls_of_any(planned, runs, closed).select(read.columns)
    assert read.sort(read.columns).equals(looked_at.sort(read.columns))


def test_the_reference_meets_what_the_step_language_has() -> None:
    """The comparison would be of workflows in which nothing happens."""
    seen: set[str] = set()

    @settings(FIXED, max_examples=150, database=None, derandomize=True)
    @given(planned=plans(), payloads=PAYLOADS, events=EVENTS, salt=SALTS)
    def look(planned: Plan, payloads: Any, events: Any, salt: int) -> None:
        for _, outcome, history in expected(planned, batch_of(payloads, salt), events).values():
            seen.update({outcome, *(run[4] for run in history), *(run[5] for run in history if run[5])})
            seen.update("retried" for run in history if run[3] > 1)

    look()
    assert {"success", "partial", "failed", "timeout", "compensated", "retried"} <= seen
    assert {"EXPRESSION", "NO_BRANCH", "LOOP_BOUND", "BAD_INPUT", "CONNECTIVITY"} <= seen
