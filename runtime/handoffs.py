"""The inbox: episodes that wait at a handoff for a person, listed, decided and given to another role.

A decision is an event like any other: it is announced with the record that it was made, delivered to `event_bus`, and
wakes the episode. Each handoff is decided once. What is shown is what the episode knows, which is redacted.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from guard.canonical import parse
from guard.identity import name_uuid
from lake.tables import HANDOFF_ACTION, OPEN_EPISODE, ROLE
from registry.access import Denied, recorded_denials
from registry.database import TABLES, Registry, insert
from registry.objects import NotRegistered
from registry.outbox import HANDOFF_CHANGED, announce
from registry.permissions import HANDOFF, Principal, Target, load_permissions
from registry.plans import Plan, PlannedStep, load_plan

DECIDED = "handoff.decided"
"""Topic of the event that carries a person's decision."""

DECISIONS = HANDOFF_ACTION.column("decision").enum

_MIN_PREFIX = 4
_OWN_MEMBERS = frozenset({"decision", "decided_by", "reason"})


class HandoffFault(ValueError):
    """A handoff that cannot be worked on as asked; the message says what can be done."""


@dataclass(frozen=True)
class HandoffAction:
    """What somebody did about a handoff."""

    action: str
    owner_role_id: str
    decision: str | None
    reason: str | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class Handoff:
    """An episode that waits for a person.

    Attributes:
        handoff_id: follows from episode, step and since when it waits.
        owner_role_id: role that it belongs to now.
        asked: what the step gave when it handed off, such as the reason; None where that is not constant.
        topic: topic of the event that ends the wait; the inbox decides those of `handoff.decided`.
        correlates: members that this event has, so that the episode finds it.
        payload: what started the episode, redacted.
        history: what was done about it, oldest first.
    """

    handoff_id: str
    episode_id: str
    workflow_id: str
    workflow_version: str
    step_id: str
    owner_role_id: str
    waiting_since: datetime
    due_at: datetime
    topic: str
    asked: Mapping[str, Any] | None
    correlates: Mapping[str, Any]
    payload: Any
    history: tuple[HandoffAction, ...]

    @property
    def decision(self) -> HandoffAction | None:
        return next((action for action in self.history if action.action == "decided"), None)


def handoffs(registry: Registry, *, owner_role_id: str | None = None, is_decided: bool = False) -> list[Handoff]:
    """Return the handoffs that wait, those due first; with `is_decided` also what was decided and not yet taken up.

    Args:
        owner_role_id: only what belongs to this role.
    """
    with registry.read() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(TABLES[OPEN_EPISODE.name])).mappings()]
        history = _history(connection)
    found = [
        handoff
        for handoff in _of_rows(registry, rows, history)
        if (is_decided or handoff.decision is None) and owner_role_id in (None, handoff.owner_role_id)
    ]
    return sorted(found, key=lambda handoff: (handoff.due_at, handoff.handoff_id))


def find_handoff(registry: Registry, handoff_id: str) -> Handoff:
    """Return the handoff of an id, of the one id that begins so, or of an episode that has only one.

    Raises:
        HandoffFault: there is none, or more than one.
    """
    every = handoffs(registry, is_decided=True)
    found = [handoff for handoff in every if handoff_id in (handoff.handoff_id, handoff.episode_id)]
    if not found and len(handoff_id) >= _MIN_PREFIX:
        found = [handoff for handoff in every if handoff.handoff_id.startswith(handoff_id)]
    if len(found) != 1:
        problem = "several handoffs are named" if found else "no handoff waits under"
        raise HandoffFault(f"{problem} {handoff_id!r}; rwcm handoffs list shows what waits")
    return found[0]


