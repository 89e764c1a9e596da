"""A single step: what an episode recorded of it comes out again, and nothing is done that nobody asked for."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.tables import EFFECT, EVENT_BUS, RUN_EPISODE, STEP_RUN
from registry.access import Denied, Principal
from registry.database import Registry
from registry.objects import NotRegistered
from registry.plans import load_plan
from runtime.effects.journal import Effects
from runtime.single_step import NAME, Condition, Earlier, EffectWithheld, SingleStep, Situation, execute_step
from tests.builders import LATER, NINE, Payables, Scripted, Table, always, answer, plan, step


@pytest.fixture
def payables(tmp_path: Path) -> Payables:
    return Payables(tmp_path / "home")


def alone(logic: Any, skill: Any = None, *, earlier: Any = (), payload: str = "{}", **options: Any) -> SingleStep:
    """Run S-1 of a plan whose S-2 and S-3 do nothing."""
    planned = plan(step("S-1", logic, **options), step("S-2", "END"), step("S-3", "END"))
    situation = Situation(payload=payload, now=NINE, earlier=earlier)
    return execute_step(planned, "S-1", situation, skills=Table({"SK-TEST-001": skill or always({})}))


# What an episode recorded


def again(payables: Payables, event_id: str, seq: int) -> tuple[SingleStep, dict[str, Any], list[dict[str, Any]]]:
    """Run the step of a recorded step run by itself; return what came out, the record, and what was recorded later."""
    (episode,) = payables.table(RUN_EPISODE).filter(pl.col("trigger_event_id") == event_id).iter_rows(named=True)
    runs = payables.table(STEP_RUN).filter(pl.col("episode_id") == episode["episode_id"]).sort("seq").to_dicts()
    recorded, earlier = runs[seq], runs[:seq]
    payload = payables.table(EVENT_BUS).filter(pl.col("event_id") == event_id)["payload"][0]
    found = execute_step(
        load_plan(payables.registry, episode["workflow_id"], episode["workflow_version"]),
        recorded["step_id"],
        Situation(
            payload=payload,
            now=recorded["started_at"],
            seed=episode["seed"],
            earlier=[Earlier(run["step_id"], run["input"], run["output"], run["attempt"]) for run in earlier],
            episode_id=episode["episode_id"],
            trigger_event_id=event_id,
        ),
        skills=payables.skills,
    )
    return found, recorded, runs[seq + 1 :]


@pytest.mark.parametrize("billed", ["101.00", "150.00"])
def test_a_step_by_itself_gives_what_the_episode_recorded(payables: Payables, billed: str) -> None:
    """Who debugs a step would look at another one than what ran: other input, other answer, other way on."""
    event_id = payables.invoice("one", billed=billed)
    payables.decide(event_id, "approved", NINE + timedelta(hours=6))
    payables.execute()
    versions = payables.versions()
    runs = payables.table(STEP_RUN)
    assert runs.height >= 4
    for seq in range(runs.height):
        found, recorded, later = again(payables, event_id, seq)
        assert found.input is not None and recorded["input"] is not None
        assert found.input == recorded["input"], recorded["step_id"]
        if found.awaits:
            assert recorded["step_id"] == "F-03"
            assert found.awaits.topic == "handoff.decided" and found.awaits.key == json.dumps([event_id])
            assert found.awaits.due_at is not None and found.awaits.on_timeout == ("END",)
            assert found.output is not None
            assert json.loads(found.output).items() <= json.loads(recorded["output"]).items()
            assert found.awaits.due_at - recorded["started_at"] == timedelta(
                hours=72, milliseconds=found.latency_ms or 0
            )
            continue
        assert (found.status, found.output, found.latency_ms, found.cost_micros) == (
            recorded["status"],
            recorded["output"],
            recorded["latency_ms"],
            recorded["cost_micros"],
        )
        assert found.targets == ((later[0]["step_id"],) if later else ())
        assert found.outcome == (None if later else payables.table(RUN_EPISODE)["outcome"][0])
    assert payables.versions() == versions, "something was written to the lake"


def test_the_conditions_are_told_up_to_the_one_that_holds(payables: Payables) -> None:
    """Why an invoice went to a person is what somebody debugs for."""
    event_id = payables.invoice("one", billed="150.00")
    payables.execute()
    found, recorded, _ = again(payables, event_id, 1)
    assert recorded["step_id"] == "F-02"
    assert [(each.holds, each.fault) for each in found.conditions] == [(False, None), (True, None)]
    assert found.targets == ("F-03",)


# Where it leads


def test_a_fork_names_every_branch_and_an_end_its_outcome() -> None:
    """A fork would seem to be a single way, or its end to be none."""
    assert alone({"goto": ["S-2", "S-3"]}).targets == ("S-2", "S-3")
    ended = alone("END")
    assert (ended.targets, ended.outcome, ended.awaits) == ((), "success", None)


def test_a_join_that_the_branch_comes_to_is_what_comes_next() -> None:
    """Before a join nothing would seem to come next."""
    first, last = step("S-1", {"goto": "S-3"}), step("S-3", {"goto": "END", "join": "all"})
    planned = plan(step("S-0", {"goto": ["S-1", "S-2"]}), first, step("S-2", {"goto": "S-3"}), last)
    found = execute_step(planned, "S-1", Situation("{}", NINE), skills=Table({"SK-TEST-001": always({})}))
    assert (found.targets, found.outcome) == (("S-3",), None)


def test_conditions_after_the_one_that_holds_are_not_told() -> None:
    """Two conditions that hold would look as if both ways were taken."""
    branches = [{"expr": f"output.n > {n}", "goto": goto} for n, goto in ((5, "S-2"), (1, "S-3"), (0, "S-2"))]
    found = alone({"if": branches, "else": "END"}, always({"n": 2}))
    assert found.conditions == (Condition("output.n > 5", holds=False), Condition("output.n > 1", holds=True))
    assert found.targets == ("S-3",)


def test_a_failure_leads_to_what_undoes_the_last_step_before() -> None:
    """A failure would seem to end the episode, though something is to be undone first."""
    booked, undo = step("S-2", {"goto": "S-1", "compensate": "S-3"}), step("S-3", "END")
    planned = plan(booked, step("S-1", "END"), undo)
    situation = Situation("{}", NINE, earlier=[Earlier("S-2", "{}", "{}")])
    found = execute_step(planned, "S-1", situation, skills=Table({"SK-TEST-001": always(error="REJECTED")}))
    assert (found.error_code, found.targets, found.outcome) == ("REJECTED", ("S-3",), None)


def test_a_child_is_waited_for_and_not_started() -> None:
    """Debugging a parent would start an episode of another workflow."""
    started = step("S-1", "END", adapter="engine", parameters={"target_workflow_id": "WF-TWO", "payload": {"n": 1}})
    found = execute_step(plan(started), "S-1", Situation("{}", NINE), skills=Table({}), workflows=["WF-TWO"])
    assert found.status == "waiting" and found.awaits is not None and found.output is not None
    request = json.loads(found.output)
    assert (request["workflow_id"], request["payload"]) == ("WF-TWO", {"n": 1})
    assert (found.awaits.topic, found.awaits.key) == ("episode.closed", json.dumps([request["episode_id"]]))
    assert found.awaits.due_at == NINE + timedelta(milliseconds=started.timeout_ms)
    unknown = execute_step(plan(started), "S-1", Situation("{}", NINE), skills=Table({}))
    assert (unknown.error_code, unknown.outcome) == ("UNKNOWN_WORKFLOW", "failed")


def test_a_step_is_told_how_often_it_was_visited() -> None:
    """A loop would be entered once more than its bound allows; attempts are no visits."""
    skill = always({})
    logic = {"goto": "S-1", "loop": {"max_visits": 2, "on_exhausted": "S-3"}}
    once = [Earlier("S-1", "{}", None), Earlier("S-1", "{}", "{}", attempt=2)]
    assert alone(logic, skill, earlier=once).targets == ("S-1",)
    spent = alone(logic, skill, earlier=[*once, Earlier("S-1", "{}", "{}")])
    assert (spent.targets, spent.status, spent.output) == (("S-3",), "skipped", None)
    assert len(skill.calls) == 1


def test_a_branch_that_reads_what_an_earlier_step_was_given() -> None:
    """`input` is the step's own once it is bound, and that of the step before while it is."""
    skill = Scripted(lambda arguments, row: answer({"got": arguments["n"]}))
    found = alone(
        {"if": [{"expr": "output.got == 7", "goto": "S-2"}], "else": "S-3"},
        skill,
        parameters={"n": "${input.n}"},
        earlier=[Earlier("S-2", '{"n":7}', "{}")],
    )
    assert (found.input, found.output, found.targets) == ('{"n":7}', '{"got": 7}', ("S-2",))
    assert found.conditions == (Condition("output.got == 7", holds=True),)


