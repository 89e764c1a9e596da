"""A graph with coordinates, in pixels from the top left: what BPMN's diagram interchange and SVG are written from."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len, chop_cells

from registry.diagrams.channels import Point, route
from registry.diagrams.graph import BOUNDARY, GATEWAYS, Edge, Graph, Kind, Node
from registry.diagrams.layers import Cell, Link, arrange

STEP_WIDTH, STEP_HEIGHT, GATEWAY, EVENT = 150, 80, 50, 36
LINE_HEIGHT = 14
_CHARACTER = 6.4
"""Mean width of a character of a label."""
_LABEL_CHARACTERS, _LABEL_LINES = 15, 4
"""A viewer of BPMN gives the text beside a shape 90 pixels; ours keeps to that, so that both break it alike."""
_BREAK = re.compile(r"(?<=[._:/-])(?=[^\W\d])|(?=\s)")
_EDGE_PADDING = 4
_LANE = 14
"""Pixels between the lines that leave events on one boundary."""
_CORNER = 4
"""Pixels from an event on a boundary to the corner of its step: the text has the middle."""
_MARGIN = 30


@dataclass(frozen=True)
class Bounds:
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Label:
    """A text beside a shape or on a line."""

    bounds: Bounds
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """An edge's line: points at right angles, from the source's boundary to the target's."""

    edge: Edge
    points: tuple[Point, ...]
    label: Label | None


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        shapes, labels: by the node's key.
        width, height: of the whole, margins included.
    """

    graph: Graph
    shapes: Mapping[str, Bounds]
    labels: Mapping[str, Label]
    routes: tuple[Route, ...]
    width: int
    height: int


def wrapped(text: str, characters: int = _LABEL_CHARACTERS, lines: int = _LABEL_LINES) -> tuple[str, ...]:
    """Return `text` in lines of a label; names break behind their signs, what is too long is cut with a sign."""
    found = [""]
    for piece in _BREAK.split(" ".join(text.split())[: characters * (lines + 1)]):
        if found[-1] and cell_len(found[-1] + piece) > characters:
            found.append("")
        found[-1] += piece if found[-1] else piece.lstrip()
        if cell_len(found[-1]) > characters:
            found[-1:] = chop_cells(found[-1], characters)
    if len(found) > lines:
        found[lines - 1 :] = [found[lines - 1][: characters - 1] + "…"]
    return tuple(found) if found != [""] else ()


def lay_out(graph: Graph) -> Layout:
    """Return where the shapes, lines and labels of a graph stand, from left to right."""
    return _Layouter(graph).layout()


class _Layouter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.texts = {node.key: wrapped(node.label) for node in graph.nodes.values() if _is_labelled_beside(node)}
        self.guests: dict[str, list[str]] = defaultdict(list)
        for node in graph.nodes.values():
            if node.host:
                self.guests[node.host].append(node.key)
        self.keys = [key for key, node in graph.nodes.items() if node.host is None]
        self.index = {key: number for number, key in enumerate(self.keys)}
        self.cells = [self._cell(graph.nodes[key]) for key in self.keys]
        self.links = [self._link(edge) for edge in graph.edges]

    def _cell(self, node: Node) -> Cell:
        width, height = size_of(node)
        lines = self.texts.get(node.key, ())
        below = height // 2 + LINE_HEIGHT * len(lines)
        if guests := self.guests[node.key]:
            below += EVENT // 2 + _LANE * len(guests)
        return Cell(max(width, _text_width(lines)), height // 2, below)

    def _link(self, edge: Edge) -> Link:
        source = self.graph.nodes[edge.source]
        label = None
        if edge.label:
            lines = wrapped(edge.label)
            label = (_text_width(lines), LINE_HEIGHT * len(lines) + _EDGE_PADDING)
        leaves = self._lane(source) if source.host else 0
        return Link(self.index[source.host or source.key], self.index[edge.target], leaves, label=label)

    def _lane(self, guest: Node) -> int:
        """Return how far below its step's middle the line of an event on its boundary runs: the right one highest."""
        assert guest.host is not None
        return STEP_HEIGHT // 2 + EVENT // 2 + _LANE * (1 + self.guests[guest.host].index(guest.key)) - 4

    def layout(self) -> Layout:
        layers = arrange(self.cells, self.links)
        routed = route(self.cells, layers, self.links)
        top = min(cell.y - cell.above for cell in self.cells)
        top = min([top, *(lane - (self.links[n].label or (0, 0))[1] for n, lane in routed.lanes.items())])
        bottom = max(cell.y + cell.below for cell in self.cells)
        right = max(routed.middles[cell.layer] + cell.width // 2 for cell in self.cells)
        right = max([right, *(x for line in routed.lines for x, _ in line)])
        self.middles, self.down = [middle + _MARGIN for middle in routed.middles], _MARGIN - top
        shapes = dict(self._shapes())
        routes = []
        for number, (edge, link) in enumerate(zip(self.graph.edges, self.links, strict=True)):
            line = [(x + _MARGIN, y + self.down) for x, y in routed.lines[number]]
            lane = routed.lanes.get(number)
            routes.append(self._route(edge, link, line, shapes, None if lane is None else lane + self.down))
        width, height = right + 2 * _MARGIN, bottom - top + 2 * _MARGIN
        return Layout(self.graph, shapes, dict(self._labels(shapes)), tuple(routes), width, height)

    def _shapes(self) -> Iterator[tuple[str, Bounds]]:
        for key, cell in zip(self.keys, self.cells, strict=False):  # the slots come behind the shapes
            width, height = size_of(self.graph.nodes[key])
            x, y = self.middles[cell.layer] - width // 2, cell.y + self.down - height // 2
            yield key, Bounds(x, y, width, height)
            for place, guest in enumerate(self.guests[key]):
                beside = x + _CORNER if place else x + width - EVENT - _CORNER
                yield guest, Bounds(beside, y + height - EVENT // 2, EVENT, EVENT)

    def _labels(self, shapes: Mapping[str, Bounds]) -> Iterator[tuple[str, Label]]:
        for key, lines in self.texts.items():
            if lines:
                shape, width = shapes[key], _text_width(lines)
                x = shape.x + shape.width // 2 - width // 2
                yield key, Label(Bounds(x, shape.y + shape.height, width, LINE_HEIGHT * len(lines)), lines)

    def _route(
        self, edge: Edge, link: Link, line: list[Point], shapes: Mapping[str, Bounds], lane: int | None
    ) -> Route:
        source, target = shapes[edge.source], shapes[edge.target]
        leaves = self.cells[link.source].y + link.leaves + self.down
        end = (target.x, self.cells[link.target].y + link.enters + self.down)
        if self.graph.nodes[edge.source].host:
            middle = source.x + source.width // 2
            start = [(middle, source.y + source.height), (middle, leaves)]
        else:
            start = [(source.x + source.width, leaves)]
        label = None
        if link.label:
            width, height = link.label
            if lane is None:
                assert link.label_cell is not None
                slot = self.cells[link.label_cell]
                middle, base = self.middles[slot.layer], slot.y + self.down
            else:
                middle, base = (line[1][0] + line[2][0]) // 2, lane
            bounds = Bounds(middle - width // 2, base - height, width, height - _EDGE_PADDING)
            label = Label(bounds, wrapped(edge.label))
        return Route(edge, _straight([*start, *line, end]), label)


def _is_labelled_beside(node: Node) -> bool:
    """Tell whether a node's text stands below it: events, but those on a boundary, whose signs say it all."""
    return node.kind is not Kind.STEP and node.kind not in GATEWAYS and node.kind not in BOUNDARY


def size_of(node: Node) -> tuple[int, int]:
    """Return width and height of a node's shape."""
    if node.kind is Kind.STEP:
        return STEP_WIDTH, STEP_HEIGHT
    return (GATEWAY, GATEWAY) if node.kind in GATEWAYS else (EVENT, EVENT)


def _text_width(lines: tuple[str, ...]) -> int:
    return round(max(map(cell_len, lines)) * _CHARACTER) + 8 if lines else 0


def _straight(points: list[Point]) -> tuple[Point, ...]:
    """Return the points without those on a straight line between their neighbours."""
    kept = [points[0]]
    for point, behind in pairwise(points[1:]):
        before = kept[-1]
        if point != before and not (before[0] == point[0] == behind[0] or before[1] == point[1] == behind[1]):
            kept.append(point)
    return (*kept, points[-1])
