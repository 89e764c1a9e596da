"""What a comparison finds: where two documents differ, and what that means for those who rely on the old one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from guard.canonical import canonical, pointer

Path = tuple[str, ...]


class Change(StrEnum):
    """What a difference does to the version number."""

    PATCH = "patch"
    MINOR = "minor"
    MAJOR = "major"

    @property
    def rank(self) -> int:
        return list(Change).index(self)


class Kind(StrEnum):
    """How two documents differ in one place."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(frozen=True)
class Difference:
    """One place in which two documents differ.

    Attributes:
        path: a JSON pointer in which the members of a list that have ids stand under their ids, so that it means the
            same in both documents: `/steps/F-02/parameters/tolerance`.
        old: the value there before, None where there was none.
        new: the value there now, None where there is none.
        reason: why the change is of that class, for a reader.
    """

    path: str
    kind: Kind
    old: Any
    new: Any
    change: Change
    reason: str

    def __str__(self) -> str:
        values = {
            Kind.ADDED: brief(self.new),
            Kind.REMOVED: brief(self.old),
        }.get(self.kind, f"{brief(self.old)} -> {brief(self.new)}")
        return f"{self.change:5}  {self.path}  {self.kind}: {values}  ({self.reason})"


def brief(value: Any, limit: int = 120) -> str:
    """Return a value as a reader's one line: texts as they are, JSON otherwise, cut at `limit` characters."""
    text = value if isinstance(value, str) else canonical(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


Classify = Callable[[Path, Kind, Any, Any], tuple[Change, str]]
"""(path, kind, old, new) of one difference -> its class and the reason."""


def is_same(old: Any, new: Any) -> bool:
    """Tell whether two parsed JSON values have one canonical form: 1 and 1.0 do, 1 and true do not."""
    if type(old) is type(new) and isinstance(old, str | int | None):
        return bool(old == new)
    return canonical(old) == canonical(new)


def differences(path: Path, old: Any, new: Any, classify: Classify) -> Iterator[Difference]:
    """Find where two parsed JSON values differ: objects member by member, everything else as a whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            below = (*path, name)
            if name not in new:
                yield difference(below, Kind.REMOVED, old[name], None, classify)
            elif name not in old:
                yield difference(below, Kind.ADDED, None, new[name], classify)
            else:
                yield from differences(below, old[name], new[name], classify)
    elif not is_same(old, new):
        yield difference(path, Kind.CHANGED, old, new, classify)


def difference(path: Path, kind: Kind, old: Any, new: Any, classify: Classify) -> Difference:
    """Return one difference under the class that `classify` gives it."""
    change, reason = classify(path, kind, old, new)
    return Difference(pointer(path), kind, old, new, change, reason)


def always(change: Change, reason: str) -> Classify:
    """Return a rule that puts every difference into one class."""
    return lambda path, kind, old, new: (change, reason)


def by_id(items: Iterable[Mapping[str, Any]], key: str) -> dict[str, Mapping[str, Any]]:
    """Return the objects of a list under their ids, in order."""
    return {item[key]: item for item in items}


def members(
    old: Mapping[str, Any], new: Mapping[str, Any], rules: Mapping[str, Classify], *, skip: Sequence[str] = ()
) -> Iterator[Difference]:
    """Compare two documents member by member, each under its own rule; a member without one is breaking."""
    unknown = always(Change.MAJOR, "nothing says that this is compatible")
    for name in [*old, *(name for name in new if name not in old)]:
        if name in skip:
            continue
        rule = rules.get(name, unknown)
        yield from differences(
            (),
            {name: old[name]} if name in old else {},
            {name: new[name]} if name in new else {},
            rule,
        )