# What goes wrong


def broken(arguments: dict[str, Any], row: int) -> Any:
    raise RuntimeError("secret detail")


def test_a_skill_that_raises_is_a_failed_result_with_its_way_on() -> None:
    """The fault somebody looks for would end the command."""
    found = alone({"goto": "S-2", "on_error": "S-3"}, Scripted(broken), parameters={"n": 1})
    assert (found.status, found.error_code, found.targets) == ("failed", "SKILL_FAULT", ("S-3",))
    assert found.input == '{"n":1}' and "RuntimeError" in str(found.error_message)


def test_a_missing_member_is_told_and_nothing_is_called() -> None:
    """A payload without the member that a step binds is the commonest fault there is."""
    skill = always({})
    found = alone("END", skill, parameters={"to": "${trigger.absent}"}, payload='{"present": 1}')
    assert (found.status, found.error_code, found.outcome) == ("failed", "EXPRESSION", "failed")
    assert "trigger.absent" in str(found.error_message)
    assert found.input is None and not skill.calls


def test_a_condition_over_a_missing_member_is_a_fault_of_the_logic_and_not_of_the_skill() -> None:
    """The skill's answer would be hidden by what came of it."""
    found = alone({"if": [{"expr": "output.absent > 1", "goto": "S-2"}], "else": "S-3"}, always({"n": 1}))
    assert (found.status, found.error_code, found.output) == ("success", None, '{"n": 1}')
    assert (found.logic_error_code, found.outcome) == ("EXPRESSION", "failed")
    (condition,) = found.conditions
    assert not condition.holds and "absent" in str(condition.fault)


