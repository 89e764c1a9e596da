"""Unions: `anyOf` and `oneOf`, whose alternatives may come in another order and are matched with each other."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from registry.compatibility.document import Schema
from registry.compatibility.matching import maximum_matching
from registry.compatibility.old_schema import Old, together
from registry.compatibility.reasons import Kind, Reason

if TYPE_CHECKING:
    from registry.compatibility.json_schema import Comparison


def compare_union(comparison: "Comparison", keyword: str, branches: list[Schema], old: Old) -> Iterator[Reason]:
    """Find what keeps an old value from being one of the alternatives, exactly one for `oneOf`.

    Alternatives are matched one to one, since a generated reader has a type for each. That an old value fits no second
    alternative of a `oneOf` must be proven too.
    """
    holds = comparison.follows({keyword: branches}, old)
    before, alternatives = old.union or (None, _by_type(old))
    if before == "anyOf" and keyword == "oneOf":
        message = "anyOf became oneOf: a value that fits several alternatives was allowed before"
        yield Reason(Kind.COMBINED_TYPE_CHANGED, f"/{keyword}", before, keyword, message, is_shape=holds)
        return
    fits = {
        place: [index for index, branch in enumerate(branches) if not comparison.compare(branch, alternative)]
        for place, alternative in enumerate(alternatives)
    }
    lost = [place for place, takers in fits.items() if not takers]
    matched = maximum_matching(fits)
    if lost or (before and len(matched) < len(alternatives)):
        yield from _unmatched(comparison, keyword, branches, alternatives, lost, is_shape=holds, is_union=bool(before))
    elif keyword == "oneOf" and not holds:
        others = alternatives if before == "oneOf" else []
        for index, place in matched.items() if before else ((takers[0], place) for place, takers in fits.items()):
            for other, branch in enumerate(branches):
                if other != index and not _excludes(comparison, branch, alternatives[place], others, place):
                    message = f"a value may fit the alternatives {index} and {other} at once, which oneOf forbids"
                    yield Reason(Kind.COMBINED_TYPE_SUBSCHEMAS_CHANGED, f"/oneOf/{other}", None, branch, message)


def _unmatched(
    comparison: "Comparison",
    keyword: str,
    branches: list[Schema],
    alternatives: list[Schema],
    lost: list[int],
    *,
    is_shape: bool,
    is_union: bool,
) -> Iterator[Reason]:
    if not is_union:
        message = "no alternative takes every value that was allowed before"
        yield Reason(Kind.TYPE_CHANGED, f"/{keyword}", together(alternatives[:1]), branches, message, is_shape)
        return
    if len(alternatives) > len(branches):
        kind, message = Kind.SUM_TYPE_NARROWED, f"{len(alternatives)} alternatives became {len(branches)}"
    else:
        kind = Kind.COMBINED_TYPE_SUBSCHEMAS_CHANGED
        message = "the alternatives of before find no alternatives of their own that take them"
    is_shape = is_shape or (keyword == "anyOf" and not lost)
    yield Reason(kind, f"/{keyword}", alternatives, branches, message, is_shape)
    for place in lost if len(alternatives) == len(branches) and not is_shape else ():
        yield from comparison.nested(branches[place], alternatives[place], f"/{keyword}/{place}")


def _by_type(old: Old) -> list[Schema]:
    """Return an old schema that is no union as one alternative per type that it names."""
    if len(old.types) < 2:
        return [old.schema]
    return [together([old.schema, {"type": name}]) for name in sorted(old.types)]


def _excludes(comparison: "Comparison", branch: Schema, value: Schema, others: list[Schema], place: int) -> bool:
    """Tell whether no value of the old alternative `value` fits `branch`.

    A value of an old `oneOf` fits no other old alternative, and so nothing within one.
    """
    if comparison.prover.are_disjoint(value, branch):
        return True
    return any(comparison.prover.covers(other, branch) for index, other in enumerate(others) if index != place)
