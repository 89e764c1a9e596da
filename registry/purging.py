"""Purging: what a plan says goes, goes, each with one receipt, whatever is interrupted where.

    open_purge row  ->  delete or overwrite  ->  vacuum  ->  receipt in the lake  ->  announced, open_purge row gone

The first is written with the receipt in it, in a transaction that looks at the legal holds. A purge that was
interrupted is done again under its row: what is gone is gone, and the receipt has the id that it had.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa

from guard.canonical import canonical, digest
from guard.identity import name_uuid
from lake import erasure
from lake.erasure import DataFile
from lake.months import Month, month_of, parse_month
from lake.retention import ERASED, HOLDABLE, HOLDINGS, LANDING, Candidate, Decision, Holding, Retained, plan
from lake.spec import MONTH, Kind, Retention
from lake.store import Lake
from lake.tables import (
    EFFECT,
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    HOT_WINDOW,
    LANDING_FILE,
    OPEN_PURGE,
    OUTBOX,
    PURGE_RECEIPT,
    RETAINED_DATA,
    STEP_RUN,
)
from registry.database import TABLES, Registry, fetch, insert
from registry.outbox import PURGED, announce
from registry.retention import holds_in_force, limits_in_force, policy_version

_PURGER = "purge"
_KEYS_AT_ONCE = 500


class StalePlan(RuntimeError):
    """A plan that is not about what is there now. Nothing of the table was purged."""

    def __init__(self, table_name: str, reasons: Sequence[str]) -> None:
        super().__init__(
            f"the plan for {table_name} is stale: {'; '.join(reasons)}. Nothing of it was purged; run the job serve, "
            "which makes the plan anew, and look at it before it is applied"
        )
        self.table_name = table_name
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate: `purged`, `would go`, `held`, `kept_min_days` or `gone before`."""

    candidate: Candidate
    became: str
    bytes: int = 0


class Store(Protocol):
    """A place that keeps what is purged."""

    def files(self, candidate: Candidate) -> list[DataFile]:
        """Return the files that hold what goes."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Keep out whoever holds or changes the place."""
        ...

    def remove(self, candidate: Candidate, reasons: Mapping[str, str]) -> None:
        """Delete it; a second time changes nothing. Called under `lock`."""
        ...

    def settle(self) -> None:
        """Make what was removed unreadable."""
        ...


class LakeStore:
    """A holding of the lake, and its copy in the hot window."""

    def __init__(self, lake: Lake, registry: Registry, holding: Holding) -> None:
        self._lake = lake
        self._registry = registry
        self._holding = holding

    def files(self, candidate: Candidate) -> list[DataFile]:
        return erasure.files_of(self._lake, self._holding, candidate.month)

    def lock(self) -> AbstractContextManager[None]:
        return self._lake.lock(self._holding.spec)

    def remove(self, candidate: Candidate, reasons: Mapping[str, str]) -> None:
        spec = self._holding.spec
        if spec is EVENT_DEAD_LETTER:
            self._drop_announcements(candidate.month)
        if self._holding.retention is Retention.TELEMETRY:
            self._forget_results(candidate.month)
        erasure.remove(self._lake, self._holding, candidate, reasons=reasons)
        if spec in HOT_WINDOW:
            self._remove_copy(candidate)

    def settle(self) -> None:
        erasure.vacuum(self._lake, self._holding)

    def _drop_announcements(self, month: Month) -> None:
        """Delete the refused announcements whose dead letters go: they wait for nothing any more."""
        letters = self._lake.scan(EVENT_DEAD_LETTER, months=[month], columns=["file_name", "event_id"])
        ids = letters.filter(pl.col("file_name") == OUTBOX.name).select("event_id").drop_nulls().collect()
        outbox = TABLES[OUTBOX.name]
        for part in ids.iter_slices(_KEYS_AT_ONCE):
            with self._registry.transaction() as connection:
                named = outbox.c.event_id.in_(part["event_id"].to_list())
                connection.execute(sa.delete(outbox).where(named, outbox.c.batch_id.is_not(None)))

    def _forget_results(self, month: Month) -> None:
        """Forget what effects of the month's steps returned: what the steps put out says the same."""
        effect = TABLES[EFFECT.name]
        ended = self._lake.scan(STEP_RUN, months=[month], columns=["episode_id"]).unique().collect()
        for part in ended.iter_slices(_KEYS_AT_ONCE):
            with self._registry.transaction() as connection:
                named = effect.c.episode_id.in_(part["episode_id"].to_list())
                connection.execute(sa.update(effect).where(named, effect.c.result.is_not(None)).values(result=None))

    def _remove_copy(self, candidate: Candidate) -> None:
        """Do in the hot window what was done in the lake: rows that it holds already would not be copied again."""
        table = TABLES[self._holding.spec.name]
        rows = [table.c[MONTH] == candidate.month, table.c.created_at < erasure.end_of(candidate.through_on)]
        with self._registry.transaction() as connection:
            if self._holding.action == "delete":
                connection.execute(sa.delete(table).where(*rows))
                return
            for column in self._holding.columns:
                value = table.c[column.name]
                if column.kind is Kind.JSON:
                    is_of_imports = erasure.is_of_imports(self._holding, column.name)
                    imported = [table.c.time_source != "event"] if is_of_imports else []
                    present = (*rows, *imported, value.is_not(None))
                    changed = sa.update(table).where(*present).values({column.name: ERASED})
                else:
                    changed = sa.update(table).where(*rows).values({column.name: None})
                connection.execute(changed)


