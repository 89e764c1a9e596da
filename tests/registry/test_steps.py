"""The step language: the blueprint's forms and ours are read, everything else is named."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.canonical import canonical, parse
from registry.documents import DocumentRefused
from registry.steps import END, MAX_VISITS, format_logic, format_short, parse_logic


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
        ({"goto": "A", "loop": 3}, "/loop"),
        ({"goto": "A", "loop": {"max_visits": 3}}, "/loop/on_exhausted"),
        ({"goto": "A", "loop": {"on_exhausted": "B"}}, "/loop/max_visits"),
        ({"goto": "A", "loop": {"max_visits": 0, "on_exhausted": "B"}}, "/loop/max_visits"),
        ({"goto": "A", "loop": {"max_visits": True, "on_exhausted": "B"}}, "/loop/max_visits"),
        ({"goto": "A", "loop": {"max_visits": Decimal("2.5"), "on_exhausted": "B"}}, "/loop/max_visits"),
        ({"goto": "A", "loop": {"max_visits": MAX_VISITS + 1, "on_exhausted": "B"}}, "/loop/max_visits"),
        ({"goto": "A", "loop": {"max_visits": 3, "on_exhausted": []}}, "/loop/on_exhausted"),
        ({"goto": "A", "loop": {"max_visits": 3, "on_exhausted": "B", "times": 3}}, "/loop/times"),
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


def test_a_loops_bound_is_read_and_is_a_way_on() -> None:
    """Whoever walks the graph must see where a spent loop leads."""
    logic = parse_logic({"goto": "A", "loop": {"max_visits": 3, "on_exhausted": "F-03"}})
    assert (logic.loop.max_visits, logic.loop.on_exhausted) == (3, ("F-03",))
    assert ("/loop/on_exhausted", "F-03") in list(logic.ways())


STEP_IDS = st.from_regex(r"[A-Z][A-Z0-9/._-]{0,5}", fullmatch=True).filter(lambda step_id: step_id != END)
TARGETS = STEP_IDS | st.just(END) | st.lists(STEP_IDS, min_size=1, max_size=3, unique=True)
CONDITIONS = st.sampled_from(
    ["pass == true", "output.pass == true", "trigger.n > 1 && 'a}' != \"{\"", " x in ['→', 'é'] ", "has(output.a)"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
PARAMETERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "$", "$${x}", "${ trigger.a }", "a ${trigger.a}$ $${b} ${{'k': 1}.k}", "$$${c}", "${'}'}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
AWAITS = st.fixed_dictionaries(
    {
        "event": TEXTS.filter(bool),
        "correlate": st.dictionaries(TEXTS, PARAMETERS, min_size=1, max_size=2),
        "timeout_h": st.integers(1, 10**6) | st.decimals("0.001", "99999", places=3),
        "on_timeout": TARGETS,
    }
)
BRANCHES = st.lists(st.fixed_dictionaries({"expr": CONDITIONS, "goto": TARGETS}), min_size=1, max_size=3)
LOGICS = st.builds(
    lambda way, more: {**way, **more},
    st.fixed_dictionaries({"goto": TARGETS}) | st.fixed_dictionaries({"if": BRANCHES}, optional={"else": TARGETS}),
    st.fixed_dictionaries(
        {},
        optional={
            "on_error": TARGETS,
            "await": AWAITS,
            "join": st.sampled_from(["all", "any"]),
            "compensate": STEP_IDS,
            "loop": st.fixed_dictionaries({"max_visits": st.integers(1, MAX_VISITS), "on_exhausted": TARGETS}),
        },
    ),
)


@given(LOGICS)
def test_what_is_printed_is_read_as_the_same_logic(value: dict[str, Any]) -> None:
    """An editor, a diff and a picture print steps; a member lost on the way is another workflow."""
    logic = parse_logic(value)
    printed = format_logic(logic)
    assert parse_logic(printed) == logic
    assert parse_logic(parse(canonical(printed))) == logic
    assert format_logic(parse_logic(printed)) == printed, "printing is canonical: once is enough"
    assert printed.keys() == value.keys()


@given(LOGICS)
def test_a_short_form_says_all_or_is_none(value: dict[str, Any]) -> None:
    """`→ F-02` in a table must not hide an `on_error`."""
    logic = parse_logic(value)
    short = format_short(logic)
    assert short is None or parse_logic(short) == logic


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ({"goto": "END"}, "END"),
        ("→ F‑02", "→ F-02"),
        ("pass→F‑04; fail→F‑03", "pass→F-04; fail→F-03"),
        ({"if": [{"expr": "output.pass == true", "goto": "END"}]}, "pass→END"),
        ({"goto": ["A", "B"]}, None),
        ({"goto": "A", "on_error": "B"}, None),
        ({"if": [{"expr": "amount > 1", "goto": "A"}], "else": "B"}, None),
    ],
)
def test_the_short_form_is_that_of_the_blueprints_tables(value: Any, short: str | None) -> None:
    """Whoever reads the tables reads the listing."""
    assert format_short(parse_logic(value)) == short
