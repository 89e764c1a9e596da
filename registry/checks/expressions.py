"""What is wrong with an expression, given the shapes of what it reads: found by type, and by trying.

Four looks, each finding what the others cannot:

1. members that never come, and optional ones that nothing guards;
2. comparisons with a literal that the member can never equal;
3. CEL's type checker over the declared types of texts, booleans and lists (numbers stay dynamic: whether one is an int
   or a double depends on its value, so `amount > 100` and `amount > 0.5` are both right for a JSON number);
4. evaluation over values made from the schemas: what fails there fails in some episode.

Where a schema says too little the fourth look is left out: nothing is refused for what is not known.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from guard.canonical import canonical
from registry.checks.samples import MAX_VALUES
from registry.checks.shapes import Member, Shape
from registry.expressions import Comparison, Expression, ExpressionFault, MemberPath, Template
from registry.expressions.environment import compile_fault, extensions

Scope = tuple[tuple[str, Shape | None], ...]
"""Variable -> what is stated about it; None if nothing is. A variable that is not named has no value here."""

_DECLARED = {"string": cel.Type.STRING, "boolean": cel.Type.BOOL, "array": cel.Type.LIST}
_CONDITION = "write one that is true or false, such as x == y"
_LITERALS: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "number": (int, float),
    "text": (str,),
}
_TYPES: Mapping[str, frozenset[str]] = {
    "null": frozenset(("null",)),
    "boolean": frozenset(("boolean",)),
    "number": frozenset(("number", "integer")),
    "text": frozenset(("string",)),
}


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong, and what to do."""

    text: str
    fix: str


@lru_cache(maxsize=65_536)
def condition_problems(expression: Expression, scope: Scope) -> tuple[Problem, ...]:
    """Return what keeps `expression` from being true or false for every episode."""
    problems = _problems(expression, scope, lambda value: isinstance(value, bool))
    return tuple(dict.fromkeys(problems))


@lru_cache(maxsize=65_536)
def value_problems(expression: Expression, scope: Scope) -> tuple[Problem, ...]:
    """Return what keeps `expression` from having a value for every episode."""
    return tuple(dict.fromkeys(_problems(expression, scope, None)))


def values_of(template: Template, scope: Scope) -> tuple[list[Any], bool] | None:
    """Return values that `template` takes over made values, and whether they are all; None if too little is stated.

    Faults of its expressions are left out: `value_problems` tells them.
    """
    made = samples(template.paths, scope)
    if made is None:
        return None
    rows, is_complete = made
    values = []
    for row in rows:
        try:
            values.append(template.evaluate(row))
        except (ExpressionFault, ValueError):
            continue
    return values, is_complete


def uncovered(conditions: Sequence[Expression], scope: Scope) -> str | None:
    """Return in words an episode for which no condition holds, "" if there is none, None if that cannot be told.

    It can where everything the conditions read has a few values: booleans, enums, absence.
    """
    paths = tuple(dict.fromkeys(path for condition in conditions for path in condition.paths))
    made = samples(paths, scope)
    if made is None or not made[1]:
        return None
    for row in made[0]:
        if not any(_holds(condition, row) for condition in conditions):
            return _told(paths, row)
    return ""


def _holds(condition: Expression, row: Mapping[str, Any]) -> bool:
    try:
        return condition.evaluate(row) is True
    except ExpressionFault:
        return False


