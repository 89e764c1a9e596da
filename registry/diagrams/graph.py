"""A workflow as a graph of events, steps and gateways, in BPMN's terms: what every picture of it is written from.

The step language puts what precedes and follows a step into the step; here each is a node of its own. A step with
`join` has a gateway before it, one with `loop` another, which tells whether it may be entered again; one with `await`
is followed by an event-based gateway (the message, or the timer), one with branches by an exclusive gateway, several
targets by a parallel one; `on_error` and `compensate` become events on the step's boundary. Each way that ends the
episode has an end of its own, so that no line crosses the picture for it.

A step that is reached by `compensate` only is no part of the flow: BPMN allows it no flow in or out, so what follows
it is associated. A step that is reached both ways stands in the flow and once more as what undoes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from registry.diagrams.words import bound_in_words, condition_in_words, step_in_words, trigger_in_words, ways_in_words
from registry.documents import DocumentRefused, Fault, StepAction, Trigger, Workflow
from registry.steps import END, StepLogic, Targets, parse_logic


class Kind(StrEnum):
    """What a node is."""

    START = "start"
    STEP = "step"
    DECISION = "decision"
    PARALLEL = "parallel"
    FIRST = "first"
    """Joins branches: the first that comes goes on."""
    WAIT = "wait"
    """The first of the events behind it goes on."""
    MESSAGE = "message"
    TIMER = "timer"
    ERROR = "error"
    COMPENSATION = "compensation"
    END = "end"


BOUNDARY = frozenset((Kind.ERROR, Kind.COMPENSATION))
GATEWAYS = frozenset((Kind.DECISION, Kind.PARALLEL, Kind.FIRST, Kind.WAIT))


@dataclass(frozen=True)
class Node:
    """An event, a step or a gateway.

    Attributes:
        key: unique within the graph, and an XML name (NCName).
        label: what it says; of a step without its id.
        step: of a step, and of what belongs to one: that step.
        trigger: of a start.
        host: of an event on a boundary: the key of its step.
        is_undo: a step that stands here to undo another.
    """

    key: str
    kind: Kind
    label: str = ""
    step: StepAction | None = None
    trigger: Trigger | None = None
    host: str | None = None
    is_undo: bool = False


@dataclass(frozen=True, eq=False)
class Edge:
    """A way from node to node, two of which may say the same; an association says what undoes, nothing flows on it.

    Attributes:
        condition: CEL; the way is taken if it holds. A loop's bound has none, but a label.
        is_default: the way is taken if no other is.
    """

    source: str
    target: str
    label: str = ""
    condition: str | None = None
    is_default: bool = False
    is_association: bool = False


@dataclass(frozen=True)
class Graph:
    """A workflow's picture, before anything is drawn. Nodes stand in the order of the steps."""

    workflow: Workflow
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    logics: Mapping[str, StepLogic]


def graph_of(workflow: Workflow) -> Graph:
    """Return the graph of a workflow; one without steps starts and ends.

    Raises:
        DocumentRefused: a step's logic cannot be read, or names a step that is not there.
    """
    return _Builder(workflow).graph()


def logics_of(workflow: Workflow) -> dict[str, StepLogic]:
    """Return step id -> logic, in the order of the steps.

    Raises:
        DocumentRefused: a step's logic cannot be read, or names a step that is not there.
    """
    steps = sorted(workflow.steps, key=lambda step: step.sequence)
    logics = {step.step_id: parse_logic(step.next_step_logic) for step in steps}
    faults = [
        Fault(workflow.workflow_id, f"{step_id}{path}", f"there is no step {target}", "correct the id")
        for step_id, logic in logics.items()
        for path, target in (*logic.ways(), ("/compensate", logic.compensate or END))
        if target != END and target not in logics
    ]
    if faults:
        raise DocumentRefused(faults)
    return logics


def xml_name(step_id: str) -> str:
    """Return an id as a part of an XML name: what may not stand there as `_xHH_`, so that no two ids become one."""
    return re.sub(r"_x|[/:]", lambda match: "".join(f"_x{ord(match[0][0]):X}_{match[0][1:]}"), step_id)


