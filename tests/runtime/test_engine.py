"""The engine: where an episode goes, what is recorded of it, and that neither depends on its neighbours."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runtime.engine.batch
from registry.expressions import compile_template
from registry.plans import Plan, PlannedStep
from registry.steps import Await, parse_logic
from runtime.engine import AWAITED, Executed, FindAwaited, await_key
from runtime.protocol import RESULT_SCHEMA, Call, ErrorCode
from runtime.skills.simulated import SimulatedSkills
from tests.builders import (
    LATER,
    MEDIANS,
    NINE,
    Payables,
    Scripted,
    Whole,
    always,
    answer,
    awaited,
    episodes,
    outcome,
    path,
    plan,
    resumed,
    rows,
    run,
    shipped_plan,
    steady,
    step,
)

HANDED_OVER = NINE + timedelta(milliseconds=MEDIANS["F-01"] + MEDIANS["F-02"] + MEDIANS["F-03"])
"""When the hand-off of an invoice that arrived at nine is made; its wait begins."""

DEADLINE = HANDED_OVER + timedelta(hours=72)
BOOKED = [("F-04", "success", None), ("F-05", "success", None)]
MISMATCHED = [("F-01", "success", None), ("F-02", "success", None)]


class Invoices:
    """WF-FIN-001 as shipped, with steps that take exactly their median, over invoices made by hand."""

    def __init__(self, root: Path) -> None:
        self.payables = Payables(root / "home")
        self.plan = steady(shipped_plan(root))

    def run(
        self,
        batch: pl.DataFrame,
        *decisions: tuple[datetime, Mapping[str, Any]],
        now: datetime = LATER,
        planned: Plan | None = None,
    ) -> Executed:
        skills = SimulatedSkills(self.payables.home.simulated)
        return run(planned or self.plan, batch, skills, find=awaited(*decisions), now=now)

    def one(self, *, at: datetime = NINE, **invoice: Any) -> pl.DataFrame:
        """Return the episode of one invoice."""
        return episodes(self.payables.document("1", **invoice), at=at)

    def mismatched(self, *, at: datetime = NINE) -> pl.DataFrame:
        return self.one(billed="110.00", ordered="100.00", at=at)


@pytest.fixture
def invoices(tmp_path: Path) -> Invoices:
    return Invoices(tmp_path)


def decided(decision: str, at: datetime, subject: str = "event of E-1") -> tuple[datetime, dict[str, Any]]:
    return at, {"subject_id": subject, "decision": decision, "decided_by": "FA-M-001"}


def step_run(done: Executed, step_id: str, episode_id: str = "E-1") -> dict[str, Any]:
    found = done.step_runs.filter(pl.col("step_id") == step_id, pl.col("episode_id") == episode_id)
    return found.row(0, named=True)


def all_rows(done: Executed) -> tuple[list[Any], list[Any], list[Any]]:
    """Return everything that was executed in an order of its own."""
    waiting = done.waiting.sort("episode_id").rows(named=True) if done.waiting.height else []
    return done.closed.sort("episode_id").rows(), done.step_runs.sort("episode_id", "seq").rows(named=True), waiting


# WF-FIN-001, by hand


def test_a_matching_invoice_is_booked_and_the_vendor_told(invoices: Invoices) -> None:
    """The blueprint's first workflow would not run."""
    done = invoices.run(invoices.one(billed="104.99", ordered="100.00"))
    assert path(done) == [("F-01", "success", None), ("F-02", "success", None), *BOOKED]
    assert done.closed.rows() == [("E-1", NINE + timedelta(milliseconds=900 + 4 + 350 + 120), "success")]
    check = json.loads(step_run(done, "F-02")["output"], parse_float=Decimal)
    assert check == {
        "pass": True,
        "lhs": Decimal("104.99"),
        "rhs": Decimal("100.00"),
        "variance": Decimal("0.049900"),
        "tolerance": Decimal("0.05"),
    }
    assert json.loads(step_run(done, "F-01")["input"]) == {
        "file_uri": "sim://1",
        "entities": ["vendor_id", "amount", "po_id"],
    }
    assert done.step_runs["waited_ms"].sum() == 0


def test_the_tolerance_itself_still_passes(invoices: Invoices) -> None:
    """Five per cent off would be handed over, one cent more would be booked."""
    for billed, expected in (("105.00", "success"), ("95.00", "success"), ("105.01", "partial"), ("94.99", "partial")):
        done = invoices.run(invoices.one(billed=billed, ordered="100.00"))
        assert outcome(done) == expected, billed


def test_an_approved_mismatch_is_booked(invoices: Invoices) -> None:
    """A person's decision would not bring the episode on, or the wait would not be told from work."""
    decision = HANDED_OVER + timedelta(hours=2)
    done = invoices.run(invoices.mismatched(), decided("approved", decision))
    assert path(done) == [*MISMATCHED, ("F-03", "success", None), *BOOKED]
    handoff = step_run(done, "F-03")
    assert handoff["ended_at"] == decision
    assert (handoff["latency_ms"], handoff["waited_ms"]) == (60 + 2 * 3_600_000, 2 * 3_600_000)
    output = json.loads(handoff["output"])
    assert (output["decision"], output["state"]) == ("approved", "waiting")
    assert done.closed.rows() == [("E-1", decision + timedelta(milliseconds=350 + 120), "success")]


