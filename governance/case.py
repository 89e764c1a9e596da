"""A case: a proposal as the gates look at it, with all that they need of the registry, read at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from governance.rules import PublishingRules
from guard.canonical import parse
from guard.redaction import PII_MARK
from lake.tables import STEP_ACTION, TRIGGER_DEF, WORKFLOW
from registry.comparison import effects_of
from registry.consistency import latest_schemas
from registry.contracts import policy_tags
from registry.database import TABLES, fetch
from registry.documents import (
    Agent,
    ConsumerSubscription,
    Document,
    DocumentRefused,
    EventSchema,
    Policy,
    Role,
    RoleSkill,
    SkillNode,
    Workflow,
)
from registry.drafts import Draft, surroundings
from registry.objects import NotRegistered
from registry.plans import Plan, plan_of
from registry.proposals import ProposalClosed, Queued
from registry.publication import proposed
from registry.versions import currents

GOVERNS = "governance.write"
"""The effect of changing what governs others: roles, agents, policies, schemas, words."""


@dataclass(frozen=True)
class Case:
    """A proposal with what it would make current.

    Attributes:
        draft: what it would make current; None where it cannot be told.
        faults: everything that stands against it beside what is current now.
        effects: effect categories that it can bring about.
        plan: the workflow that it would make current, ready to run; None for any other object, or where faults are.
        tags: policy tags of its data.
        schemas: topic -> JSON Schema of the payloads that it reads.
        touches: workflows whose episodes would run otherwise.
        runs: whether episodes run through its object at all.
    """

    proposal: Queued
    rules: PublishingRules
    draft: Draft[Any] | None
    faults: tuple[str, ...]
    effects: frozenset[str] = frozenset()
    plan: Plan | None = None
    tags: frozenset[str] = frozenset()
    schemas: Mapping[str, Any] = field(default_factory=dict)
    touches: frozenset[str] = frozenset()
    runs: bool = False


def open_case(connection: sa.Connection, proposal: Queued, rules: PublishingRules, *, now: datetime) -> Case:
    """Return the case of a proposal."""
    try:
        draft, found = proposed(connection, proposal, now=now)
    except (ProposalClosed, DocumentRefused, NotRegistered) as fault:
        return Case(proposal, rules, None, (str(fault),))
    faults = tuple(map(str, found))
    body: Document = draft.received.body
    schemas = {subject: parse(text) for subject, (_, text) in latest_schemas(connection).items()}
    touches = frozenset(_touched(connection, body))
    case = Case(
        proposal,
        rules,
        draft,
        faults,
        effects=frozenset(_effects(connection, draft)),
        tags=frozenset(_tags(connection, body, touches, schemas)),
        schemas=schemas,
        touches=touches,
        runs=isinstance(body, Workflow | SkillNode | EventSchema | Agent | RoleSkill),
    )
    if isinstance(body, Workflow) and not faults:
        try:
            return replace(case, plan=plan_of(connection, draft.received))
        except NotRegistered as fault:
            return replace(case, faults=(str(fault),))
    return case


def _effects(connection: sa.Connection, draft: Draft[Any]) -> set[str]:
    """Return what a workflow can bring about, children included; of a skill what it could not do before."""
    body = draft.received.body
    around = surroundings(connection, [draft.received])
    if isinstance(body, Workflow):
        return set() if body.status == "retired" else effects_of(body, around.skill, around.workflow)
    if isinstance(body, SkillNode):
        held = currents(connection, SkillNode, [body.skill_id]).get(body.skill_id)
        had = set(held.received.body.runtime_binding.effects.values()) if held else set()
        return set(body.runtime_binding.effects.values()) - had
    return {GOVERNS}


def _touched(connection: sa.Connection, body: Document) -> set[str]:
    """Return the workflows that run otherwise once an object is current."""
    step, trigger = TABLES[STEP_ACTION.name], TABLES[TRIGGER_DEF.name]
    if isinstance(body, Workflow):
        return {body.workflow_id}
    if isinstance(body, ConsumerSubscription):
        return {body.consumer_id}
    if isinstance(body, Policy):
        return _of_policy(connection, body)
    if isinstance(body, EventSchema):
        listening = sa.select(trigger.c.workflow_id).filter_by(topic=body.subject, last_version=None)
        return {name for (name,) in fetch(connection, listening)}
    skills: set[str] = set()
    if isinstance(body, SkillNode | RoleSkill):
        skills = {body.skill_id}
    elif isinstance(body, Agent):
        skills = set(body.policy_profile.skills)
        if held := currents(connection, Agent, [body.agent_id]).get(body.agent_id):
            skills |= set(held.received.body.policy_profile.skills)
    elif isinstance(body, Role):
        table = TABLES[WORKFLOW.name]
        answered = sa.select(table.c.workflow_id).where(table.c.responsible_role_id == body.role_id)
        return {name for (name,) in fetch(connection, answered)}
    calling = sa.select(step.c.workflow_id).where(step.c.skill_id.in_(skills), step.c.last_version.is_(None)).distinct()
    return {name for (name,) in fetch(connection, calling)} if skills else set()


def _of_policy(connection: sa.Connection, body: Policy) -> set[str]:
    """Return the workflows that a policy names, by id or by a tag that they bear."""
    named = body.spec_.get("workflow_id")
    tags = body.spec_.get("applies_to_tags", ())
    found = {named} if isinstance(named, str) else set()
    for workflow_id, current in currents(connection, Workflow).items():
        own = current.received.body.constraints.policy_tags
        if any(tag == wanted or tag.startswith(f"{wanted}_") for tag in own for wanted in tags):
            found.add(workflow_id)
    return found


def _tags(connection: sa.Connection, body: Document, touches: frozenset[str], schemas: Mapping[str, Any]) -> set[str]:
    """Return the policy tags of the data that an object handles: its own and those of its topics."""
    if isinstance(body, EventSchema):
        return _of_schema(body.schema_)
    workflows = [body] if isinstance(body, Workflow) else []
    if not workflows and touches:
        workflows = [current.received.body for current in currents(connection, Workflow, touches).values()]
    tags: set[str] = set()
    for workflow in workflows:
        tags |= set(workflow.constraints.policy_tags)
        for trigger in workflow.triggers:
            tags |= _of_schema(schemas.get(trigger.selector.topic or "", {}))
    return tags


def _of_schema(schema: Any) -> set[str]:
    return {*policy_tags(schema), *(["pii"] if _is_marked(schema) else [])}


def _is_marked(value: Any) -> bool:
    """Return whether anything in a schema is marked as personal."""
    if isinstance(value, Mapping):
        return value.get(PII_MARK) is True or any(map(_is_marked, value.values()))
    return isinstance(value, list) and any(map(_is_marked, value))
