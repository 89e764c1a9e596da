"""A comparison as a reviewer reads it: what was added, removed, moved and changed, the weightiest part first."""

from collections.abc import Iterator, Mapping
from typing import Any

from registry.comparison.model import Difference, Kind, brief

_SIGNS = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~", Kind.MOVED: ">"}


def review(differences: tuple[Difference, ...]) -> Iterator[str]:
    """Yield the lines of a review: differences by the part of the document they are in.

    Parts stand in the order of their weightiest difference, steps and triggers each by their own id.
    """
    parts: dict[str, list[Difference]] = {}
    for found in differences:
        parts.setdefault(_part(found.path), []).append(found)
    for part, found_there in parts.items():
        whole = [found for found in found_there if found.path.removeprefix("/") == part]
        for found in whole:
            yield f"{_SIGNS[found.kind]} {_title(part)}  {_values(found)}  [{found.change}: {found.reason}]"
        rest = [found for found in found_there if found not in whole]
        if rest and not whole:
            yield f"~ {_title(part)}"
        for found in rest:
            name = found.path.removeprefix(f"/{part}/").replace("/", ".")
            yield f"    {_SIGNS[found.kind]} {name}  {_values(found)}  [{found.change}: {found.reason}]"


def as_json(found: Difference) -> dict[str, Any]:
    """Return a difference as parsed JSON."""
    return {
        "path": found.path,
        "kind": str(found.kind),
        "old": found.old,
        "new": found.new,
        "change": str(found.change),
        "reason": found.reason,
    }


def _part(path: str) -> str:
    """Return what a difference belongs to: a step, a trigger, or a member of the document."""
    head, *rest = path.removeprefix("/").split("/")
    return f"{head}/{rest[0]}" if head in ("steps", "triggers") and rest else head


def _title(part: str) -> str:
    head, _, name = part.partition("/")
    return f"{head.removesuffix('s')} {name.replace('~1', '/')}" if name else head or "document"


def _values(found: Difference) -> str:
    if found.kind is Kind.ADDED:
        return _short(found.new)
    if found.kind is Kind.REMOVED:
        return _short(found.old)
    return f"{_short(found.old)} -> {_short(found.new)}" if found.path else ""


def _short(value: Any) -> str:
    """Return a step by what it does, a trigger by what it listens to, anything else as it is."""
    if isinstance(value, Mapping) and "skill_id" in value and "action_type" in value:
        parameters = ", ".join(f"{name}: {brief(item, 40)}" for name, item in value.get("parameters", {}).items())
        return f"{value['action_type']} {value['skill_id']}({parameters}) then {brief(value['next_step_logic'], 60)}"
    return brief(value)
