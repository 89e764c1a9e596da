"""Permissions: who may run, propose, publish and decide what, as pure rules over the registry's own statements.

Nothing here names a role. Roles and who supervises them, `role_skill_map`, agents' profiles and the policies in force
say who may what; a state that says nothing permits nothing.

**Acting for a role.** A principal acts for its own role and for every role below it: a supervisor may do what the roles
it supervises may. Skill permissions rise: publish includes maintain, maintain includes use.

**Agents** are narrowed by their `policy_profile`: an agent runs only the skills that `skills` lists, takes only the
`actions` listed there (run and propose where none are), and nothing that `deny` names; deny beats all. A profile
never widens what the role may.

| action | object | who |
|---|---|---|
| run | skill_node | acts for a role that may use the skill |
| run | workflow | acts for its responsible role, or may use every skill that it calls |
| propose | skill_node that exists | acts for its owner, or may maintain it |
| propose | workflow that exists | acts for its responsible role, or may maintain every skill it calls |
| propose | anything else, anything new | every principal: a draft changes nothing |
| publish | skill_node | may publish it, or acts for a publisher of the kind |
| publish | workflow | may publish every skill it calls, or acts for a publisher of the kind |
| publish | policy that exists | acts for its owner, or for a publisher of the kind |
| publish | anything else | acts for a publisher of the kind |
| decide | publication_queue | acts for a mandatory reviewer, and did not propose it |
| purge | policy | acts for its owner |
| hold | policy | acts for its owner, or for a role that its `legal_hold_roles` list |
| decide | handoff | a person who acts for the role that it belongs to |

*Publishers of a kind* are the roles that the security policies in force list under `publishers`. Where several policies
name a kind, those of the highest precedence hold, and of equals only the roles that all of them list. *Mandatory
reviewers* are those of all publishing policies in force. What is purged or held is under a data policy: that one is the
object. The platform itself proposes; it loads packs and imports logs by code of its own, and does nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from guard.canonical import parse
from lake.tables import AGENT, POLICY, ROLE, ROLE_SKILL_MAP
from registry.database import TABLES, fetch
from registry.documents import PolicyProfile

Action = Literal["run", "propose", "publish", "decide", "purge", "hold"]

LEVELS = ROLE_SKILL_MAP.column("permission").enum
"""What a role may do with a skill, each including those before it."""

HANDOFF = "handoff"
"""Kind of what waits for a person's decision; it is no governed object, and an episode holds it."""

_PRECEDENCE = POLICY.column("precedence").enum


@dataclass(frozen=True)
class Principal:
    """Who acts: a person, an agent, or the platform itself."""

    subject_id: str
    subject_type: Literal["person", "agent", "platform"]
    role_id: str | None


PLATFORM = Principal("platform", "platform", None)
"""Bootstrap, importers and schedulers: may do what only code decides."""


@dataclass(frozen=True)
class Target:
    """The object that somebody wants to act on, as far as the rules look at it.

    Attributes:
        exists: whether the registry holds it.
        owner: role that answers for it, if any does.
        skills: skills that a workflow calls, in its current and in its wanted version.
        proposed_by: who proposed it, for a row of the publication queue.
        holders: roles beside the owner that may hold what a data policy would end.
    """

    object_type: str
    object_id: str
    exists: bool = True
    owner: str | None = None
    skills: frozenset[str] = frozenset()
    proposed_by: str | None = None
    holders: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RegisteredAgent:
    """An agent's role and profile; None for a profile that cannot be read, which permits nothing."""

    role_id: str
    profile: PolicyProfile | None


