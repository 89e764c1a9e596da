"""A workflow as an SVG picture that needs no script and no style sheet, in BPMN's signs."""

from collections.abc import Iterator
from html import escape

from registry.diagrams.graph import GATEWAYS, Graph, Kind, Node
from registry.diagrams.layout import LINE_HEIGHT, Bounds, Label, Layout, Route, lay_out, wrapped
from registry.diagrams.words import printable, shortened

_STROKE = {Kind.START: "#2e7d32", Kind.END: "#c62828", Kind.ERROR: "#c62828"}
_INK, _PAPER = "#22303c", "#ffffff"
_DASHED = frozenset((Kind.ERROR, Kind.TIMER))
_MARKS = {
    Kind.DECISION: '<path d="M-8-8 8 8M8-8-8 8" stroke-width="3"/>',
    Kind.PARALLEL: '<path d="M-11 0H11M0-11V11" stroke-width="3"/>',
    Kind.FIRST: '<path d="M-11 0H11M0-11V11M-8-8 8 8M8-8-8 8" stroke-width="2"/>',
    Kind.WAIT: '<circle r="13"/><circle r="10"/><path d="M0-7 7-2 4 6H-4L-7-2Z"/>',
    Kind.MESSAGE: '<circle r="14"/><path d="M-8-5H8V6H-8ZM-8-5 0 1 8-5"/>',
    Kind.TIMER: '<circle r="14"/><circle r="9"/><path d="M0-6V0L4 3"/>',
    Kind.ERROR: '<circle r="14"/><path d="M-8 7-3-6 3 2 8-8 4 6-2-1Z"/>',
    Kind.COMPENSATION: '<circle r="14"/><path d="M0-6V6L-8 0ZM8-6V6L0 0Z"/>',
}


def to_svg(graph: Graph) -> str:
    """Return the picture of a workflow, its title and the text of every shape included for who cannot see it."""
    layout = lay_out(graph)
    workflow = graph.workflow
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width} {layout.height}" '
        f'width="{layout.width}" height="{layout.height}" font-family="Helvetica,Arial,sans-serif" font-size="11" '
        f'fill="none" stroke="{_INK}" stroke-width="1.5" stroke-linejoin="round" role="img">',
        f"<title>{_text(f'{workflow.workflow_id} {workflow.workflow_name} {workflow.version}')}</title>",
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9.5" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 1 10 5 0 9Z" fill="{_INK}" stroke="none"/></marker></defs>',
        f'<rect width="100%" height="100%" fill="{_PAPER}" stroke="none"/>',
        *(_line(layout, route) for route in layout.routes),
        *(_shape(node, layout.shapes[key]) for key, node in graph.nodes.items()),
        *(_label(label) for label in layout.labels.values()),
        *(_label(route.label) for route in layout.routes if route.label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _line(layout: Layout, route: Route) -> str:
    nodes, edge = layout.graph.nodes, route.edge
    dash = ' stroke-dasharray="1 4" stroke-linecap="round"' if edge.is_association else ""
    if nodes[edge.source].kind in _DASHED:
        dash = ' stroke-dasharray="6 4"'
    path = "M" + "L".join(f"{x} {y}" for x, y in route.points)
    return f'<path d="{path}"{dash} marker-end="url(#arrow)"/>'


def _shape(node: Node, bounds: Bounds) -> str:
    x, y, width, height = bounds.x, bounds.y, bounds.width, bounds.height
    if node.kind is Kind.STEP:
        return "".join(_step(node, bounds))
    middle = f'<g transform="translate({x + width // 2} {y + height // 2})" stroke="{_STROKE.get(node.kind, _INK)}">'
    radius = width // 2
    thick = ' stroke-width="3"' if node.kind is Kind.END else ""
    if node.kind in GATEWAYS:
        outline = f'<path d="M0-{radius} {radius} 0 0 {radius}-{radius} 0Z" fill="{_PAPER}"/>'
    else:
        outline = f'<circle r="{radius}" fill="{_PAPER}"{thick}/>'
    return f"{middle}{outline}{_MARKS.get(node.kind, '')}</g>"


def _step(node: Node, bounds: Bounds) -> Iterator[str]:
    assert node.step is not None
    x, y, width, height = bounds.x, bounds.y, bounds.width, bounds.height
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="#eef4fb"/>'
    lines = [
        (shortened(node.step.step_id, 22), f' fill="{_INK}" font-weight="bold"'),
        *((line, f' fill="{_INK}"') for line in wrapped(node.label, 22, 2)),
    ]
    lines.append((shortened(node.step.skill_id, 22), ' fill="#5b6b7a"'))
    if node.is_undo:
        yield f'<path d="M{x + width // 2} {y + height - 11}v8l-8-4ZM{x + width // 2 + 8} {y + height - 11}v8l-8-4Z"/>'
    top = y + height // 2 - LINE_HEIGHT * len(lines) // 2 + 11
    for place, (line, style) in enumerate(lines):
        yield (
            f'<text x="{x + width // 2}" y="{top + LINE_HEIGHT * place}" text-anchor="middle" '
            f'stroke="none"{style}>{_text(line)}</text>'
        )


def _label(label: Label) -> str:
    bounds = label.bounds
    return "".join(
        f'<text x="{bounds.x + bounds.width // 2}" y="{bounds.y + 11 + LINE_HEIGHT * place}" '
        f'text-anchor="middle" fill="{_INK}" stroke="none">{_text(line)}</text>'
        for place, line in enumerate(label.lines)
    )


def _text(text: str) -> str:
    return escape(printable(text))
