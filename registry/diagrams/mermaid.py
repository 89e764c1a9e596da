"""A workflow as a Mermaid flowchart: steps and gateways are nodes; what an event says stands on the way behind it."""

from collections.abc import Callable

from registry.diagrams.graph import Graph, Kind, Node
from registry.diagrams.words import shortened

_LONGEST = 60
_ON_EDGES = {Kind.MESSAGE: "{}", Kind.TIMER: "{}", Kind.ERROR: "on error", Kind.COMPENSATION: "undone by"}
_DASHED = frozenset((Kind.TIMER, Kind.ERROR, Kind.COMPENSATION))
_SHAPES: dict[Kind, Callable[[str], str]] = {
    Kind.START: lambda text: f'(["{text}"])',
    Kind.STEP: lambda text: f'["{text}"]',
    Kind.DECISION: lambda text: '{"?"}',
    Kind.PARALLEL: lambda text: '{"+"}',
    Kind.FIRST: lambda text: '{"first"}',
    Kind.WAIT: lambda text: '{{"waits"}}',
    Kind.END: lambda text: f'(["{text}"])',
}


def to_mermaid(graph: Graph) -> str:
    """Return the flowchart, from left to right. Errors, timeouts and what undoes are dashed."""
    names = {key: f"n{number}" for number, key in enumerate(k for k, n in graph.nodes.items() if n.kind in _SHAPES)}
    lines = ["flowchart LR"]
    lines += [f"    {name}{_SHAPES[graph.nodes[key].kind](_text(graph.nodes[key]))}" for key, name in names.items()]
    before = {edge.target: edge.source for edge in graph.edges if graph.nodes[edge.target].kind in _ON_EDGES}
    for edge in graph.edges:
        source, target = graph.nodes[edge.source], graph.nodes[edge.target]
        if target.kind in _ON_EDGES:
            continue
        words, is_dashed = [edge.label], edge.is_association
        if source.kind in _ON_EDGES:
            words.insert(0, _ON_EDGES[source.kind].format(source.label))
            is_dashed = is_dashed or source.kind in _DASHED
            source = graph.nodes[source.host or before[source.key]]
        said = shortened(" ".join(filter(None, words)), _LONGEST)
        label = f'|"{escaped(said)}"|' if said else ""
        lines.append(f"    {names[source.key]} {'-.->' if is_dashed else '-->'}{label} {names[target.key]}")
    return "\n".join(lines) + "\n"


def _text(node: Node) -> str:
    words = escaped(shortened(node.label, _LONGEST))
    if node.kind is not Kind.STEP or node.step is None:
        return words
    return f"<b>{escaped(node.step.step_id)}</b> {words}<br>{escaped(node.step.skill_id)}"


def escaped(text: str) -> str:
    """Return `text` such that Mermaid shows it and reads nothing in it: what is no letter, digit or plain sign, by its
    number. `#` and `;` are entities there, `<` is HTML, quotes and brackets end a label, backquotes begin Markdown."""
    return "".join(
        character if character.isalnum() or character in " ,.:-_/≥≤…" else f"#{ord(character)};" for character in text
    )
