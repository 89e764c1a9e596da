"""A workflow as BPMN 2.0 (OMG formal/2011-01-03): its meaning, and its picture as diagram interchange.

A step's documentation holds what BPMN has no word for, as JSON: skill, parameters, limits and the logic as written.
Conditions are CEL. The process is not executable as it stands: the skills behind its tasks are ours.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from lxml import etree

from guard.canonical import canonical
from registry.diagrams.graph import Edge, Graph, Kind, Node, xml_name
from registry.diagrams.layout import Bounds, Label, Layout, lay_out
from registry.diagrams.words import printable, shortened

CEL = "https://cel.dev"
"""The language of expressions, as the URI that BPMN wants."""

_MODEL = "http://www.omg.org/spec/BPMN/20100524/MODEL"
_NAMESPACES = {
    None: _MODEL,
    "bpmndi": "http://www.omg.org/spec/BPMN/20100524/DI",
    "dc": "http://www.omg.org/spec/DD/20100524/DC",
    "di": "http://www.omg.org/spec/DD/20100524/DI",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
_TASKS = {
    "handoff": "userTask",
    "notify": "sendTask",
    "logic_check": "businessRuleTask",
    "branch": "businessRuleTask",
}
_ELEMENTS = {
    Kind.START: "startEvent",
    Kind.DECISION: "exclusiveGateway",
    Kind.PARALLEL: "parallelGateway",
    Kind.FIRST: "complexGateway",
    Kind.WAIT: "eventBasedGateway",
    Kind.MESSAGE: "intermediateCatchEvent",
    Kind.TIMER: "intermediateCatchEvent",
    Kind.ERROR: "boundaryEvent",
    Kind.COMPENSATION: "boundaryEvent",
    Kind.END: "endEvent",
}


def to_bpmn(graph: Graph) -> str:
    """Return the workflow as a BPMN 2.0 document in UTF-8."""
    root = _Writer(lay_out(graph)).definitions()
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True).decode()


class _Writer:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.graph = layout.graph
        self.ids = {edge: f"flow_{number}" for number, edge in enumerate(self.graph.edges, 1)}
        self.incoming: dict[str, list[Edge]] = defaultdict(list)
        self.outgoing: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.graph.edges:
            if not edge.is_association:
                self.outgoing[edge.source].append(edge)
                self.incoming[edge.target].append(edge)
        self.labels = {route.edge: route.label for route in layout.routes}
        self.messages: dict[str, str] = {}

    def definitions(self) -> Any:
        workflow = self.graph.workflow
        root = etree.Element(f"{{{_MODEL}}}definitions", nsmap=_NAMESPACES)
        root.set("id", "definitions")
        root.set("targetNamespace", f"urn:rwcm:workflow:{workflow.workflow_id}")
        root.set("exporter", "rwcm")
        process_id = f"process_{xml_name(workflow.workflow_id)}"
        process = _add(root, "process", id=process_id, name=workflow.workflow_name, isExecutable="false")
        _add(process, "documentation", text=f"{workflow.objective} (version {workflow.version})")
        for node in self.graph.nodes.values():
            self._node(process, node)
        for edge in sorted(self.graph.edges, key=lambda edge: edge.is_association):  # artifacts come last
            self._edge(process, edge)
        for place, (topic, message_id) in enumerate(self.messages.items()):
            message = _add(root, "message", id=message_id, name=topic)
            root.insert(place, message)
        self._diagram(root, process_id)
        return root

    def _node(self, process: Any, node: Node) -> None:
        step = node.step
        if node.kind is Kind.STEP and step is not None:
            name = (shortened(step.step_id, 24), shortened(node.label, 40), shortened(step.skill_id, 24))
            tag = _TASKS.get(step.action_type, "serviceTask")
            element = _add(process, tag, id=node.key, name="\n".join(name))
            element.set("implementation", f"urn:rwcm:skill:{step.skill_id}")
            if node.is_undo:
                element.set("isForCompensation", "true")
            said = step.model_dump(mode="python", exclude={"workflow_id", "sequence"}, exclude_unset=True)
            _add(element, "documentation", text=canonical(said), textFormat="application/json")
        else:
            label = self.layout.labels.get(node.key)
            element = _add(process, _ELEMENTS[node.kind], id=node.key, name="\n".join(label.lines) if label else None)
        if node.host:
            element.set("attachedToRef", node.host)
        for default in (edge for edge in self.outgoing[node.key] if edge.is_default):
            element.set("default", self.ids[default])
        for tag, edges in (("incoming", self.incoming), ("outgoing", self.outgoing)):
            for edge in edges[node.key]:
                _add(element, tag, text=self.ids[edge])
        self._definition(element, node)

    def _definition(self, element: Any, node: Node) -> None:
        """Add what an event is about, and when a gateway of the first way goes on."""
        if node.trigger:
            selector = node.trigger.selector
            if selector.topic:
                self._message(element, selector.topic)
            elif selector.cron:
                _expression(_add(element, "timerEventDefinition"), "timeCycle", selector.cron, language=None)
            elif selector.condition:
                _expression(_add(element, "conditionalEventDefinition"), "condition", selector.condition)
            if selector.topic and selector.condition:
                documentation = _add(element, "documentation", text=f"if {selector.condition}")
                element.insert(0, documentation)
        awaits = self.graph.logics[node.step.step_id].awaits if node.step else None
        if node.kind is Kind.MESSAGE and awaits:
            self._message(element, awaits.event)
        elif node.kind is Kind.TIMER and awaits:
            _expression(
                _add(element, "timerEventDefinition"), "timeDuration", duration(awaits.timeout_h), language=None
            )
        elif node.kind is Kind.ERROR:
            _add(element, "errorEventDefinition")
        elif node.kind is Kind.COMPENSATION:
            _add(element, "compensateEventDefinition")
        elif node.kind is Kind.FIRST:
            _expression(element, "activationCondition", "activationCount >= 1")

    def _message(self, element: Any, topic: str) -> None:
        message_id = self.messages.setdefault(topic, f"message_{len(self.messages) + 1}")
        _add(element, "messageEventDefinition", messageRef=message_id)

    def _edge(self, process: Any, edge: Edge) -> None:
        ends = {"id": self.ids[edge], "sourceRef": edge.source, "targetRef": edge.target}
        if edge.is_association:
            _add(process, "association", **ends, associationDirection="One")
            return
        label = self.labels[edge]
        flow = _add(process, "sequenceFlow", **ends, name="\n".join(label.lines) if label else None)
        if edge.condition:
            _expression(flow, "conditionExpression", edge.condition)
        elif self.graph.nodes[edge.source].kind is Kind.DECISION and not edge.is_default:
            _add(flow, "conditionExpression", text=edge.label)  # in natural language: no expression counts visits

    def _diagram(self, root: Any, process_id: str) -> None:
        plane = _add(_add(root, "bpmndi:BPMNDiagram", id="diagram"), "bpmndi:BPMNPlane", id="plane")
        plane.set("bpmnElement", process_id)
        for key, bounds in self.layout.shapes.items():
            shape = _add(plane, "bpmndi:BPMNShape", id=f"shape_{key}", bpmnElement=key)
            if self.graph.nodes[key].kind is Kind.DECISION:
                shape.set("isMarkerVisible", "true")
            _bounds(shape, bounds)
            _label(shape, self.layout.labels.get(key))
        for route in self.layout.routes:
            name = self.ids[route.edge]
            line = _add(plane, "bpmndi:BPMNEdge", id=f"line_{name}", bpmnElement=name)
            for x, y in route.points:
                _add(line, "di:waypoint", x=str(x), y=str(y))
            _label(line, None if route.edge.is_association else route.label)


def duration(hours: int | Decimal) -> str:
    """Return hours as an ISO 8601 duration, which counts parts in seconds only."""
    return f"PT{int(hours)}H" if hours == int(hours) else f"PT{(Decimal(hours) * 3600).normalize():f}S"


def _add(parent: Any, tag: str, text: str | None = None, **attributes: str | None) -> Any:
    prefix, _, name = tag.rpartition(":")
    element = etree.SubElement(parent, f"{{{_NAMESPACES[prefix or None]}}}{name}")
    for attribute, value in attributes.items():
        if value is not None:
            element.set(attribute, printable(value))
    if text is not None:
        element.text = printable(text)
    return element


def _expression(parent: Any, tag: str, text: str, language: str | None = CEL) -> None:
    element = _add(parent, tag, text, language=language)
    element.set(f"{{{_NAMESPACES['xsi']}}}type", "tFormalExpression")


def _bounds(parent: Any, bounds: Bounds) -> None:
    sides = {"x": bounds.x, "y": bounds.y, "width": bounds.width, "height": bounds.height}
    _add(parent, "dc:Bounds", **{side: str(pixels) for side, pixels in sides.items()})


def _label(parent: Any, label: Label | None) -> None:
    if label:
        _bounds(_add(parent, "bpmndi:BPMNLabel"), label.bounds)