@dataclass(frozen=True)
class Permissions:
    """What the registry says about who may do what, at one moment.

    Attributes:
        supervisor: role -> role that supervises it, None at the top; holds every role.
        grants: skill -> role -> permission.
        agents: agents by id.
        publishers: kind of object -> roles that publish it.
        reviewers: mandatory reviewers of publications.
    """

    supervisor: Mapping[str, str | None]
    grants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    agents: Mapping[str, RegisteredAgent] = field(default_factory=dict)
    publishers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reviewers: frozenset[str] = frozenset()

    def acts_for(self, role_id: str, wanted: str) -> bool:
        """Tell whether `role_id` is `wanted` or stands above it."""
        at: str | None = wanted
        seen: set[str] = set()
        while at is not None and at not in seen:
            if at == role_id:
                return True
            seen.add(at)
            at = self.supervisor.get(at)
        return False

    def may(self, role_id: str, level: str, skill_id: str) -> bool:
        """Tell whether a role, or one below it, holds at least `level` on a skill."""
        return any(
            LEVELS.index(held) >= LEVELS.index(level) and self.acts_for(role_id, holder)
            for holder, held in self.grants.get(skill_id, {}).items()
        )

    def refusal(self, principal: Principal, action: Action, target: Target) -> str | None:
        """Return why a principal may not, in words that say what would be needed; None where it may."""
        if principal.subject_type == "platform":
            return (
                None if action == "propose" else "the platform only proposes; act with the token of a person or agent"
            )
        role_id = principal.role_id
        if role_id is None or role_id not in self.supervisor:
            return f"its role {role_id} is not registered"
        if principal.subject_type == "agent" and (reason := self._narrowed(principal, action, target)):
            return reason
        return _RULES[action](self, principal, role_id, target)

    def _narrowed(self, principal: Principal, action: Action, target: Target) -> str | None:
        agent = self.agents.get(principal.subject_id)
        if agent is None:
            return "no such agent is registered"
        if agent.role_id != principal.role_id:
            return f"the agent acts in role {agent.role_id}"
        if agent.profile is None:
            return "its policy_profile cannot be read; publish the agent with a correct one"
        denied = set(agent.profile.deny.get(action, ()))
        if denied & {"*", target.object_id, *target.skills}:
            return f"its policy_profile denies it under deny.{action}"
        if action not in agent.profile.actions:
            return f"its policy_profile does not list {action} under actions"
        if action == "run" and target.object_type == "skill_node" and target.object_id not in agent.profile.skills:
            return f"its policy_profile does not list {target.object_id} under skills"
        return None

    def _acts_for_any(self, role_id: str, wanted: Iterable[str]) -> bool:
        return any(self.acts_for(role_id, role) for role in wanted)

    def _may_all(self, role_id: str, level: str, target: Target) -> bool:
        return bool(target.skills) and all(self.may(role_id, level, skill) for skill in target.skills)

    def _run(self, principal: Principal, role_id: str, target: Target) -> str | None:
        if target.object_type == "skill_node":
            if self.may(role_id, "use", target.object_id):
                return None
            return f"it needs the permission use on {target.object_id} in role_skill_map"
        if target.object_type == "workflow":
            if self._answers_for(role_id, target) or self._may_all(role_id, "use", target):
                return None
            return f"it needs the role {target.owner} or one above it, or the permission use on every skill it calls"
        return f"a {target.object_type} does not run; skills and workflows do"

    def _propose(self, principal: Principal, role_id: str, target: Target) -> str | None:
        if target.exists and target.object_type == "skill_node":
            if self._answers_for(role_id, target) or self.may(role_id, "maintain", target.object_id):
                return None
            return f"it needs the permission maintain on {target.object_id}, or its owner {target.owner} or one above"
        if target.exists and target.object_type == "workflow":
            if self._answers_for(role_id, target) or self._may_all(role_id, "maintain", target):
                return None
            return (
                f"it needs the role {target.owner} or one above it, or the permission maintain on every skill it calls"
            )
        return None

    def _publish(self, principal: Principal, role_id: str, target: Target) -> str | None:
        publishers = self.publishers.get(target.object_type, frozenset())
        if self._acts_for_any(role_id, publishers):
            return None
        listed = (
            f"the role {' or '.join(sorted(publishers))} or one above it" if publishers else "a publisher by policy"
        )
        if target.object_type == "skill_node":
            if self.may(role_id, "publish", target.object_id):
                return None
            return f"it needs {listed}, or the permission publish on {target.object_id}"
        if target.object_type == "workflow":
            if self._may_all(role_id, "publish", target):
                return None
            return f"it needs {listed}, or the permission publish on every skill it calls"
        if target.object_type == "policy" and target.exists:
            if self._answers_for(role_id, target):
                return None
            return f"it needs {listed}, or its owner {target.owner} or one above"
        return f"it needs {listed}"

    def _decide(self, principal: Principal, role_id: str, target: Target) -> str | None:
        if target.object_type == HANDOFF:
            if principal.subject_type != "person":
                return "it was handed to a person; act with the token of one"
            if self._answers_for(role_id, target):
                return None
            return f"it needs the role {target.owner} or one above it"
        if target.object_type != "publication_queue" or not target.exists:
            return "only handoffs and what stands in the publication queue are decided"
        if target.proposed_by == principal.subject_id:
            return "nobody decides what they proposed; the supervisor of the reviewer stands in"
        if self._acts_for_any(role_id, self.reviewers):
            return None
        return f"it needs a mandatory reviewer ({', '.join(sorted(self.reviewers)) or 'none is named'}) or one above"

    def _purge(self, principal: Principal, role_id: str, target: Target) -> str | None:
        if target.object_type != "policy" or not target.exists:
            return "only a data policy ends the life of data"
        return None if self._answers_for(role_id, target) else f"it needs its owner {target.owner} or one above"

    def _hold(self, principal: Principal, role_id: str, target: Target) -> str | None:
        if target.object_type != "policy" or not target.exists:
            return "only what a data policy would end is held"
        if self._answers_for(role_id, target) or self._acts_for_any(role_id, target.holders):
            return None
        return f"it needs the role {' or '.join(sorted({str(target.owner), *target.holders}))} or one above"

    def _answers_for(self, role_id: str, target: Target) -> bool:
        return target.owner is not None and self.acts_for(role_id, target.owner)


