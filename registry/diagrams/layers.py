"""Where the nodes of a graph stand, from left to right: Sugiyama's method.

Layers by longest path once the edges that lead back are set aside; a slot in every layer that a long edge passes, so
that no line runs through a shape; the order within a layer by barycentres, the best of a fixed number of sweeps kept;
heights that straighten lines. Everything is decided by the order of what is given: the same graph, the same picture.

Sources: K. Sugiyama, S. Tagawa, M. Toda, Methods for Visual Understanding of Hierarchical System Structures (1981);
isotonic regression by pool adjacent violators (R. E. Barlow et al., 1972) for the heights.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import accumulate, pairwise
from statistics import median_low

_SWEEPS = 12
_GAP, _SLOT_GAP = 28, 16
"""Pixels between shapes one below the other, and beside the slot of a passing line."""
_ENDS_GAP, _CORNER = 16, 12
"""Pixels between the ends of lines on a side of a shape, and from its corners; a low shape has one place for all."""


@dataclass
class Cell:
    """Room for a shape, or a slot for a line that passes.

    Attributes:
        width: pixels.
        above, below: pixels from the line on which it is entered and left.
        is_slot: nothing but a line is drawn here, and the line's label.
        y: the height of that line, once it is known.
    """

    width: int
    above: int
    below: int
    is_slot: bool = False
    layer: int = 0
    y: int = 0


@dataclass
class Link:
    """A line from cell to cell, by their indices.

    Attributes:
        leaves, enters: pixels below the source's and the target's line.
        label: width and height of the text on it, if it has one.
        chain: the cells it goes through, both ends included; of a link that leads back only the ends.
        label_cell: the slot that holds its label.
    """

    source: int
    target: int
    leaves: int = 0
    enters: int = 0
    label: tuple[int, int] | None = None
    is_back: bool = False
    chain: list[int] = field(default_factory=list)
    label_cell: int | None = None


def arrange(cells: list[Cell], links: Sequence[Link]) -> list[list[int]]:
    """Give every cell its layer and height, add the slots of long lines, and return the layers from top to bottom."""
    _find_back_links(len(cells), links)
    forward = [link for link in links if not link.is_back]
    _layer(cells, forward)
    _add_slots(cells, forward)
    layers: list[list[int]] = [[] for _ in range(max((cell.layer for cell in cells), default=-1) + 1)]
    for index, cell in enumerate(cells):
        layers[cell.layer].append(index)
    layers = _ordered(cells, layers, _segments(forward))
    _spread_entries(cells, layers, links)
    _set_heights(cells, layers, _segments(forward))
    _straighten_ends(cells, links)
    return layers


def _find_back_links(count: int, links: Sequence[Link]) -> None:
    """Mark the links that close a cycle in a depth-first walk in the order of the cells."""
    leaving = defaultdict(list)
    for link in links:
        leaving[link.source].append(link)
    state = [0] * count  # 1: on the walk's path, 2: done
    for start in range(count):
        path = [(start, iter(leaving[start]))] if not state[start] else []
        state[start] = state[start] or 1
        while path:
            index, remaining = path[-1]
            for link in remaining:
                if state[link.target] == 0:
                    state[link.target] = 1
                    path.append((link.target, iter(leaving[link.target])))
                    break
                link.is_back = state[link.target] == 1
            else:
                state[index] = 2
                path.pop()


def _layer(cells: list[Cell], links: Sequence[Link]) -> None:
    """Set layers by longest path; a labelled link takes a layer more, in which its label stands."""
    waiting = [0] * len(cells)
    leaving = defaultdict(list)
    for link in links:
        waiting[link.target] += 1
        leaving[link.source].append(link)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    for index in ready:  # grows while it is walked
        for link in leaving[index]:
            target = cells[link.target]
            target.layer = max(target.layer, cells[index].layer + (2 if link.label else 1))
            waiting[link.target] -= 1
            if waiting[link.target] == 0:
                ready.append(link.target)


def _add_slots(cells: list[Cell], links: Sequence[Link]) -> None:
    for link in links:
        first, last = cells[link.source].layer + 1, cells[link.target].layer
        slots = range(len(cells), len(cells) + last - first)
        width, height = link.label or (0, 0)
        for layer in range(first, last):
            is_labelled = layer == first and link.label is not None
            cells.append(Cell(width if is_labelled else 0, height if is_labelled else 0, 0, is_slot=True, layer=layer))
        link.label_cell = slots[0] if link.label else None
        link.chain = [link.source, *slots, link.target]


@dataclass(frozen=True)
class _Segment:
    """The part of a link between two neighbouring layers."""

    left: int
    right: int
    leaves: int
    link: Link
    is_last: bool

    @property
    def enters(self) -> int:
        return self.link.enters if self.is_last else 0


def _segments(links: Sequence[Link]) -> list[_Segment]:
    return [
        _Segment(left, right, link.leaves if number == 0 else 0, link, number == len(link.chain) - 2)
        for link in links
        for number, (left, right) in enumerate(pairwise(link.chain))
    ]


def _by_cell(segments: list[_Segment]) -> tuple[dict[int, list[_Segment]], dict[int, list[_Segment]]]:
    """Return the segments that lead to each cell and those that leave it."""
    before: dict[int, list[_Segment]] = defaultdict(list)
    after: dict[int, list[_Segment]] = defaultdict(list)
    for segment in segments:
        before[segment.right].append(segment)
        after[segment.left].append(segment)
    return before, after


def _ordered(cells: list[Cell], layers: list[list[int]], segments: list[_Segment]) -> list[list[int]]:
    """Return the layers in an order with few crossings."""
    before, after = _by_cell(segments)
    best, fewest = layers, _crossings(cells, layers, segments)
    layers = [list(layer) for layer in layers]
    rank = {index: place for layer in layers for place, index in enumerate(layer)}
    for sweep in range(_SWEEPS):
        is_forward = sweep % 2 == 0
        for layer in layers if is_forward else reversed(layers):
            barycentres = {}
            for index in layer:
                if is_forward:
                    places = [rank[s.left] + s.leaves / 1000 for s in before[index]]
                else:
                    places = [rank[s.right] - s.leaves / 1000 for s in after[index]]
                barycentres[index] = sum(places) / len(places) if places else rank[index]
            layer.sort(key=barycentres.__getitem__)
            rank.update((index, place) for place, index in enumerate(layer))
        crossings = _crossings(cells, layers, segments)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _crossings(cells: list[Cell], layers: list[list[int]], segments: list[_Segment]) -> int:
    """Count the pairs of segments that cross between two layers, as inversions."""
    rank = {index: place for order in layers for place, index in enumerate(order)}
    between: dict[int, list[tuple[tuple[int, int], int]]] = defaultdict(list)
    for segment in segments:
        between[cells[segment.left].layer].append(((rank[segment.left], segment.leaves), rank[segment.right]))
    count = 0
    for pairs in between.values():
        seen: list[int] = []
        for _, right in sorted(pairs):
            count += len(seen) - bisect_right(seen, right)
            insort(seen, right)
    return count


def _spread_entries(cells: list[Cell], layers: list[list[int]], links: Sequence[Link]) -> None:
    """Let links that enter one tall cell do so one below the other, in the order in which they come."""
    rank = {index: place for order in layers for place, index in enumerate(order)}
    entering = defaultdict(list)
    for link in links:
        entering[link.target].append(link)
    for index, found in entering.items():
        room = cells[index].above - _CORNER
        if len(found) < 2 or room < _ENDS_GAP:
            continue
        found.sort(key=lambda link: (-1, 0) if link.is_back else (rank[link.chain[-2]], link.leaves))
        step = min(_ENDS_GAP, 2 * room / (len(found) - 1))
        for place, link in enumerate(found):
            link.enters = round((place - (len(found) - 1) / 2) * step)


def _set_heights(cells: list[Cell], layers: list[list[int]], segments: list[_Segment]) -> None:
    """Set heights that straighten lines; within a layer everything keeps its distance.

    Sweeps to and fro let each layer follow the one before it; then what can stand on one straight line is put there.
    """
    before, after = _by_cell(segments)
    for layer in layers:
        _place(cells, layer, [0] * len(layer))
    for sweep in range(_SWEEPS + 1):
        is_forward = sweep % 2 == 0
        for layer in layers if is_forward else reversed(layers):
            wanted = []
            for index in layer:
                if is_forward:
                    heights = [cells[s.left].y + s.leaves - s.enters for s in before[index]]
                else:
                    heights = [cells[s.right].y + s.enters - s.leaves for s in after[index]]
                wanted.append(median_low(heights) if heights else cells[index].y)
            _place(cells, layer, wanted)
    _settle(cells, layers, _straight_segments(cells, layers, segments))


def _straight_segments(cells: list[Cell], layers: list[list[int]], segments: list[_Segment]) -> list[_Segment]:
    """Return segments that can all be straight: the only ones of their target, one per source, none crossing another.

    U. Brandes, B. Köpf, Fast and Simple Horizontal Coordinate Assignment (2001), reduced to one alignment.
    """
    before, _ = _by_cell(segments)
    rank = {index: place for order in layers for place, index in enumerate(order)}
    chosen: dict[int, list[_Segment]] = defaultdict(list)
    sources: set[int] = set()
    for segment in sorted(segments, key=lambda s: (not (cells[s.left].is_slot and cells[s.right].is_slot), s.leaves)):
        beside = chosen[cells[segment.left].layer]
        place = rank[segment.left], rank[segment.right]
        crosses = any((rank[s.left] < place[0]) != (rank[s.right] < place[1]) for s in beside)
        if len(before[segment.right]) == 1 and segment.left not in sources and not crosses:
            beside.append(segment)
            sources.add(segment.left)
    return [segment for layer in sorted(chosen) for segment in chosen[layer]]


def _settle(cells: list[Cell], layers: list[list[int]], straight: list[_Segment]) -> None:
    """Move cells so that the given segments are straight, distances kept: halfway between all down and all up."""
    block, offset = list(range(len(cells))), [0] * len(cells)
    for segment in straight:  # from left to right
        block[segment.right] = block[segment.left]
        offset[segment.right] = offset[segment.left] + segment.leaves - segment.enters
    wanted = defaultdict(list)
    for index, cell in enumerate(cells):
        wanted[block[index]].append(cell.y - offset[index])
    order = TopologicalSorter[int]({root: set() for root in wanted})
    distances: dict[tuple[int, int], int] = {}
    for upper, lower in (pair for layer in layers for pair in pairwise(layer)):
        pair = block[upper], block[lower]
        order.add(pair[1], pair[0])
        distance = _distance(cells[upper], cells[lower]) + offset[upper] - offset[lower]
        distances[pair] = max(distance, distances.get(pair, distance))
    above, below = defaultdict(list), defaultdict(list)
    for (upper, lower), distance in distances.items():
        above[lower].append((upper, distance))
        below[upper].append((lower, distance))
    down = {root: median_low(heights) for root, heights in wanted.items()}
    up = dict(down)
    sequence = list(order.static_order())
    for root in sequence:
        down[root] = max([down[root], *(down[other] + distance for other, distance in above[root])])
    for root in reversed(sequence):
        up[root] = min([up[root], *(up[other] - distance for other, distance in below[root])])
    for index, cell in enumerate(cells):
        cell.y = (down[block[index]] + up[block[index]]) // 2 + offset[index]


def _distance(upper: Cell, lower: Cell) -> int:
    return upper.below + (_SLOT_GAP if upper.is_slot or lower.is_slot else _GAP) + lower.above


def _place(cells: list[Cell], layer: list[int], wanted: Sequence[int]) -> None:
    """Move a layer's cells to where they are wanted, as near as their order and distances allow."""
    distances = [_distance(cells[upper], cells[lower]) for upper, lower in pairwise(layer)]
    weights = [4 if cells[index].is_slot else 1 for index in layer]
    for index, height in zip(layer, _nearest(wanted, distances, weights), strict=True):
        cells[index].y = height


