"""What a change of a skill means for the workflows that call it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from registry.comparison.model import (
    Change,
    Difference,
    Kind,
    Path,
    always,
    difference,
    differences,
    is_same,
    members,
)
from registry.documents import Argument, RuntimeBinding, Signature, SkillNode

_TIERS = ("exp", "beta", "ga")
_CONTAINER = re.compile(r"(array|map)<(?:(?<=map<)string, *)?(.+)>", re.ASCII)
_TEXT = always(Change.PATCH, "a text for readers")


def is_wider(wide: str, narrow: str) -> bool:
    """Tell whether every value of type `narrow` is one of type `wide`, as a signature writes types."""
    if wide in ("any", narrow) or (wide, narrow) == ("number", "integer"):
        return True
    outer, inner = _CONTAINER.fullmatch(wide), _CONTAINER.fullmatch(narrow)
    if inner is None:
        return False
    if outer is None:
        return wide == "object" and inner[1] == "map"
    return outer[1] == inner[1] and is_wider(outer[2], inner[2])


def compare_skills(old: SkillNode, new: SkillNode) -> Iterator[Difference]:
    """Find the differences between two versions of a skill."""
    yield from members(
        old.model_dump(),
        new.model_dump(),
        {
            "skill_name": _TEXT,
            "description": _TEXT,
            "category": always(Change.MINOR, "a classification; no call changes"),
            "owner_role_id": always(Change.MINOR, "another role answers for it; no call changes"),
            "stability_tier": _tier,
            "is_generator": always(Change.MAJOR, "what it may bring about is another"),
        },
        skip=("skill_id", "version", "signature", "runtime_binding"),
    )
    yield from _signatures(old.signature, new.signature)
    yield from _bindings(old.runtime_binding, new.runtime_binding)


def _tier(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
    if old in _TIERS and new in _TIERS and _TIERS.index(new) > _TIERS.index(old):
        return Change.MINOR, "more settled than before"
    if old == "restricted":
        return Change.MINOR, "open to more callers than before"
    return Change.MAJOR, "a promise to callers is taken back"


def _signatures(old: Signature, new: Signature) -> Iterator[Difference]:
    path = ("signature",)
    if old.name != new.name:
        yield Difference(
            "/signature/name", Kind.CHANGED, old.name, new.name, Change.MAJOR, "adapters know the call by it"
        )
    matched: dict[str, Argument] = {}
    for argument in old.args:
        found = new.argument(argument.name)
        below = (*path, "args", argument.name)
        if found is None:
            rule = always(Change.MAJOR, "steps that give it are refused")
            yield difference(below, Kind.REMOVED, _stated(argument), None, rule)
        else:
            matched[found.name] = argument
            yield from _arguments(argument, found, below)
    for argument in new.args:
        if argument.name not in matched:
            yield difference((*path, "args", argument.name), Kind.ADDED, None, _stated(argument), _new_argument)
    yield from _returns(old.returns, new.returns)
    for code in (code for code in old.errors if code not in new.errors):
        rule = always(Change.MAJOR, "what it reported comes another way, past who handles it")
        yield difference((*path, "errors"), Kind.REMOVED, code, None, rule)
    for code in (code for code in new.errors if code not in old.errors):
        rule = always(Change.MINOR, "a step's on_error takes any code")
        yield difference((*path, "errors"), Kind.ADDED, None, code, rule)


def _stated(argument: Argument) -> dict[str, Any]:
    return argument.model_dump(exclude_unset=True)


def _must_be_given(argument: Argument) -> bool:
    return argument.required and not argument.has_default


def _new_argument(path: Path, kind: Kind, old: Any, new: Mapping[str, Any]) -> tuple[Change, str]:
    if new.get("required") and "default" not in new:
        return Change.MAJOR, "steps that do not give it are refused"
    return Change.MINOR, "steps may leave it out"


def _arguments(old: Argument, new: Argument, path: Path) -> Iterator[Difference]:
    def found(name: str, before: Any, now: Any, change: Change, reason: str) -> Difference:
        kind = Kind.ADDED if before is None else Kind.REMOVED if now is None else Kind.CHANGED
        return difference((*path, name), kind, before, now, always(change, reason))

    if old.name != new.name:
        yield found("name", old.name, new.name, Change.MINOR, "the old name is still accepted")
    if old.type != new.type:
        is_compatible = is_wider(new.type, old.type)
        reason = "takes all it took before" if is_compatible else "refuses values that it took"
        yield found("type", old.type, new.type, Change.MINOR if is_compatible else Change.MAJOR, reason)
    if _must_be_given(old) != _must_be_given(new):
        change = Change.MINOR if _must_be_given(old) else Change.MAJOR
        reason = "steps may leave it out" if _must_be_given(old) else "steps that do not give it are refused"
        yield found("required", _must_be_given(old), _must_be_given(new), change, reason)
    if old.has_default != new.has_default or not is_same(old.default, new.default):
        is_new = new.has_default and not old.has_default
        yield found(
            "default",
            old.default if old.has_default else None,
            new.default if new.has_default else None,
            Change.MINOR if is_new else Change.MAJOR,
            "says what was open" if is_new else "steps that leave it out get another value",
        )
    accepted = {new.name, *new.aliases}
    for alias in (alias for alias in old.aliases if alias not in accepted):
        yield found("aliases", alias, None, Change.MAJOR, "steps that use the name are refused")
    for alias in (alias for alias in new.aliases if alias not in (old.name, *old.aliases)):
        yield found("aliases", None, alias, Change.MINOR, "one more name")
    if old.references != new.references:
        change = Change.MAJOR if new.references else Change.MINOR
        reason = "refuses values that it took" if new.references else "takes all it took before"
        yield found("references", old.references, new.references, change, reason)


def _returns(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    path = ("signature", "returns")
    for name, rule in (("properties", _returned), ("type", _returned)):
        yield from differences(
            path, {name: old[name]} if name in old else {}, {name: new[name]} if name in new else {}, rule
        )
    others = always(Change.MAJOR, "callers read what it returns")
    rest = [{name: side[name] for name in side if name not in ("properties", "type")} for side in (old, new)]
    yield from differences(path, rest[0], rest[1], others)


def _returned(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
    if kind is Kind.ADDED:
        return Change.MINOR, "callers may ignore it"
    if kind is Kind.CHANGED and isinstance(old, str) and isinstance(new, str) and is_wider(old, new):
        return Change.MINOR, "callers that take the old type take the new one"
    return Change.MAJOR, "callers read what it returns"


def _bindings(old: RuntimeBinding, new: RuntimeBinding) -> Iterator[Difference]:
    reach = always(Change.PATCH, "how it reaches its system is outside the contract")
    before, now = (binding.model_dump(exclude={"effects"}) for binding in (old, new))
    yield from differences(("runtime_binding",), before, now, reach)
    declared = set(old.effects.values())

    def effect(path: Path, kind: Kind, action: Any, category: Any) -> tuple[Change, str]:
        if kind is Kind.REMOVED:
            return Change.MAJOR, "an undeclared action counts as every effect"
        if category not in declared:
            return Change.MAJOR, f"brings about {category}, which the skill did not before"
        if kind is Kind.ADDED:
            return Change.MINOR, "one more action, of an effect that the skill had"
        return Change.MAJOR, "an action brings about something else"

    yield from differences(("runtime_binding", "effects"), old.effects, new.effects, effect)
