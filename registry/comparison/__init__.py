"""Comparing two documents of one kind: what differs, what each difference means, and the version number that follows.

Semantic versioning by comparison, never by the caller's word: breaking is major, compatible is minor, and what nobody
can rely on (texts, defaults outside the contract, the binding) is patch. The tables of rules are in docs/versioning.md.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from registry.comparison.model import Change, Difference, Kind, brief
from registry.comparison.others import (
    compare_agents,
    compare_event_schemas,
    compare_permissions,
    compare_policies,
    compare_roles,
    compare_subscriptions,
    compare_terms,
)
from registry.comparison.skills import compare_skills
from registry.comparison.workflows import FindSkill, FindWorkflow, compare_workflows, effects_of
from registry.documents import (
    Agent,
    ConsumerSubscription,
    EventSchema,
    OntologyNode,
    Policy,
    Received,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
)

__all__ = [
    "Change",
    "Comparison",
    "Difference",
    "Kind",
    "Surroundings",
    "brief",
    "compare",
    "effects_of",
    "next_semver",
]

CompareSchemas = Callable[[EventSchema, EventSchema], Iterable[Difference]]
_CORE = re.compile(r"(\d+)\.(\d+)\.(\d+)(-[^+]+)?")


@dataclass(frozen=True)
class Surroundings:
    """What a comparison asks beyond the two documents.

    Attributes:
        skill: finds the current version of a skill, None if there is none.
        workflow: finds the current version of a workflow, None if there is none.
        schemas: judges two versions of an event schema.
    """

    skill: FindSkill = lambda _: None
    workflow: FindWorkflow = lambda _: None
    schemas: CompareSchemas = compare_event_schemas


@dataclass(frozen=True)
class Comparison:
    """Where two documents differ, the weightiest differences first."""

    differences: tuple[Difference, ...]

    @property
    def change(self) -> Change | None:
        """What they come to together; None if the documents are the same."""
        return max((found.change for found in self.differences), key=lambda change: change.rank, default=None)


def compare(old: Received[Any], new: Received[Any], surroundings: Surroundings | None = None) -> Comparison:
    """Return where two documents of one object differ. The version numbers that they state themselves do not count."""
    around = surroundings or Surroundings()
    before, now = old.body, new.body
    match before, now:
        case SkillNode(), SkillNode():
            found = compare_skills(before, now)
        case Workflow(), Workflow():
            found = compare_workflows(before, now, skill=around.skill, child=around.workflow)
        case Role(), Role():
            found = compare_roles(before, now)
        case RoleSkill(), RoleSkill():
            found = compare_permissions(before, now)
        case Agent(), Agent():
            found = compare_agents(before, now)
        case Policy(), Policy():
            found = compare_policies(before, now)
        case OntologyNode(), OntologyNode():
            found = compare_terms(before, now)
        case ConsumerSubscription(), ConsumerSubscription():
            found = compare_subscriptions(before, now)
        case EventSchema(), EventSchema():
            found = iter(around.schemas(before, now))
        case _:
            raise TypeError(f"a {type(before).__name__} and a {type(now).__name__} cannot be compared")
    differences = sorted(found, key=lambda difference: -difference.change.rank)
    if not differences and _unversioned(old) != _unversioned(new):
        spelling = "the same, spelled otherwise"
        differences = [Difference("", Kind.CHANGED, "", "", Change.PATCH, spelling)]
    return Comparison(tuple(differences))


def _unversioned(received: Received[Any]) -> str:
    return replace(
        received, value={name: item for name, item in received.value.items() if name not in ("version", "semver")}
    ).hash


def next_semver(current: str, change: Change) -> str:
    """Return the semantic version that follows `current`.

    A pre-release of the same numbers is followed by the release itself where no more than a patch changed.
    """
    found = _CORE.match(current)
    assert found is not None, "versions are validated with their documents"
    major, minor, patch = (int(number) for number in found.groups()[:3])
    match change:
        case Change.MAJOR:
            return f"{major + 1}.0.0"
        case Change.MINOR:
            return f"{major}.{minor + 1}.0"
        case _:
            return f"{major}.{minor}.{patch + (found[4] is None)}"