class _Builder:
    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.logics = logics_of(workflow)
        self.steps = {step.step_id: step for step in sorted(workflow.steps, key=lambda step: step.sequence)}
        entry = list(self.steps)[:1]
        undoing = self._reached(logic.compensate for logic in self.logics.values() if logic.compensate)
        # What a draft reaches neither way is drawn as flow, and so is what it leads to.
        flowing = self._reached([*entry, *(step_id for step_id in self.steps if step_id not in undoing)])
        self.undoing = undoing - flowing
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def _reached(self, starts: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        frontier = list(starts)
        while frontier:
            step_id = frontier.pop()
            if step_id != END and step_id not in reached:
                reached.add(step_id)
                frontier += [target for _, target in self.logics[step_id].ways()]
        return reached

    def graph(self) -> Graph:
        starts = [self._start(trigger) for trigger in self.workflow.triggers]
        for start in starts or [self._node("start", Kind.START, "Start")]:
            self._lead(start, (next(iter(self.steps), END),), f"{start}_way")
        for step_id, logic in self.logics.items():
            self._step(self.steps[step_id], logic)
        return Graph(self.workflow, self.nodes, tuple(self.edges), self.logics)

    def _start(self, trigger: Trigger) -> str:
        key = f"start_{xml_name(trigger.trigger_id)}"
        return self._node(key, Kind.START, trigger_in_words(trigger), trigger=trigger)

    def _step(self, step: StepAction, logic: StepLogic) -> None:
        name, words = xml_name(step.step_id), step_in_words(step)
        is_undo = step.step_id in self.undoing
        if logic.join and not is_undo:
            join = self._node(f"join_{name}", Kind.PARALLEL if logic.join == "all" else Kind.FIRST, step=step)
            self._edge(join, f"bound_{name}" if logic.loop else f"step_{name}")
        if logic.loop and not is_undo:
            bound = self._node(f"bound_{name}", Kind.DECISION, step=step)
            self._edge(bound, f"step_{name}", is_default=True)
            self._lead(bound, logic.loop.on_exhausted, f"{name}_exhausted", label=bound_in_words(logic.loop))
        source = self._node(f"step_{name}", Kind.STEP, words, step=step, is_undo=is_undo)
        if logic.compensate:
            self._compensation(step, logic.compensate)
        if is_undo:
            for label, targets in ways_in_words(logic):
                for target in targets:
                    if target != END:
                        self._edge(source, self._entry(target), label=label, is_association=True)
            return
        if logic.on_error:
            error = self._node(f"error_{name}", Kind.ERROR, "error", step=step, host=source)
            self._lead(error, logic.on_error, f"{name}_error", end="Failed")
        if logic.awaits:
            wait = self._node(f"wait_{name}", Kind.WAIT, step=step)
            self._edge(source, wait)
            timer = self._node(f"timer_{name}", Kind.TIMER, f"after {logic.awaits.timeout_h} h", step=step)
            source = self._node(f"message_{name}", Kind.MESSAGE, logic.awaits.event, step=step)
            self._edge(wait, source)
            self._edge(wait, timer)
            self._lead(timer, logic.awaits.on_timeout, f"{name}_timeout", end="Timed out")
        if logic.branches:
            decision = self._node(f"decision_{name}", Kind.DECISION, step=step)
            self._edge(source, decision)
            source = decision
        for index, branch in enumerate(logic.branches):
            condition = branch.condition.text
            label = condition_in_words(condition)
            self._lead(source, branch.goto, f"{name}_if_{index}", label=label, condition=condition)
        if logic.otherwise:
            self._lead(source, logic.otherwise, f"{name}_else", label="else", is_default=True)
        if logic.goto:
            self._lead(source, logic.goto, f"{name}_goto")

    def _compensation(self, step: StepAction, undone_by: str) -> None:
        name, handler = xml_name(step.step_id), self.steps[undone_by]
        key = f"step_{xml_name(undone_by)}"
        if undone_by not in self.undoing:
            key = self._node(f"undo_{name}", Kind.STEP, step_in_words(handler), step=handler, is_undo=True)
        event = self._node(f"compensation_{name}", Kind.COMPENSATION, "undo", step=step, host=f"step_{name}")
        self._edge(event, key, is_association=True)

    def _lead(
        self,
        source: str,
        targets: Targets,
        name: str,
        *,
        end: str = "End",
        label: str = "",
        condition: str | None = None,
        is_default: bool = False,
    ) -> None:
        """Lead from a node to steps or to an end of its own; `name` tells this way from all others."""
        if len(targets) > 1:
            split = self._node(f"split_{name}", Kind.PARALLEL)
            self._edge(source, split, label=label, condition=condition, is_default=is_default)
            for target in targets:
                self._edge(split, self._entry(target))
            return
        target = self._node(f"end_{name}", Kind.END, end) if targets == (END,) else self._entry(targets[0])
        self._edge(source, target, label=label, condition=condition, is_default=is_default)

    def _entry(self, step_id: str) -> str:
        logic, name = self.logics[step_id], xml_name(step_id)
        if step_id in self.undoing:
            return f"step_{name}"
        return f"join_{name}" if logic.join else f"bound_{name}" if logic.loop else f"step_{name}"

    def _node(self, key: str, kind: Kind, label: str = "", **more: object) -> str:
        self.nodes[key] = Node(key, kind, label, **more)  # type: ignore[arg-type]
        return key

    def _edge(self, source: str, target: str, **more: object) -> None:
        self.edges.append(Edge(source, target, **more))  # type: ignore[arg-type]
