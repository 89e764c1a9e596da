"""Replay: what ran runs again, with records in the place of effects and decisions, and must take the same path.

Under the version that an episode ran in, every difference is a fault: of the engine, of a step that is not
deterministic, or of a record that was changed. Under another version the differences are what that version would have
done otherwise: pure skills are computed anew then, and what has effects answers as it did.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import polars as pl
import sqlalchemy as sa

from lake.months import Month, month_of, month_range
from lake.retention import ERASED
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import EVENT_BUS, RUN_EPISODE, STEP_RUN, WORKFLOW
from registry.database import TABLES, Registry
from registry.objects import NotRegistered
from registry.plans import Plan, load_plan
from runtime.awaited import AwaitedEvents
from runtime.divergence import DIVERGENCES, first_divergences
from runtime.engine import EPISODES, Executed, execute
from runtime.execution import BATCH_EPISODES
from runtime.protocol import RESULT_SCHEMA, ErrorCode, SkillTable
from runtime.recorded import Recorded

PURGED, IMPORTED, CHILD, UNKNOWN_VERSION = "purged", "imported", "child", "unknown_version"
"""Why an episode cannot be replayed: records of it are gone, it never ran here, another episode started it and holds
its payload, or its version is not registered."""

_END = datetime(9000, 1, 1, tzinfo=UTC)
_OF_EPISODES = (
    "episode_id", "workflow_id", "workflow_version", "trigger_id", "trigger_event_id", "origin", "started_at",
    "ended_at", "outcome", "context_hash", "seed", "steps", "batch_id", MONTH,
)  # fmt: skip
_OF_STEPS = (
    "episode_id", "episode_month", "workflow_id", "step_id", "seq", "attempt", "started_at", "ended_at", "status",
    "input", "error", "telemetry", "batch_id", *(name for name in RESULT_SCHEMA if name != "error_message"),
)  # fmt: skip

Progress = Callable[[int], None]
"""Told how many episodes were looked at so far."""


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        episodes: how many were looked at.
        not_replayable: how many of them could not be replayed, by reason.
        divergences: those that differ (`DIVERGENCES`), oldest first.
    """

    workflow_id: str
    episodes: int
    not_replayable: Mapping[str, int]
    divergences: pl.DataFrame

    @property
    def replayed(self) -> int:
        return self.episodes - sum(self.not_replayable.values())


def replay(
    lake: Lake,
    registry: Registry,
    workflow_id: str,
    *,
    skills: SkillTable,
    plan: Plan | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    months: Sequence[Month] | None = None,
    recompute: bool | None = None,
    on_progress: Progress = lambda episodes: None,
) -> Replay:
    """Replay the recorded episodes of a workflow.

    Args:
        plan: what to run them under; by default each under the version that it ran in.
        since: only episodes that started then or later; `until` before then.
        months: only those of these months.
        recompute: whether pure skills are computed anew; by default under another version only.
    """
    found = _Found(workflow_id)
    awaited = AwaitedEvents(lake)
    plans = _Plans(registry, workflow_id, plan)
    for episodes in _slices(lake, workflow_id, since, until, months):
        for version, recorded in _by_version(episodes):
            under = plans.of(version)
            if under is None:
                found.leave_out(UNKNOWN_VERSION, recorded.height)
                continue
            is_other = plan is not None and plan.version != version
            _replay_slice(
                lake,
                registry,
                awaited,
                under,
                recorded,
                skills,
                found,
                is_other=is_other,
                recompute=is_other if recompute is None else recompute,
            )
        found.episodes += episodes.height
        on_progress(found.episodes)
    return found.replay()


def workflows_that_ran(lake: Lake, months: Sequence[Month] | None = None) -> list[str]:
    """Return the workflows that have episodes of their own in `months`, all by default; imported logs have none."""
    ran = lake.scan(RUN_EPISODE, months=months, columns=["workflow_id", "origin"]).filter(pl.col("origin") == "live")
    return sorted(ran.select("workflow_id").unique().collect()["workflow_id"])


class _Found:
    """What a replay found so far."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.episodes = 0
        self.not_replayable: Counter[str] = Counter()
        self.frames: list[pl.DataFrame] = [pl.DataFrame(schema=DIVERGENCES)]

    def leave_out(self, reason: str, count: int) -> None:
        if count:
            self.not_replayable[reason] += count

    def replay(self) -> Replay:
        divergences = pl.concat(self.frames).sort("started_at", "episode_id")
        return Replay(self.workflow_id, self.episodes, dict(self.not_replayable), divergences)


class _Plans:
    def __init__(self, registry: Registry, workflow_id: str, plan: Plan | None) -> None:
        self._registry, self._workflow_id, self._plan = registry, workflow_id, plan
        self._known: dict[str, Plan | None] = {}

    def of(self, version: str) -> Plan | None:
        """Return the plan for what ran in a version, None where that is not registered."""
        if self._plan is not None:
            return self._plan
        if version not in self._known:
            try:
                self._known[version] = load_plan(self._registry, self._workflow_id, version)
            except NotRegistered:
                self._known[version] = None
        return self._known[version]


def _slices(
    lake: Lake, workflow_id: str, since: datetime | None, until: datetime | None, months: Sequence[Month] | None
) -> Iterator[pl.DataFrame]:
    """Yield the workflow's episodes, oldest first, a batch at a time; months are small and share one."""
    bounds = [pl.col("started_at") >= since] if since else []
    bounds += [pl.col("started_at") < until] if until else []
    gathered: list[pl.DataFrame] = []
    for month in sorted(month for month in lake.stats(RUN_EPISODE) if month is not None):
        is_outside = (since and month < month_of(since)) or (until and month > month_of(until))
        if is_outside or (months is not None and month not in months):
            continue
        gathered.append(
            lake.scan(RUN_EPISODE, months=[month], columns=_OF_EPISODES)
            .filter(pl.col("workflow_id") == workflow_id, pl.col("outcome") != "running", *bounds)
            .sort("started_at", "episode_id")
            .collect()
        )
        if sum(frame.height for frame in gathered) >= BATCH_EPISODES:
            *whole, rest = pl.concat(gathered).iter_slices(BATCH_EPISODES)
            yield from whole
            gathered = [rest]
    if gathered and (left := pl.concat(gathered)).height:
        yield left