def test_a_rejected_mismatch_ends_in_part(invoices: Invoices) -> None:
    """It would be booked, or counted as a success."""
    done = invoices.run(invoices.mismatched(), decided("rejected", HANDED_OVER + timedelta(hours=1)))
    assert path(done) == [*MISMATCHED, ("F-03", "success", None)]
    assert done.closed.rows() == [("E-1", HANDED_OVER + timedelta(hours=1), "partial")]


def test_a_mismatch_that_nobody_decides_ends_after_72_hours(invoices: Invoices) -> None:
    """It would stay open for ever."""
    done = invoices.run(invoices.mismatched(), now=DEADLINE)
    assert path(done) == [*MISMATCHED, ("F-03", "timeout", None)]
    assert done.closed.rows() == [("E-1", DEADLINE, "partial")]
    assert step_run(done, "F-03")["waited_ms"] == 72 * 3_600_000
    assert done.waiting.is_empty()


def test_a_wait_is_kept_open_until_its_deadline(invoices: Invoices) -> None:
    """A decision of the last minute would find its episode closed."""
    done = invoices.run(invoices.mismatched(), now=DEADLINE - timedelta(microseconds=1))
    (waiting,) = done.waiting.rows(named=True)
    assert done.closed.is_empty()
    assert done.step_runs.is_empty()
    assert (waiting["episode_id"], waiting["step_id"]) == ("E-1", "F-03")
    assert (waiting["await_topic"], waiting["await_key"]) == ("handoff.decided", '["event of E-1"]')
    assert (waiting["waiting_since"], waiting["due_at"]) == (HANDED_OVER, DEADLINE)


@pytest.mark.parametrize("decision", ["approved", "rejected", None])
def test_an_episode_that_was_put_down_goes_on_as_if_it_had_not_been(invoices: Invoices, decision: str | None) -> None:
    """What it did before the wait would be lost or done twice, or its times would jump."""
    batch = invoices.mismatched()
    events = [decided(decision, HANDED_OVER + timedelta(hours=50))] if decision else []
    undisturbed = invoices.run(batch, *events)

    first = invoices.run(batch, now=NINE + timedelta(hours=1))
    again = invoices.run(resumed(batch, first.waiting), now=NINE + timedelta(hours=2))
    last = invoices.run(resumed(batch, again.waiting), *events)

    assert all_rows(last) == all_rows(undisturbed)
    assert first.waiting.drop("state").rows() == again.waiting.drop("state").rows()


def test_a_scan_that_is_not_legible_goes_to_a_person(invoices: Invoices) -> None:
    """Nobody would hear of it, or a wrong amount would be booked."""
    decision = NINE + timedelta(hours=3)
    done = invoices.run(invoices.one(legible=False), decided("approved", decision))
    assert path(done) == [("F-01", "failed", "LOW_CONFIDENCE"), ("F-03", "success", None), *BOOKED]
    failed = step_run(done, "F-01")
    assert failed["output"] is None
    assert failed["ended_at"] == NINE + timedelta(milliseconds=900)
    assert outcome(done) == "success"


def test_an_unknown_purchase_order_goes_to_a_person(invoices: Invoices) -> None:
    """An invoice without an order would pass, or end the batch."""
    done = invoices.run(invoices.one(ordered=None))
    assert path(done) == [("F-01", "success", None), ("F-02", "failed", "NOT_FOUND"), ("F-03", "timeout", None)]
    assert outcome(done) == "partial"


def test_a_missing_document_goes_to_a_person(invoices: Invoices) -> None:
    """A dead link would be read as an empty invoice."""
    batch = episodes(invoices.payables.document("1") | {"invoice_uri": "sim://gone"})
    assert path(invoices.run(batch))[0] == ("F-01", "failed", "NOT_FOUND")


# Waits


@pytest.mark.parametrize(
    ("at", "is_in_time"),
    [(DEADLINE, True), (DEADLINE + timedelta(microseconds=1), False), (DEADLINE - timedelta(microseconds=1), True)],
)
def test_a_decision_counts_up_to_its_deadline(invoices: Invoices, at: datetime, is_in_time: bool) -> None:
    """The last moment would belong to both ways on, or to none."""
    done = invoices.run(invoices.mismatched(), decided("approved", at))
    assert outcome(done) == ("success" if is_in_time else "partial")
    assert step_run(done, "F-03")["status"] == ("success" if is_in_time else "timeout")


def test_of_two_decisions_the_first_counts(invoices: Invoices) -> None:
    """What was rejected could be booked by asking again; the order in which they are read must not matter."""
    first = decided("rejected", HANDED_OVER + timedelta(hours=1))
    second = decided("approved", HANDED_OVER + timedelta(hours=2))
    for events in ((first, second), (second, first)):
        assert outcome(invoices.run(invoices.mismatched(), *events)) == "partial"


