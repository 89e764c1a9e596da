"""The graph: a peer reads it, its edges say what the rows say, and an edge that does not is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from registry.access import PLATFORM
from registry.database import Registry
from registry.forms.sheets import FormRefused
from registry.forms.transfer import export, import_, snapshot

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def path(loaded: Registry, tmp_path: Path) -> Path:
    export(loaded, "graph", tmp_path / "graph.json")
    return tmp_path / "graph.json"


def refusals(path: Path, value: Any) -> list[str]:
    path.write_text(json.dumps(value))
    fresh = Registry.open(path.parent / "fresh.db")
    with pytest.raises(FormRefused) as caught:
        import_(fresh, path, operator="me", principal=lambda: PLATFORM, now=NOW)
    with fresh.read() as connection:
        assert not any(snapshot(connection).values())
    fresh.close()
    return [f"{fault.document}: {fault.problem}" for fault in caught.value.faults]


def test_networkx_reads_it_and_sees_what_the_blueprint_draws(loaded: Registry, path: Path) -> None:
    """Section 9's path, who supervises whom, which event starts what: by a library that knows nothing of us."""
    graph = nx.node_link_graph(json.loads(path.read_text()), edges="edges")
    with loaded.read() as connection:
        assert graph.number_of_nodes() == sum(map(len, snapshot(connection).values()))
    relations = {
        (source.partition(":")[2], target.partition(":")[2], key) for source, target, key in graph.edges(keys=True)
    }
    assert {(one, two) for one, two, key in relations if key == "next" and one.startswith("F-0")} == {
        *(("F-01", "F-02"), ("F-01", "F-03"), ("F-02", "F-03"), ("F-02", "F-04"), ("F-03", "F-04"), ("F-04", "F-05"))
    }
    assert {
        ("FA-D-001", "FA-M-001", "supervises"),
        ("FA-IC-001", "WF-FIN-001", "owns"),
        ("F-02", "SK-LOGIC-003", "uses"),
        ("WF-FIN-001", "F-02", "has_step"),
        ("TR-FIN-001", "WF-FIN-001", "triggers"),
        ("ap.invoice.received/1", "TR-FIN-001", "announces"),
        ("WF-FIN-001", "workflow/WF-FIN-001/1.3.0", "has_version"),
    } <= relations
    assert {key for _, _, key in relations} >= {"granted", "permits", "acts_as", "narrower", "tagged"}
    assert all(graph.nodes[node] for node in graph)  # an edge to nowhere would have made an empty one


def test_an_edge_that_no_row_states_is_refused(path: Path) -> None:
    """Somebody drew an arrow; which of the two would hold?"""
    value = json.loads(path.read_text())
    value["edges"].append({"source": "step_action:F-01", "target": "step_action:F-05", "key": "next"})
    gone = value["edges"].pop(0)
    said = refusals(path, value)
    assert (
        f"graph.json edges {len(value['edges'])}: step_action:F-01 step_action:F-05 next does not follow from the nodes"
        in said
    )
    assert any(gone["key"] in line and gone["source"] in line and "has no edge" in line for line in said)


def test_a_node_under_another_name_is_refused(path: Path) -> None:
    """Its edges would lead to somebody else."""
    value = json.loads(path.read_text())
    value["nodes"][0]["id"] = "role:somebody"
    assert any("its id is not role:" in line for line in refusals(path, value))


def test_what_is_no_node_is_refused(path: Path) -> None:
    """A graph of another tool."""
    assert refusals(path, {"nodes": [{"id": 1}], "edges": [{"source": 1, "target": 2}]}) == [
        "graph.json nodes 1: is no node of a registry",
        "graph.json edges 1: is no edge",
    ]