def samples(paths: Sequence[MemberPath], scope: Scope) -> tuple[list[dict[str, Any]], bool] | None:
    """Return bindings that differ in what stands at `paths`, and whether they are all; None if too little is stated."""
    shapes = dict(scope)
    shared = _shared(paths, shapes)
    read: dict[str, list[MemberPath]] = {}
    for path in paths:
        variable, *rest = ("event", *path[1:]) if path[:2] in shared else path
        if tuple(rest) not in read.setdefault(variable, []):
            read[variable].append(tuple(rest))
    choices: list[Sequence[Any]] = []
    is_finite, total = True, 1
    for variable, members in read.items():
        if variable not in shapes:
            choices.append(({},))  # the engine makes the way to a member, not the member
            continue
        shape = shapes[variable]
        values = shape.values(members) if shape else None
        if shape is None or values is None:
            return None
        is_finite = is_finite and shape.is_finite(members)
        total *= len(values)
        choices.append(values)
    rows = itertools.product(*choices)
    if total > MAX_VALUES * 2:
        is_finite = False
        stride = total // MAX_VALUES | 1
        rows = itertools.islice(rows, 0, MAX_VALUES * stride, stride)  # type: ignore[assignment]
    return [_with_shared(dict(zip(read, row, strict=True)), shared) for row in rows], is_finite


def _shared(paths: Sequence[MemberPath], shapes: Mapping[str, Shape | None]) -> set[MemberPath]:
    """Return the members of `output` that are the awaited event's: the engine writes its payload over the output."""
    event = shapes.get("event")
    stated = event.schema.get("properties", {}) if event else {}
    return {path[:2] for path in paths if path[0] == "output" and len(path) > 1 and path[1] in stated}


def _with_shared(row: dict[str, Any], shared: set[MemberPath]) -> dict[str, Any]:
    if not shared:
        return row
    names = [name for _, name in shared if name in row["event"]]
    return {**row, "output": {**row.get("output", {}), **{name: row["event"][name] for name in names}}}


def _problems(expression: Expression, scope: Scope, is_right: Callable[[Any], bool] | None) -> Iterator[Problem]:
    yield from (found := list(_of_members(expression, scope)) or list(_of_comparisons(expression, scope)))
    if not found:
        yield from (found := list(_of_types(expression, scope, is_condition=is_right is not None)))
    if not found:
        yield from _of_values(expression, scope, is_right)


def _member(path: MemberPath, shapes: Mapping[str, Shape | None]) -> Member:
    variable, *rest = path
    if variable not in shapes:
        return Member("never") if rest else Member("unknown")
    shape = shapes[variable]
    return shape.member(rest) if shape else Member("unknown")


def _of_members(expression: Expression, scope: Scope) -> Iterator[Problem]:
    shapes = dict(scope)
    guarded = {path[:length] for path in expression.tested for length in range(1, len(path) + 1)}
    for path in expression.reads:
        name, member = ".".join(path), _member(path, shapes)
        if path[0] not in shapes:
            yield Problem(f"{name} is not there: nothing has given {path[0]} yet", f"do not read {path[0]} here")
        elif member.presence == "never":
            valid = ", ".join(member.known)
            yield Problem(f"{name} is in no such payload", f"use one of {valid}" if valid else "remove it")
        elif member.presence == "unlisted" and path not in guarded:
            fix = f"add it to the schema, or write has({name}) && ..."
            yield Problem(f"{name} may be absent: the schema does not list it", fix)


def _of_comparisons(expression: Expression, scope: Scope) -> Iterator[Problem]:
    shapes = dict(scope)
    for comparison in expression.comparisons:
        member = _member(comparison.path, shapes)
        if member.presence in ("never", "unknown", "unlisted") or not (member.types or member.enum):
            continue
        impossible = [literal for literal in comparison.literals if not _can_be(member, literal)]
        if impossible:
            yield _of_comparison(comparison, member, impossible)


def _of_comparison(comparison: Comparison, member: Member, impossible: Sequence[Any]) -> Problem:
    name, shown = ".".join(comparison.path), ", ".join(map(_shown, impossible))
    verdict = "always" if comparison.operator == "!=" else "never"
    if member.enum is not None:
        fix = f"use one of {', '.join(map(_shown, member.enum))}"
    else:
        fix = f"{name} is {' or '.join(sorted(member.types))}; compare it with a literal of that type"
    return Problem(f"{name} {comparison.operator} {shown} {verdict} holds", fix)


