"""Retention: what of the lake is past its limit, and why it stays or goes. Pure: values in, a plan out.

A *holding* is what one class of retention covers of one table: whole rows, or some columns of them. Classes of whole
months are past when the newest row of the month is; personal data is past by the day. The clock is `created_at`: an
import of old history is not born expired.

`purge_candidates` (dbt) states the same plan for readers; whoever applies it makes it again here, from what the
registry and the lake hold at that moment, and goes by what both say (`registry.purging`).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from itertools import groupby

from lake.months import Month
from lake.spec import Column, Kind, Retention, TableSpec
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER, POLICY, RUN_EPISODE, STEP_RUN

ERASED = '{"purged":true}'
"""What stands in the place of a JSON text that was erased: an empty object may be what was recorded."""

LANDING = "landing"
"""The raw files that the landing zone keeps for dead letters, as holds and receipts name them."""

ALL_TABLES = "*"
"""What a hold names that holds a month of every table."""

_PRECEDENCE = POLICY.column("precedence").enum


class Decision(StrEnum):
    """What becomes of a candidate."""

    PURGE = "purge"
    HELD = "held"
    KEPT_MIN_DAYS = "kept_min_days"


@dataclass(frozen=True)
class Holding:
    """What a class of retention covers of a table.

    Attributes:
        columns: columns that are erased; none where rows are deleted.
        is_daily: whether it goes by the day instead of by whole months.
    """

    spec: TableSpec
    retention: Retention
    columns: tuple[Column, ...] = ()

    @property
    def is_daily(self) -> bool:
        return self.retention is Retention.PII

    @property
    def action(self) -> str:
        return "erase" if self.columns else "delete"


def _holdings(spec: TableSpec) -> Iterable[Holding]:
    if spec.retention is Retention.EVENTS:
        yield Holding(spec, Retention.EVENTS)
    if spec.retention is Retention.TELEMETRY:
        # What was typed of it stays: figures of a workflow reach further back than what it was told.
        yield Holding(spec, Retention.TELEMETRY, tuple(c for c in spec.columns if c.kind is Kind.JSON))
    if personal := tuple(column for column in spec.columns if column.pii):
        yield Holding(spec, Retention.PII, personal)


HOLDINGS: tuple[Holding, ...] = tuple(
    holding for spec in (EVENT_BUS, EVENT_DEAD_LETTER, RUN_EPISODE, STEP_RUN) for holding in _holdings(spec)
)
"""Everything of the lake that ends; the rest is a record and stays."""

HOLDABLE = tuple(dict.fromkeys([*(holding.spec.name for holding in HOLDINGS), LANDING]))
"""What a legal hold may name."""


@dataclass(frozen=True)
class Rule:
    """What a data policy states of one class: a longest time, a shortest time, or both."""

    policy_id: str
    precedence: str
    retention: str
    max_days: int | None = None
    min_days: int | None = None


@dataclass(frozen=True)
class Limit:
    """How long a class is kept.

    Attributes:
        days: the limit that holds.
        max_days: what the policy states; less than `days` where a `min_days` beats it.
        policy_id: the policy whose maximum it is.
        kept_by: the policy whose `min_days` beats it, None where none does.
    """

    retention: str
    days: int
    max_days: int
    policy_id: str
    kept_by: str | None = None


def limits(rules: Sequence[Rule]) -> dict[str, Limit]:
    """Return the limit of each class that a policy gives a maximum.

    A `min_days` beats a shorter maximum of its own precedence or a lower one, so that a statutory one beats any: what
    the law wants kept is not deleted because a house rule says so. Of several maxima the one that ends first holds.
    """
    found: dict[str, Limit] = {}
    for rule in sorted(rules, key=lambda rule: rule.policy_id):
        if rule.max_days is None:
            continue
        rank = _PRECEDENCE.index(rule.precedence)
        longer = [
            (other.min_days, other.policy_id)
            for other in rules
            if other.retention == rule.retention
            and other.min_days is not None
            and other.min_days > rule.max_days
            and _PRECEDENCE.index(other.precedence) <= rank
        ]
        kept = min(longer, default=None, key=lambda pair: (-pair[0], pair[1]))
        days = kept[0] if kept else rule.max_days
        limit = Limit(rule.retention, days, rule.max_days, rule.policy_id, kept[1] if kept else None)
        before = found.get(rule.retention)
        if before is None or (limit.days, limit.max_days) < (before.days, before.max_days):
            found[rule.retention] = limit
    return found


@dataclass(frozen=True)
class Hold:
    """A legal hold that is not released: these months of the table stay."""

    hold_id: str
    table_name: str
    first_month: Month
    last_month: Month

    def holds(self, table_name: str, month: Month) -> bool:
        return self.table_name in (ALL_TABLES, table_name) and self.first_month <= month <= self.last_month


@dataclass(frozen=True)
class Retained:
    """What is held of a table's month and goes together; a row of `retained_data`.

    Attributes:
        recorded_on: the day the clock runs from: the newest row's of a month, or the day itself of personal data.
    """

    table_name: str
    retention: str
    month: Month
    recorded_on: date
    oldest_on: date
    rows: int
    fingerprint: str


@dataclass(frozen=True)
class Candidate:
    """What of a table's month is past a limit, and what becomes of it.

    Attributes:
        through_on: last day of recording that it covers.
        due_on: first day on which all of it is past the limit that holds.
        fingerprint: what the month was when this was found; a plan for another state of it is stale.
    """

    table_name: str
    month: Month
    retention: str
    policy_id: str
    limit_days: int
    max_days: int
    kept_by: str | None
    rows: int
    oldest_on: date
    through_on: date
    due_on: date
    held_by: tuple[str, ...]
    decision: Decision
    fingerprint: str

    @property
    def key(self) -> tuple[str, str, Month]:
        return self.table_name, self.retention, self.month

    @property
    def rule(self) -> str:
        return f"{self.retention} {self.limit_days} days"

    def under(self, holds: Iterable[Hold]) -> "Candidate":
        """Return what becomes of it under holds that may have been set since it was found."""
        held_by = tuple(hold.hold_id for hold in holds if hold.holds(self.table_name, self.month))
        return replace(self, held_by=held_by, decision=Decision.HELD) if held_by else self


def plan(
    retained: Iterable[Retained], *, limits: Collection[Limit], holds: Sequence[Hold], today: date
) -> list[Candidate]:
    """Return what is past a stated maximum, by table, class and month: what goes, and what stays for which reason.

    A held month is listed, never dropped silently: an auditor asks why data still exists as often as why it is gone.
    A row is past once its whole last day is.
    """
    by_class = {limit.retention: limit for limit in limits}
    present = sorted(
        (row for row in retained if row.rows and row.retention in by_class),
        key=lambda row: (row.table_name, row.retention, row.month, row.recorded_on),
    )
    found = []
    for (table_name, retention, month), group in groupby(present, key=lambda r: (r.table_name, r.retention, r.month)):
        limit = by_class[retention]
        rows = list(group)
        due = [row for row in rows if row.recorded_on + timedelta(days=limit.days) < today]
        past = due or [row for row in rows if row.recorded_on + timedelta(days=limit.max_days) < today]
        if not past:
            continue
        held_by = tuple(sorted(hold.hold_id for hold in holds if hold.holds(table_name, month)))
        through_on = max(row.recorded_on for row in past)
        found.append(
            Candidate(
                table_name=table_name,
                month=month,
                retention=retention,
                policy_id=limit.policy_id,
                limit_days=limit.days,
                max_days=limit.max_days,
                kept_by=limit.kept_by,
                rows=sum(row.rows for row in past),
                oldest_on=min(row.oldest_on for row in past),
                through_on=through_on,
                due_on=through_on + timedelta(days=limit.days + 1),
                held_by=held_by,
                decision=Decision.HELD if held_by else Decision.PURGE if due else Decision.KEPT_MIN_DAYS,
                fingerprint=rows[0].fingerprint,
            )
        )
    return found
