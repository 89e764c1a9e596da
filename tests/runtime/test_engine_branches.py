"""What the step language has beside a plain way on: forks and joins, loops, compensation, children, effects, limits."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

import runtime.engine.calling
from guard.canonical import MAX_BYTES
from registry.plans import Plan, PlannedStep
from registry.steps import Await
from runtime.engine import AWAITED, CHILD_CLOSED, Executed, await_key, execute
from runtime.protocol import EFFECT_RESOLVED, Call, ErrorCode, Skill
from tests.builders import (
    LATER,
    NINE,
    Scripted,
    Table,
    Whole,
    always,
    answer,
    awaited,
    episodes,
    nothing_awaited,
    outcome,
    path,
    plan,
    resumed,
    rows,
    step,
)


def run(planned: Plan, batch: pl.DataFrame, skills: Mapping[str, Skill], **options: Any) -> Executed:
    given = {"find_awaited": nothing_awaited, "now": LATER} | options
    return execute(planned, batch, skills=Table(skills), **given)


def at(milliseconds: int) -> Any:
    return NINE + timedelta(milliseconds=milliseconds)


def times(done: Executed, episode_id: str = "E-1") -> list[tuple[str, int, int]]:
    """Return (step, start, end) of an episode's step runs in order, in milliseconds since it began."""
    history = done.step_runs.filter(pl.col("episode_id") == episode_id).sort("seq")
    since = [(pl.col(name) - NINE).dt.total_milliseconds() for name in ("started_at", "ended_at")]
    return history.select("step_id", *since).rows()


def forked(join: str, *, b_ms: int = 20, c_ms: int = 50) -> tuple[Plan, dict[str, Skill]]:
    planned = plan(
        step("A", {"goto": ["B", "C"]}, skill="SK-A"),
        step("B", {"goto": "D"}, skill="SK-B"),
        step("C", {"goto": "D"}, skill="SK-C"),
        step("D", {"goto": "END", "join": join}, skill="SK-D", parameters={"seen": "${output}"}),
    )
    skills = {"SK-A": 10, "SK-B": b_ms, "SK-C": c_ms, "SK-D": 5}
    return planned, {name: always({name: 1}, latency_ms=spent) for name, spent in skills.items()}


# Forks and joins


def test_branches_run_side_by_side_and_meet_when_all_have_come() -> None:
    """The second branch would begin when the first has ended, or the join would not wait for it."""
    done = run(*_with_batch(forked("all")))
    assert times(done) == [("A", 0, 10), ("B", 10, 30), ("C", 10, 60), ("D", 60, 65)]
    assert done.closed.rows() == [("E-1", at(65), "success")]
    seen = done.step_runs.filter(pl.col("step_id") == "D")["input"][0]
    assert json.loads(seen) == {"seen": {"SK-C": 1}}  # the last branch to come is the newest


def test_the_first_branch_goes_on_where_any_is_enough() -> None:
    """The step after the join would run once per branch, or wait for the slowest."""
    done = run(*_with_batch(forked("any")))
    assert times(done) == [("A", 0, 10), ("B", 10, 30), ("C", 10, 60), ("D", 30, 35)]
    assert done.closed.rows() == [("E-1", at(35), "success")]


def test_a_step_that_would_begin_after_the_end_does_not() -> None:
    """A branch would go on writing to systems after its episode is over."""
    planned = plan(
        step("A", {"goto": ["B", "C"]}, skill="SK-A"),
        step("B", "END", skill="SK-B"),
        step("C", {"goto": "D"}, skill="SK-C"),
        step("D", {"goto": "END"}, skill="SK-D"),
    )
    _, skills = forked("all")
    late = skills["SK-D"]
    assert isinstance(late, Scripted)
    done = run(planned, episodes({}), skills)
    assert times(done) == [("A", 0, 10), ("B", 10, 30), ("C", 10, 60)]
    assert (outcome(done), late.calls) == ("success", [])


def test_a_wait_that_the_end_cuts_short_is_recorded() -> None:
    """What the step had done before it waited would be lost from the record."""
    wait = {"event": "e", "correlate": {"ref": "${episode.id}"}, "timeout_h": 1, "on_timeout": "D"}
    planned = plan(
        step("A", {"goto": ["B", "C"]}, skill="SK-A"),
        step("B", {"await": wait, "goto": "D"}, skill="SK-B"),
        step("C", "END", skill="SK-C"),
        step("D", "END", skill="SK-D"),
    )
    done = run(planned, episodes({}), forked("all")[1])
    assert path(done) == [("A", "success", None), ("B", "skipped", None), ("C", "success", None)]
    assert times(done) == [("A", 0, 10), ("B", 10, 60), ("C", 10, 60)]
    assert done.step_runs.filter(pl.col("step_id") == "B").select("output", "waited_ms").rows() == [('{"SK-B": 1}', 30)]


