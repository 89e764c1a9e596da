"""Triggers that are no event of somebody else: schedules, conditions on marts, and webhooks.

All of them become events, so that what starts a workflow is always in `event_bus`: a schedule and a condition announce
`trigger.fired` through the outbox; a webhook's signed request lands as a record of its topic.
"""

import base64
import hashlib
import hmac
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from croniter import croniter

from guard.canonical import canonical, digest
from lake.tables import CURSOR
from lake.warehouse import mart_rows
from registry.cursors import recall, remember
from registry.database import TABLES, Registry, fetch, upsert
from registry.expressions import ExpressionFault
from registry.outbox import announce
from registry.plans import Plan, PlannedTrigger, load_active_plans

log = logging.getLogger("rwcm.runtime")

FIRED = "trigger.fired"
"""Topic of the events that a schedule or a condition causes."""

SCHEDULES, CONDITIONS, SEEN_MARTS = "schedule", "condition", "condition_marts"
"""Cursors: how far a schedule was looked at, which rows a condition fired for, and on which warehouse."""

MAX_FIRINGS = 1_000
"""Rows that a condition fires for at one look; what is left fires at the next."""

_MISSED_COUNTED = 1_000


@dataclass
class Firings:
    """How often the triggers of a kind fired."""

    schedules: int = 0
    conditions: int = 0


@dataclass(frozen=True)
class _Due:
    """A schedule's latest time that was not fired, and how many before it were missed."""

    plan: Plan
    trigger: PlannedTrigger
    at: datetime
    missed: int

    @property
    def key(self) -> str:
        """Names the time once: a fixed hour comes twice on the night when clocks go back, and is meant once."""
        local = self.at.astimezone(ZoneInfo(self.trigger.timezone))
        is_fixed = self.trigger.cron is not None and "*" not in self.trigger.cron.split()[1]
        return f"{self.trigger.trigger_id}/{(local.replace(tzinfo=None) if is_fixed else self.at).isoformat()}"


def work_at_hand(registry: Registry, served: Path, *, now: datetime) -> str | None:
    """Return what names the firings that `fire` could cause, None where there can be none."""
    plans = load_active_plans(registry)
    due = [due.key for due in _due(registry, plans, now)]
    new = [t.trigger_id for _, t in _triggers(plans, "schedule") if _looked_at(registry, t) is None]
    mark = _mark(served, plans)
    unseen = mark if mark != recall(registry, SEEN_MARTS) else None
    return digest([due, new, unseen]) if due or new or unseen else None


def fire(registry: Registry, served: Path, *, now: datetime) -> Firings:
    """Announce what schedules and conditions cause up to `now`, each time and each row once."""
    plans = load_active_plans(registry)
    done = Firings()
    for _, trigger in _triggers(plans, "schedule"):
        if _looked_at(registry, trigger) is None:  # it holds from now on, not for the past
            _look(registry, SCHEDULES, trigger.trigger_id, now.isoformat(), now)
    for due in _due(registry, plans, now):
        payload = _said(due.plan, due.trigger) | {"fired_for": due.at.isoformat(), "missed": due.missed}
        with registry.transaction() as connection:
            announce(connection, topic=FIRED, payload=payload, producer_id=SCHEDULES, now=due.at, key=due.key)
            upsert(connection, CURSOR, [_cursor(SCHEDULES, due.trigger.trigger_id, due.at.isoformat(), now)])
        done.schedules += 1
        log.info("schedule %s fired for %s", due.trigger.trigger_id, f"{due.at:%Y-%m-%d %H:%M}")
    mark, is_complete = _mark(served, plans), True
    for plan, trigger in _triggers(plans, "condition") if mark else ():
        fired = _fire_condition(registry, served, plan, trigger, now)
        done.conditions += fired
        is_complete = is_complete and fired < MAX_FIRINGS
    if mark and is_complete:
        remember(registry, SEEN_MARTS, mark, now=now)
    return done


def _fire_condition(registry: Registry, served: Path, plan: Plan, trigger: PlannedTrigger, now: datetime) -> int:
    """Fire for every row that meets the condition and did not fire before, up to `MAX_FIRINGS`; return how many."""
    assert trigger.mart is not None
    assert trigger.condition is not None
    table = TABLES[CURSOR.name]
    stage = f"{CONDITIONS}/{digest(trigger.trigger_id)[:32]}"
    with registry.read() as connection:
        query = sa.select(table.c.position).where(table.c.stage == stage)
        fired_before = {position for (position,) in fetch(connection, query)}
    found: list[tuple[str, dict[str, Any]]] = []
    for row in mart_rows(served, trigger.mart):
        values = {name: _json(value) for name, value in row.items()}
        position = digest([values.get(name) for name in trigger.key])
        if position not in fired_before and _holds(trigger, values):
            fired_before.add(position)
            found.append((position, values))
            if len(found) == MAX_FIRINGS:
                log.warning("condition %s fires for more than %d rows at once", trigger.trigger_id, MAX_FIRINGS)
                break
    with registry.transaction() as connection:
        for position, values in found:
            named = canonical([values.get(name) for name in trigger.key])
            announce(
                connection,
                topic=FIRED,
                payload=_said(plan, trigger) | {"fired_for": named, "row": values},
                producer_id=CONDITIONS,
                now=now,
                key=f"{trigger.trigger_id}/{position}",
            )
        upsert(connection, CURSOR, [_cursor(stage, position, now.isoformat(), now) for position, _ in found])
    return len(found)


