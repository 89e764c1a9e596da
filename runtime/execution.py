"""Execution: accepted events become episodes, in batches that can be interrupted anywhere.

What is done is read from where it is kept: an event whose episode is in the lake or waits in the registry is not run
again. Ids follow from the event, so a batch that was interrupted between its two appends adds nothing twice.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

import polars as pl
import sqlalchemy as sa

from guard.canonical import canonical, digest, digest_text
from guard.identity import name_uuid
from lake.months import Month
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import BATCH, EVENT_BUS, OPEN_EPISODE, POLICY, RUN_EPISODE, STEP_RUN, WORKFLOW
from registry.access import audit_denial
from registry.consumers import Allowlists, allowlists
from registry.cursors import changed_months, remember_months
from registry.database import TABLES, Registry, upsert
from registry.documents import Workflow
from registry.objects import current_hashes
from registry.plans import Plan, PlannedTrigger, load_active_plans, load_plan
from runtime.claims import Claims, listens_to, takes
from runtime.effects.journal import Effects
from runtime.engine import CHILD_CLOSED, EPISODES, Executed, execute
from runtime.identities import digests_under, name_uuids, seeds_of, time_ordered_uuids
from runtime.opened import Awaited, child_episodes, children_of, closed_children, kept_episodes, open_rows, skills_of
from runtime.protocol import ErrorCode, SkillTable
from runtime.subscriptions import AwaitRefusals, let_through

log = logging.getLogger("rwcm.runtime")

BATCH_EPISODES = 50_000
"""Episodes that one batch runs and commits; what bounds its memory."""

ENGINE = "engine"
STAGE = "execute"
_OF_EVENTS = ("event_id", "payload", "produced_at", "schema_version")
OPEN_TOGETHER = 5_000
"""Open episodes that are looked at together; each comes with all that it knows."""

_TOKENS = pl.struct(pl.col("token_in").alias("in"), pl.col("token_out").alias("out"))


@dataclass
class Execution:
    """What an execution did: episodes by outcome, and rows per table and month."""

    batches: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Counter[Month]] = field(
        default_factory=lambda: {RUN_EPISODE.name: Counter(), STEP_RUN.name: Counter()}
    )

    @property
    def episodes(self) -> int:
        return sum(self.rows[RUN_EPISODE.name].values())

    @property
    def step_runs(self) -> int:
        return sum(self.rows[STEP_RUN.name].values())


def execute_pending(
    lake: Lake, registry: Registry, *, skills: SkillTable, now: datetime, months: Sequence[Month] = ()
) -> Execution:
    """Run every accepted event that starts a workflow and has no episode yet, and every wait that has ended.

    Args:
        now: moment up to which waits may time out.
        months: months of events to look at beside those that changed since they were last looked at.

    Raises:
        LakeBusy: another execution is under way and did not end in time.
    """
    done = Execution()
    with lake.lock(OPEN_EPISODE):  # two executions at once would run the same episodes
        _settle(lake, registry, now, done)
        allowed = _allowed(registry)
        plans = load_active_plans(registry)
        runner = _Runner(lake, registry, skills, now, done, AwaitRefusals(allowed), plans)
        runner.resume()
        claims = Claims.of(registry, plans)
        marks = _marks(lake, [plan.body_hash for plan in plans], allowed)
        wanted = changed_months(registry, STAGE, marks) | set(months)
        for month in sorted(wanted & marks.keys()):
            for plan in plans:
                for trigger in plan.triggers:
                    taken = let_through(
                        registry,
                        plan,
                        trigger,
                        month,
                        _pending(lake, registry, plan, trigger, month, claims),
                        allowed.get((plan.workflow_id, trigger.topic or "")),
                        now=now,
                        created_by=ENGINE,
                    ).drop("schema_version")
                    for part in taken.iter_slices(BATCH_EPISODES):
                        runner.start(plan, part)
        runner.flush()
        runner.bring_up_children()
        runner.refusals.record(registry, now=now, created_by=ENGINE)
        remember_months(registry, STAGE, marks, wanted, now=now)
    return done


def work_at_hand(lake: Lake, registry: Registry, *, now: datetime) -> str | None:
    """Return what names the work that `execute_pending` would find, None where there is none; for whoever starts it.

    Months whose events or workflows changed may hold such work; a wait whose deadline has passed is some.
    """
    with registry.read() as connection:
        bodies = current_hashes(connection, Workflow, status="active")
    marks = _marks(lake, bodies, _allowed(registry))
    months = sorted(changed_months(registry, STAGE, marks))
    table = TABLES[OPEN_EPISODE.name]
    due = sa.select(sa.func.count(), sa.func.max(table.c.due_at)).where(table.c.due_at <= now)
    with registry.read() as connection:
        waits, latest = connection.execute(due).one()
    if not months and not waits:
        return None
    return digest([{f"{month}": marks.get(month) for month in months}, waits, str(latest)])


def _allowed(registry: Registry) -> Allowlists:
    with registry.read() as connection:
        return allowlists(connection)


def _marks(lake: Lake, bodies: Sequence[str], allowed: Allowlists) -> dict[Month, str]:
    """Return a mark per month of events; it changes with its events and with the workflows that could take them."""
    rules: list[object] = [*sorted(bodies)]
    rules += sorted((*names, sorted(versions)) for names, versions in allowed.items())
    return {month: digest_text(f"{mark}/{rules}") for month, mark in lake.fingerprints(EVENT_BUS).items()}


def _settle(lake: Lake, registry: Registry, now: datetime, done: Execution) -> None:
    """Close the batches that were interrupted, by what they recorded.

    One that recorded its episodes is done but for the registry. Of one that did not, the step runs are taken back: when
    its events run again, another decision or workflow version may lead them elsewhere.
    """
    batch, waiting = TABLES[BATCH.name], TABLES[OPEN_EPISODE.name]
    with registry.read() as connection:
        query = sa.select(batch.c.batch_id).where(batch.c.kind == STAGE, batch.c.state == "open")
        interrupted: list[str] = list(connection.execute(query.order_by(batch.c.batch_id)).scalars())
    for batch_id in interrupted:
        recorded = lake.scan(RUN_EPISODE).filter(pl.col("batch_id") == batch_id).select("episode_id", MONTH).collect()
        if recorded.is_empty():
            lake.discard(STEP_RUN, batch_id=batch_id)
        steps = lake.scan(STEP_RUN).filter(pl.col("batch_id") == batch_id).select(MONTH).collect()
        with registry.transaction() as connection:
            for closed in recorded["episode_id"].to_frame().iter_slices(500):
                connection.execute(sa.delete(waiting).where(waiting.c.episode_id.in_(closed["episode_id"].to_list())))
            counted = {spec.name: Counter(rows[MONTH]) for spec, rows in ((RUN_EPISODE, recorded), (STEP_RUN, steps))}
            _close(connection, batch_id, counted, now, records=recorded.height)
        for name, rows in counted.items():
            done.rows[name].update(rows)
        log.info("batch %s was interrupted: settled with %s episodes", batch_id[:8], f"{recorded.height:,}")


def _close(
    connection: sa.Connection,
    batch_id: str,
    rows: Mapping[str, Mapping[Month, int]],
    now: datetime,
    *,
    records: int,
) -> None:
    """Record the accounting of a batch, whose `rows` are told per table and month; from then on it is done."""
    batch = TABLES[BATCH.name]
    months = {
        table: {f"{month:%Y-%m}": count for month, count in sorted(counted.items())} for table, counted in rows.items()
    }
    connection.execute(
        sa.update(batch)
        .where(batch.c.batch_id == batch_id)
        .values(
            state="done",
            records_read=records,
            records_accepted=records,
            months=json.dumps(months),
            closed_at=now,
        )
    )


def _pending(
    lake: Lake, registry: Registry, plan: Plan, trigger: PlannedTrigger, month: Month, claims: Claims
) -> pl.DataFrame:
    """Return the month's events that the trigger takes before others and that have no episode, oldest first.

    An episode starts at its event's time, so it is in the same month: one month of each table is read.
    """
    events = lake.scan(EVENT_BUS, months=[month], columns=[*_OF_EVENTS, "topic", "producer_id", MONTH])
    closed = lake.scan(RUN_EPISODE, months=[month], columns=["trigger_id", "trigger_event_id", MONTH])
    with registry.read() as connection:
        table = TABLES[OPEN_EPISODE.name]
        query = sa.select(table.c.episode_id).where(
            table.c.workflow_id == plan.workflow_id, table.c.episode_month == month
        )
        waiting: set[str] = set(connection.execute(query).scalars())
    pending = (
        events.filter(listens_to(trigger))
        .join(
            closed.filter(pl.col("trigger_id") == trigger.trigger_id),
            left_on="event_id",
            right_on="trigger_event_id",
            how="anti",
        )
        .select("event_id", "payload", "produced_at", pl.lit(trigger.trigger_id).alias("trigger_id"), "schema_version")
        .sort("produced_at", "event_id")
        .collect()
    )
    if waiting:
        ids = time_ordered_uuids(pending["produced_at"], pending["trigger_id"], pending["event_id"])
        pending = pending.filter(~ids.is_in(list(waiting)))
    if trigger.condition is not None and not trigger.mart:  # a mart's rows were held against it when it fired
        pending = pending.filter(takes(trigger.condition, pending["payload"]))
    return claims.left_to(trigger, pending, month, lake=lake, registry=registry)


def _policies_in_force(registry: Registry) -> list[str]:
    """Return what names the policies as they stand now, in order."""
    policy = TABLES[POLICY.name]
    with registry.read() as connection:
        rows = connection.execute(sa.select(policy.c.policy_id, policy.c.spec).order_by(policy.c.policy_id)).all()
    return [digest_text(f"{policy_id}\n{spec}") for policy_id, spec in rows]


def _first_month(episodes: pl.DataFrame) -> Month:
    return episodes["started_at"].dt.month_start().dt.date().sort()[0]


def _slices(items: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


def _by_version(rows: Sequence[Any]) -> dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Any]]:
    """Return open episodes by their workflow, its version and the versions of the skills that they began with."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Any]] = {}
    for row in rows:
        skills = tuple(sorted(skills_of(row).items()))
        found.setdefault((row["workflow_id"], row["workflow_version"], skills), []).append(row)
    return found