def decide_handoff(
    registry: Registry,
    handoff_id: str,
    decision: str,
    *,
    principal: Principal,
    now: datetime,
    reason: str | None = None,
) -> str:
    """Decide a handoff, once, and return the id of the event that carries the decision to the episode.

    Raises:
        HandoffFault: it was decided before, its time is over, or it waits for something else than a decision.
        Denied: the principal may not; audited.
    """
    handoff = find_handoff(registry, handoff_id)
    if decision not in DECISIONS:
        raise HandoffFault(f"a handoff is {' or '.join(DECISIONS)}, not {decision}")
    if handoff.topic != DECIDED or not handoff.correlates or _OWN_MEMBERS & handoff.correlates.keys():
        raise HandoffFault(f"{handoff.handoff_id} waits for {handoff.topic}, which is not said here")
    if handoff.due_at < now:
        raise HandoffFault(f"its time was over at {handoff.due_at:%Y-%m-%d %H:%M}; the episode goes on without you")
    payload = {
        **handoff.correlates,
        "decision": decision,
        "decided_by": principal.subject_id,
        **({"reason": reason} if reason else {}),
    }
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        owner = _checked(connection, handoff, principal, reason, now)
        event_id = announce(
            connection,
            topic=DECIDED,
            payload=payload,
            producer_id=principal.subject_id,
            now=now,
            key=f"handoff/{handoff.handoff_id}",
        )
        _record(connection, handoff, principal, now, owner=owner, reason=reason, decision=decision, event_id=event_id)
    return event_id


def reassign_handoff(
    registry: Registry,
    handoff_id: str,
    owner_role_id: str,
    *,
    principal: Principal,
    now: datetime,
    reason: str | None = None,
) -> Handoff:
    """Give a handoff to another role, and return it as it stands then; who had it before is kept.

    Raises:
        HandoffFault: it was decided before, or belongs to that role already.
        NotRegistered: there is no such role.
        Denied: the principal may not; audited.
    """
    handoff = find_handoff(registry, handoff_id)
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        owner = _checked(connection, handoff, principal, reason, now)
        if owner == owner_role_id:
            raise HandoffFault(f"{handoff.handoff_id} belongs to {owner_role_id} already")
        role = TABLES[ROLE.name]
        if connection.scalar(sa.select(role.c.role_id).filter_by(role_id=owner_role_id)) is None:
            raise NotRegistered("role", owner_role_id)
        _record(connection, handoff, principal, now, owner=owner, to_owner=owner_role_id, reason=reason)
    return find_handoff(registry, handoff.handoff_id)


def _checked(
    connection: sa.Connection, handoff: Handoff, principal: Principal, reason: str | None, now: datetime
) -> str:
    """Return to whom a handoff belongs, as this transaction sees it, if the principal may work on it."""
    longest = HANDOFF_ACTION.column("reason").length or 0
    if reason is not None and len(reason) > longest:
        raise HandoffFault(f"a reason has at most {longest:,} characters")
    done = _history(connection, handoff.handoff_id).get(handoff.handoff_id, ())
    owner = done[-1].owner_role_id if done else handoff.owner_role_id
    target = Target(HANDOFF, handoff.handoff_id, owner=owner)
    refusal = load_permissions(connection, now=now).refusal(principal, "decide", target)
    if refusal is not None:
        raise Denied(principal, "decide", HANDOFF, handoff.handoff_id, refusal)
    if decided := next((action for action in done if action.action == "decided"), None):
        raise HandoffFault(
            f"{handoff.handoff_id} was {decided.decision} by {decided.created_by} at "
            f"{decided.created_at:%Y-%m-%d %H:%M}; it is decided once"
        )
    open_episode = TABLES[OPEN_EPISODE.name]
    waits = sa.select(open_episode.c.episode_id).filter_by(episode_id=handoff.episode_id, step_id=handoff.step_id)
    if connection.execute(waits.where(open_episode.c.waiting_since == handoff.waiting_since)).first() is None:
        raise HandoffFault(f"{handoff.handoff_id} waits no longer; the episode went on meanwhile")
    return owner


