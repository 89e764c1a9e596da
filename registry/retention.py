"""Retention as the registry states it: limits from the data policies in force, and legal holds.

A hold wins over a purge that has begun as long as nothing went: both stand under the table's lock.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import sqlalchemy as sa

from guard.canonical import parse
from guard.identity import time_ordered_uuid
from lake.months import Month, month_of, parse_month
from lake.retention import ALL_TABLES, HOLDABLE, HOLDINGS, LANDING, Hold, Limit, Rule, limits
from lake.spec import Retention
from lake.store import Lake
from lake.tables import LANDING_FILE, LEGAL_HOLD, OBJECT_VERSION, OPEN_PURGE, POLICY
from registry.access import Principal, authorise
from registry.database import TABLES, Registry, fetch, insert
from registry.outbox import HOLD_CHANGED, announce

_SCOPES = ("data", "compliance")
"""Scopes of the policies that retention reads: house rules state limits, laws state what is kept."""

MAX_DAYS = 36_500
_MAX_REASON = 1024


class HoldRefused(ValueError):
    """A hold that cannot be set or released; the message says what can be done. The refusal is in the audit."""


@dataclass(frozen=True)
class ListedHold:
    """A hold with all that is known of it."""

    hold_id: str
    table_name: str
    first_month: Month
    last_month: Month
    reason: str
    created_at: datetime
    created_by: str
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None


def rules_in_force(connection: sa.Connection, today: date) -> list[Rule]:
    """Return what the policies that hold at the beginning of `today` state of retention, class by class."""
    return list(_rules(connection, today))


def limits_in_force(connection: sa.Connection, today: date) -> dict[str, Limit]:
    """Return the limit of each class, by class."""
    return limits(rules_in_force(connection, today))


def _rules(connection: sa.Connection, today: date) -> Iterator[Rule]:
    table = TABLES[POLICY.name]
    moment = datetime.combine(today, time(), UTC)
    query = sa.select(
        table.c.policy_id, table.c.precedence, table.c.spec, table.c.effective_from, table.c.effective_to
    ).where(table.c.scope.in_(_SCOPES))
    for policy_id, precedence, text, begin, end in fetch(connection, query.order_by(table.c.policy_id)):
        if (begin is not None and begin > moment) or (end is not None and end <= moment):
            continue
        spec = parse(text)
        for retention in (Retention.EVENTS, Retention.TELEMETRY, Retention.PII):
            longest = _days(spec.get("retention_days"), retention)
            shortest = _days(spec.get("min_days"), retention)
            if longest is not None or shortest is not None:
                yield Rule(policy_id, precedence, retention.value, longest, shortest)


def _days(stated: object, retention: Retention) -> int | None:
    """Return the days that a policy states of a class; what is no number of days states nothing."""
    days = stated.get(retention.value) if isinstance(stated, dict) else None
    is_days = isinstance(days, int) and not isinstance(days, bool) and 0 < days <= MAX_DAYS
    return days if is_days else None


def policy_version(connection: sa.Connection, policy_id: str) -> str:
    """Return the version that a policy holds in now."""
    table = TABLES[OBJECT_VERSION.name]
    query = (
        sa.select(table.c.version)
        .where(table.c.object_type == POLICY.name, table.c.object_id == policy_id)
        .order_by(table.c.created_at.desc(), table.c.version.desc())
        .limit(1)
    )
    return connection.scalar(query) or "unknown"


def holds_in_force(connection: sa.Connection) -> list[Hold]:
    """Return the holds that are not released."""
    table = TABLES[LEGAL_HOLD.name]
    query = sa.select(table.c.hold_id, table.c.table_name, table.c.first_month, table.c.last_month)
    return [Hold(*row) for row in fetch(connection, query.where(table.c.released_at.is_(None)).order_by("hold_id"))]


def list_holds(registry: Registry) -> list[ListedHold]:
    """Return all holds, the latest first; released ones too."""
    table = TABLES[LEGAL_HOLD.name]
    query = sa.select(*(table.c[name] for name in ListedHold.__dataclass_fields__))
    with registry.read() as connection:
        return [ListedHold(*row) for row in fetch(connection, query.order_by(table.c.created_at.desc(), "hold_id"))]


def set_hold(
    registry: Registry,
    lake: Lake,
    principal: Principal,
    *,
    table_name: str,
    first: str,
    last: str,
    reason: str,
    now: datetime,
) -> str:
    """Hold the months from `first` to `last` (2025-03) of a table, `*` for all; return the hold's id.

    A purge of one of these months that has begun and deleted nothing yet is called off.

    Raises:
        Denied: the principal may not.
        HoldRefused: no such table or month, or the month is gone already; recorded in the audit.
    """
    _authorise(registry, principal, now)
    hold_id = time_ordered_uuid(now, "legal_hold", secrets.token_hex(16))
    tables = HOLDABLE if table_name == ALL_TABLES else (table_name,)
    with ExitStack() as locked:
        specs = {holding.spec.name: holding.spec for holding in HOLDINGS if holding.spec.name in tables}
        for _, spec in sorted(specs.items()):
            locked.enter_context(lake.lock(spec))
        span = _span(first, last)
        fault = span if isinstance(span, str) else _fault(registry, lake, table_name, *span, reason)
        with registry.transaction() as connection:
            if fault is None and not isinstance(span, str):
                fault = _call_off(connection, lake, tables, *span)
            if fault is None and not isinstance(span, str):
                by = principal.subject_id
                audit = {"created_at": now, "created_by": by, "updated_at": now, "updated_by": by}
                row = {"hold_id": hold_id, "table_name": table_name, "first_month": span[0], "last_month": span[1]}
                insert(connection, LEGAL_HOLD, [row | {"reason": reason} | audit])
            told = ("set", reason) if fault is None else ("refused", fault)
            months = None if isinstance(span, str) else span
            _announce(connection, principal, hold_id, table_name, months, *told, now=now)
    if fault is not None:
        raise HoldRefused(fault)
    return hold_id


def release_hold(registry: Registry, principal: Principal, hold_id: str, *, reason: str, now: datetime) -> ListedHold:
    """Release a hold, by its id or the first characters of it; it stays as a record.

    Raises:
        Denied: the principal may not.
        HoldRefused: there is no such hold, or it was released before; recorded in the audit.
    """
    _authorise(registry, principal, now)
    found = [hold for hold in list_holds(registry) if len(hold_id) >= 8 and hold.hold_id.startswith(hold_id)]
    fault = None
    if len(found) != 1:
        fault = (
            f"{'several holds start' if found else 'no hold starts'} with {hold_id[:64]!r}; see rwcm retention holds"
        )
    elif found[0].released_at is not None:
        fault = f"{hold_id} was released by {found[0].released_by} on {found[0].released_at:%Y-%m-%d}; nothing is to do"
    elif not 0 < len(reason.strip()) <= _MAX_REASON:
        fault = f"say in 1 to {_MAX_REASON} characters why it is released"
    table = TABLES[LEGAL_HOLD.name]
    with registry.transaction() as connection:
        if fault is None:
            changed = connection.execute(
                sa.update(table)
                .where(table.c.hold_id == found[0].hold_id, table.c.released_at.is_(None))
                .values(
                    released_at=now,
                    released_by=principal.subject_id,
                    release_reason=reason,
                    updated_at=now,
                    updated_by=principal.subject_id,
                )
            )
            if not changed.rowcount:
                fault = f"{hold_id} was released a moment ago; nothing is to do"
        told = ("released", reason) if fault is None else ("refused", fault)
        if len(found) == 1:
            months = (found[0].first_month, found[0].last_month)
            _announce(connection, principal, found[0].hold_id, found[0].table_name, months, *told, now=now)
        else:
            _announce(connection, principal, hold_id[:64] or "none", "", None, *told, now=now)
    if fault is not None:
        raise HoldRefused(fault)
    return found[0]


def _authorise(registry: Registry, principal: Principal, now: datetime) -> None:
    for policy_id in policies_of_limits(registry, now):
        authorise(registry, principal, "hold", POLICY.name, policy_id, now=now)


def policies_of_limits(registry: Registry, now: datetime) -> list[str]:
    """Return the policies whose limits hold now; of a home without any, the one that the pack ships."""
    with registry.read() as connection:
        stated = {limit.policy_id for limit in limits_in_force(connection, now.date()).values()}
    return sorted(stated) or ["POL-DATA-001"]


def _span(first: str, last: str) -> tuple[Month, Month] | str:
    """Return the months that are named, or why they are none."""
    try:
        return parse_month(first), parse_month(last)
    except ValueError as fault:
        return str(fault)[:_MAX_REASON]


def _fault(registry: Registry, lake: Lake, table_name: str, first: Month, last: Month, reason: str) -> str | None:
    """Return why the months cannot be held, None where they can."""
    if table_name not in (ALL_TABLES, *HOLDABLE):
        known = ", ".join(HOLDABLE)
        return f"{table_name[:64]!r} is no table that is purged; name one of {known}, or {ALL_TABLES} for all"
    if first > last:
        return f"the hold would end in {last:%Y-%m} before it begins in {first:%Y-%m}; give the earlier month first"
    if not 0 < len(reason.strip()) <= _MAX_REASON:
        return f"say in 1 to {_MAX_REASON} characters why, such as the number of the case"
    held = months_kept(registry, lake, table_name)
    # Beyond the last month it may hold what is still to come; it has to begin at something, and end at something.
    if missing := [month for month in dict.fromkeys((first, last)) if month not in held]:
        where = "any table" if table_name == ALL_TABLES else table_name
        span = f"it has {min(held):%Y-%m} to {max(held):%Y-%m}" if held else "it is empty"
        named = " and ".join(f"{month:%Y-%m}" for month in missing)
        return (
            f"{where} holds nothing of {named}: {span}; name months that are there, or see what went: "
            "rwcm retention receipts"
        )
    return None


def months_kept(registry: Registry, lake: Lake, table_name: str) -> set[Month]:
    """Return the months that a table, or any of them, holds."""
    found: set[Month] = set()
    for spec in {holding.spec.name: holding.spec for holding in HOLDINGS}.values():
        if table_name in (ALL_TABLES, spec.name):
            found |= {month for month in lake.stats(spec) if month is not None}
    if table_name in (ALL_TABLES, LANDING):
        table = TABLES[LANDING_FILE.name]
        with registry.read() as connection:
            received = fetch(connection, sa.select(table.c.received_at).where(table.c.state == "kept"))
        found |= {month_of(moment) for (moment,) in received}
    return found


def _call_off(connection: sa.Connection, lake: Lake, tables: tuple[str, ...], first: Month, last: Month) -> str | None:
    """Call off purges of these months that deleted nothing yet; return what cannot be held any more."""
    table = TABLES[OPEN_PURGE.name]
    query = sa.select(table.c.table_name, table.c.retention, table.c.about_month, table.c.fingerprint).where(
        table.c.table_name.in_(tables), table.c.about_month.between(first, last)
    )
    specs = {holding.spec.name: holding.spec for holding in HOLDINGS}
    for name, retention, month, fingerprint in fetch(connection, query):
        if name not in specs or lake.fingerprints(specs[name]).get(month) != fingerprint:
            return (
                f"{name} {month:%Y-%m} is being purged and has begun to go; rwcm retention apply --apply ends what was "
                "interrupted, then hold what is left"
            )
        connection.execute(
            sa.delete(table).where(
                table.c.table_name == name, table.c.retention == retention, table.c.about_month == month
            )
        )
    return None


def _announce(
    connection: sa.Connection,
    principal: Principal,
    hold_id: str,
    table_name: str,
    months: tuple[Month, Month] | None,
    action: str,
    reason: str,
    *,
    now: datetime,
) -> None:
    first, last = (f"{month:%Y-%m}" for month in months) if months else ("", "")
    payload = {
        "actor": principal.subject_id,
        "action": action,
        "object_type": LEGAL_HOLD.name,
        "object_id": hold_id,
        "table_name": table_name[:64],
        "first_month": first,
        "last_month": last,
        "reason": reason[:_MAX_REASON],
    }
    announce(connection, topic=HOLD_CHANGED, payload=payload, producer_id=principal.subject_id, now=now)
