"""The ways of a workflow: verdicts against a walker that knows no graphs, and forks by hand."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.checks.graph import Flaw, flaws
from registry.steps import END, StepLogic, parse_logic

IDS = ["A", "B", "C", "D"]


def logics(**steps: Any) -> dict[str, StepLogic]:
    return {step_id: parse_logic(logic) for step_id, logic in steps.items()}


def found(**steps: Any) -> list[tuple[str, str]]:
    return [(flaw.step_id, flaw.path) for flaw in flaws("A", logics(**steps))]


TARGET = st.sampled_from([*IDS, END])
AWAIT = st.builds(lambda target: {"event": "e", "correlate": {"a": "1"}, "timeout_h": 1, "on_timeout": target}, TARGET)
LOOP = st.builds(lambda n, target: {"max_visits": n, "on_exhausted": target}, st.integers(1, 2), TARGET)
LOGIC = st.builds(
    lambda way, more: {**way, **more},
    st.builds(lambda target: {"goto": target}, TARGET)
    | st.builds(
        lambda one, two, other: {"if": [{"expr": "a", "goto": one}, {"expr": "b", "goto": two}], "else": other},
        TARGET,
        TARGET,
        TARGET,
    ),
    st.fixed_dictionaries({}, optional={"on_error": TARGET, "await": AWAIT, "loop": LOOP}),
)
GRAPHS = st.dictionaries(st.sampled_from(IDS), LOGIC, min_size=1).map(lambda steps: {"A": {"goto": END}, **steps})

State = tuple[str, tuple[int, ...]]


def moves(
    step_id: str, steps: Mapping[str, StepLogic], visits: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield where an episode that enters `step_id` can go, counting its visits, as the engine would."""
    logic = steps[step_id]
    counted = dict(visits)
    if logic.loop:
        if visits[step_id] == logic.loop.max_visits:
            yield from ((target, counted) for target in logic.loop.on_exhausted)
            return
        counted[step_id] += 1
    for path, target in logic.ways():
        if path != "/loop/on_exhausted":
            yield target, counted


def walked(steps: Mapping[str, StepLogic], start: str, *, spent: bool = False) -> "nx.DiGraph[State]":
    """Return every state (step, visits of each) that a walk from `start` can be in, and the moves between them."""
    visits = {step_id: logic.loop.max_visits if spent and logic.loop else 0 for step_id, logic in steps.items()}
    graph: nx.DiGraph[State] = nx.DiGraph()
    frontier = [(start, visits)]
    while frontier:
        step_id, counted = frontier.pop()
        state = (step_id, tuple(counted.values()))
        if graph.nodes.get(state, {}).get("done"):
            continue
        graph.add_node(state, done=True)
        for target, after in moves(step_id, steps, counted):
            if target in steps:
                graph.add_edge(state, (target, tuple(after.values())))
                frontier.append((target, after))
    return graph


def is_endless(graph: "nx.DiGraph[State]") -> bool:
    return not nx.is_directed_acyclic_graph(graph)


def of_kind(steps: Mapping[str, StepLogic], word: str) -> set[str]:
    return {flaw.step_id for flaw in flaws("A", steps) if word in flaw.problem}


@settings(max_examples=300)
@given(GRAPHS)
def test_a_step_is_unreachable_exactly_if_no_walk_gets_there(graph: dict[str, Any]) -> None:
    """Every walk is tried; whether a bound ever runs out depends on the walk, so it counts as a way."""
    steps = logics(**graph)
    reached = {step_id for step_id, _ in walked(steps, "A")} | {s for s, _ in walked(steps, "A", spent=True)}
    unreachable = of_kind(steps, "never reached")
    assert not unreachable & reached
    if not any(logic.loop for logic in steps.values()):
        assert unreachable == steps.keys() - reached


@settings(max_examples=300)
@given(GRAPHS)
def test_a_workflow_that_can_run_for_ever_is_always_refused(graph: dict[str, Any]) -> None:
    """Whatever the way: by branches, errors, timeouts or spent bounds that lead back."""
    steps = logics(**graph)
    if is_endless(walked(steps, "A")):
        assert of_kind(steps, "without end") | of_kind(steps, "leads back to itself")


@settings(max_examples=300)
@given(GRAPHS)
def test_a_workflow_is_refused_only_for_a_circle_that_is_there(graph: dict[str, Any]) -> None:
    """Walks that start at the named step with every bound used up come back to it, over and over."""
    steps = logics(**graph)
    named = of_kind(steps, "without end") | of_kind(steps, "leads back to itself")
    for step_id in named:
        walk = walked(steps, step_id, spent=True)
        start = next(state for state in walk if state[0] == step_id)
        assert any(start in nx.descendants(walk, after) | {after} for after in walk.successors(start))
    if not any(logic.loop for logic in steps.values()):
        walks = {step_id: walked(steps, step_id) for step_id in steps}
        assert named == {step_id for step_id, walk in walks.items() if _comes_back(walk, step_id)}


def _comes_back(walk: "nx.DiGraph[State]", step_id: str) -> bool:
    start = next(state for state in walk if state[0] == step_id)
    return any(start in nx.descendants(walk, after) | {after} for after in walk.successors(start))


