"""Plans: workflow versions as the engine runs them, every expression compiled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from guard.canonical import parse
from lake.tables import AGENT, OBJECT_VERSION, SKILL_NODE, WORKFLOW
from registry.access import Denied
from registry.database import TABLES, Registry, fetch
from registry.documents import Constraints, Received, SkillNode, StepAction, Trigger, Workflow
from registry.expressions import Expression, Template, compile_condition, compile_template
from registry.objects import NotRegistered, current_documents, document_in_version
from registry.permissions import Principal, Target, load_permissions
from registry.steps import StepLogic, parse_logic
from registry.versions import PUBLICATION, ROLLBACK, version_order


@dataclass(frozen=True)
class PlannedStep:
    """A step, ready to run.

    Attributes:
        skill: the skill's document in its current version, signature and binding included.
        skill_hash: names that version of the skill.
        agent_id: who runs it.
        parameters: what the step gives, under the signature's names.
        defaults: what the signature gives for the arguments that the step leaves out.
        denial: why that agent may not run the skill, if so: then the step fails and its skill is never called.
    """

    step_id: str
    sequence: int
    action_type: str
    skill: SkillNode
    skill_hash: str
    agent_id: str
    parameters: Template
    defaults: Template
    logic: StepLogic
    timeout_ms: int
    retries: int
    idempotency_key: str | None
    denial: Denied | None = None


@dataclass(frozen=True)
class PlannedTrigger:
    """What starts the workflow.

    Attributes:
        condition: reads the variable `trigger`: the payload of an event, or the row of a mart.
        timezone: zone of the wall clock that `cron` means.
        mart: the mart whose rows a condition is held against; `key` names the columns that tell its rows apart.
        secret_ref: where the secret lies that a webhook's sender signs with.
        supersedes: triggers whose events it takes over.
        since: from when on it listens: since it has been active without a break; None if that was shipped.
    """

    trigger_id: str
    trigger_type: str
    topic: str | None
    condition: Expression | None
    cron: str | None
    timezone: str = "UTC"
    mart: str | None = None
    key: tuple[str, ...] = ()
    secret_ref: str | None = None
    supersedes: tuple[str, ...] = ()
    since: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """A workflow version, ready to run.

    Attributes:
        body_hash: SHA-256 of the version's canonical JSON.
        agent_id: who orchestrates it.
        steps: by sequence; the first one is the entry.
    """

    workflow_id: str
    workflow_name: str
    version: str
    body_hash: str
    status: str
    responsible_role_id: str
    constraints: Constraints
    agent_id: str
    steps: tuple[PlannedStep, ...]
    triggers: tuple[PlannedTrigger, ...]

    @property
    def entry(self) -> PlannedStep:
        return self.steps[0]

    def step(self, step_id: str) -> PlannedStep:
        for step in self.steps:
            if step.step_id == step_id:
                return step
        raise NotRegistered(f"step of {self.workflow_id}", step_id)


def load_plan(
    registry: Registry, workflow_id: str, version: str | None = None, *, skills: Mapping[str, str] | None = None
) -> Plan:
    """Return the plan of a workflow, in its current version or the one that an episode is pinned to.

    Args:
        skills: versions of the skills that the episode is pinned to; any other skill is taken as it is now.

    Raises:
        NotRegistered: there is no such workflow or version.
    """
    with registry.read() as connection:
        if version is None:
            workflow = current_documents(connection, Workflow, workflow_id=workflow_id).get(workflow_id)
        else:
            workflow = document_in_version(connection, Workflow, workflow_id, version)
        if workflow is None:
            raise NotRegistered("workflow", workflow_id, version)
        return _Planner(connection, skills).plan(workflow)


def load_active_plans(registry: Registry) -> tuple[Plan, ...]:
    """Return the plans of all active workflows in their current versions, by id."""
    with registry.read() as connection:
        planner = _Planner(connection)
        return tuple(map(planner.plan, current_documents(connection, Workflow, status="active").values()))


def plan_of(connection: sa.Connection, workflow: Received[Workflow]) -> Plan:
    """Return the plan of a workflow that need not be current, such as a proposed one.

    Raises:
        NotRegistered: it calls a skill that is not there.
    """
    return _Planner(connection).plan(workflow)


class _Planner:
    """Builds plans from one consistent state of the registry."""

    def __init__(self, connection: sa.Connection, pinned: Mapping[str, str] | None = None) -> None:
        self._connection = connection
        self._skills = current_documents(connection, SkillNode)
        for skill_id, version in (pinned or {}).items():
            current = self._skills.get(skill_id)
            if current is None or current.body.version != version:
                skill = document_in_version(connection, SkillNode, skill_id, version)
                if skill is None:
                    raise NotRegistered("skill", skill_id, version)
                self._skills[skill_id] = skill
        table = TABLES[AGENT.name]
        orchestrators = sa.select(table.c.agent_id).filter_by(agent_type="l2_orchestrator").order_by(table.c.agent_id)
        self._orchestrator: str | None = connection.scalar(orchestrators.limit(1))
        self._permissions = load_permissions(connection, now=None)

    def plan(self, received: Received[Workflow]) -> Plan:
        workflow = received.body
        if self._orchestrator is None:
            raise NotRegistered("agent", "of type l2_orchestrator")
        steps = sorted(workflow.steps, key=lambda step: step.sequence)
        return Plan(
            workflow_id=workflow.workflow_id,
            workflow_name=workflow.workflow_name,
            version=workflow.version,
            body_hash=received.hash,
            status=workflow.status,
            responsible_role_id=workflow.responsible_role_id,
            constraints=workflow.constraints,
            agent_id=self._orchestrator,
            steps=tuple(self._step(step, self._orchestrator) for step in steps),
            triggers=self._triggers(received),
        )

    def _triggers(self, received: Received[Workflow]) -> tuple[PlannedTrigger, ...]:
        triggers = received.body.triggers
        return tuple(_trigger(trigger, at) for trigger, at in zip(triggers, self._since(received), strict=True))

    def _since(self, received: Received[Workflow]) -> list[datetime | None]:
        """Return, per trigger, when the unbroken line of active versions with this very trigger began.

        None where it began with what was shipped: that runs on what came before, too.
        """
        stated = received.value.get("triggers", ())
        since: list[datetime | None] = [None] * len(received.body.triggers)
        unbroken = set(range(len(since))) if received.body.status == "active" else set()
        table = TABLES[OBJECT_VERSION.name]
        query = sa.select(table.c.created_at, table.c.version, table.c.reason, table.c.document)
        rows = fetch(self._connection, query.filter_by(object_type=WORKFLOW.name, object_id=received.body.workflow_id))
        rows.sort(key=lambda row: (row[0], version_order(row[1])), reverse=True)
        for at, _, reason, document in rows:
            if not unbroken:
                break
            value = parse(document)
            listed = value.get("triggers", ()) if value.get("status") == "active" else ()
            unbroken = {place for place in unbroken if stated[place] in listed}
            for place in unbroken:
                since[place] = at if reason in (PUBLICATION, ROLLBACK) else None
        return since

    def _runner(self, skill_id: str, orchestrator: str) -> tuple[str, Denied | None]:
        """Return who runs a skill, and why it may not if nobody may.

        That is the first agent, by id, that lists the skill and may run it; else the first that lists it; else the
        orchestrator.
        """
        agents = self._permissions.agents
        listing = [name for name, agent in sorted(agents.items()) if agent.profile and skill_id in agent.profile.skills]
        denials: list[tuple[str, Denied]] = []
        for agent_id in listing or [orchestrator]:
            principal = Principal(agent_id, "agent", agents[agent_id].role_id)
            reason = self._permissions.refusal(principal, "run", Target(SKILL_NODE.name, skill_id))
            if reason is None:
                return agent_id, None
            denials.append((agent_id, Denied(principal, "run", SKILL_NODE.name, skill_id, reason)))
        return denials[0]

    def _step(self, step: StepAction, orchestrator: str) -> PlannedStep:
        skill = self._skills.get(step.skill_id)
        if skill is None:
            raise NotRegistered("skill", step.skill_id)
        signature = skill.body.signature
        given = {signature.name_of(name): value for name, value in step.parameters.items()}
        agent_id, denial = self._runner(step.skill_id, orchestrator)
        return PlannedStep(
            step_id=step.step_id,
            sequence=step.sequence,
            action_type=step.action_type,
            skill=skill.body,
            skill_hash=skill.hash,
            agent_id=agent_id,
            parameters=compile_template(given),
            defaults=compile_template(
                {arg.name: arg.default for arg in signature.args if arg.has_default and arg.name not in given}
            ),
            logic=parse_logic(step.next_step_logic),
            timeout_ms=step.timeout_ms,
            retries=step.retries,
            idempotency_key=step.idempotency_key,
            denial=denial,
        )


def _trigger(trigger: Trigger, since: datetime | None) -> PlannedTrigger:
    selector = trigger.selector
    return PlannedTrigger(
        trigger_id=trigger.trigger_id,
        trigger_type=trigger.trigger_type,
        topic=selector.topic,
        condition=compile_condition(selector.condition) if selector.condition else None,
        cron=selector.cron,
        timezone=selector.timezone or "UTC",
        mart=selector.mart,
        key=selector.key,
        secret_ref=selector.auth.secret_ref if selector.auth else None,
        supersedes=selector.supersedes,
        since=since,
    )