_Rule = Callable[[Permissions, Principal, str, Target], str | None]
_RULES: Mapping[Action, _Rule] = {
    "run": Permissions._run,
    "propose": Permissions._propose,
    "publish": Permissions._publish,
    "decide": Permissions._decide,
    "purge": Permissions._purge,
    "hold": Permissions._hold,
}


def load_permissions(connection: sa.Connection, *, now: datetime | None) -> Permissions:
    """Return what the registry says at `now` about who may do what.

    Without a `now` no policy is in force: enough for who runs what, which no policy changes.
    """
    role, grant, agent = TABLES[ROLE.name], TABLES[ROLE_SKILL_MAP.name], TABLES[AGENT.name]
    grants: dict[str, dict[str, str]] = {}
    for role_id, skill_id, permission in fetch(
        connection, sa.select(grant.c.role_id, grant.c.skill_id, grant.c.permission)
    ):
        grants.setdefault(skill_id, {})[role_id] = permission
    agents = fetch(connection, sa.select(agent.c.agent_id, agent.c.role_id, agent.c.policy_profile))
    policies = [] if now is None else list(_in_force(connection, now))
    return Permissions(
        supervisor=dict(fetch(connection, sa.select(role.c.role_id, role.c.supervises_role_id))),
        grants=grants,
        agents={agent_id: RegisteredAgent(role_id, _profile(profile)) for agent_id, role_id, profile in agents},
        publishers=_publishers([(rank, spec) for scope, rank, spec in policies if scope == "security"]),
        reviewers=frozenset().union(
            *(role_ids(spec.get("mandatory_reviewers")) for scope, _, spec in policies if scope == "publishing")
        ),
    )


def security_rules(connection: sa.Connection, name: str, *, now: datetime) -> list[Any]:
    """Return what the security policies in force state under `name`."""
    return [spec[name] for scope, _, spec in _in_force(connection, now) if scope == "security" and name in spec]


def policies_in_force(connection: sa.Connection, scope: str, *, now: datetime) -> list[tuple[int, Mapping[str, Any]]]:
    """Return (rank of precedence, spec) of the policies of a scope that hold at `now`, by id; rank 0 is the highest."""
    return [(rank, spec) for held, rank, spec in _in_force(connection, now) if held == scope]


def role_ids(stated: Any) -> frozenset[str]:
    """Return the role ids of a list; anything else names nobody."""
    return frozenset(role for role in stated if isinstance(role, str)) if isinstance(stated, list) else frozenset()


def _in_force(connection: sa.Connection, now: datetime) -> Iterable[tuple[str, int, Mapping[str, Any]]]:
    """Yield (scope, rank of precedence, spec) of the policies that hold at `now`."""
    table = TABLES[POLICY.name]
    query = sa.select(
        table.c.scope, table.c.precedence, table.c.spec, table.c.effective_from, table.c.effective_to
    ).order_by(table.c.policy_id)
    for scope, precedence, spec, begin, end in fetch(connection, query):
        if (begin is None or begin <= now) and (end is None or now < end):
            yield scope, _PRECEDENCE.index(precedence), parse(spec)


def _publishers(policies: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[str, frozenset[str]]:
    """Return the publishers per kind: of the highest precedence that names the kind, what all of its policies list."""
    held: dict[str, tuple[int, frozenset[str]]] = {}
    for rank, spec in policies:
        stated = spec.get("publishers")
        for kind, roles in stated.items() if isinstance(stated, Mapping) else ():
            listed = role_ids(roles)
            best, before = held.get(kind, (rank, listed))
            if rank < best:
                held[kind] = (rank, listed)
            elif rank == best:
                held[kind] = (rank, before & listed)
    return {kind: roles for kind, (_, roles) in held.items()}


def _profile(text: str) -> PolicyProfile | None:
    try:
        return PolicyProfile.model_validate(parse(text))
    except ValueError:  # of the JSON, or of what it holds
        return None