def test_a_denied_step_calls_nothing() -> None:
    """Debugging would be a way around a permission."""
    skill = always({})
    denial = Denied(Principal("AG-TEST", "agent", "IT-M-001"), "run", "skill_node", "SK-TEST-001", "it needs more")
    planned = plan(replace(step("S-1", "END"), denial=denial))
    found = execute_step(planned, "S-1", Situation("{}", NINE), skills=Table({"SK-TEST-001": skill}))
    assert (found.error_code, found.error_message) == ("PERMISSION_DENIED", str(denial))
    assert found.input is None and not skill.calls


def test_a_transient_fault_is_met_once_and_the_retries_are_told() -> None:
    """Who debugs a step would wait for its retries, or not know that the engine makes them."""
    skill = always(error="CONNECTIVITY")
    found = alone({"goto": "S-2", "on_error": "S-3"}, skill, retries=3)
    assert len(skill.calls) == 1
    assert (found.error_code, found.retries_left, found.targets) == ("CONNECTIVITY", 3, ("S-3",))


def test_a_step_that_the_plan_does_not_have_is_refused() -> None:
    """A typing error would run the first step, or end in a bare KeyError."""
    with pytest.raises(NotRegistered, match="S-9"):
        execute_step(plan(step("S-1", "END")), "S-9", Situation("{}", NINE), skills=Table({}))


# Effects


def test_an_effect_is_withheld_unless_it_is_asked_for() -> None:
    """Looking at a step would book an invoice."""
    skill = replace(always({}), is_pure=False)
    with pytest.raises(EffectWithheld, match="SK-TEST-001") as caught:
        alone("END", skill, parameters={"amount": "${trigger.amount}"}, payload='{"amount": 12.50}')
    assert caught.value.given == '{"amount":12.50}'
    assert not skill.calls


def test_an_effect_is_journaled_under_a_key_of_its_own(payables: Payables) -> None:
    """An episode that comes to the step later would take the trial for its own effect, and never do it."""
    skill = replace(always({"booked": True}), is_pure=False)
    booking = replace(step("S-1", "END"), idempotency_key="book")
    situation = Situation("{}", LATER, episode_id="E-1")
    keys = []
    for _ in range(2):
        found = execute_step(
            plan(booking),
            "S-1",
            situation,
            skills=Table({"SK-TEST-001": skill}),
            effects=Effects(payables.registry, batch_id=NAME),
        )
        assert found.status == "success"
        keys.append(str(found.effect_key))
    assert sorted(keys) == sorted(journaled(payables.registry)) and len(set(keys)) == 2
    assert all(key.startswith(f"{NAME}/") for key in keys) and "book/E-1/1" not in keys
    assert [list(call.keys) for call in skill.calls] == [[key] for key in keys]


def test_an_effect_of_which_nobody_knows_is_told_with_its_key(payables: Payables) -> None:
    """Who tried it could not say later what became of it."""
    found = execute_step(
        plan(step("S-1", {"goto": "S-2", "on_error": "S-2"}), step("S-2", "END")),
        "S-1",
        Situation("{}", NINE),
        skills=Table({"SK-TEST-001": Scripted(broken, is_pure=False)}),
        effects=Effects(payables.registry, batch_id=NAME),
    )
    assert (found.status, found.error_code, found.targets) == ("waiting", "EFFECT_UNKNOWN", ())
    assert found.awaits is not None
    assert (found.awaits.topic, found.awaits.key) == ("effect.resolved", json.dumps([found.effect_key]))
    assert found.awaits.due_at is None and journaled(payables.registry) == [found.effect_key]


def journaled(registry: Registry) -> list[str]:
    return registry.frame(EFFECT)["effect_key"].to_list()


def test_a_fault_before_an_effect_is_told_without_asking_for_it() -> None:
    """A step that cannot be bound has no effect to withhold."""
    skill = replace(always({}), is_pure=False)
    found = alone("END", skill, parameters={"to": "${trigger.absent}"})
    assert found.error_code == "EXPRESSION" and found.effect_key is None