def _with_batch(made: tuple[Plan, dict[str, Skill]]) -> tuple[Plan, pl.DataFrame, dict[str, Skill]]:
    return made[0], episodes({}), made[1]


def test_branches_that_wait_are_kept_and_taken_up_each_for_itself() -> None:
    """An episode with two people to ask would forget one of them, or what the other has said."""

    def asks(step_id: str, topic: str) -> PlannedStep:
        wait = {"event": topic, "correlate": {"ref": "${episode.id}"}, "timeout_h": 48, "on_timeout": "D"}
        return step(step_id, {"await": wait, "goto": "D"}, skill=f"SK-{step_id}")

    planned, skills = forked("all")
    planned = plan(planned.steps[0], asks("B", "legal"), asks("C", "finance"), planned.steps[3])
    said = {"legal": NINE + timedelta(hours=5), "finance": NINE + timedelta(hours=2)}

    def find(wait: Await, keys: Sequence[str], *, known: Sequence[str]) -> pl.DataFrame:
        events = [(await_key(["E-1"]), said[wait.event], json.dumps({"by": wait.event}))]
        return pl.DataFrame(events if wait.event in known else [], schema=AWAITED, orient="row")

    def executed(batch: pl.DataFrame, hours: int, *known: str) -> Executed:
        now = NINE + timedelta(hours=hours)
        return run(planned, batch, skills, now=now, find_awaited=lambda wait, keys, _: find(wait, keys, known=known))

    first = executed(episodes({}), 1)
    assert sorted(first.waiting["await_topic"]) == ["finance", "legal"]
    second = executed(resumed(episodes({}), first.waiting), 3, "finance")
    assert second.waiting["await_topic"].to_list() == ["legal"]
    last = executed(resumed(episodes({}), second.waiting), 6, "finance", "legal")
    assert last.waiting.is_empty()
    assert last.closed["ended_at"].to_list() == [said["legal"] + timedelta(milliseconds=5)]
    assert last.step_runs.sort("seq")["step_id"].to_list() == ["A", "B", "C", "D"]


# Loops


def test_a_loop_is_entered_as_often_as_it_says() -> None:
    """The author's bound would be the engine's."""
    planned = plan(
        step("A", {"goto": "B", "loop": {"max_visits": 3, "on_exhausted": "C"}}),
        step("B", {"goto": "A"}),
        step("C", "END"),
    )
    done = run(planned, episodes({}), {"SK-TEST-001": always()})
    assert [name for name, _, _ in path(done)] == ["A", "B", "A", "B", "A", "B", "C"]


# Compensation


def undone(last: Scripted) -> Executed:
    planned = plan(
        step("A", {"goto": "B", "compensate": "U"}, skill="SK-A"),
        step("B", {"goto": "C", "compensate": "V"}, skill="SK-B"),
        step("C", "END", skill="SK-C"),
        step("U", "END", skill="SK-U", parameters={"of": "${output.made}"}),
        step("V", {"goto": "W"}, skill="SK-U", parameters={"of": "${output.made}"}),
        step("W", "END", skill="SK-U"),
    )
    skills = {"SK-A": always({"made": "a"}), "SK-B": always({"made": "b"}), "SK-U": always(), "SK-C": last}
    return run(planned, episodes({}), skills)


def test_what_a_failed_episode_did_is_undone_the_last_effect_first() -> None:
    """A reservation would stay because its booking failed, or be released before what rests on it."""
    done = undone(always(error="BAD_INPUT"))
    assert path(done) == [
        ("A", "success", None),
        ("B", "success", None),
        ("C", "failed", "BAD_INPUT"),
        ("V", "compensated", None),
        ("W", "compensated", None),
        ("U", "compensated", None),
    ]
    assert outcome(done) == "failed"
    inputs = dict(done.step_runs.select("step_id", "input").iter_rows())
    assert (json.loads(inputs["V"]), json.loads(inputs["U"])) == ({"of": "b"}, {"of": "a"})


def test_what_succeeded_is_not_undone() -> None:
    """Every booking would be reversed."""
    assert [name for name, _, _ in path(undone(always()))] == ["A", "B", "C"]


