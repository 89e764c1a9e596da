"""The step language: where an episode goes after a step, parsed and printed.

A superset of the blueprint's (docs/step-language.md has an example of each). As an object::

    {"goto": "F-02" | ["F-02", "F-06"] | "END"}
    {"if": [{"expr": "pass == true", "goto": "F-04"}, ...], "else": "F-03"}

each with, as needed, `"on_error": target`, `"await": {"event": topic, "correlate": {member: "${expression}"},
"timeout_h": hours, "on_timeout": target}`, `"join": "all" | "any"` (how branches that meet here are joined; without it
each goes on alone), `"compensate": step` (what undoes this one) and `"loop": {"max_visits": n, "on_exhausted": target}`
(an episode enters the step n times at most and goes to the target instead of entering once more). As a string, the way
the blueprint's tables write it: `→ F-02`, `END`, `pass→F-04; fail→F-03`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from registry.documents import DocumentRefused, Fault
from registry.expressions import Expression, ExpressionFault, Template, compile_expression, compile_template

END = "END"
"""The target that ends the episode."""

Targets = tuple[str, ...]
_WORDS = {"pass": "output.pass == true", "fail": "output.pass == false"}
_CLAUSE = re.compile(r"(pass|fail)?\s*(?:→|->)\s*(\S+)")
_JOINS = ("all", "any")
MAX_VISITS = 1_000
"""Bound of a loop at most: the engine stops an episode after as many step runs."""


@dataclass(frozen=True)
class Branch:
    """Where to go if a condition holds."""

    condition: Expression
    goto: Targets


@dataclass(frozen=True)
class Await:
    """An event that the episode waits for after the step, and the way out if it does not come.

    Attributes:
        correlate: payload member -> the value it must have, as an expression over the episode.
    """

    event: str
    correlate: Mapping[str, Template]
    timeout_h: int | Decimal
    on_timeout: Targets


@dataclass(frozen=True)
class Loop:
    """The bound of every loop through the step: entered `max_visits` times, an episode goes to `on_exhausted`."""

    max_visits: int
    on_exhausted: Targets


@dataclass(frozen=True)
class StepLogic:
    """What follows a step: `goto`, or the first of `branches` that holds, or `otherwise`; on an error `on_error`."""

    goto: Targets = ()
    branches: tuple[Branch, ...] = ()
    otherwise: Targets = ()
    on_error: Targets = ()
    awaits: Await | None = None
    join: str | None = None
    compensate: str | None = None
    loop: Loop | None = None

    def ways(self) -> Iterator[tuple[str, str]]:
        """Yield (path within the document, target) of every way on; `END` included, compensation not."""
        named = [("/goto", self.goto), ("/else", self.otherwise), ("/on_error", self.on_error)]
        named += [(f"/if/{index}/goto", branch.goto) for index, branch in enumerate(self.branches)]
        if self.awaits:
            named.append(("/await/on_timeout", self.awaits.on_timeout))
        if self.loop:
            named.append(("/loop/on_exhausted", self.loop.on_exhausted))
        for path, targets in named:
            for target in targets:
                yield path, target

    def expressions(self) -> Iterator[tuple[str, Expression]]:
        """Yield (path within the document, expression) of everything that is evaluated."""
        for index, branch in enumerate(self.branches):
            yield f"/if/{index}/expr", branch.condition
        if self.awaits:
            for member, template in self.awaits.correlate.items():
                for expression in template.expressions:
                    yield f"/await/correlate/{member}", expression


def parse_logic(value: Any) -> StepLogic:
    """Return the step logic that `next_step_logic` (parsed JSON) states.

    Raises:
        DocumentRefused: with every fault, each located within the value.
    """
    parser = _Parser()
    logic = parser.logic(_from_text(value) if isinstance(value, str) else value)
    if parser.faults:
        raise DocumentRefused(parser.faults)
    return logic


def format_logic(logic: StepLogic) -> dict[str, Any]:
    """Return the object that states `logic`, as parsed JSON: what `parse_logic` reads as the same logic.

    Members stand in one order, a single target is a string, and short forms are written out.
    """
    stated: dict[str, Any] = {}
    if logic.goto:
        stated["goto"] = _printed(logic.goto)
    if logic.branches:
        stated["if"] = [{"expr": branch.condition.text, "goto": _printed(branch.goto)} for branch in logic.branches]
    if logic.otherwise:
        stated["else"] = _printed(logic.otherwise)
    if logic.on_error:
        stated["on_error"] = _printed(logic.on_error)
    if logic.awaits:
        stated["await"] = {
            "event": logic.awaits.event,
            "correlate": {member: template.source for member, template in logic.awaits.correlate.items()},
            "timeout_h": logic.awaits.timeout_h,
            "on_timeout": _printed(logic.awaits.on_timeout),
        }
    if logic.join:
        stated["join"] = logic.join
    if logic.compensate:
        stated["compensate"] = logic.compensate
    if logic.loop:
        stated["loop"] = {"max_visits": logic.loop.max_visits, "on_exhausted": _printed(logic.loop.on_exhausted)}
    return stated


def format_short(logic: StepLogic) -> str | None:
    """Return the short form of the blueprint's tables, None where `logic` says more than it can."""
    stated = format_logic(logic)
    if stated == {"goto": END}:
        return END
    if stated.keys() == {"goto"} and isinstance(stated["goto"], str):
        text = f"→ {stated['goto']}"
    elif stated.keys() == {"if"}:
        words = {text: word for word, text in _WORDS.items()}
        text = "; ".join(f"{words.get(branch['expr'])}→{branch['goto']}" for branch in stated["if"])
    else:
        return None
    # A target that a clause cannot hold, or another condition than pass and fail, does not come back.
    return text if _from_text(text) == stated else None