class _Runner:
    """Gathers episodes into batches, runs them and records what became of them."""

    def __init__(
        self,
        lake: Lake,
        registry: Registry,
        skills: SkillTable,
        now: datetime,
        done: Execution,
        refusals: AwaitRefusals,
        plans: Sequence[Plan],
    ) -> None:
        self.lake = lake
        self.registry = registry
        self.skills = skills
        self.now = now
        self.done = done
        self.refusals = refusals
        self.gathered: dict[tuple[str, str], tuple[Plan, list[pl.DataFrame]]] = {}
        self.awaited = Awaited(lake, registry, refusals)
        self.has_children = False
        self.plans = {plan.workflow_id: plan for plan in plans}
        self.policies = _policies_in_force(registry)

    def start(self, plan: Plan, events: pl.DataFrame) -> None:
        """Gather new episodes; months are small, so several share a batch."""
        key = (plan.workflow_id, plan.version)
        _, frames = self.gathered.setdefault(key, (plan, []))
        frames.append(_new_episodes(plan, events, self.policies))
        if sum(frame.height for frame in frames) >= BATCH_EPISODES:
            self._run(plan, pl.concat(self.gathered.pop(key)[1]))

    def flush(self) -> None:
        for plan, frames in self.gathered.values():
            self._run(plan, pl.concat(frames))
        self.gathered.clear()

    def resume(self, *, gives_up_children: bool = False) -> None:
        """Run the waiting episodes of which a wait is over, under the versions they began with.

        Children are begun before their parents are looked at, and given up only where that is asked for: when all else
        has run, so that one that ended in time is not taken for late.
        """
        for rows in self._pages():
            self._start_children(rows)
            for (workflow_id, version, skills), members in _by_version(rows).items():
                plan = load_plan(self.registry, workflow_id, version, skills=dict(skills))
                self._run(
                    plan,
                    kept_episodes(self.awaited.over(plan, members, now=self.now, gives_up_children=gives_up_children)),
                )

    def bring_up_children(self) -> None:
        """Run the children that this execution's episodes wait for, theirs too, and the parents of those that ended."""
        while self.has_children:
            before = self.done.batches
            self.resume()
            if before == self.done.batches:
                self.resume(gives_up_children=True)
            if before == self.done.batches:
                return

    def _pages(self) -> Iterator[list[Any]]:
        """Yield the open episodes of workflows that are not paused, in pages; what is resumed meanwhile is passed."""
        table, workflow = TABLES[OPEN_EPISODE.name], TABLES[WORKFLOW.name]
        paused = sa.select(workflow.c.workflow_id).where(workflow.c.status == "paused")
        last = ""
        while True:
            query = sa.select(table).where(table.c.episode_id > last, table.c.workflow_id.not_in(paused))
            with self.registry.read() as connection:
                page = connection.execute(query.order_by(table.c.episode_id).limit(OPEN_TOGETHER)).mappings().all()
            if not page:
                return
            last = page[-1]["episode_id"]
            yield list(page)

    def _start_children(self, rows: Sequence[Any]) -> None:
        """Begin the children that open episodes wait for and that are neither open nor closed."""
        children = {child.episode_id: child for row in rows for child in children_of(row)}
        if not children:
            return
        self.has_children = True
        keys = [f'["{episode_id}"]' for episode_id in children]
        known = {key[2:-2] for key in closed_children(self.lake, keys)["key"]}
        table = TABLES[OPEN_EPISODE.name]
        with self.registry.read() as connection:
            for part in _slices(children, 500):
                query = sa.select(table.c.episode_id).where(table.c.episode_id.in_(part))
                known.update(connection.execute(query).scalars())
        for workflow_id, plan in self.plans.items():
            new = [c for c in children.values() if c.workflow_id == workflow_id and c.episode_id not in known]
            if new:
                episodes = child_episodes(new)
                hashes = digests_under(f"{_governing(plan, self.policies)}\n", episodes["payload"])
                self._run(plan, episodes.with_columns(context_hash=hashes))

    def _run(self, plan: Plan, episodes: pl.DataFrame) -> None:
        if episodes.is_empty():
            return
        batch_id = name_uuid("execute", plan.body_hash, *episodes["episode_id"].sort())
        self._name(batch_id, plan, episodes.height)
        executed = execute(
            plan,
            episodes,
            skills=self.skills,
            find_awaited=partial(self.awaited.find, plan, _first_month(episodes)),
            now=self.now,
            effects=Effects(self.registry, batch_id=batch_id),
            workflows=self.plans.keys(),
        )
        self.has_children |= CHILD_CLOSED in executed.waiting["await_topic"]
        self._commit(plan, episodes, executed, batch_id)
        self.done.batches += 1
        log.info(
            "%s %s: %s episodes executed, %s wait",
            plan.workflow_id,
            plan.version,
            f"{executed.closed.height:,}",
            f"{executed.waiting.height:,}",
        )

    def _name(self, batch_id: str, plan: Plan, count: int) -> None:
        """Name the batch before it starts; a batch that was interrupted has the same name and is done again."""
        row = {
            "batch_id": batch_id,
            "kind": STAGE,
            "state": "open",
            "source": f"{plan.workflow_id}@{plan.version}",
            "records_read": count,
            "records_accepted": 0,
            "records_rejected": 0,
            "records_duplicate": 0,
            "months": "{}",
            "opened_at": self.now,
            "closed_at": None,
        }
        with self.registry.transaction() as connection:
            upsert(connection, BATCH, [row])

    def _commit(self, plan: Plan, episodes: pl.DataFrame, executed: Executed, batch_id: str) -> None:
        """Record step runs, then episodes: an episode that is in the lake has all its step runs there."""
        runs, steps = _episode_rows(plan, episodes, executed, batch_id), _step_rows(plan, episodes, executed, batch_id)
        self.lake.append(STEP_RUN, steps, batch_id=batch_id)
        self.lake.append(RUN_EPISODE, runs, batch_id=batch_id)
        counted = {}
        for spec, rows in ((RUN_EPISODE, runs), (STEP_RUN, steps)):
            counted[spec.name] = Counter(spec.conform(rows)[MONTH].to_list())
            self.done.rows[spec.name].update(counted[spec.name])
        self.done.outcomes.update(executed.closed["outcome"].to_list())
        self.done.outcomes["running"] += executed.waiting["episode_id"].n_unique()
        table = TABLES[OPEN_EPISODE.name]
        with self.registry.transaction() as connection:
            was_open = executed.closed.join(episodes.filter(pl.col("state").is_not_null()), on="episode_id", how="semi")
            for closed in was_open["episode_id"].to_frame().iter_slices(500):
                connection.execute(sa.delete(table).where(table.c.episode_id.in_(closed["episode_id"].to_list())))
            upsert(connection, OPEN_EPISODE, open_rows(plan, episodes, executed, now=self.now, created_by=ENGINE))
            _announce_denials(connection, plan, executed, batch_id, self.now)
            _close(connection, batch_id, counted, self.now, records=episodes.height)


