"""The sandbox: every path of a workflow is really run, and none of them leads outside."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from governance.sandbox import MAX_PATHS, PathsTried, try_paths
from registry.expressions import compile_condition
from registry.loader import PACK
from registry.plans import Plan, PlannedTrigger
from tests.builders import plan, shipped_plan, step

SCHEMAS: Mapping[str, Any] = {
    "order.placed": {
        "type": "object",
        "properties": {"total": {"type": "number"}, "country": {"type": "string"}},
        "required": ["total", "country"],
        "additionalProperties": False,
    },
    "order.paid": {"type": "object", "properties": {"order": {"type": "string"}, "how": {"type": "string"}}},
}


def on(condition: str | None = None) -> PlannedTrigger:
    return PlannedTrigger("TR-1", "event", "order.placed", compile_condition(condition) if condition else None, None)


def tried(tested: Plan) -> PathsTried:
    return try_paths(tested, SCHEMAS)


def test_the_shipped_workflow_has_twenty_one_paths(tmp_path: Any) -> None:
    """Counted by hand: booking ends in 3 ways, a handoff in these and 3 more; the check leads to 15 ends, the scan to 6
    without it."""
    schemas = {
        topic: json.loads((PACK / f"event_schemas/{topic}.json").read_text())["schema"]
        for topic in ("ap.invoice.received", "handoff.decided")
    }
    found = try_paths(shipped_plan(tmp_path), schemas)
    assert (found.paths, found.faults) == (21, ())
    # Booked in full on 4 of them; rejected or timed out on 2 of each of the 3 ways to the handoff; the rest fails.
    assert found.outcomes == {"success": 4, "partial": 6, "failed": 11}


def test_a_straight_line_of_three_has_four_paths() -> None:
    """Each step may fail, or all succeed."""
    line = plan(step("A", "→ B"), step("B", "→ C"), step("C", "END"))
    found = tried(line)
    assert (found.paths, found.ways, found.outcomes, found.faults) == (4, 6, {"failed": 3, "success": 1}, ())


@pytest.mark.parametrize(
    "conditions",
    [
        ("output.kind == 'a'", "output.kind == 'b'"),
        ("output.total > 100", "output.total <= 100"),
        ("output.a.b == 7", "!(output.a.b == 7)"),
        ("has(output.reason)", "!has(output.reason)"),
        ("output.total >= 10 && output.ok", "output.total < 10 || !output.ok"),
    ],
)
def test_an_answer_is_made_for_every_way_of_a_condition(conditions: tuple[str, str]) -> None:
    """A branch that no test goes along could lead anywhere."""
    first, second = conditions
    logic = {"if": [{"expr": first, "goto": "B"}, {"expr": second, "goto": "END"}]}
    found = tried(plan(step("A", logic), step("B", "END")))
    assert (found.paths, found.faults) == (4, ())


def test_conditions_on_the_trigger_are_tested_with_payloads_of_their_own() -> None:
    """Both sides of a condition on what came in are paths, though no answer of a skill leads along both."""
    logic = {"if": [{"expr": "trigger.total > 1000", "goto": "B"}], "else": "C"}
    found = tried(plan(step("A", logic), step("B", "END"), step("C", "END"), triggers=[on("country == 'NZ'")]))
    assert (found.paths, found.faults) == (5, ())


def test_waits_are_tested_answered_and_unanswered() -> None:
    """The way out of a wait is taken at night, when nobody sees it fail."""
    wait = {"event": "order.paid", "correlate": {"order": "${output.order}"}, "timeout_h": 1, "on_timeout": "B"}
    logic = {"await": wait, "if": [{"expr": "event.how == 'card'", "goto": "END"}], "else": "B"}
    found = tried(plan(step("A", "→ W"), step("W", logic), step("B", "END")))
    assert found.faults == ()
    assert found.paths == 1 + 1 + 1 + 2 * 2, "A fails; W fails; card; else and timeout, each with two ends of B"


def test_a_way_that_no_answer_leads_along_is_a_fault() -> None:
    """A condition that never holds is a branch nobody has seen."""
    logic = {"if": [{"expr": "output.a == 1 && output.a == 2", "goto": "B"}], "else": "END"}
    found = tried(plan(step("A", logic), step("B", "END")))
    assert "A: no test could be made that goes the way if output.a == 1 && output.a == 2" in found.faults
    assert any(fault.startswith("B: ") for fault in found.faults)


def test_a_condition_of_a_trigger_that_nothing_meets_is_a_fault() -> None:
    """It would pass with no test at all."""
    found = tried(plan(step("A", "END"), triggers=[on("total > 1.0 && total < 1.0")]))
    assert found.paths == 0
    assert "TR-1: no payload could be made that meets its condition" in found.faults


def test_a_parameter_that_has_no_value_is_a_fault() -> None:
    """The step would fail in every episode, and the answers of the skill would never be asked for."""
    found = tried(plan(step("A", "END", parameters={"rate": "${100 / trigger.nothing}"})))
    assert found.faults[0].startswith("A fails with EXPRESSION")


def test_more_paths_than_anybody_can_judge_are_refused() -> None:
    """The gate would run for hours, on a workflow that no reviewer understands."""
    logic = {"if": [{"expr": "output.a == 1", "goto": "{next}"}], "else": "{next}"}
    steps = []
    for number in range(12):
        to = f"S{number + 1}" if number < 11 else "END"
        steps.append(step(f"S{number}", {**logic, "if": [{"expr": "output.a == 1", "goto": to}], "else": to}))
    found = tried(plan(*steps))
    assert found.paths == MAX_PATHS + 1
    assert found.faults == (f"it has more than {MAX_PATHS:,} paths; split it into workflows that call each other",)


def test_no_adapter_of_the_outside_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that books an invoice is an invoice booked, whatever the document's binding says."""
    seen: list[str] = []
    from runtime import engine

    real = engine.execute

    def watched(planned: Plan, *arguments: Any, **options: Any) -> Any:
        seen.extend(one.skill.runtime_binding.adapter for one in planned.steps)
        return real(planned, *arguments, **options)

    monkeypatch.setattr("governance.sandbox.execute", watched)
    found = tried(plan(step("A", "END", adapter="http")))
    assert (found.paths, set(seen)) == (2, {"sandbox"})