def _by_version(episodes: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (version,), part in episodes.partition_by("workflow_version", as_dict=True, maintain_order=True).items():
        yield str(version), part


def _replay_slice(
    lake: Lake,
    registry: Registry,
    awaited: AwaitedEvents,
    plan: Plan,
    recorded: pl.DataFrame,
    skills: SkillTable,
    found: _Found,
    *,
    is_other: bool,
    recompute: bool,
) -> None:
    live = recorded.filter(pl.col("origin") == "live")
    found.leave_out(IMPORTED, recorded.height - live.height)
    started = live.filter(pl.col("trigger_id").is_not_null())
    found.leave_out(CHILD, live.height - started.height)
    if (live := started).is_empty():
        return
    episodes, runs = _whole(live, _payloads(lake, live), _step_runs(lake, live))
    found.leave_out(PURGED, live.height - episodes.height)
    if episodes.is_empty():
        return
    past = Recorded(plan, runs, episodes, skills=skills, recompute=recompute)
    engine = partial(
        execute,
        plan,
        skills=past,
        find_awaited=past.awaiting(lake, awaited),
        now=_END,
        workflows=_startable(registry, runs),
    )
    executed = _to_the_end(engine, episodes.with_columns(state=pl.lit(None, dtype=pl.String)).select(EPISODES.names()))
    found.frames.append(first_divergences(plan.version, episodes, runs, executed, path_only=is_other))


def _to_the_end(engine: Callable[[pl.DataFrame], Executed], episodes: pl.DataFrame) -> Executed:
    """Run episodes until each has ended: one that waits for a child is given it up only when it is taken up again."""
    done = engine(episodes)
    closed, step_runs = [done.closed], [done.step_runs]
    while done.waiting.height:
        states = done.waiting.select("episode_id", "state").unique("episode_id")
        again = engine(episodes.drop("state").join(states, on="episode_id").select(EPISODES.names()))
        if again.closed.is_empty() and again.waiting.equals(done.waiting):
            break
        done = again
        closed.append(done.closed)
        step_runs.append(done.step_runs)
    return Executed(pl.concat(closed), pl.concat(step_runs), done.waiting)


def _startable(registry: Registry, runs: pl.DataFrame) -> set[str]:
    """Return the workflows that a step could start then: all that are registered, but those on record as unknown."""
    with registry.read() as connection:
        known: set[str] = set(connection.execute(sa.select(TABLES[WORKFLOW.name].c.workflow_id)).scalars())
    refused = runs.filter(pl.col("error_code") == ErrorCode.UNKNOWN_WORKFLOW.value)["input"]
    return known - set(refused.str.json_path_match("$.target_workflow_id"))


def _payloads(lake: Lake, episodes: pl.DataFrame) -> pl.DataFrame:
    """Return the payloads of the events that started the episodes, as far as they are kept.

    An episode starts at its event's time.
    """
    first, last = episodes["started_at"].min(), episodes["started_at"].max()
    return (
        lake.scan(EVENT_BUS, months=episodes[MONTH].unique().to_list(), columns=["event_id", "payload", "produced_at"])
        .filter(pl.col("produced_at").is_between(first, last))
        .join(episodes.lazy().select("trigger_event_id"), left_on="event_id", right_on="trigger_event_id", how="semi")
        .select("event_id", "payload")
        .collect()
    )


def _step_runs(lake: Lake, episodes: pl.DataFrame) -> pl.DataFrame:
    """Return the step runs of the episodes: an episode comes with all of them in one batch."""
    last = episodes["ended_at"].max() or episodes["started_at"].max()
    first, end = episodes[MONTH].min(), month_of(last)  # type: ignore[arg-type]
    return (
        lake.scan(STEP_RUN, months=list(month_range(first, end)), columns=_OF_STEPS)  # type: ignore[arg-type]
        .filter(
            pl.col("batch_id").is_in(episodes["batch_id"].unique().to_list()),
            pl.col("episode_month").is_in(episodes[MONTH].unique().to_list()),
        )
        .join(episodes.lazy().select("episode_id"), on="episode_id", how="semi")
        .collect()
    )


def _whole(episodes: pl.DataFrame, payloads: pl.DataFrame, runs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the episodes of which everything is kept, with their payloads, and their step runs."""
    counted = runs.filter(pl.col("input") != ERASED).group_by("episode_id").agg(kept=pl.len())
    whole = (
        episodes.join(payloads, left_on="trigger_event_id", right_on="event_id", maintain_order="left")
        .join(counted, on="episode_id", how="left", maintain_order="left")
        .filter(pl.col("kept").fill_null(0) == pl.col("steps"))
    )
    if whole.height == episodes.height:
        return whole, runs
    return whole, runs.join(whole.select("episode_id"), on="episode_id", how="semi", maintain_order="left")
