"""How lines run between layers: at right angles, each on a track of its own, through no shape.

Between two layers lies a channel without shapes; a line changes its height nowhere else. Lines that leave one place
share a trunk. A line that leads back goes over the top of the picture, on a lane of its own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from registry.diagrams.layers import Cell, Link

Point = tuple[int, int]
_TRACK, _MARGIN, _LANE = 12, 18, 18
"""Pixels between tracks, beside them, and between lanes."""
_TOUCH, _OVERLAP = 5, 20
"""What a line's end on another line costs, and two lines on one, in crossings."""


@dataclass
class _Trunk:
    """Lines that leave one place, in one channel.

    Attributes:
        comes, goes: the heights at which they come from the left and go on to the right.
        low, high: how far up and down it reaches.
    """

    comes: set[int] = field(default_factory=set)
    goes: set[int] = field(default_factory=set)
    low: float = inf
    high: float = -inf
    x: int = 0

    def reach(self, *heights: int) -> None:
        self.low, self.high = min(self.low, *heights), max(self.high, *heights)

    def cost_left_of(self, right: "_Trunk") -> int:
        crossed = sum(_cost(height, right) for height in self.goes - right.goes)
        crossed += sum(_cost(height, self) for height in right.comes - self.comes)
        return crossed + _OVERLAP * len(self.goes & right.comes)


def _cost(height: int, trunk: _Trunk) -> int:
    if trunk.low < height < trunk.high:
        return 1
    return _TOUCH if height in (trunk.low, trunk.high) else 0


@dataclass(frozen=True)
class Routed:
    """Where columns and lines are.

    Attributes:
        middles: the x of each layer's middle.
        lines: per link the points between its ends, ends excluded.
        lanes: link's index -> the height of its lane above the picture.
    """

    middles: list[int]
    lines: list[list[Point]]
    lanes: dict[int, int]


def route(cells: Sequence[Cell], layers: Sequence[Sequence[int]], links: Sequence[Link]) -> Routed:
    """Return where the lines of an arranged graph run."""
    lanes = _lanes(cells, links)
    channels: list[dict[object, _Trunk]] = [defaultdict(_Trunk) for _ in range(len(layers) + 1)]
    passed: list[list[tuple[_Trunk, int, int]]] = []  # per link: trunk, height before, height behind
    for number, link in enumerate(links):
        source, target = cells[link.source], cells[link.target]
        leaves, enters = source.y + link.leaves, target.y + link.enters
        heights = [leaves, *(cells[index].y for index in link.chain[1:-1]), enters]
        port = (link.source, link.leaves)
        if link.is_back:
            out, back = channels[source.layer + 1][port], channels[target.layer][("back", number)]
            passed.append([(out, leaves, lanes[number]), (back, lanes[number], enters)])
            out.comes.add(leaves)
            back.goes.add(enters)
        else:
            passed.append([])
            for place, (before, behind) in enumerate(pairwise(heights)):
                trunk = channels[source.layer + 1 + place][port if place == 0 else ("slot", link.chain[place])]
                passed[-1].append((trunk, before, behind))
                trunk.comes.add(before)
                trunk.goes.add(behind)
    for wires in passed:
        for trunk, before, behind in wires:
            trunk.reach(before, behind)
    middles = _set_columns(cells, layers, [_tracks(list(trunks.values())) for trunks in channels])
    lines = [
        [
            point
            for trunk, before, behind in wires
            if before != behind
            for point in ((trunk.x, before), (trunk.x, behind))
        ]
        for wires in passed
    ]
    return Routed(middles, lines, lanes)


def _lanes(cells: Sequence[Cell], links: Sequence[Link]) -> dict[int, int]:
    """Return the height of each lane: the shorter the way back, the nearer to the shapes."""
    height = min((cell.y - cell.above for cell in cells), default=0)
    back = [(cells[link.source].layer - cells[link.target].layer, n) for n, link in enumerate(links) if link.is_back]
    lanes: dict[int, int] = {}
    for _, number in sorted(back):
        height -= _LANE
        lanes[number] = height
        label = links[number].label
        height -= label[1] if label else 0
    return lanes


def _tracks(trunks: list[_Trunk]) -> list[_Trunk]:
    """Return the trunks that need a track, from left to right, each put where it costs least."""
    ordered: list[_Trunk] = []
    for trunk in sorted((t for t in trunks if t.low != t.high), key=lambda t: (t.low, t.high)):
        # What each place costs more than the leftmost one: one more trunk stands before it, not behind.
        costs = [0]
        for other in ordered:
            costs.append(costs[-1] + other.cost_left_of(trunk) - trunk.cost_left_of(other))
        ordered.insert(costs.index(min(costs)), trunk)
    return ordered


def _set_columns(cells: Sequence[Cell], layers: Sequence[Sequence[int]], tracks: Sequence[list[_Trunk]]) -> list[int]:
    """Give every trunk its x, and return the x of each layer's middle."""
    x, middles = 0, []
    for number, trunks in enumerate(tracks):
        x += _MARGIN
        for trunk in trunks:
            trunk.x = x
            x += _TRACK
        x += _MARGIN - (_TRACK if trunks else 0)
        if number < len(layers):
            width = max(cells[index].width for index in layers[number])
            middles.append(x + width // 2)
            x += width
    return middles