def _announce_denials(connection: sa.Connection, plan: Plan, executed: Executed, batch_id: str, now: datetime) -> None:
    """Audit the agents that were refused in this batch, once per step: its step runs say in which episodes."""
    is_denied = pl.col("error_code") == ErrorCode.PERMISSION_DENIED.value
    denied = set(executed.step_runs.filter(is_denied)["step_id"])
    for step in plan.steps:
        if step.denial and step.step_id in denied:
            audit_denial(connection, step.denial, now=now, key=f"{batch_id}/{step.step_id}")


def _governing(plan: Plan, policies: Sequence[str]) -> str:
    """Return what decides the path of the plan's episodes beside their payload."""
    denied = [step.step_id for step in plan.steps if step.denial]
    return canonical(
        {
            "policies": policies,
            "workflow_id": plan.workflow_id,
            "version": plan.version,
            "body": plan.body_hash,
            "skills": {step.step_id: step.skill_hash for step in plan.steps},
            **({"denied": denied} if denied else {}),
        }
    )


def _new_episodes(plan: Plan, events: pl.DataFrame, policies: Sequence[str]) -> pl.DataFrame:
    """Return the episodes that the events start, with the seed and context hash that fix their path."""
    ids = time_ordered_uuids(events["produced_at"], events["trigger_id"], events["event_id"])
    return events.select(
        ids.alias("episode_id"),
        "trigger_id",
        pl.col("event_id").alias("trigger_event_id"),
        "payload",
        pl.col("produced_at").alias("started_at"),
        seeds_of(ids).alias("seed"),
        digests_under(f"{_governing(plan, policies)}\n", events["payload"]).alias("context_hash"),
        pl.lit(None, dtype=pl.String).alias("state"),
    ).cast(dict(EPISODES))  # type: ignore[arg-type]


