"""The layout of pictures: nothing lies on anything else, whatever the workflow."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings

from registry.diagrams import graph_of, to_svg
from registry.diagrams.layout import Bounds, Layout, Route, lay_out, wrapped
from registry.documents import Workflow, read_document
from registry.loader import PACK
from tests.workflows import HARD, workflow, workflows

Segment = tuple[tuple[int, int], tuple[int, int]]


def overlap(one: Bounds, other: Bounds) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def enters(segment: Segment, bounds: Bounds) -> bool:
    """Tell whether a segment passes through the inside of a shape."""
    (x1, y1), (x2, y2) = segment
    return (
        min(x1, x2) < bounds.x + bounds.width
        and max(x1, x2) > bounds.x
        and min(y1, y2) < bounds.y + bounds.height
        and max(y1, y2) > bounds.y
    )


def labels(layout: Layout) -> list[Bounds]:
    return [label.bounds for label in (*layout.labels.values(), *(route.label for route in layout.routes)) if label]


def crossed(layout: Layout) -> Iterator[tuple[Route, str]]:
    for route in layout.routes:
        for segment in pairwise(route.points):
            for key, bounds in layout.shapes.items():
                if enters(segment, bounds):
                    yield route, key


@settings(max_examples=60)
@given(workflows())
def test_no_shape_or_label_lies_on_another(drawn: Workflow) -> None:
    """A step or a text could not be read. Events on a boundary lie on their own step only."""
    layout = lay_out(graph_of(drawn))
    nodes = layout.graph.nodes
    for one, other in combinations(layout.shapes, 2):
        if one not in (nodes[other].host,) and other not in (nodes[one].host,):
            assert not overlap(layout.shapes[one], layout.shapes[other]), (one, other)
    for label in labels(layout):
        for key, bounds in layout.shapes.items():
            assert not overlap(label, bounds), key
    for one, other in combinations(labels(layout), 2):
        assert not overlap(one, other)


@settings(max_examples=60)
@given(workflows())
def test_lines_run_at_right_angles_from_shape_to_shape_and_through_none(drawn: Workflow) -> None:
    """A line through a step looks like a way into it."""
    layout = lay_out(graph_of(drawn))
    assert [(route.edge.source, key) for route, key in crossed(layout)] == []
    for route in layout.routes:
        assert len(route.points) >= 2
        for (x1, y1), (x2, y2) in pairwise(route.points):
            assert (x1 == x2) != (y1 == y2)
        source, target = layout.shapes[route.edge.source], layout.shapes[route.edge.target]
        (x, y), (end_x, end_y) = route.points[0], route.points[-1]
        assert source.x <= x <= source.x + source.width
        assert source.y <= y <= source.y + source.height
        assert end_x == target.x
        assert target.y < end_y < target.y + target.height


@settings(max_examples=40)
@given(workflows())
def test_everything_is_inside_the_picture(drawn: Workflow) -> None:
    """The edge of the picture would cut a shape, a line or a text."""
    layout = lay_out(graph_of(drawn))
    for bounds in (*layout.shapes.values(), *labels(layout)):
        assert bounds.x >= 0
        assert bounds.x + bounds.width <= layout.width
        assert bounds.y >= 0
        assert bounds.y + bounds.height <= layout.height
    for x, y in (point for route in layout.routes for point in route.points):
        assert 0 <= x <= layout.width
        assert 0 <= y <= layout.height


@settings(max_examples=40)
@given(workflows())
def test_flow_goes_to_the_right_unless_it_leads_back(drawn: Workflow) -> None:
    """A reader follows a process from left to right; only a cycle can lead back."""
    layout = lay_out(graph_of(drawn))
    ways: dict[str, set[str]] = {key: set() for key in layout.graph.nodes}
    for node in layout.graph.nodes.values():
        if node.host:
            ways[node.host].add(node.key)
    for edge in layout.graph.edges:
        ways[edge.source].add(edge.target)
    for route in layout.routes:
        source, target = layout.shapes[route.edge.source], layout.shapes[route.edge.target]
        if target.x < source.x + source.width:
            assert leads(ways, route.edge.target, route.edge.source)


def leads(ways: dict[str, set[str]], start: str, goal: str) -> bool:
    seen, frontier = {start}, [start]
    while frontier:
        frontier += (new := ways[frontier.pop()] - seen)
        seen |= new
    return goal in seen


def test_a_straight_process_is_a_straight_line() -> None:
    """The simplest workflow would zigzag."""
    steps = [{"step_id": f"S-{n}", "next_step_logic": {"goto": f"S-{n + 1}" if n < 6 else "END"}} for n in range(1, 7)]
    layout = lay_out(graph_of(workflow(*steps)))
    assert {point[1] for route in layout.routes for point in route.points} == {layout.routes[0].points[0][1]}


def test_the_same_workflow_gives_the_same_picture() -> None:
    """A picture in version control would change without a change."""
    again = Workflow.model_validate(HARD.model_dump())
    assert to_svg(graph_of(HARD)) == to_svg(graph_of(again))


def test_the_shipped_workflow_has_no_crossing() -> None:
    """WF-FIN-001 can be drawn without crossing lines; by counting."""
    text = (PACK / "workflows/WF-FIN-001.json").read_bytes()
    layout = lay_out(graph_of(read_document(Workflow, text, name="WF-FIN-001").body))
    lines = [(route.edge.source, route.edge.target, s) for route in layout.routes for s in pairwise(route.points)]
    for (source, target, one), (source_, target_, other) in combinations(lines, 2):
        if source != source_ and target != target_:
            assert not cross(one, other), (source, target, source_, target_)


def cross(one: Segment, other: Segment) -> bool:
    boxes = [
        Bounds(min(a[0], b[0]), min(a[1], b[1]), abs(a[0] - b[0]) + 1, abs(a[1] - b[1]) + 1) for a, b in (one, other)
    ]
    return overlap(*boxes)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("ap.invoice.received", ("ap.invoice.", "received")),
        ("amount > 10000.0 and more", ("amount >", "10000.0 and", "more")),
        ("a" * 20, ("a" * 15, "a" * 5)),
        ("", ()),
        ("発注書の承認を待つ", ("発注書の承認を", "待つ")),
        (
            "one two three four five six seven eight nine ten eleven twelve",
            ("one two three", "four five six", "seven eight", "nine ten eleve…"),
        ),
    ],
)
def test_labels_break_where_words_do(text: str, lines: tuple[str, ...]) -> None:
    """A number or a name would be broken in its middle."""
    assert wrapped(text) == lines


def test_a_workflow_of_a_thousand_steps_is_drawn() -> None:
    """A generated or mined workflow would end in a recursion error."""
    steps = [
        {
            "step_id": f"S-{n}",
            "next_step_logic": {"if": [{"expr": "pass == true", "goto": f"S-{n + 1}"}], "else": "END"},
        }
        for n in range(1, 1_100)
    ]
    layout = lay_out(graph_of(workflow(*steps, {"step_id": "S-1100", "next_step_logic": "END"})))
    assert len(layout.shapes) == 1 + 1_100 + 1_099 + 1_100