def _holds(trigger: PlannedTrigger, row: Mapping[str, Any]) -> bool:
    assert trigger.condition is not None
    try:
        return trigger.condition.evaluate({"trigger": row}) is True
    except ExpressionFault:
        return False


def _json(value: Any) -> Any:
    """Return a value of a mart as JSON has it: times and dates as text."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, date | timedelta):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str | Decimal):
        return value
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return {str(k): _json(v) for k, v in value.items()} if isinstance(value, dict) else str(value)


def _due(registry: Registry, plans: Sequence[Plan], now: datetime) -> Iterator[_Due]:
    """Yield, for each schedule, its latest time up to `now` that was not fired; earlier ones are only counted."""
    for plan, trigger in _triggers(plans, "schedule"):
        since = _looked_at(registry, trigger)
        if since is None or trigger.cron is None:
            continue
        zone = ZoneInfo(trigger.timezone)
        times = croniter(trigger.cron, since.astimezone(zone))
        latest, missed = None, -1
        while (at := times.get_next(datetime)) <= now and missed < _MISSED_COUNTED:
            latest, missed = at, missed + 1
        if latest is None:
            continue
        if missed == _MISSED_COUNTED:  # nobody looked for long: the latest one counts, not the thousandth
            latest = croniter(trigger.cron, now.astimezone(zone) + timedelta(microseconds=1)).get_prev(datetime)
        due = _Due(plan, trigger, latest.astimezone(UTC), missed)
        if due.key != _Due(plan, trigger, since, 0).key:
            yield due


def _looked_at(registry: Registry, trigger: PlannedTrigger) -> datetime | None:
    table = TABLES[CURSOR.name]
    with registry.read() as connection:
        state = connection.scalar(sa.select(table.c.state).filter_by(stage=SCHEDULES, position=trigger.trigger_id))
    return None if state is None else datetime.fromisoformat(state)


def _look(registry: Registry, stage: str, position: str, state: str, now: datetime) -> None:
    with registry.transaction() as connection:
        upsert(connection, CURSOR, [_cursor(stage, position, state, now)])


def _cursor(stage: str, position: str, state: str, now: datetime) -> dict[str, Any]:
    audit = {"created_at": now, "created_by": SCHEDULES, "updated_at": now, "updated_by": SCHEDULES}
    return {"stage": stage, "position": position, "state": state, **audit}


def _triggers(plans: Sequence[Plan], trigger_type: str) -> Iterator[tuple[Plan, PlannedTrigger]]:
    for plan in plans:
        for trigger in plan.triggers:
            if trigger.trigger_type == trigger_type:
                yield plan, trigger


def _said(plan: Plan, trigger: PlannedTrigger) -> dict[str, Any]:
    return {
        "trigger_id": trigger.trigger_id,
        "trigger_type": trigger.trigger_type,
        "workflow_id": plan.workflow_id,
    }


def _mark(served: Path, plans: Sequence[Plan]) -> str | None:
    """Return what changes with the published marts and the conditions on them; None where either is missing."""
    conditions = sorted(f"{plan.body_hash}/{trigger.trigger_id}" for plan, trigger in _triggers(plans, "condition"))
    try:
        status = served.stat()
    except FileNotFoundError:
        return None
    return digest([status.st_mtime_ns, status.st_ino, conditions]) if conditions else None


# -- Webhooks -----------------------------------------------------------------------------------------------------

SIGNATURE_TOLERANCE = timedelta(minutes=5)
"""How far the clocks of sender and receiver may be apart; an older request may be a recorded one."""


class BadSignature(PermissionError):
    """A request whose sender did not prove itself; the message names what is wrong, never what would be right."""


def webhook_producer(trigger_id: str) -> str:
    """Return the producer of the events that a webhook brings."""
    return f"webhook:{trigger_id}"


def sign(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a request by the Standard Webhooks specification, version 1: HMAC-SHA256."""
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


def verify_signature(
    secret: bytes, *, message_id: str, timestamp: str, signatures: str, body: bytes, now: datetime
) -> datetime:
    """Return when a request was sent, if one of its signatures is right.

    Args:
        signatures: the header's value: one or more, separated by spaces, so that a secret can be changed over.

    Raises:
        BadSignature: the request is not from who holds the secret, or not from now.
    """
    if not (message_id and timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("webhook-id and webhook-timestamp (seconds since 1970) are needed")
    sent_at = datetime.fromtimestamp(int(timestamp), UTC)
    if abs(now - sent_at) > SIGNATURE_TOLERANCE:
        raise BadSignature(f"the request is not from within {SIGNATURE_TOLERANCE.seconds // 60} minutes of now")
    right = sign(secret, message_id=message_id, timestamp=int(timestamp), body=body).encode()
    given = [signature.encode() for signature in signatures.split()[:10]]
    if not any([hmac.compare_digest(right, signature) for signature in given]):  # noqa: C419 - all, in constant time
        raise BadSignature("no signature of the request is right")
    return sent_at