def _can_be(member: Member, literal: Any) -> bool:
    if isinstance(literal, bytes):
        return False
    kind = next(name for name, types in _LITERALS.items() if isinstance(literal, types))
    if not member.types & _TYPES[kind]:
        return False
    if kind == "number" and "number" not in member.types and literal != int(literal):
        return False
    listed = member.enum if member.enum is not None else [literal]
    return any(item == literal and isinstance(item, bool) == isinstance(literal, bool) for item in listed)


@lru_cache(maxsize=4096)
def _typed_environment(scope: Scope, tested: frozenset[MemberPath]) -> cel.Env:
    # What stands in a has(...) is left dynamic: the checker takes has(x) for x where x is declared.
    variables: dict[str, cel.Type] = {}
    for name, shape in scope:
        variables[name] = cel.Type.DYN
        for path, kind in shape.scalars() if shape else ():
            if kind in _DECLARED and (name, *path) not in tested and all(map(_is_plain_name, path)):
                variables[".".join((name, *path))] = _DECLARED[kind]
    return cel.NewEnv(variables=variables, extensions=extensions())


def _is_plain_name(name: str) -> bool:
    return name.isidentifier() and name.isascii()


def _of_types(expression: Expression, scope: Scope, *, is_condition: bool) -> Iterator[Problem]:
    named = {name for name, _ in scope}
    if any(path[0] not in named for path in expression.reads):
        return
    try:
        returned = _typed_environment(scope, frozenset(expression.tested)).compile(expression.rewritten).return_type()
    except RuntimeError as error:
        reason = compile_fault(expression.text, error).message
        yield Problem(reason, "compare and combine values of one type; string(x), int(x) and double(x) convert")
        return
    if is_condition and returned not in (cel.Type.BOOL, cel.Type.DYN):
        kind = returned.name().lower()
        yield Problem(
            f"{expression.text} has a value of type {kind} and is no condition",
            "write one that is true or false, such as x == y",
        )


def _of_values(expression: Expression, scope: Scope, is_right: Callable[[Any], bool] | None) -> Iterator[Problem]:
    made = samples(expression.paths, scope)
    if made is None:
        return
    for row in made[0]:
        told = _told(expression.reads, row)
        try:
            value = expression.evaluate(row)
        except ExpressionFault as fault:
            yield Problem(f"{fault.message}, {told}" if told else fault.message, _way_out(expression, row, fault))
            return
        if is_right and not is_right(value):
            text = f"{expression.text} gives {_shown(value)} and is no condition"
            yield Problem(f"{text} {told}" if told else text, _CONDITION)
            return


def _way_out(expression: Expression, row: Mapping[str, Any], fault: ExpressionFault) -> str:
    absent = [path for path in expression.reads if not _is_there(path, row)]
    if fault.code == "not_found" and absent:
        name = ".".join(absent[0])
        return f"write has({name}) && ..., or {'.'.join(absent[0][:-1])}.?{absent[0][-1]}.orValue(...)"
    if fault.code == "unknown" and "int64" in fault.message and "double" in fault.message:
        return "a number is an int where it is integral, else a double: write double(x) and literals such as 2.0"
    if fault.code == "invalid_argument" and "zero" in fault.message:
        return "guard it: write x != 0 && ..."
    return "guard it, so that it has a value for this too"


def _is_there(path: MemberPath, row: Mapping[str, Any]) -> bool:
    value: Any = row
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def _told(paths: Sequence[MemberPath], row: Mapping[str, Any]) -> str:
    """Return in words what `row` holds at `paths`, absent members first."""
    absent = [".".join(path) for path in paths if not _is_there(path, row)]
    words = [f"without {', '.join(absent)}"] if absent else []
    there = [f"{'.'.join(path)} is {_shown(_at(path, row))}" for path in paths if _is_there(path, row)]
    words += [f"where {' and '.join(there)}"] if there else []
    return " ".join(words)


def _at(path: MemberPath, row: Mapping[str, Any]) -> Any:
    value: Any = row
    for name in path:
        value = value[name]
    return value


def _shown(value: Any) -> str:
    try:
        text = canonical(value)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
