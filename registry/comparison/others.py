"""What a change of a role, permission, agent, policy, term, schema or subscription means for who relies on it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from registry.comparison.model import Change, Difference, Kind, Path, always, differences, members
from registry.compatibility import Format, schema_change
from registry.documents import Agent, ConsumerSubscription, EventSchema, OntologyNode, Policy, Role, RoleSkill

_TEXT = always(Change.PATCH, "a text for readers")
_PERMISSIONS = ("use", "maintain", "publish")
_UPPER = re.compile(r"max_.*|.*_threshold|.*_days")
_LOWER = re.compile(r"min_.*")
_DENYING = re.compile(r"(blocked|denied|mandatory|required)_.*")
_ALLOWING = re.compile(r"allowed_.*")
_REQUIRING = re.compile(r"require_.*|audit_trail")


def compare_roles(old: Role, new: Role) -> Iterator[Difference]:
    """Find the differences between two versions of a role."""
    yield from members(
        old.model_dump(exclude_none=True),
        new.model_dump(exclude_none=True),
        {
            "role_title": _TEXT,
            "department": always(Change.MINOR, "what it may do stays"),
            "hierarchy_level": always(Change.MINOR, "what it may do stays"),
            "supervises_role_id": always(Change.MINOR, "another role stands in for it"),
            "role_type": always(Change.MAJOR, "others may fill it than before"),
        },
        skip=("role_id",),
    )


def compare_permissions(old: RoleSkill, new: RoleSkill) -> Iterator[Difference]:
    """Find the differences between two versions of a permission."""

    def permission(path: Path, kind: Kind, was: Any, becomes: Any) -> tuple[Change, str]:
        is_raised = _PERMISSIONS.index(becomes) > _PERMISSIONS.index(was)
        return (Change.MINOR, "allows more") if is_raised else (Change.MAJOR, "what was allowed is refused")

    yield from members(old.model_dump(), new.model_dump(), {"permission": permission}, skip=("role_id", "skill_id"))


def compare_agents(old: Agent, new: Agent) -> Iterator[Difference]:
    """Find the differences between two versions of an agent."""

    def profile(path: Path, kind: Kind, was: Any, becomes: Any) -> tuple[Change, str]:
        if path == ("policy_profile", "skills") and kind is not Kind.REMOVED and set(becomes) >= set(was or ()):
            return Change.MINOR, "runs all that it ran"
        return Change.MAJOR, "what it may do is another"

    yield from members(
        old.model_dump(),
        new.model_dump(),
        {"agent_name": _TEXT, "policy_profile": profile},
        skip=("agent_id",),
    )


def compare_terms(old: OntologyNode, new: OntologyNode) -> Iterator[Difference]:
    """Find the differences between two versions of a term; the label of an event or policy tag is what objects name."""
    is_key = old.node_type in ("event", "policy_tag")
    yield from members(
        old.model_dump(exclude_none=True),
        new.model_dump(exclude_none=True),
        {
            "label": always(Change.MAJOR, "objects are tagged by it") if is_key else _TEXT,
            "attributes": always(Change.MINOR, "the term means the same"),
        },
        skip=("node_id",),
    )


def compare_policies(old: Policy, new: Policy) -> Iterator[Difference]:
    """Find the differences between two versions of a policy: what forbids more than before is breaking."""
    yield from members(
        _policy_members(old),
        _policy_members(new),
        {
            "policy_name": _TEXT,
            "owner_role_id": always(Change.MINOR, "another role answers for it"),
            "spec": _policy_rule,
            "effective_from": always(Change.MAJOR, "it holds at other times"),
            "effective_to": always(Change.MAJOR, "it holds at other times"),
        },
        skip=("policy_id",),
    )


def _policy_members(policy: Policy) -> dict[str, Any]:
    times = {name: getattr(policy, name) for name in ("effective_from", "effective_to")}
    stated = {name: moment.isoformat() for name, moment in times.items() if moment}
    return {**policy.model_dump(by_alias=True, exclude=set(times)), **stated}


def _policy_rule(path: Path, kind: Kind, old: Any, new: Any) -> tuple[Change, str]:
    """Order values as precedence does: the lower maximum, the higher minimum, the larger denial are stricter."""
    name = "retention_days" if "retention_days" in path else path[-1]
    if kind is Kind.CHANGED and _is_looser(name, old, new):
        return Change.MINOR, "allows all that was allowed"
    if kind is Kind.REMOVED and _is_rule(name):
        return Change.MINOR, "allows all that was allowed"
    return Change.MAJOR, "may forbid what was allowed"


def _is_rule(name: str) -> bool:
    return any(rule.fullmatch(name) for rule in (_UPPER, _LOWER, _DENYING, _ALLOWING, _REQUIRING))


def _is_looser(name: str, old: Any, new: Any) -> bool:
    if isinstance(old, bool) and isinstance(new, bool):
        return bool(_REQUIRING.fullmatch(name)) and old and not new
    if isinstance(old, Sequence) and isinstance(new, Sequence) and not isinstance(old, str):
        smaller, larger = (new, old) if _DENYING.fullmatch(name) else (old, new)
        is_known = _DENYING.fullmatch(name) or _ALLOWING.fullmatch(name)
        return bool(is_known) and all(item in larger for item in smaller)
    if isinstance(old, str) or isinstance(new, str) or old is None or new is None:
        return False
    if _UPPER.fullmatch(name):
        return new > old
    return bool(_LOWER.fullmatch(name)) and new < old


def compare_event_schemas(old: EventSchema, new: EventSchema) -> Iterator[Difference]:
    """Find the differences between two versions of an event schema; `registry.compatibility` says what they mean.

    What breaks is told place by place with its reason; what does not is told as the members that differ.
    """
    yield from _schema_differences(old, new)
    promise = always(Change.MINOR, "what later versions must be")
    yield from differences(("compatibility",), old.compatibility, new.compatibility, promise)
    yield from differences(("content_model",), old.content_model, new.content_model, promise)


def _schema_differences(old: EventSchema, new: EventSchema) -> Iterator[Difference]:
    if old.format != new.format:
        reason = "readers of the one language cannot read the other"
        yield Difference("/format", Kind.CHANGED, old.format, new.format, Change.MAJOR, reason)
        return
    language: Format = "avro" if new.format == "avro" else "json"
    found = schema_change(old.schema_, new.schema_, language, lenient=new.content_model == "lenient")
    if found.change == "major":
        for why in found.reasons:
            kind = Kind.ADDED if why.old is None else Kind.REMOVED if why.new is None else Kind.CHANGED
            said = f"{why.kind}: {why.message}"
            yield Difference(f"/schema{why.path}", kind, why.old, why.new, Change.MAJOR, said)
    elif found.change != "none":
        said = "a text for readers" if found.change == "patch" else "takes all that it took before"
        yield from differences(("schema",), old.schema_, new.schema_, always(Change(found.change), said))


def compare_subscriptions(old: ConsumerSubscription, new: ConsumerSubscription) -> Iterator[Difference]:
    """Find the differences between two versions of a consumer's subscription to a topic."""

    def versions(path: Path, kind: Kind, was: Any, becomes: Any) -> tuple[Change, str]:
        if set(becomes) >= set(was):
            return Change.MINOR, "takes all that it took"
        return Change.MAJOR, "events that reached it no longer do"

    yield from members(old.model_dump(), new.model_dump(), {"versions": versions}, skip=("consumer_id", "subject"))