def test_what_cannot_be_undone_does_not_keep_the_rest_from_it() -> None:
    """One system that is down would leave all other effects in place."""
    planned = plan(
        step("A", {"goto": "B", "compensate": "U"}),
        step("B", {"goto": "C", "compensate": "V"}),
        step("C", "END", skill="SK-BAD"),
        step("U", "END"),
        step("V", "END", skill="SK-BAD"),
    )
    done = run(planned, episodes({}), {"SK-TEST-001": always(), "SK-BAD": always(error="BAD_INPUT")})
    assert path(done)[-2:] == [("V", "failed", "BAD_INPUT"), ("U", "compensated", None)]
    assert outcome(done) == "failed"


# Children


def parent() -> Plan:
    starts = {"target_workflow_id": "${trigger.target}", "payload": {"ref": "${episode.id}"}}
    return plan(
        step("A", {"goto": "B", "on_error": "C"}, adapter="engine", parameters=starts),
        step("B", "END", parameters={"got": "${output.output.n}"}),
        step("C", "END"),
    )


def test_a_child_is_asked_for_and_its_result_handed_back() -> None:
    """A workflow could not use another one, or would go on before it has ended."""
    batch, skills = episodes({"target": "WF-CHILD"}), {"SK-TEST-001": always()}
    first = run(parent(), batch, skills, workflows=["WF-CHILD"], now=NINE)
    (wait,) = first.waiting.iter_rows(named=True)
    assert wait["await_topic"] == CHILD_CLOSED
    (child_id,) = json.loads(wait["await_key"])

    def ended(result: str) -> Executed:
        payload = {"episode_id": child_id, "outcome": result, "output": {"n": 7}}
        event = pl.DataFrame([(wait["await_key"], at(2_000), json.dumps(payload))], schema=AWAITED, orient="row")
        left = resumed(batch, first.waiting)
        return run(parent(), left, skills, workflows=["WF-CHILD"], find_awaited=lambda wait, keys, _: event)

    assert path(ended("success")) == [("A", "success", None), ("B", "success", None)]
    assert times(ended("success"))[0] == ("A", 0, 2_000)
    assert json.loads(ended("success").step_runs.sort("seq")["input"][1]) == {"got": 7}
    assert path(ended("failed")) == [("A", "failed", "CHILD_FAILED"), ("C", "success", None)]


def test_a_child_that_does_not_end_in_time_fails_its_step() -> None:
    """The parent would stay open for ever."""
    batch, skills = episodes({"target": "WF-CHILD"}), {"SK-TEST-001": always()}
    asked = run(parent(), batch, skills, workflows=["WF-CHILD"], now=LATER)
    assert asked.closed.is_empty()  # it had no time yet, however late it is
    late = run(parent(), resumed(batch, asked.waiting), skills, workflows=["WF-CHILD"], now=LATER)
    assert path(late) == [("A", "failed", "TIMEOUT"), ("C", "success", None)]
    assert times(late)[0] == ("A", 0, 30_000)


def test_only_an_active_workflow_can_be_started_and_not_without_end() -> None:
    """A name from a payload would start nothing and hold its parent, or workflows would start each other for ever."""
    batch = episodes({"target": "WF-GONE"}, {"target": "WF-CHILD"}).with_columns(nesting=pl.Series([0, 8]))
    done = run(parent(), batch, {"SK-TEST-001": always()}, workflows=["WF-CHILD"])
    assert path(done, "E-1")[0] == ("A", "failed", "UNKNOWN_WORKFLOW")
    assert path(done, "E-2")[0] == ("A", "failed", "CHILD_DEPTH")


# Effects


@dataclass
class Journal:
    """Effects kept in memory: what is recorded under a key is not done again; some are unknown until resolved."""

    unknown: set[str] = field(default_factory=set)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def perform(self, skill: Skill, call: Call, keys: Sequence[str], *, timeout_ms: int | None) -> pl.DataFrame:
        self.asked += keys
        for key in keys:
            if key not in self.unknown:
                self.done.setdefault(key, answer({"key": key}))
        return rows([self.done.get(key) or answer(error="EFFECT_UNKNOWN") for key in keys])


def effectful(logic: Any, **options: Any) -> Plan:
    planned = plan(step("A", logic, parameters={"before": "${input}"} if options.pop("reads", False) else {}), *())
    return replace(planned, steps=(replace(planned.steps[0], idempotency_key="book_v1"),))


def test_an_effects_key_is_the_steps_the_episodes_and_the_visits() -> None:
    """The second invoice would be swallowed as a repetition of the first, or a loop's second booking."""
    journal = Journal()
    again = {"goto": "A", "loop": {"max_visits": 2, "on_exhausted": "END"}}
    run(effectful(again), episodes({}, {}), {"SK-TEST-001": always_effect()}, effects=journal)
    assert sorted(journal.asked) == ["book_v1/E-1/1", "book_v1/E-1/2", "book_v1/E-2/1", "book_v1/E-2/2"]


