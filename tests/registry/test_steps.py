"""The step language: the blueprint's forms and ours are read, everything else is named."""

from decimal import Decimal
from typing import Any

import pytest

from registry.documents import DocumentRefused
from registry.steps import END, parse_logic


def refusals(value: Any) -> dict[str, str]:
    with pytest.raises(DocumentRefused) as caught:
        parse_logic(value)
    return {fault.path: fault.problem for fault in caught.value.faults}


def test_the_blueprints_condition_is_read() -> None:
    """Section 12.2, word for word."""
    logic = parse_logic(
        {
            "if": [
                {"expr": "output.pass == true", "goto": "F-04"},
                {"expr": "output.pass == false", "goto": "F-03"},
            ],
            "on_error": "F-03",
        }
    )
    assert [branch.goto for branch in logic.branches] == [("F-04",), ("F-03",)]
    assert logic.on_error == ("F-03",)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("→ F‑02", {"goto": "F-02"}),  # the typeset hyphen of the blueprint's tables
        ("→F-02", {"goto": "F-02"}),
        ("-> F-02", {"goto": "F-02"}),
        ("END", {"goto": END}),
        ("→ END", {"goto": END}),
        (
            "pass→F‑04; fail→F‑03",
            {"if": [{"expr": "output.pass == true", "goto": "F-04"}, {"expr": "output.pass == false", "goto": "F-03"}]},
        ),
    ],
)
def test_the_short_forms_of_the_blueprints_tables_mean_the_same(text: str, meaning: dict[str, Any]) -> None:
    """Section 9 writes steps this way; they load unchanged."""
    assert parse_logic(text) == parse_logic(meaning)


@pytest.mark.parametrize(
    "text", ["", "F-02", "await decision", "ack→G-05; timeout→G-06", "→ A; → B", "pass→A; → B", "→", "pass"]
)
def test_other_short_forms_are_refused(text: str) -> None:
    """`await decision` says neither which event nor what happens when it does not come."""
    assert "is no step logic" in refusals(text)[""]


def test_several_targets_run_side_by_side() -> None:
    """A list is a fork, and a join says how it ends."""
    logic = parse_logic({"goto": ["F-02", "F-06"], "join": "all", "compensate": "F-09"})
    assert (logic.goto, logic.join, logic.compensate) == (("F-02", "F-06"), "all", "F-09")


def test_an_await_is_read_whole() -> None:
    """The engine waits by these four members."""
    awaits = parse_logic(
        {
            "await": {
                "event": "handoff.decided",
                "correlate": {"subject_id": "${episode.trigger_event_id}"},
                "timeout_h": Decimal("0.5"),
                "on_timeout": "END",
            },
            "goto": "F-04",
        }
    ).awaits
    assert (awaits.event, awaits.timeout_h, awaits.on_timeout) == ("handoff.decided", Decimal("0.5"), (END,))
    assert awaits.correlate["subject_id"].evaluate({"episode": {"trigger_event_id": "E-1"}}) == "E-1"


AWAIT = {"event": "t", "correlate": {"a": "${episode.id}"}, "timeout_h": 1, "on_timeout": "END"}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, ""),
        ([], ""),
        (None, ""),
        (1, ""),
        ({"goto": "A", "if": [{"expr": "a", "goto": "B"}]}, ""),
        ({"on_error": "A"}, ""),
        ({"await": AWAIT}, ""),
        ({"goto": "A", "else": "B"}, "/else"),
        ({"goto": "A", "then": "B"}, "/then"),
        ({"goto": ""}, "/goto"),
        ({"goto": []}, "/goto"),
        ({"goto": 7}, "/goto"),
        ({"goto": ["A", "A"]}, "/goto"),
        ({"goto": ["A", "END"]}, "/goto"),
        ({"if": []}, "/if"),
        ({"if": {"expr": "a", "goto": "A"}}, "/if"),
        ({"if": ["a"]}, "/if/0"),
        ({"if": [{"expr": "a == ", "goto": "A"}]}, "/if/0/expr"),
        ({"if": [{"expr": True, "goto": "A"}]}, "/if/0/expr"),
        ({"if": [{"expr": "a", "goto": "A"}, {"goto": "B"}]}, "/if/1/expr"),
        ({"if": [{"expr": "a"}]}, "/if/0/goto"),
        ({"goto": "A", "await": "decision"}, "/await"),
        ({"goto": "A", "await": {**AWAIT, "timeout_h": 0}}, "/await/timeout_h"),
        ({"goto": "A", "await": {**AWAIT, "timeout_h": "72"}}, "/await/timeout_h"),
        ({"goto": "A", "await": {**AWAIT, "timeout_h": True}}, "/await/timeout_h"),
        ({"goto": "A", "await": {k: v for k, v in AWAIT.items() if k != "timeout_h"}}, "/await/timeout_h"),
        ({"goto": "A", "await": {k: v for k, v in AWAIT.items() if k != "on_timeout"}}, "/await/on_timeout"),
        ({"goto": "A", "await": {**AWAIT, "correlate": {}}}, "/await/correlate"),
        ({"goto": "A", "await": {**AWAIT, "correlate": {"a": "${episode."}}}, "/await/correlate/a"),
        ({"goto": "A", "await": {**AWAIT, "event": 1}}, "/await/event"),
        ({"goto": "A", "join": "some"}, "/join"),
        ({"goto": "A", "compensate": "END"}, "/compensate"),
        ({"goto": "A", "compensate": ["B"]}, "/compensate"),
    ],
)
def test_what_is_wrong_is_located(value: Any, path: str) -> None:
    """Each of these would leave an episode without a way on, or on a wrong one."""
    assert path in refusals(value)


def test_all_faults_of_a_step_are_named_at_once() -> None:
    """The next fault must not wait for the next attempt."""
    value = {"if": [{"expr": "a ==", "goto": 1}], "else": [], "join": "x", "await": {"event": 1}, "zzz": 1}
    assert set(refusals(value)) == {
        "/if/0/expr",
        "/if/0/goto",
        "/else",
        "/join",
        "/zzz",
        "/await/event",
        "/await/correlate",
        "/await/timeout_h",
        "/await/on_timeout",
    }
