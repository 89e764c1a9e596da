"""What the expressions of each step can read: the shapes of `trigger`, `output`, `input`, `event` and `episode`.

As the engine binds them. In a condition, `output` is what the step's own skill returned, with the awaited event's
members over it, and `input` its parameters. In a parameter, `output` is what the last step that returned something
returned: which one that was depends on the way, so it is any of those that lead here. A step that failed returned
nothing; one whose wait timed out returned what its skill did.
"""

from collections.abc import Callable, Mapping, Sequence

from registry.checks.expressions import Scope
from registry.checks.known import Known
from registry.checks.shapes import Shape, either, merged, of_type, shape_of
from registry.documents import StepAction, Workflow
from registry.expressions import Expression, compile_template
from registry.steps import StepLogic

NOTHING = shape_of({"type": "object", "properties": {}, "additionalProperties": False})
EPISODE = shape_of(
    {
        "type": "object",
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "trigger_event_id": {"type": "string", "minLength": 1},
        },
        "required": ["id", "trigger_event_id"],
        "additionalProperties": False,
    }
)

Readable = Mapping[str, Callable[[], Shape | None]]
"""Variable -> how to learn its shape, so that only what is read is looked up."""

_Source = tuple[str, bool]
"""A step whose output is the latest, and whether the awaited event came."""
_NONE: _Source = ("", False)


def narrowed(readable: Readable, *expressions: Expression) -> Scope:
    """Return the shapes of the variables that `expressions` read."""
    names = {path[0] for expression in expressions for path in expression.paths}
    return tuple((name, readable[name]()) for name in sorted(names & readable.keys()))


class Scopes:
    """The scopes of a workflow's steps.

    Args:
        logics: the logic of every step that could be parsed.
    """

    def __init__(self, workflow: Workflow, known: Known, logics: Mapping[str, StepLogic]) -> None:
        self._known = known
        self._logics = logics
        self._steps = {step.step_id: step for step in workflow.steps}
        self._trigger = _trigger(workflow, known)
        entry = min(workflow.steps, key=lambda step: step.sequence).step_id if workflow.steps else ""
        self._latest = _latest(entry, logics) if logics and len(logics) == len(workflow.steps) else {}

    def parameters(self, step_id: str) -> Readable:
        """Return what the parameters of a step can read."""
        return {
            "trigger": lambda: self._trigger,
            "episode": lambda: EPISODE,
            "output": lambda: self._arriving(step_id),
            "input": lambda: None,
        }

    def correlation(self, step_id: str) -> Readable:
        """Return what an await's `correlate` can read: it is bound before the step's own output counts."""
        return {**self.parameters(step_id), "input": lambda: _given(self._steps[step_id], self._known)}

    def conditions(self, step_id: str) -> Readable:
        """Return what the conditions of a step can read."""
        awaits = self._logics[step_id].awaits
        readable = {
            **self.correlation(step_id),
            "output": lambda: self._returned((step_id, awaits is not None)),
        }
        return {**readable, "event": lambda: self._known.payload(awaits.event)} if awaits else readable

    def _arriving(self, step_id: str) -> Shape | None:
        sources = self._latest.get(step_id)
        return either(tuple(self._returned(source) for source in sorted(sources))) if sources else None

    def _returned(self, source: _Source) -> Shape | None:
        step_id, has_event = source
        if source == _NONE:
            return NOTHING
        own = self._known.returned(self._steps[step_id].skill_id)
        awaits = self._logics[step_id].awaits
        return merged(own, self._known.payload(awaits.event)) if has_event and awaits else own


def _trigger(workflow: Workflow, known: Known) -> Shape | None:
    topics = [trigger.selector.topic for trigger in workflow.triggers]
    return either(tuple(known.payload(topic) if topic else None for topic in topics))


def _given(step: StepAction, known: Known) -> Shape | None:
    """Return the shape of a step's bound parameters, under the signature's names."""
    signature = known.skills.get(step.skill_id)
    if signature is None:
        return None
    properties = {}
    for name, value in step.parameters.items():
        argument = signature.argument(name)
        if argument is None:
            return None
        try:
            is_constant = compile_template(value).is_constant
        except ValueError:
            return None
        properties[argument.name] = {"const": value} if is_constant else of_type(argument.type)
    return shape_of(
        {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    )


def _latest(entry: str, logics: Mapping[str, StepLogic]) -> dict[str, set[_Source]]:
    """Return, per step, whose output can be the latest when an episode arrives there."""
    arriving: dict[str, set[_Source]] = {step_id: set() for step_id in logics}
    arriving[entry].add(_NONE)
    frontier = [entry]
    while frontier:
        step_id = frontier.pop()
        for target, sources in _leaving(step_id, logics[step_id], arriving[step_id]):
            if target in arriving and not sources <= arriving[target]:
                arriving[target] |= sources
                frontier.append(target)
    return arriving


def _leaving(step_id: str, logic: StepLogic, arrived: set[_Source]) -> Sequence[tuple[str, set[_Source]]]:
    left = []
    for path, target in logic.ways():
        if path in ("/on_error", "/loop/on_exhausted"):
            left.append((target, set(arrived)))
        else:
            left.append((target, {(step_id, logic.awaits is not None and path != "/await/on_timeout")}))
    return left