def _episode_rows(plan: Plan, episodes: pl.DataFrame, executed: Executed, batch_id: str) -> pl.DataFrame:
    """Return the closed episodes as rows of `run_episode`."""
    totals = executed.step_runs.group_by("episode_id").agg(
        pl.len().cast(pl.Int32).alias("steps"),
        (pl.col("latency_ms") - pl.col("waited_ms")).sum().alias("busy_ms"),
        pl.col("cost_micros").sum(),
        pl.col("token_in").sum(),
        pl.col("token_out").sum(),
        (pl.col("status") == "failed").mean().round(4).alias("error_rate"),
    )
    latency_ms = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds()
    metrics = pl.struct(
        cost_ms="busy_ms",
        latency_ms="latency_ms",
        tokens=_TOKENS,
        error_rate="error_rate",
    )
    return (
        executed.closed.join(episodes.drop("state", "payload"), on="episode_id", maintain_order="left")
        .join(totals, on="episode_id", maintain_order="left")
        .with_columns(latency_ms=latency_ms)
        .select(
            "episode_id",
            pl.lit(plan.workflow_id).alias("workflow_id"),
            pl.lit(plan.version).alias("workflow_version"),
            "trigger_id",
            "trigger_event_id",
            pl.lit(plan.agent_id).alias("initiator_id"),
            pl.lit("live").alias("origin"),
            "started_at",
            "ended_at",
            "outcome",
            metrics.struct.json_encode().alias("metrics"),
            "context_hash",
            "seed",
            pl.col("started_at").alias("now_at"),
            "steps",
            "latency_ms",
            "cost_micros",
            pl.lit("event").alias("time_source"),
            pl.lit(batch_id).alias("batch_id"),
            pl.col("ended_at").alias("created_at"),
            pl.lit(ENGINE).alias("created_by"),
        )
    )


