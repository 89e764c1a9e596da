"""What nobody here knows of an effect, a person finds out: the list of parked effects, and their resolution.

A resolution is recorded with who, when and why, once, and announced in the same transaction; the announcement wakes the
episode, which performs the effect's key again and gets what was decided.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from guard.canonical import JsonFault, canonical, parse
from guard.secrets import find_secrets
from lake.tables import EFFECT
from registry.access import check_permission, recorded_denials
from registry.database import TABLES, Registry
from registry.outbox import EFFECT_RESOLVED, announce
from registry.permissions import Principal
from runtime.effects.records import State, spread_all
from runtime.protocol import RESULT_SCHEMA, ErrorCode

_MIN_PREFIX = 4


class Decision(StrEnum):
    """What a person found out."""

    DONE = "done"
    """It happened; what the other side answered is given."""
    RETRY = "retry"
    """It did not happen, and is to be tried again."""
    FAILED = "failed"
    """It did not happen and is not to be tried again: the step fails."""


class EffectFault(ValueError):
    """An effect that cannot be resolved as asked; the message says what can be done."""


@dataclass(frozen=True)
class ListedEffect:
    """An effect as people see it; `result` is what the journal holds of the answer, redacted when it came."""

    effect_key: str
    state: str
    skill_id: str
    step_id: str
    episode_id: str
    batch_id: str
    error_code: str | None
    error_message: str | None
    output: Any
    reason: str | None
    intended_at: datetime
    settled_at: datetime | None
    updated_by: str


def list_effects(registry: Registry, *, state: str | None = State.UNKNOWN, limit: int = 50) -> list[ListedEffect]:
    """Return effects in a state, or in any, those that have waited longest first."""
    spread_all(registry)
    table = TABLES[EFFECT.name]
    query = sa.select(table).order_by(table.c.intended_at, table.c.effect_key).limit(limit)
    if state is not None:
        query = query.where(table.c.state == state)
    with registry.read() as connection:
        return [_listed(row) for row in connection.execute(query).mappings()]


def find_effect(registry: Registry, effect_key: str) -> ListedEffect:
    """Return the effect of a key, or of the one key that begins so.

    Raises:
        EffectFault: there is none, or several begin so.
    """
    spread_all(registry)
    table = TABLES[EFFECT.name]
    with registry.read() as connection:
        rows = connection.execute(sa.select(table).where(table.c.effect_key == effect_key)).mappings().all()
        if not rows and len(effect_key) >= _MIN_PREFIX:
            begins = table.c.effect_key.startswith(effect_key, autoescape=True)
            rows = connection.execute(sa.select(table).where(begins).limit(2)).mappings().all()
    if len(rows) != 1:
        problem = "several effects begin" if rows else "no effect begins"
        raise EffectFault(f"{problem} with {effect_key!r}; rwcm effects list --state all shows their keys")
    return _listed(rows[0])


def resolve_effect(
    registry: Registry,
    effect_key: str,
    decision: Decision,
    *,
    principal: Principal,
    reason: str,
    now: datetime,
    output: str | None = None,
) -> ListedEffect:
    """Record what became of an effect, and announce it; return the effect as it stands then.

    Args:
        principal: who found out; it must be a person who may run the effect's skill.
        output: for `done`, the other side's answer as a JSON object; an empty one if not given.

    Raises:
        EffectFault: the effect is not unknown, or what is given does not fit the decision.
        Denied: the principal may not; audited.
    """
    effect = find_effect(registry, effect_key)
    result = _result(decision, output, reason)
    if principal.subject_type != "person":
        raise EffectFault("what became of an effect is a person's to say; act with the token of one")
    longest = EFFECT.column("reason").length or 0
    if not reason.strip() or len(reason) > longest:
        raise EffectFault(f"say why in 1 to {longest:,} characters; the audit keeps it")
    table = TABLES[EFFECT.name]
    with recorded_denials(registry, now=now), registry.transaction() as connection:
        _check(connection, principal, effect, now)
        state = State.NOT_DONE if decision is Decision.RETRY else State.RESOLVED
        changed = connection.execute(
            sa.update(table)
            .where(table.c.effect_key == effect.effect_key, table.c.state == State.UNKNOWN)
            .values(
                state=state.value,
                result=result,
                error_code=ErrorCode.REJECTED.value if decision is Decision.FAILED else None,
                reason=reason,
                settled_at=now,
                updated_at=now,
                updated_by=principal.subject_id,
            )
        )
        if changed.rowcount != 1:
            raise EffectFault(f"{effect.effect_key} is {effect.state}, not unknown: there is nothing to resolve")
        announce(
            connection,
            topic=EFFECT_RESOLVED,
            payload={
                "key": effect.effect_key,
                "change": decision.value,
                "object_type": EFFECT.name,
                "object_id": effect.effect_key,
                "episode_id": effect.episode_id,
                "step_id": effect.step_id,
                "skill_id": effect.skill_id,
                "actor": principal.subject_id,
                "role_id": principal.role_id,
                "reason": reason,
            },
            producer_id=principal.subject_id,
            now=now,
        )
    return find_effect(registry, effect.effect_key)


def _check(connection: sa.Connection, principal: Principal, effect: ListedEffect, now: datetime) -> None:
    """Return if the principal may run the skill whose effect it is: who may cause it may say that it happened."""
    check_permission(connection, principal, "run", "skill_node", effect.skill_id, now=now)


def _result(decision: Decision, output: str | None, reason: str) -> str | None:
    """Return what the journal keeps for the step, as JSON."""
    values: dict[str, Any] = {"latency_ms": 0}
    if output is not None and decision is not Decision.DONE:
        raise EffectFault(f"an output is what the other side answered; with {decision} there is none")
    match decision:
        case Decision.RETRY:
            return None
        case Decision.FAILED:
            values |= {"error_code": ErrorCode.REJECTED.value, "error_message": f"a person found out: {reason}"}
        case Decision.DONE:
            values["output"] = _object(output or "{}")
    return json.dumps([values.get(name) for name in RESULT_SCHEMA], ensure_ascii=False)


def _object(output: str) -> str:
    try:
        value = parse(output)
    except JsonFault as fault:
        raise EffectFault(f"the output is no JSON: {fault}") from None
    if not isinstance(value, dict):
        raise EffectFault('the output is a JSON object, such as {"record_id": "4711"}')
    if found := next(find_secrets(value), None):
        raise EffectFault(f"the output holds {found.kind} at {found.path or '/'}; leave it out")
    return canonical(value)


def _listed(row: sa.RowMapping) -> ListedEffect:
    result = dict(zip(RESULT_SCHEMA, json.loads(row["result"]), strict=True)) if row["result"] else {}
    output = result.get("output")
    return ListedEffect(
        **{name: row[name] for name in ListedEffect.__dataclass_fields__ if name not in ("output", "error_message")},
        output=None if output is None else json.loads(output),
        error_message=result.get("error_message"),
    )