def lake_stores(lake: Lake, registry: Registry) -> dict[tuple[str, str], Store]:
    """Return the stores of the lake, by table and class of retention."""
    return {(h.spec.name, h.retention.value): LakeStore(lake, registry, h) for h in HOLDINGS}


# What there is


def retained(lake: Lake, registry: Registry, *, tables: Collection[str] = HOLDABLE) -> list[Retained]:
    """Return what lake and landing zone hold of `tables`, by class of retention."""
    before = [
        Retained(*row)
        for row in lake.scan(RETAINED_DATA)
        .select("table_name", "retention", "month_on", "recorded_on", "oldest_on", "rows", "fingerprint")
        .collect()
        .iter_rows()
    ]
    erased = (
        lake.scan(PURGE_RECEIPT)
        .filter(~pl.col("is_dry"), table_name=STEP_RUN.name, retention=Retention.TELEMETRY.value)
        .group_by("about_month")
        .agg(pl.col("through_on").max())
        .collect()
    )
    holdings = [holding for holding in HOLDINGS if holding.spec.name in tables]
    lake_rows = erasure.measure(lake, holdings, before=before, erased=dict(erased.iter_rows()))
    return lake_rows + (_raw_files(registry) if LANDING in tables else [])


def _raw_files(registry: Registry) -> list[Retained]:
    """Return the raw files that the landing zone keeps, by the day on which they landed."""
    table = TABLES[LANDING_FILE.name]
    query = sa.select(table.c.received_at, table.c.batch_id, table.c.file_name).where(table.c.state == "kept")
    with registry.read() as connection:
        files = sorted(fetch(connection, query))
    by_month: dict[Month, list[tuple[str, str]]] = {}
    by_day: dict[date, int] = {}
    for received_at, batch_id, name in files:
        by_month.setdefault(month_of(received_at), []).append((batch_id, name))
        by_day[received_at.date()] = by_day.get(received_at.date(), 0) + 1
    marks = {month: digest([list(pair) for pair in pairs]) for month, pairs in by_month.items()}
    return [
        Retained(LANDING, Retention.PII.value, month_of(day), day, day, count, marks[month_of(day)])
        for day, count in sorted(by_day.items())
    ]


def retained_frame(lake: Lake, registry: Registry) -> pl.DataFrame:
    """Return the rows of `retained_data`."""
    names = [column.name for column in RETAINED_DATA.columns]
    rows = [
        (r.table_name, r.retention, r.month, r.recorded_on, r.oldest_on, r.rows, r.fingerprint)
        for r in retained(lake, registry)
    ]
    return pl.DataFrame(rows, schema={name: RETAINED_DATA.polars_schema()[name] for name in names}, orient="row")


