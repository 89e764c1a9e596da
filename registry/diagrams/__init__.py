"""Pictures of workflows: one graph, written as Mermaid, BPMN 2.0 and SVG."""

from registry.diagrams.graph import Graph, graph_of
from registry.diagrams.mermaid import to_mermaid

__all__ = ["Graph", "graph_of", "to_mermaid"]