def always_effect() -> Skill:
    return Whole(lambda call: rows([answer()] * call.rows), is_pure=False)


def test_an_effect_that_nobody_knows_of_keeps_its_episode_open() -> None:
    """A booking that may have been made would be recorded as failed, or made again."""
    journal = Journal(unknown={"book_v1/E-1/1"})
    skills, batch = {"SK-TEST-001": always_effect()}, episodes({}, {})
    first = run(effectful("END"), batch, skills, effects=journal)
    assert (outcome(first, "E-2"), first.closed.height) == ("success", 1)
    (wait,) = first.waiting.iter_rows(named=True)
    assert (wait["await_topic"], wait["await_key"]) == (EFFECT_RESOLVED, '["book_v1/E-1/1"]')

    left = resumed(batch, first.waiting)
    again = run(effectful("END"), left, skills, effects=journal)
    assert again.waiting.drop("state").equals(first.waiting.drop("state"))

    journal.unknown.clear()
    said = pl.DataFrame([(wait["await_key"], at(60_000), "{}")], schema=AWAITED, orient="row")
    last = run(effectful("END"), left, skills, effects=journal, find_awaited=lambda wait, keys, _: said)
    assert path(last) == [("A", "success", None)]
    assert json.loads(last.step_runs["output"][0]) == {"key": "book_v1/E-1/1"}


def test_undoing_has_a_key_of_its_own() -> None:
    """The booking and its reversal would be one effect: what is undone would stay."""
    journal = Journal()
    planned = plan(
        step("A", {"goto": "B", "compensate": "A"}),
        step("B", "END", skill="SK-BAD"),
    )
    run(planned, episodes({}), {"SK-TEST-001": always_effect(), "SK-BAD": always(error="BAD_INPUT")}, effects=journal)
    assert journal.asked == ["A/E-1/1", "A/E-1/2/compensate"]


# Limits


def test_a_skill_that_hangs_fails_the_rows_that_make_it_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """One adapter would hold the batch, and everybody in it, for ever."""
    monkeypatch.setattr(runtime.engine.calling, "MIN_CALL_MS", 300)
    planned = plan(replace(step("A", "END", parameters={"n": "${trigger.n}"}), timeout_ms=1))

    def hang(arguments: dict[str, Any], row: int) -> dict[str, Any]:
        if arguments["n"] == 3:
            time.sleep(20)
        return answer(latency_ms=0)

    done = run(planned, episodes(*({"n": n} for n in range(4))), {"SK-TEST-001": Scripted(hang)})
    assert [outcome(done, f"E-{n}") for n in (1, 2, 3)] == ["success"] * 3
    assert path(done, "E-4") == [("A", "failed", "TIMEOUT")]


def test_what_takes_longer_than_it_may_is_a_timeout() -> None:
    """A limit would be a word in a document."""
    planned = plan(replace(step("A", "END"), timeout_ms=100))
    done = run(planned, episodes({}), {"SK-TEST-001": always(latency_ms=101)})
    assert path(done) == [("A", "failed", "TIMEOUT")]
    assert times(done) == [("A", 0, 100)]


def test_an_output_beyond_measure_fails_alone() -> None:
    """One answer of 100 MB would be written into the lake, with its batch."""
    outputs = ["{}", json.dumps({"x": "y" * MAX_BYTES}), "{}"]
    skill = Scripted(lambda arguments, row: answer(outputs[row]))
    done = run(plan(step("A", "END")), episodes({}, {}, {}), {"SK-TEST-001": skill})
    assert done.closed["outcome"].to_list() == ["success", "failed", "success"]
    assert path(done, "E-2") == [("A", "failed", ErrorCode.SCHEMA_MISMATCH)]


def test_a_number_that_is_none_is_no_output() -> None:
    """NaN would stand in a JSON column, and the marts would not be built."""
    done = run(plan(step("A", "END")), episodes({}), {"SK-TEST-001": always('{"share": NaN}')})
    assert path(done) == [("A", "failed", "SCHEMA_MISMATCH")]


def test_an_event_is_found_by_a_text_of_any_kind() -> None:
    """A name with a quote in it would wait for ever."""
    wait = {"event": "e", "correlate": {"a": "${trigger.a}"}, "timeout_h": 1, "on_timeout": "END"}
    planned = plan(step("A", {"await": wait, "goto": "END"}))
    found = awaited((at(1_000), {"a": 'quote " and \\ é'}))
    done = run(planned, episodes({"a": 'quote " and \\ é'}), {"SK-TEST-001": always()}, find_awaited=found)
    assert path(done) == [("A", "success", None)]