def plan_now(lake: Lake, registry: Registry, *, today: date, tables: Collection[str] = HOLDABLE) -> list[Candidate]:
    """Return the plan for `tables` as registry and lake make it at this moment."""
    with registry.read() as connection:
        stated, holds = limits_in_force(connection, today), holds_in_force(connection)
    return plan(retained(lake, registry, tables=tables), limits=stated.values(), holds=holds, today=today)


def purged_months(lake: Lake, registry: Registry) -> set[Month]:
    """Return the months whose events went, or are going: an event of one can be told from no other any more."""
    of_events = {"table_name": EVENT_BUS.name, "retention": Retention.EVENTS.value}
    rows = lake.scan(PURGE_RECEIPT).filter(~pl.col("is_dry"), **of_events).select("about_month").unique().collect()
    table = TABLES[OPEN_PURGE.name]
    with registry.read() as connection:
        going = fetch(connection, sa.select(table.c.about_month).filter_by(**of_events))
    return {*rows["about_month"], *(month for (month,) in going)}


# What goes


def purge(
    candidates: Sequence[Candidate],
    *,
    table_name: str,
    stores: Mapping[tuple[str, str], Store],
    lake: Lake,
    registry: Registry,
    is_dry: bool,
    actor: str,
    now: datetime,
) -> list[Outcome]:
    """Purge the candidates of one table whose decision is to, or say what would go; return what became of each.

    What an earlier call had begun is ended first. A hold that was set after the plan was made wins.

    Args:
        candidates: rows of `purge_candidates`; those of other tables are left alone.
        is_dry: whether nothing goes and the receipts say so.

    Raises:
        StalePlan: months, limits or policies are not what the plan is about; nothing of the table was purged.
    """
    wanted = [candidate for candidate in candidates if candidate.table_name == table_name]
    if not is_dry:
        _end(table_name, stores=stores, lake=lake, registry=registry, now=now)
    done = _receipts(lake, [receipt_id(candidate, is_dry=False) for candidate in wanted])
    at_hand = {c.key: c for c in plan_now(lake, registry, today=now.date(), tables=[table_name])}
    # Its own purges changed a month whose other classes this plan is about as well.
    explained = {c.month for c in wanted if receipt_id(c, is_dry=False) in done}
    if reasons := list(_stale(wanted, at_hand, explained, done)):
        raise StalePlan(table_name, reasons)
    outcomes: list[Outcome] = []
    going: list[Candidate] = []
    for candidate in wanted:
        current = at_hand.get(candidate.key)
        if receipt_id(candidate, is_dry=False) in done or (current is None and candidate.month in explained):
            outcomes.append(Outcome(candidate, "gone before"))
        elif current is not None and current.decision is not Decision.PURGE:
            outcomes.append(Outcome(current, current.decision.value))
        elif candidate.decision is not Decision.PURGE:
            # Released or fallen due since the plan was made: what nobody could read in it does not go.
            outcomes.append(Outcome(candidate, candidate.decision.value))
        else:
            going.append(candidate)
    with registry.read() as connection:
        versions = {c.policy_id: policy_version(connection, c.policy_id) for c in going}
    if is_dry:
        told = _receipts(lake, [receipt_id(candidate, is_dry=True) for candidate in going])
        rows = [
            _receipt(c, stores[c.table_name, c.retention], versions, is_dry=True, actor=actor, now=now)
            for c in going
            if receipt_id(c, is_dry=True) not in told
        ]
        _append(lake, rows)
        return [*outcomes, *(Outcome(c, "would go", _size(c, stores)) for c in going)]
    for candidate in going:
        store = stores[candidate.table_name, candidate.retention]
        receipt = _receipt(candidate, store, versions, is_dry=False, actor=actor, now=now)
        if _begin(registry, candidate, receipt, now):
            outcomes.append(Outcome(candidate, "purged", int(receipt["bytes"])))
        else:
            outcomes.append(Outcome(candidate, Decision.HELD.value))
    called_off = _end(table_name, stores=stores, lake=lake, registry=registry, now=now)
    return [
        Outcome(o.candidate, Decision.HELD.value) if o.became == "purged" and o.candidate.key in called_off else o
        for o in outcomes
    ]