def test_of_two_decisions_at_one_moment_the_same_counts_always(invoices: Invoices) -> None:
    """A rerun would decide otherwise than what was recorded."""
    at = HANDED_OVER + timedelta(hours=1)
    events = [decided("rejected", at), decided("approved", at)]
    forwards, backwards = (invoices.run(invoices.mismatched(), *order) for order in (events, events[::-1]))
    assert all_rows(forwards) == all_rows(backwards)


def test_a_decision_on_another_invoice_does_not_count(invoices: Invoices) -> None:
    """One approval would book everything that waits."""
    batch = episodes(invoices.payables.document("1", billed="110.00"), invoices.payables.document("2", billed="110.00"))
    done = invoices.run(batch, decided("approved", HANDED_OVER + timedelta(hours=1), "event of E-2"))
    assert (outcome(done, "E-1"), outcome(done, "E-2")) == ("partial", "success")


def test_a_decision_that_was_faster_than_the_books_counts(invoices: Invoices) -> None:
    """Who decides while the hand-off is still being made would wait 72 hours for nothing."""
    done = invoices.run(invoices.mismatched(), decided("approved", NINE + timedelta(milliseconds=1)))
    handoff = step_run(done, "F-03")
    assert (handoff["status"], handoff["waited_ms"], handoff["ended_at"]) == ("success", 0, HANDED_OVER)


def test_a_decision_from_before_its_episode_does_not_count(invoices: Invoices) -> None:
    """A reference that is used again would be decided by what was decided about something else."""
    for at, expected in ((NINE - timedelta(microseconds=1), "partial"), (NINE, "success")):
        assert outcome(invoices.run(invoices.mismatched(), decided("approved", at))) == expected


def test_a_decision_between_two_milliseconds_leaves_no_gap(invoices: Invoices) -> None:
    """Latencies are whole milliseconds: the step after would start before the one before ended."""
    done = invoices.run(invoices.mismatched(), decided("approved", HANDED_OVER + timedelta(microseconds=1_999)))
    assert step_run(done, "F-03")["waited_ms"] == 1
    assert step_run(done, "F-04")["started_at"] == HANDED_OVER + timedelta(milliseconds=1)


def waiting_step(correlate: Any, **options: Any) -> Plan:
    wait = {"event": "done", "correlate": {"ref": correlate}, "timeout_h": 1, "on_timeout": "END"}
    return plan(step("A", {"await": wait, "goto": "B", **options}), step("B", {"goto": "END"}))


@pytest.mark.parametrize(("told", "heard"), [(1, "1.0"), ("10.50", "10.5"), ("1e2", "100")])
def test_a_number_correlates_by_its_value(told: Any, heard: str) -> None:
    """An event that says 100 would not be heard by an episode that waits for 1e2; a condition takes both as equal."""
    batch = episodes({}).with_columns(payload=pl.lit(f'{{"ref": {told}}}'))
    number = json.loads(heard, parse_float=Decimal)

    done = run(waiting_step("${trigger.ref}"), batch, {"SK-TEST-001": always()}, find=_by_number(number, NINE))

    assert path(done) == [("A", "success", None), ("B", "success", None)]


def _by_number(number: Any, at: datetime) -> FindAwaited:
    """Return a source of one event, keyed as `runtime.execution` keys them."""

    def find(wait: Await, keys: Sequence[str], episode_ids: pl.Series) -> pl.DataFrame:
        frame = pl.DataFrame([(await_key([number]), at, "{}")], schema=AWAITED, orient="row")
        return frame.filter(pl.col("key").is_in(list(keys)))

    return find


def test_a_correlation_without_a_value_goes_where_errors_go() -> None:
    """An episode that waits for nothing in particular would be woken by anything, or stop its batch."""
    done = run(waiting_step("${trigger.ref}", on_error="B"), episodes({"ref": "x"}, {}), {"SK-TEST-001": always()})
    assert path(done, "E-1") == [("A", "timeout", None)]
    assert path(done, "E-2") == [("A", "failed", "EXPRESSION"), ("B", "success", None)]


def test_a_long_correlation_still_has_a_key_of_bounded_length() -> None:
    """The registry keeps keys of 512 characters: one long reference would end the whole batch."""
    done = run(waiting_step("${trigger.ref}"), episodes({"ref": "x" * 2_000}), {"SK-TEST-001": always()}, now=NINE)
    assert len(done.waiting["await_key"][0]) <= 512


# Outcomes


@pytest.mark.parametrize(
    ("logic", "error", "expected"),
    [
        ({"goto": "END"}, None, "success"),
        ({"goto": "END"}, "BAD_INPUT", "failed"),
        ({"goto": "END", "on_error": "B"}, "BAD_INPUT", "success"),
        ({"goto": "END", "on_error": "END"}, "BAD_INPUT", "failed"),
    ],
)
def test_an_outcome_says_how_the_episode_ended(logic: Any, error: str | None, expected: str) -> None:
    """The success rate is the first number that anybody looks at: an error that leads to the end is no success."""
    planned = plan(step("A", logic, skill="SK-TEST-001"), step("B", {"goto": "END"}, skill="SK-TEST-002"))
    done = run(planned, episodes({}), {"SK-TEST-001": always(error=error), "SK-TEST-002": always()})
    assert outcome(done) == expected