def _step_rows(plan: Plan, episodes: pl.DataFrame, executed: Executed, batch_id: str) -> pl.DataFrame:
    """Return the step runs of the closed episodes as rows of `step_run`."""
    slo_ms = plan.constraints.latency_ms
    agents = {step.step_id: step.agent_id for step in plan.steps}
    succeeded = pl.col("status") == "success"
    error = pl.struct(code="error_code", message="error_message").struct.json_encode()
    telemetry = pl.struct(
        "latency_ms",
        "waited_ms",
        "cost_micros",
        tokens=_TOKENS,
        model="model",
        system="system",
        attempt="attempt",
    ).struct.json_encode()
    distance = (pl.col("latency_ms") / slo_ms).clip(0, 1) if slo_ms else pl.lit(0.0)
    identifiers = name_uuids(executed.step_runs["episode_id"], executed.step_runs["seq"].cast(pl.String))
    return executed.step_runs.join(
        episodes.select("episode_id", episode_start="started_at"), on="episode_id", maintain_order="left"
    ).select(
        identifiers.alias("step_run_id"),
        "episode_id",
        pl.col("episode_start").dt.truncate("1mo").dt.date().alias("episode_month"),
        "step_id",
        pl.col("step_id").alias("activity"),
        pl.col("step_id").replace_strict(agents, return_dtype=pl.String).alias("agent_id"),
        pl.lit(plan.workflow_id).alias("workflow_id"),
        pl.lit(plan.version).alias("workflow_version"),
        "seq",
        "attempt",
        "started_at",
        "ended_at",
        "status",
        "input",
        "output",
        pl.when(pl.col("error_code").is_not_null()).then(error).alias("error"),
        telemetry.alias("telemetry"),
        "latency_ms",
        (pl.col("cost_micros") / 10_000).round(0, mode="half_to_even").cast(pl.Int32).alias("cost_cents"),
        "cost_micros",
        "token_in",
        "token_out",
        "model",
        "system",
        "error_code",
        pl.when(succeeded)
        .then(1.0 - distance)
        .when(pl.col("status") == "failed")
        .then(-1.0)
        .otherwise(0.0)
        .alias("reward"),
        pl.lit("event").alias("time_source"),
        pl.lit(batch_id).alias("batch_id"),
        pl.col("ended_at").alias("created_at"),
        pl.lit(ENGINE).alias("created_by"),
    )