def _printed(targets: Targets) -> str | list[str]:
    return targets[0] if len(targets) == 1 else list(targets)


def _from_text(text: str) -> Any:
    """Return the object that a short form stands for; the tables' typeset hyphens count as hyphens."""
    text = text.replace("\u2011", "-").strip()
    if text == END:
        return {"goto": END}
    clauses = [_CLAUSE.fullmatch(clause.strip()) for clause in text.split(";")]
    conditional = [{"expr": _WORDS[clause[1]], "goto": clause[2]} for clause in clauses if clause and clause[1]]
    if len(conditional) == len(clauses):
        return {"if": conditional}
    if len(clauses) == 1 and clauses[0]:
        return {"goto": clauses[0][2]}
    return text


class _Parser:
    """Reads one step's logic and collects what is wrong with it."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, path: str, problem: str, fix: str) -> None:
        self.faults.append(Fault("", path, problem, fix))

    def logic(self, value: Any) -> StepLogic:
        members = self.members(
            "", value, required=(), optional=("goto", "if", "else", "on_error", "await", "join", "compensate", "loop")
        )
        if ("goto" in members) == ("if" in members) and isinstance(value, Mapping):
            self.fault("", 'needs either "goto" or "if"', 'say where the episode goes next, {"goto": "END"} to end it')
        if "else" in members and "if" not in members:
            self.fault("/else", 'has no "if"', 'use "goto" for the only way on')
        return StepLogic(
            goto=self.targets("/goto", members.get("goto")),
            branches=self.branches(members.get("if")),
            otherwise=self.targets("/else", members.get("else")),
            on_error=self.targets("/on_error", members.get("on_error")),
            awaits=self.awaits(members["await"]) if "await" in members else None,
            join=self.join(members.get("join")),
            compensate=self.compensate(members.get("compensate")),
            loop=self.loop(members["loop"]) if "loop" in members else None,
        )

    def members(
        self, path: str, value: Any, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.fault(path, "is no step logic", 'write such as {"goto": "END"}, or → STEP, END, pass→A; fail→B')
            return {}
        for name in value.keys() - {*required, *optional}:
            self.fault(f"{path}/{name}", "is not known here", f"use {', '.join((*required, *optional))}")
        for name in required:
            if name not in value:
                self.fault(f"{path}/{name}", "is missing", "add it")
        return value

    def targets(self, path: str, value: Any) -> Targets:
        if value is None:
            return ()
        targets = tuple(value) if isinstance(value, list) else (value,)
        if not targets or not all(isinstance(target, str) and target for target in targets):
            self.fault(path, "names no step", 'write the id of a step, a list of ids, or "END"')
            return ()
        if len(set(targets)) < len(targets) or (END in targets and len(targets) > 1):
            self.fault(path, "is a list with a step twice or with END", "list each step once; END stands alone")
        return targets

    def branches(self, value: Any) -> tuple[Branch, ...]:
        if value is None:
            return ()
        if not isinstance(value, list) or not value:
            self.fault("/if", "is no list of branches", 'write [{"expr": ..., "goto": ...}]')
            return ()
        found = []
        for index, item in enumerate(value):
            path = f"/if/{index}"
            members = self.members(path, item, required=("expr", "goto"))
            condition = self.expression(f"{path}/expr", members.get("expr"))
            goto = self.targets(f"{path}/goto", members.get("goto"))
            if condition and goto:
                found.append(Branch(condition, goto))
        return tuple(found)

    def expression(self, path: str, value: Any) -> Expression | None:
        if value is None:
            return None
        if not isinstance(value, str):
            self.fault(path, "is no expression", "write a CEL expression as a string")
            return None
        try:
            return compile_expression(value)
        except ExpressionFault as fault:
            self.fault(path, fault.message, "correct the CEL expression")
            return None

    def awaits(self, value: Any) -> Await | None:
        members = self.members("/await", value, required=("event", "correlate", "timeout_h", "on_timeout"))
        event, timeout_h, correlate = members.get("event"), members.get("timeout_h"), members.get("correlate")
        if "event" in members and not isinstance(event, str):
            self.fault("/await/event", "is no topic", "name the topic of the awaited event")
        if "timeout_h" in members and (
            isinstance(timeout_h, bool) or not isinstance(timeout_h, int | Decimal) or timeout_h <= 0
        ):
            self.fault("/await/timeout_h", "is no number of hours", "write a number above 0")
        compiled: dict[str, Template] = {}
        if isinstance(correlate, Mapping) and correlate:
            for member, template in correlate.items():
                try:
                    compiled[member] = compile_template(template)
                except ExpressionFault as fault:
                    self.fault(f"/await/correlate/{member}", fault.message, "correct the CEL expression")
        elif "correlate" in members:
            self.fault(
                "/await/correlate", "names no member", 'say which event is meant, such as {"subject_id": "${...}"}'
            )
        on_timeout = self.targets("/await/on_timeout", members.get("on_timeout"))
        if not (isinstance(event, str) and isinstance(timeout_h, int | Decimal) and compiled and on_timeout):
            return None
        return Await(event, compiled, timeout_h, on_timeout)

    def join(self, value: Any) -> str | None:
        if value is not None and value not in _JOINS:
            self.fault("/join", "is no way to join", f"use {' or '.join(_JOINS)}")
            return None
        return value

    def compensate(self, value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or value == END):
            self.fault("/compensate", "names no step", "write the id of the step that undoes this one")
            return None
        return value

    def loop(self, value: Any) -> Loop | None:
        members = self.members("/loop", value, required=("max_visits", "on_exhausted"))
        max_visits = members.get("max_visits")
        is_bound = isinstance(max_visits, int) and not isinstance(max_visits, bool) and 1 <= max_visits <= MAX_VISITS
        if "max_visits" in members and not is_bound:
            self.fault("/loop/max_visits", "is no number of visits", f"write a whole number from 1 to {MAX_VISITS:,}")
        on_exhausted = self.targets("/loop/on_exhausted", members.get("on_exhausted"))
        return Loop(max_visits, on_exhausted) if isinstance(max_visits, int) and is_bound and on_exhausted else None