def test_a_wait_that_nothing_ends_is_no_success() -> None:
    """An acknowledgement that never came would count as one, whatever kind of step waited for it."""
    done = run(waiting_step("${episode.id}"), episodes({}), {"SK-TEST-001": always()})
    assert (path(done), outcome(done)) == ([("A", "timeout", None)], "partial")


# Faults of skills


def test_a_skill_that_raises_fails_the_rows_that_make_it_raise() -> None:
    """One odd payload would fail everybody who shares its batch, and the batch decides who that is."""

    def divide(arguments: dict[str, Any], row: int) -> dict[str, Any]:
        return answer({"share": 100 // arguments["by"]})

    planned = plan(step("A", {"goto": "END", "on_error": "B"}, parameters={"by": "${trigger.by}"}), step("B", "END"))
    batch = episodes(*({"by": by} for by in (1, 0, 4, 5, 0, 10)))
    skills = {"SK-TEST-001": Scripted(divide)}

    done = run(plan(planned.steps[0], step("B", "END", skill="SK-TEST-002")), batch, skills | {"SK-TEST-002": always()})

    for number in (1, 3, 4, 6):
        assert path(done, f"E-{number}") == [("A", "success", None)]
    for number in (2, 5):
        assert path(done, f"E-{number}") == [("A", "failed", "SKILL_FAULT"), ("B", "success", None)]
    message = step_run(done, "A", "E-2")["error_message"]
    assert message == "SK-TEST-001 raised ZeroDivisionError"


def test_an_effect_is_not_repeated_to_find_who_made_it_raise() -> None:
    """A booking would be made twice because the invoice after it was odd."""
    calls: list[int] = []

    def book(call: Call) -> pl.DataFrame:
        calls.append(call.rows)
        raise TimeoutError

    done = run(plan(step("A", "END")), episodes({}, {}), {"SK-TEST-001": Whole(book, is_pure=False)})
    assert calls == [2]
    assert done.closed["outcome"].to_list() == ["failed", "failed"]


@pytest.mark.parametrize(
    "returned",
    [
        lambda count: None,
        lambda count: {"output": ["{}"] * count},
        lambda count: rows([answer()] * count).drop("cost_micros"),
        lambda count: rows([answer()] * count).with_columns(pl.col("latency_ms").cast(pl.Int32)),
        lambda count: rows([answer()] * (count - 1)),
        lambda count: rows([answer()] * (count + 1)),
        lambda count: rows([answer("[1]")] * count),
        lambda count: rows([answer('{"a":')] * count),
        lambda count: rows([answer() | {"output": None}] * count),
        lambda count: rows([answer(latency_ms=-1)] * count),
    ],
    ids=[
        "nothing",
        "no frame",
        "a column less",
        "another type",
        "a row less",
        "a row more",
        "a list",
        "half a text",
        "no output",
        "a time that runs back",
    ],
)
def test_a_skill_that_returns_something_else_is_a_recorded_failure(returned: Callable[[int], Any]) -> None:
    """One adapter's mistake would end the batch of everybody, or be stored as if it were an output."""
    done = run(plan(step("A", "END")), episodes({}, {}), {"SK-TEST-001": Whole(lambda call: returned(call.rows))})
    for name in ("E-1", "E-2"):
        assert path(done, name) == [("A", "failed", "SCHEMA_MISMATCH")]
        assert outcome(done, name) == "failed"


def test_an_output_that_is_no_json_fails_alone() -> None:
    """The document store's one error page would fail a thousand invoices."""
    outputs = ['{"n": 1}', "<html>", '{"n": 3}']
    skill = Scripted(lambda arguments, row: answer(outputs[arguments["n"]]))
    planned = plan(step("A", "END", parameters={"n": "${trigger.n}"}))
    done = run(planned, episodes({"n": 0}, {"n": 1}, {"n": 2}), {"SK-TEST-001": skill})
    assert done.closed.sort("episode_id")["outcome"].to_list() == ["success", "failed", "success"]
    assert step_run(done, "A", "E-2")["output"] is None


def test_an_adapter_that_is_not_there_is_a_recorded_failure() -> None:
    """A workflow published before its adapter is deployed would stop all others."""
    planned = plan(step("A", {"goto": "END", "on_error": "B"}, adapter="mcp"), step("B", "END"))
    done = run(planned, episodes({}), {"SK-TEST-001": always()})
    assert path(done) == [("A", "failed", "NOT_BOUND"), ("B", "success", None)]
    assert "bind one" in step_run(done, "A")["error_message"]


# Expressions


def test_a_parameter_without_a_value_goes_where_errors_go() -> None:
    """The skill would be called with nothing, or the batch would end."""
    skill = always()
    planned = plan(
        step("A", {"goto": "END", "on_error": "B"}, parameters={"x": "${trigger.amount}"}),
        step("B", "END", skill="SK-TEST-002"),
    )
    done = run(planned, episodes({"amount": 1}, {}), {"SK-TEST-001": skill, "SK-TEST-002": always()})
    assert path(done, "E-1") == [("A", "success", None)]
    assert path(done, "E-2") == [("A", "failed", "EXPRESSION"), ("B", "success", None)]
    assert [call.arguments["x"] for call in skill.calls] == [[1]]
    assert "amount" in step_run(done, "A", "E-2")["error_message"]


def test_a_parameter_that_json_has_no_word_for_is_a_recorded_failure() -> None:
    """`Infinity` would stand in a JSON column, and the marts would not be built."""
    planned = plan(step("A", "END", parameters={"share": "${1.0 / double(trigger.of)}"}))
    done = run(planned, episodes({"of": 4}, {"of": 0}), {"SK-TEST-001": always()})
    assert path(done, "E-1") == [("A", "success", None)]
    assert path(done, "E-2") == [("A", "failed", "EXPRESSION")]


def test_a_condition_without_a_value_goes_where_errors_go() -> None:
    """An output without the member would take the first branch, or stop the batch."""
    outputs = [{"ok": True}, {}, {"ok": False}]
    skill = Scripted(lambda arguments, row: answer(outputs[arguments["n"]]))
    branches = {"if": [{"expr": "ok == true", "goto": "END"}], "else": "B", "on_error": "C"}
    planned = plan(
        step("A", branches, parameters={"n": "${trigger.n}"}),
        step("B", "END", skill="SK-TEST-002"),
        step("C", "END", skill="SK-TEST-002"),
    )
    done = run(planned, episodes(*({"n": n} for n in range(3))), {"SK-TEST-001": skill, "SK-TEST-002": always()})
    assert path(done, "E-1") == [("A", "success", None)]
    assert path(done, "E-2") == [("A", "success", None), ("A", "failed", "EXPRESSION"), ("C", "success", None)]
    assert path(done, "E-3") == [("A", "success", None), ("B", "success", None)]


def test_an_episode_for_which_no_branch_holds_has_failed() -> None:
    """It would vanish between two steps; an answer that is no truth value is none either."""
    branches = {"if": [{"expr": "ok == true", "goto": "END"}, {"expr": "size", "goto": "END"}]}
    done = run(plan(step("A", branches)), episodes({}), {"SK-TEST-001": always({"ok": False, "size": 1})})
    assert path(done) == [("A", "success", None), ("A", "failed", "NO_BRANCH")]
    assert outcome(done) == "failed"


def test_of_two_branches_that_hold_the_first_is_taken() -> None:
    """The order in the document would mean nothing."""
    branches = {"if": [{"expr": "n > 1", "goto": "B"}, {"expr": "n > 0", "goto": "C"}], "else": "END"}
    planned = plan(step("A", branches), step("B", "END"), step("C", "END"))
    done = run(planned, episodes({}), {"SK-TEST-001": always({"n": 2})})
    assert [name for name, _, _ in path(done)] == ["A", "B"]


def test_a_condition_reads_output_input_trigger_and_episode() -> None:
    """A variable that the language promises would have no value in any run."""
    expressions = ['output.a == "out"', 'input.b == "in"', "trigger.c == 3", 'episode.id == "E-1"']
    steps = [
        step(f"S-{n}", {"if": [{"expr": text, "goto": f"S-{n + 1}"}], "else": "END"}, parameters={"b": "${'in'}"})
        for n, text in enumerate(expressions)
    ]
    done = run(plan(*steps, step("S-4", "END")), episodes({"c": 3}), {"SK-TEST-001": always({"a": "out"})})
    assert [name for name, _, _ in path(done)] == ["S-0", "S-1", "S-2", "S-3", "S-4"]


def test_a_condition_after_a_wait_reads_the_event_and_the_input() -> None:
    """What a person decided, or what the step was asked, could not be used."""
    wait = {"event": "done", "correlate": {"ref": "${episode.id}"}, "timeout_h": 1, "on_timeout": "END"}
    branches = {"if": [{"expr": 'event.by == input.asked && output.by == "me"', "goto": "B"}], "else": "END"}
    planned = plan(step("A", {"await": wait, **branches}, parameters={"asked": "${trigger.c}"}), step("B", "END"))
    batch, skills = episodes({"c": "me"}), {"SK-TEST-001": always()}
    found = awaited((NINE + timedelta(minutes=1), {"ref": "E-1", "by": "me"}))

    directly = run(planned, batch, skills, find=found)
    later = run(planned, resumed(batch, run(planned, batch, skills, now=NINE).waiting), skills, find=found)

    assert [name for name, _, _ in path(directly)] == ["A", "B"]
    assert all_rows(later) == all_rows(directly)


def test_a_step_sees_the_newest_output_that_has_a_member() -> None:
    """`known` is how skills bind what their step does not name: an old amount would be compared."""
    seen: dict[str, list[Any]] = {}

    def look(call: Call) -> pl.DataFrame:
        seen.update(amount=call.known("amount"), uri=call.known("uri"), nothing=call.known("nothing"))
        return rows([answer()] * call.rows)

    planned = plan(
        step("A", {"goto": "B"}, skill="SK-TEST-001"),
        step("B", {"goto": "C"}, skill="SK-TEST-002"),
        step("C", "END", skill="SK-TEST-003"),
    )
    skills = {
        "SK-TEST-001": always({"amount": 1}),
        "SK-TEST-002": always({"amount": 2}),
        "SK-TEST-003": Whole(look),
    }
    run(planned, episodes({"uri": "u", "amount": 0}), skills)
    assert seen == {"amount": [2], "uri": ["u"], "nothing": [None]}


def test_constant_defaults_are_bound_and_not_recorded_as_input() -> None:
    """A skill would miss its default, or the step would claim to have given it."""
    skill = always()
    args = [{"name": "x", "type": "any"}, {"name": "limit", "type": "number", "default": 5}]
    done = run(plan(step("A", "END", parameters={"x": 1}, args=args)), episodes({}), {"SK-TEST-001": skill})
    assert skill.calls[0].arguments == {"x": [1], "limit": [5]}
    assert json.loads(step_run(done, "A")["input"]) == {"x": 1}


# Retries and bounds


def flaky(failures: Mapping[str, int], latency_ms: int = 10) -> Scripted:
    """Return a skill that is out of reach for the first calls of an episode, by name."""
    left = dict(failures)

    def call(arguments: dict[str, Any], row: int) -> dict[str, Any]:
        name = arguments["name"]
        left[name] = left.get(name, 0) - 1
        return answer(error="CONNECTIVITY" if left[name] >= 0 else None, latency_ms=latency_ms)

    return Scripted(call)


def test_transient_failures_are_tried_again_and_each_attempt_is_recorded() -> None:
    """An outage of a second would fail the episode, or its retries would be seen nowhere."""
    planned = plan(step("A", {"goto": "END"}, parameters={"name": "${episode.id}"}, retries=2))
    done = run(planned, episodes({}, {}, {}), {"SK-TEST-001": flaky({"E-2": 1, "E-3": 9})})

    attempts = done.step_runs.sort("episode_id", "seq").select("episode_id", "seq", "attempt", "status").rows()
    assert attempts == [
        ("E-1", 0, 1, "success"),
        ("E-2", 0, 1, "failed"),
        ("E-2", 1, 2, "success"),
        ("E-3", 0, 1, "failed"),
        ("E-3", 1, 2, "failed"),
        ("E-3", 2, 3, "failed"),
    ]
    outcomes = dict(done.closed.select("episode_id", "outcome").iter_rows())
    assert outcomes == {"E-1": "success", "E-2": "success", "E-3": "failed"}
    first, second, third = done.step_runs.filter(pl.col("episode_id") == "E-3").sort("seq").iter_rows(named=True)
    assert (first["latency_ms"], first["waited_ms"]) == (10, 0)
    assert 500 <= second["waited_ms"] <= 1_000 <= third["waited_ms"] <= 2_000  # pauses double, chance takes up to half
    assert [run["latency_ms"] - run["waited_ms"] for run in (second, third)] == [10, 10]


def test_pauses_between_attempts_differ_by_episode_and_not_by_batch() -> None:
    """A thousand episodes would knock again at one moment, or a rerun would tell other times."""
    planned = plan(step("A", "END", parameters={"name": "${episode.id}"}, retries=1))

    def pauses(batch: pl.DataFrame) -> dict[str, int]:
        done = run(planned, batch, {"SK-TEST-001": always(error="CONNECTIVITY")})
        retried = done.step_runs.filter(pl.col("attempt") == 2)
        return dict(retried.select("episode_id", "waited_ms").iter_rows())

    together = pauses(episodes(*({} for _ in range(50))))
    assert len(set(together.values())) > 25
    assert pauses(episodes({}, names=["E-7"])) == {"E-7": together["E-7"]}


def test_what_another_attempt_cannot_mend_is_not_tried_again() -> None:
    """A document that is not legible would be paid for three times."""
    skill = always(error="LOW_CONFIDENCE")
    run(plan(step("A", "END", retries=5)), episodes({}), {"SK-TEST-001": skill})
    assert len(skill.calls) == 1


def test_a_retry_that_raises_says_which_attempt_it_was() -> None:
    """Two step runs of one step would both claim to be the first attempt."""
    calls = iter([[answer(error="CONNECTIVITY")], None])

    def call(call: Call) -> pl.DataFrame:
        answers = next(calls)
        if answers is None:
            raise OSError
        return rows(answers)

    done = run(plan(step("A", "END", retries=3)), episodes({}), {"SK-TEST-001": Whole(call)})
    assert done.step_runs.sort("seq").select("attempt", "error_code").rows() == [
        (1, "CONNECTIVITY"),
        (2, "SKILL_FAULT"),
    ]


def test_an_episode_that_would_never_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One loop would hold its batch, and everybody in it, for ever."""
    monkeypatch.setattr(runtime.engine.batch, "MAX_VISITS", 20)
    planned = plan(
        step("A", {"if": [{"expr": "trigger.stop == true", "goto": "END"}], "else": "B"}), step("B", {"goto": "A"})
    )
    done = run(planned, episodes({"stop": False}, {"stop": True}), {"SK-TEST-001": always()})
    assert (outcome(done, "E-1"), outcome(done, "E-2")) == ("failed", "success")
    history = path(done, "E-1")
    assert len(history) == 21
    assert history[-1] == ("A", "failed", "LOOP_BOUND")


def test_nothing_to_run_gives_empty_tables() -> None:
    """The store would refuse a frame without columns."""
    done = run(plan(step("A", "END")), episodes(), {"SK-TEST-001": always()})
    assert (done.closed.height, done.step_runs.height, done.waiting.height) == (0, 0, 0)
    assert {"episode_id", "seq", "attempt", *RESULT_SCHEMA} <= set(done.step_runs.columns)


# Batches


INVOICES = st.lists(
    st.tuples(
        st.sampled_from(["95.00", "100.00", "105.00", "130.00"]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, "approved", "rejected"]),
        st.integers(0, 80 * 3600),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=INVOICES, cut=st.integers(1, 7), now_h=st.integers(0, 90))
def test_an_episode_does_not_depend_on_who_shares_its_batch(
    invoices: Invoices, made: list[Any], cut: int, now_h: int
) -> None:
    """A rerun with other batch boundaries would tell another history."""
    payloads, decisions = [], []
    for number, (billed, is_legible, is_ordered, decision, after_s) in enumerate(made, 1):
        ordered = "100.00" if is_ordered else None
        name = f"{number}-{is_ordered}"
        payloads.append(invoices.payables.document(name, billed=billed, legible=is_legible, ordered=ordered))
        if decision:
            decisions.append(decided(decision, NINE + timedelta(seconds=after_s), f"event of E-{number}"))
    batch = episodes(*payloads)
    now = NINE + timedelta(hours=now_h)
    shipped = shipped_plan(invoices.payables.home.root)

    together = invoices.run(batch, *decisions, now=now, planned=shipped)
    for size in (1, cut):
        parts = [all_rows(invoices.run(part, *decisions, now=now, planned=shipped)) for part in batch.iter_slices(size)]
        apart = tuple(sorted((row for part in parts for row in part[kind]), key=_place) for kind in range(3))
        assert apart == tuple(sorted(found, key=_place) for found in all_rows(together))


def _place(row: Any) -> tuple[str, int]:
    return (row["episode_id"], row.get("seq", 0)) if isinstance(row, dict) else (row[0], 0)


def test_arguments_that_differ_by_row_are_each_rows_own(invoices: Invoices) -> None:
    """The first invoice of a batch would decide what is read off all others, and how they are checked."""
    extract = step("A", {"goto": "B"}, skill="SK-OCR-001", adapter="simulated")
    check = step("B", "END", skill="SK-LOGIC-003", adapter="simulated")
    planned = plan(
        _given(extract, {"file_uri": "${trigger.invoice_uri}", "entities": "${trigger.entities}"}),
        _given(check, {"check": "${trigger.check}", "lhs": 1, "rhs": 2}),
    )
    document = invoices.payables.document("1")
    batch = episodes(
        {**document, "entities": ["amount", "po_id"], "check": "po_match"},
        {**document, "entities": ["vendor_id"], "check": "sides"},
        {**document, "entities": ["po_id", "amount"], "check": "sides"},
    )

    done = invoices.run(batch, planned=planned)

    read = [json.loads(step_run(done, "A", f"E-{n}")["output"])["entities"] for n in (1, 2, 3)]
    assert [list(entities) for entities in read] == [["amount", "po_id"], ["vendor_id"], ["po_id", "amount"]]
    sides = [json.loads(step_run(done, "B", f"E-{n}")["output"])["rhs"] for n in (1, 2, 3)]
    assert sides == [100, 2, 2]


def _given(planned: PlannedStep, parameters: dict[str, Any]) -> PlannedStep:
    return replace(planned, parameters=compile_template(parameters))


def test_an_entity_that_may_be_illegible_is_null(invoices: Invoices) -> None:
    """A step that asks for little confidence would get no output at all, or an older invoice's amount."""
    extract = step("A", "END", skill="SK-OCR-001", adapter="simulated")
    given = {"file_uri": "${trigger.invoice_uri}", "entities": ["amount", "po_id", "iban"], "min_confidence": 0.4}
    done = invoices.run(invoices.one(legible=False), planned=plan(_given(extract, given)))
    output = json.loads(step_run(done, "A")["output"])
    assert output == {"entities": {"amount": None, "po_id": "PO-1", "iban": None}, "confidence": 0.41}


def test_an_entity_that_is_asked_for_twice_is_read_once(invoices: Invoices) -> None:
    """What one payload repeats would fail the step of every episode of its batch."""
    extract = step("A", "END", skill="SK-OCR-001", adapter="simulated")
    given = {"file_uri": "${trigger.invoice_uri}", "entities": "${trigger.entities}"}
    document = invoices.payables.document("1")
    batch = episodes(*({**document, "entities": asked} for asked in (["po_id", "amount", "po_id"], ["po_id"])))
    done = invoices.run(batch, planned=plan(_given(extract, given)))
    read = [step_run(done, "A", name)["output"] for name in ("E-1", "E-2")]
    assert [json.loads(output, object_pairs_hook=list)[0] for output in read] == [
        ("entities", [("po_id", "PO-1"), ("amount", 100)]),
        ("entities", [("po_id", "PO-1")]),
    ]


@pytest.mark.parametrize(("vendor", "expected"), [("VEND,1", "VEND,1"), ('VEND"1', None), ("VEND\\1", None)])
def test_an_identifier_is_read_as_it_stands_or_not_at_all(
    invoices: Invoices, vendor: str, expected: str | None
) -> None:
    """A vendor would be taken for another, or the output be no JSON."""
    extract = step("A", "END", skill="SK-OCR-001", adapter="simulated")
    given = {"file_uri": "${trigger.invoice_uri}", "entities": ["vendor_id", "amount"], "min_confidence": 0.4}
    batch = episodes(invoices.payables.document("1", billed="1234.50", vendor=vendor))
    output = json.loads(step_run(invoices.run(batch, planned=plan(_given(extract, given))), "A")["output"])
    assert output["entities"] == {"vendor_id": expected, "amount": 1234.5}


def test_a_steps_chance_follows_from_episode_step_and_attempt() -> None:
    """A batch-wide counter would give an episode other latencies among other neighbours."""
    seeds: list[tuple[str, int]] = []

    def note(call: Call) -> pl.DataFrame:
        seeds.extend(zip(call.arguments["name"], call.seeds, strict=True))
        return rows([answer()] * call.rows)

    planned = plan(step("A", "END", parameters={"name": "${episode.id}"}))
    for batch in (episodes({}, {}, {}), episodes({}, names=["E-2"]), episodes({}, {}, names=["E-3", "E-1"])):
        run(planned, batch, {"SK-TEST-001": Whole(note)})
    by_name: dict[str, set[int]] = {}
    for name, seed in seeds:
        by_name.setdefault(name, set()).add(seed)
    assert all(len(found) == 1 for found in by_name.values())
    assert len(set.union(*by_name.values())) == 3


# The simulated adapters


@pytest.mark.parametrize(
    ("lhs", "rhs", "expected"),
    [
        ("NaN", 1, ErrorCode.BAD_INPUT),
        ("Infinity", 1, ErrorCode.BAD_INPUT),
        (True, 1, ErrorCode.BAD_INPUT),
        ("ten", 1, ErrorCode.BAD_INPUT),
        (None, 1, ErrorCode.BAD_INPUT),
        ([1], 1, ErrorCode.BAD_INPUT),
        (1, 0, ErrorCode.BAD_INPUT),
        (1, None, ErrorCode.NOT_FOUND),
        (10**40, 1, None),
        ("1.05", "1", None),
    ],
)
def test_sides_that_cannot_be_compared_are_a_bad_input(
    invoices: Invoices, lhs: Any, rhs: Any, expected: ErrorCode | None
) -> None:
    """A word in a field for numbers would be a fault of the skill, or pass."""
    check = _given(step("A", "END", skill="SK-LOGIC-003", adapter="simulated"), {"lhs": lhs, "rhs": rhs})
    done = invoices.run(episodes({}), planned=plan(check))
    assert path(done) == [("A", "failed" if expected else "success", expected)]


def test_a_system_that_is_down_answers_at_a_later_attempt(invoices: Invoices) -> None:
    """The simulated outages would be permanent, or nobody would see a retry in the demonstration."""
    booking = shipped_plan(invoices.payables.home.root).step("F-04")
    done = invoices.run(episodes(*({} for _ in range(500))), planned=plan(_to_the_end(booking)))
    first = done.step_runs.filter(pl.col("attempt") == 1)
    down = first.filter(pl.col("error_code") == "CONNECTIVITY")
    assert 0.04 < down.height / 500 < 0.13  # the binding says 8 %
    assert down["output"].null_count() == down.height
    again = done.step_runs.filter(pl.col("attempt") == 2)
    assert again.height == down.height
    assert again.filter(pl.col("status") == "success").height > 0
    assert set(done.closed["outcome"]) <= {"success", "failed"}


def _to_the_end(planned: PlannedStep) -> PlannedStep:
    return replace(planned, logic=parse_logic("END"))


def test_the_moment_of_an_episode_is_in_utc() -> None:
    """An event of Lisbon would be recorded an hour off."""
    batch = episodes({}, at=datetime(2025, 7, 1, 0, 30, tzinfo=UTC))
    done = run(plan(step("A", "END")), batch, {"SK-TEST-001": always(latency_ms=0)})
    assert done.closed["ended_at"].to_list() == [datetime(2025, 7, 1, 0, 30, tzinfo=UTC)]