def _stale(
    wanted: Iterable[Candidate],
    at_hand: Mapping[tuple[str, str, Month], Candidate],
    explained: Collection[Month],
    done: Collection[str],
) -> Iterable[str]:
    for candidate in wanted:
        if candidate.decision is not Decision.PURGE or receipt_id(candidate, is_dry=False) in done:
            continue
        current, month = at_hand.get(candidate.key), f"{candidate.month:%Y-%m}"
        if current is None and candidate.month in explained:
            continue
        if current is None:
            yield f"{month} holds nothing that is past {candidate.rule} any more"
        elif _limit(current) != _limit(candidate):
            yield f"{month} is kept {current.limit_days} days under {current.policy_id} now"
        elif current.fingerprint != candidate.fingerprint and candidate.month not in explained:
            yield f"{month} changed since the plan was made"


def _limit(candidate: Candidate) -> tuple[int, int, str, str | None]:
    return candidate.limit_days, candidate.max_days, candidate.policy_id, candidate.kept_by


def _begin(registry: Registry, candidate: Candidate, receipt: Mapping[str, Any], now: datetime) -> bool:
    """Write down that the candidate goes; return False where a hold was set meanwhile."""
    with registry.transaction() as connection:
        if any(hold.holds(candidate.table_name, candidate.month) for hold in holds_in_force(connection)):
            return False
        row = {
            "table_name": candidate.table_name,
            "retention": candidate.retention,
            "about_month": candidate.month,
            "receipt": canonical({"receipt": _plain(receipt), "candidate": _plain(asdict(candidate))}),
            "fingerprint": candidate.fingerprint,
            "created_at": now,
            "created_by": _PURGER,
        }
        insert(connection, OPEN_PURGE, [row])
    return True


def _end(
    table_name: str, *, stores: Mapping[tuple[str, str], Store], lake: Lake, registry: Registry, now: datetime
) -> set[tuple[str, str, Month]]:
    """Remove what the open purges of a table name, then leave their receipts; return those that were called off."""
    table = TABLES[OPEN_PURGE.name]
    key = (table.c.table_name, table.c.retention, table.c.about_month)

    def still_open() -> dict[tuple[str, str, Month], str]:
        with registry.read() as connection:
            rows = fetch(connection, sa.select(*key, table.c.receipt).where(table.c.table_name == table_name))
        return {(name, retention, month): text for name, retention, month, text in rows}

    begun = still_open()
    removed: dict[tuple[str, str, Month], dict[str, Any]] = {}
    for name, text in sorted(begun.items()):
        store, stored = stores[name[:2]], json.loads(text)
        with store.lock():  # whoever sets a hold takes it, too
            if name in still_open():
                receipt = stored["receipt"]
                reasons = {n: str(receipt[n]) for n in ("receipt_id", "policy_id", "limit_days", "actor")}
                store.remove(_candidate(stored["candidate"]), reasons)
                removed[name] = receipt
    for store in {id(stores[name[:2]]): stores[name[:2]] for name in removed}.values():
        store.settle()
    if removed:
        _append(lake, [_typed(receipt) for receipt in removed.values()])
    for name, receipt in removed.items():
        with registry.transaction() as connection:
            _tell(connection, _typed(receipt), now)
            is_it = [column == value for column, value in zip(key, name, strict=True)]
            connection.execute(sa.delete(table).where(*is_it))
    if removed:
        registry.truncate_log()
    return begun.keys() - removed.keys()


# Receipts


def receipt_id(candidate: Candidate, *, is_dry: bool) -> str:
    """Return the id of the receipt that a candidate leaves."""
    kind = "dry" if is_dry else "applied"
    about = (candidate.table_name, candidate.retention, f"{candidate.month}", f"{candidate.through_on}")
    return name_uuid("purge", kind, *about, candidate.fingerprint)