def _nearest(
    wanted: Sequence[int], distances: Sequence[int], weights: Sequence[int], room: int | None = None
) -> list[int]:
    """Return the heights nearest to those wanted (weighted least squares) that keep at least these distances.

    Args:
        room: if given, all of them lie between -room and +room.
    """
    offsets = list(accumulate(distances, initial=0))
    blocks: list[tuple[float, int, int]] = []  # mean, weight, count
    for height, offset, weight in zip(wanted, offsets, weights, strict=True):
        block = (float(height - offset), weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, weight_, count = blocks.pop()
            total = weight_ + block[1]
            block = ((mean * weight_ + block[0] * block[1]) / total, total, count + block[2])
        blocks.append(block)
    bases = [round(mean) for mean, _, count in blocks for _ in range(count)]
    if room is not None:
        bases = [max(-room, min(base, room - offsets[-1])) for base in bases]
    return [base + offset for base, offset in zip(bases, offsets, strict=True)]


def _straighten_ends(cells: list[Cell], links: Sequence[Link]) -> None:
    """Move the ends of lines along the sides of tall cells to where the lines come from and go to."""
    leaving, entering = defaultdict(list), defaultdict(list)
    for link in links:
        entering[link.target].append(link)
        if link.leaves == 0:
            leaving[link.source].append(link)
    for index, cell in enumerate(cells):
        room = cell.above - _CORNER
        if cell.is_slot or room < _ENDS_GAP:
            continue
        if len(leaving[index]) == 1 and not leaving[index][0].is_back:
            (link,) = leaving[index]
            goes_to = cells[link.chain[1]]
            if len(link.chain) > 2 or goes_to.above - _CORNER < _ENDS_GAP:
                (link.leaves,) = _nearest([goes_to.y - cell.y], [], [1], room)
        if not (found := sorted(entering[index], key=lambda link: link.enters)):
            continue
        wanted = [-room if k.is_back else cells[k.chain[-2]].y + _leaves_at_end(k) - cell.y for k in found]
        gap = min(_ENDS_GAP, 2 * room // max(1, len(found) - 1))
        for link, enters in zip(
            found, _nearest(wanted, [gap] * (len(found) - 1), [1] * len(found), room), strict=False
        ):
            link.enters = enters


def _leaves_at_end(link: Link) -> int:
    return link.leaves if len(link.chain) == 2 else 0