def _record(
    connection: sa.Connection,
    handoff: Handoff,
    principal: Principal,
    now: datetime,
    *,
    owner: str,
    reason: str | None,
    to_owner: str | None = None,
    decision: str | None = None,
    event_id: str | None = None,
) -> None:
    """Keep an action and audit it."""
    action = "reassigned" if to_owner else "decided"
    table = TABLES[HANDOFF_ACTION.name]
    last = connection.scalar(sa.select(sa.func.max(table.c.seq)).filter_by(handoff_id=handoff.handoff_id))
    row = {
        "handoff_id": handoff.handoff_id,
        "seq": (last or 0) + 1,
        "episode_id": handoff.episode_id,
        "step_id": handoff.step_id,
        "action": action,
        "owner_role_id": to_owner or owner,
        "decision": decision,
        "event_id": event_id,
        "reason": reason,
        "created_at": now,
        "created_by": principal.subject_id,
    }
    insert(connection, HANDOFF_ACTION, [row])
    told = {
        "change": action,
        "object_type": HANDOFF,
        "object_id": handoff.handoff_id,
        "episode_id": handoff.episode_id,
        "step_id": handoff.step_id,
        "decision": decision,
        "from_owner": owner if to_owner else None,
        "to_owner": to_owner,
        "actor": principal.subject_id,
        "role_id": principal.role_id,
        "reason": reason,
    }
    payload = {name: value for name, value in told.items() if value is not None}
    announce(connection, topic=HANDOFF_CHANGED, payload=payload, producer_id=principal.subject_id, now=now)


def _history(connection: sa.Connection, handoff_id: str | None = None) -> dict[str, tuple[HandoffAction, ...]]:
    """Return what was done, per handoff and in order."""
    table = TABLES[HANDOFF_ACTION.name]
    query = sa.select(table).order_by(table.c.handoff_id, table.c.seq)
    if handoff_id is not None:
        query = query.where(table.c.handoff_id == handoff_id)
    found: dict[str, tuple[HandoffAction, ...]] = {}
    for row in connection.execute(query).mappings():
        action = HandoffAction(**{name: row[name] for name in HandoffAction.__dataclass_fields__})
        found[row["handoff_id"]] = (*found.get(row["handoff_id"], ()), action)
    return found


def _of_rows(
    registry: Registry, rows: list[dict[str, Any]], history: Mapping[str, tuple[HandoffAction, ...]]
) -> Iterator[Handoff]:
    """Yield the handoffs among waiting episodes; each version's plan is loaded once."""
    plans: dict[tuple[str, str], Plan] = {}
    for row in rows:
        name = (row["workflow_id"], row["workflow_version"])
        if name not in plans:
            plans[name] = load_plan(registry, *name)
        step = plans[name].step(row["step_id"])
        if step.action_type != "handoff" or step.logic.awaits is None or step.logic.awaits.event != row["await_topic"]:
            continue
        moment = row["waiting_since"].isoformat()
        handoff_id = name_uuid("handoff", row["episode_id"], row["step_id"], moment)
        asked = step.parameters.evaluate({}) if step.parameters.is_constant else None
        done = history.get(handoff_id, ())
        yield Handoff(
            handoff_id=handoff_id,
            episode_id=row["episode_id"],
            workflow_id=row["workflow_id"],
            workflow_version=row["workflow_version"],
            step_id=row["step_id"],
            owner_role_id=done[-1].owner_role_id if done else _owner(plans[name], step, asked),
            waiting_since=row["waiting_since"],
            due_at=row["due_at"],
            topic=row["await_topic"],
            asked=asked,
            correlates=_correlates(step, row["await_key"]),
            payload=json.loads(json.loads(row["state"])["episode"]["payload"]),
            history=done,
        )


def _owner(plan: Plan, step: PlannedStep, asked: Mapping[str, Any] | None) -> str:
    """Return the role that the step hands to; where it says none for certain, the one that answers for the workflow."""
    references = [arg.name for arg in step.skill.signature.args if arg.references == "role"]
    named = [asked[name] for name in references if asked and isinstance(asked.get(name), str)]
    return named[0] if named else plan.responsible_role_id


def _correlates(step: PlannedStep, await_key: str) -> dict[str, Any]:
    """Return the members by which the episode knows its event; a key that is too long is kept as its hash alone."""
    assert step.logic.awaits is not None
    if not await_key.startswith("["):
        return {}
    return dict(zip(step.logic.awaits.correlate, parse(await_key), strict=True))
