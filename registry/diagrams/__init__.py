"""Pictures of workflows: one graph, written as Mermaid, BPMN 2.0 and SVG."""

from registry.diagrams.bpmn import to_bpmn
from registry.diagrams.graph import Graph, graph_of
from registry.diagrams.mermaid import to_mermaid
from registry.diagrams.svg import to_svg

__all__ = ["Graph", "graph_of", "to_bpmn", "to_mermaid", "to_svg"]