def _receipts(lake: Lake, ids: Collection[str]) -> set[str]:
    if not ids:
        return set()
    found = lake.scan(PURGE_RECEIPT, columns=["receipt_id"]).filter(pl.col("receipt_id").is_in(list(ids))).collect()
    return set(found["receipt_id"])


def _size(candidate: Candidate, stores: Mapping[tuple[str, str], Store]) -> int:
    return sum(file.bytes for file in stores[candidate.table_name, candidate.retention].files(candidate))


def _receipt(
    candidate: Candidate, store: Store, versions: Mapping[str, str], *, is_dry: bool, actor: str, now: datetime
) -> dict[str, Any]:
    files = store.files(candidate)
    holding = next((h for h in HOLDINGS if (h.spec.name, h.retention.value) == candidate.key[:2]), None)
    return {
        "receipt_id": receipt_id(candidate, is_dry=is_dry),
        "is_dry": is_dry,
        "table_name": candidate.table_name,
        "about_month": candidate.month,
        "retention": candidate.retention,
        "action": holding.action if holding else "delete",
        "erased_columns": canonical([column.name for column in holding.columns] if holding else []),
        "policy_id": candidate.policy_id,
        "policy_version": versions[candidate.policy_id],
        "limit_days": candidate.limit_days,
        "oldest_on": candidate.oldest_on,
        "through_on": candidate.through_on,
        "rows": candidate.rows,
        "bytes": sum(file.bytes for file in files),
        "files": canonical([asdict(file) for file in files]),
        "actor": actor[:128],
        "purged_at": now,
        "created_at": now,
        "created_by": _PURGER,
    }


def _append(lake: Lake, receipts: Sequence[Mapping[str, Any]]) -> None:
    if receipts:
        schema = {c.name: PURGE_RECEIPT.polars_schema()[c.name] for c in PURGE_RECEIPT.columns}
        lake.append(PURGE_RECEIPT, pl.DataFrame(list(receipts), schema=schema, orient="row"), batch_id=_PURGER)


def _tell(connection: sa.Connection, receipt: Mapping[str, Any], now: datetime) -> None:
    payload = {
        "actor": receipt["actor"],
        "action": receipt["action"],
        "object_type": PURGE_RECEIPT.name,
        "object_id": receipt["receipt_id"],
        "table_name": receipt["table_name"],
        "about_month": f"{receipt['about_month']:%Y-%m}",
        "rows": receipt["rows"],
        "policy_id": receipt["policy_id"],
        "reason": f"{receipt['retention']} of {receipt['table_name']} {receipt['about_month']:%Y-%m} past "
        f"{receipt['limit_days']} days",
    }
    announce(connection, topic=PURGED, payload=payload, producer_id=_PURGER, now=now, key=receipt["receipt_id"])


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has words for them."""
    return {
        n: v.isoformat() if isinstance(v, date) else list(v) if isinstance(v, tuple) else v for n, v in values.items()
    }


def _typed(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored receipt with its dates and times."""
    read: Mapping[Kind, Callable[[str], Any]] = {
        Kind.DATE: date.fromisoformat,
        Kind.TIMESTAMP: datetime.fromisoformat,
    }
    return {
        column.name: read[column.kind](receipt[column.name]) if column.kind in read else receipt[column.name]
        for column in PURGE_RECEIPT.columns
    }


def candidate_of(row: Mapping[str, Any]) -> Candidate:
    """Return the candidate that a row of the mart `purge_candidates` states."""
    return Candidate(
        **{name: row[name] for name in Candidate.__dataclass_fields__ if name not in ("decision", "held_by")},
        held_by=tuple(json.loads(row["held_by"] or "[]")),
        decision=Decision(row["decision"]),
    )


def _candidate(stored: Mapping[str, Any]) -> Candidate:
    days = {name: date.fromisoformat(stored[name]) for name in ("oldest_on", "through_on", "due_on")}
    return Candidate(
        **{
            **stored,
            **days,
            "month": parse_month(stored["month"]),
            "held_by": tuple(stored["held_by"]),
            "decision": Decision(stored["decision"]),
        }
    )