LOOP_B = {"max_visits": 3, "on_exhausted": "END"}
BACK = {"if": [{"expr": "again", "goto": "B"}], "else": "END"}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # loops
        ({"A": "→ B", "B": "→ C", "C": BACK}, [("B", ""), ("C", "")]),
        ({"A": "→ B", "B": {"goto": "C", "loop": LOOP_B}, "C": BACK}, []),
        ({"A": "→ B", "B": "→ C", "C": {**BACK, "loop": LOOP_B}}, []),
        ({"A": {"goto": "END", "on_error": "A"}}, [("A", "")]),
        (
            {"A": {"goto": "END", "on_error": "A", "loop": {"max_visits": 2, "on_exhausted": "A"}}},
            [("A", "/loop/on_exhausted")],
        ),
        ({"A": "→ B", "B": {"goto": "END", "compensate": "A"}}, [("A", ""), ("B", "")]),
        # forks and joins
        ({"A": {"goto": ["B", "C"]}, "B": "→ D", "C": "→ D", "D": {"goto": "END", "join": "all"}}, []),
        ({"A": {"goto": ["B", "C"]}, "B": "END", "C": "END"}, [("A", "/goto")]),
        ({"A": {"goto": ["B", "C"]}, "B": "→ D", "C": "→ D", "D": "END"}, [("A", "/goto")]),
        # both branches run D before they join at E
        (
            {
                "A": {"goto": ["B", "C"]},
                "B": "→ D",
                "C": {"goto": ["D", "E"]},
                "D": "→ E",
                "E": {"goto": "END", "join": "any"},
            },
            [("A", "/goto")],
        ),
        # a branch that forks again and joins within
        (
            {
                "A": {"goto": ["B", "C"]},
                "B": {"goto": ["D", "E"]},
                "C": "→ G",
                "D": "→ F",
                "E": "→ F",
                "F": {"goto": "G", "join": "all"},
                "G": {"goto": "END", "join": "all"},
            },
            [],
        ),
        # errors and timeouts leave the branches without joining
        (
            {
                "A": {"goto": ["B", "C"]},
                "B": {"goto": "D", "on_error": "H"},
                "C": {"goto": "D", "on_error": "H"},
                "D": {"goto": "END", "join": "all"},
                "H": "END",
            },
            [],
        ),
        ({"A": "→ B", "B": {"goto": "END", "join": "all"}}, [("B", "/join")]),
        ({"A": BACK | {"else": "C"}, "B": "→ D", "C": "→ D", "D": {"goto": "END", "join": "all"}}, [("D", "/join")]),
        (
            {
                "A": {"goto": ["B", "C"]},
                "B": {"if": [{"expr": "x", "goto": "A"}], "else": "D", "loop": {"max_visits": 2, "on_exhausted": "D"}},
                "C": "→ D",
                "D": {"goto": "END", "join": "all"},
            },
            [("A", "/goto")],
        ),
        # one branch goes round the join that the other passes, and both come to E
        (
            {
                "A": {"goto": ["B", "C"]},
                "B": {"if": [{"expr": "x", "goto": "D"}], "else": "E"},
                "C": "→ D",
                "D": {"goto": "E", "join": "any"},
                "E": "END",
            },
            [("A", "/goto")],
        ),
        # undoing
        ({"A": {"goto": "END", "compensate": "B"}, "B": "END"}, []),
        ({"A": {"goto": "END", "compensate": "A"}}, [("A", ""), ("A", "/compensate")]),
        ({"A": {"goto": "END", "compensate": "B"}, "B": {"goto": "END", "compensate": "A"}}, [("A", ""), ("B", "")]),
    ],
)
def test_a_flaw_is_named_where_it_is(steps: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """A loop without a bound costs for ever, branches that meet unjoined do everything twice."""
    assert found(**steps) == expected


def test_a_flaw_says_what_to_do() -> None:
    """`loop` is new to whoever wrote the loop."""
    (flaw,) = flaws("A", logics(A="→ A"))
    assert flaw == Flaw("A", "", "step A can lead back to itself without end", flaw.fix)
    assert '"loop"' in flaw.fix


# Forks, against tokens that are moved by hand

LATER = {step_id: [other for other in "ABCDE" if other > step_id] for step_id in "ABCDE"}


def forward_logic(step_id: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return logics that lead to later steps only, so that every walk ends; some fork, some choose, some join."""
    if not LATER[step_id]:
        return st.sampled_from([{"goto": END}, {"goto": END, "join": "all"}])
    one = st.sampled_from(LATER[step_id])
    targets = one | st.lists(one, min_size=min(2, len(LATER[step_id])), max_size=3, unique=True) | st.just(END)
    way = st.builds(lambda target: {"goto": target}, targets) | st.builds(
        lambda first, second: {"if": [{"expr": "a", "goto": first}], "else": second}, targets, targets
    )
    joins = st.sampled_from([{}, {"join": "all"}, {"join": "any"}]) if step_id > "B" else st.just({})
    return st.builds(lambda logic, join: logic | join, way, joins)


def runs_of(steps: Mapping[str, StepLogic], takes_first: Mapping[str, bool]) -> dict[str, int]:
    """Return how often each step runs if every choice is made so: once per token, at a join once for all of them."""
    tokens = dict.fromkeys(steps, 0)
    tokens["A"] = 1
    runs = {}
    for step_id, logic in steps.items():
        runs[step_id] = min(tokens[step_id], 1) if logic.join else tokens[step_id]
        first = logic.branches[0].goto if logic.branches else logic.goto
        for target in first if takes_first[step_id] or not logic.branches else logic.otherwise:
            if target != END:
                tokens[target] += runs[step_id]
    return runs


@settings(max_examples=300)
@given(st.fixed_dictionaries({step_id: forward_logic(step_id) for step_id in "ABCDE"}))
def test_no_step_of_a_sound_workflow_runs_twice(graph: dict[str, Any]) -> None:
    """Whatever each choice is: an unjoined meeting of branches books, pays and notifies once for each of them."""
    steps = logics(**graph)
    if any(word in flaw.problem for flaw in flaws("A", steps) for word in ("branch", "joins")):
        return
    for choices in itertools.product([True, False], repeat=len(steps)):
        assert max(runs_of(steps, dict(zip(steps, choices, strict=True))).values()) <= 1
