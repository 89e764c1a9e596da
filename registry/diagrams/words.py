"""What a picture says about a step, a trigger and a condition, in words that people read."""

import re
from collections.abc import Iterator

from registry.documents import StepAction, Trigger
from registry.steps import Loop, StepLogic, Targets

_VERBS = {
    "data_extraction": "Extract",
    "logic_check": "Check",
    "tool_call": "Call",
    "branch": "Decide",
    "handoff": "Hand off",
    "notify": "Notify",
    "generate": "Generate",
    "record": "Record",
}
_OPERATORS = {
    "==": "is",
    "!=": "is not",
    ">=": "≥",
    "<=": "≤",
    "&&": "and",
    "||": "or",
    "!": "not ",
}
_TOKEN = re.compile(
    r"""(?P<text>"[^"\\]*"|'[^'\\]*')|(?P<operator>==|!=|>=|<=|&&|\|\||!)|(?P<bare>\b(?:output|event)\.)"""
)

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def shortened(text: str, limit: int) -> str:
    """Return `text` on one line, of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def printable(text: str) -> str:
    """Return `text` as XML takes it: what it cannot hold becomes the sign for that."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def step_in_words(step: StepAction) -> str:
    """Return what a step does: the verb of its type and what its constant texts name."""
    verb = _VERBS.get(step.action_type, step.action_type.replace("_", " ").capitalize())
    named = ", ".join(text.replace("_", " ") for value in step.parameters.values() for text in _texts(value))
    return f"{verb}: {named}" if named else verb


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and value and "${" not in value:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def condition_in_words(expression: str) -> str:
    """Return a CEL expression with words for its operators; what is quoted stays as it is, without its quotes."""

    def replaced(match: re.Match[str]) -> str:
        if match["text"]:
            return match["text"][1:-1] or "empty"
        return f" {_OPERATORS[match['operator']]} " if match["operator"] else ""

    words = re.sub(r" +", " ", _TOKEN.sub(replaced, expression))
    return re.sub(r"(?<=\() | (?=[).,])", "", words).strip()


def trigger_in_words(trigger: Trigger) -> str:
    """Return what starts the workflow: a topic, narrowed by a condition, or a schedule."""
    selector = trigger.selector
    condition = condition_in_words(selector.condition) if selector.condition else None
    narrowed = f"if {condition}" if condition and selector.topic else condition
    return " ".join(filter(None, (selector.topic, narrowed, selector.cron))) or trigger.trigger_type


def bound_in_words(loop: Loop) -> str:
    """Return when an episode leaves a loop that has a bound."""
    return f"after {loop.max_visits} visits"


def ways_in_words(logic: StepLogic) -> Iterator[tuple[str, Targets]]:
    """Yield (when, where to) of every way on after a step, compensation not."""
    after = f"when {logic.awaits.event} comes, " if logic.awaits else ""
    for branch in logic.branches:
        yield f"{after}if {condition_in_words(branch.condition.text)}", branch.goto
    if logic.otherwise:
        yield f"{after}else", logic.otherwise
    if logic.goto:
        yield after.rstrip(", ") or "then", logic.goto
    if logic.awaits:
        yield f"after {logic.awaits.timeout_h} h", logic.awaits.on_timeout
    if logic.loop:
        yield bound_in_words(logic.loop), logic.loop.on_exhausted
    if logic.on_error:
        yield "on error", logic.on_error
