"""What was recorded of episodes, in the place of what did it: skills answer as they did, events come as they came.

A call gets what the same attempt of the same visit of its step gave, and nothing outside is asked.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from lake.store import Lake
from registry.documents import RuntimeBinding
from registry.plans import Plan
from registry.steps import Await
from runtime.awaited import AwaitedEvents
from runtime.documents import decode
from runtime.engine import AWAITED, CHILD_CLOSED, FindAwaited
from runtime.engine.history import Rows
from runtime.engine.waiting import EFFECT_RESOLVED
from runtime.opened import closed_children
from runtime.protocol import RESULT_SCHEMA, TRANSIENT, Call, ErrorCode, Skill, SkillTable

_EXPRESSION, _NO_BRANCH = ErrorCode.EXPRESSION.value, ErrorCode.NO_BRANCH.value
_OWN_LOGIC = [_EXPRESSION, _NO_BRANCH, ErrorCode.PERMISSION_DENIED.value, ErrorCode.LOOP_BOUND.value]
"""What a step fails with that no skill returned."""

_WOKEN = ["success", "compensated"]
_BEFORE = ("attempt", "error_code")
_OF_CALLS = ["episode_id", "step_id", "visit", "attempt", "status", "ended_at", "parked_until", *RESULT_SCHEMA]


class Recorded:
    """The recorded step runs of some episodes.

    Args:
        runs: rows of `step_run`, in any order.
        episodes: id and start of the episodes, each once.
        skills: adapters for what is computed anew.
        recompute: whether pure skills are; what has effects never is.
    """

    def __init__(
        self, plan: Plan, runs: pl.DataFrame, episodes: pl.DataFrame, *, skills: SkillTable, recompute: bool
    ) -> None:
        self._skills = skills
        self._recompute = recompute
        self._positions = episodes.select("episode_id").with_row_index("position")
        self._released: set[tuple[str, int, int]] = set()
        self._last_step, self._last_attempt = "", 1
        self._visits: dict[str, Rows] = {}
        calls = calls_of(plan, runs, episodes)
        calls = calls.join(self._positions, on="episode_id", maintain_order="left").drop("episode_id")
        self._calls = {str(step_id): frame for (step_id,), frame in calls.partition_by("step_id", as_dict=True).items()}
        self._nothing = calls.clear()

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        """Return what answers for a skill; None for one that is to be computed and has no adapter."""
        real = self._skills.find(skill_id, binding) if self._recompute else None
        return _Recall(self, real if real is not None and real.is_pure else None)

    def answers(self, call: Call) -> pl.DataFrame:
        """Return what the same call gave when it was recorded; a row that was not called then is NOT_RECORDED."""
        positions = self._position(pl.Series(call.episode_ids, dtype=pl.String))
        visits = self._visits.setdefault(call.step_id, np.zeros(self._positions.height, dtype=np.int64))
        visits[positions] = np.asarray(call.visits)
        self._last_step, self._last_attempt = call.step_id, call.attempt
        found = self._recall(positions)
        is_parked = self._park(positions, found["parked_until"])
        is_missing = found["status"].is_null()
        message = f"{call.step_id} was not called like this when the episode was recorded"
        return found.with_columns(
            error_code=pl.when(is_missing)
            .then(pl.lit(ErrorCode.NOT_RECORDED.value))
            .when(is_parked)
            .then(pl.lit(ErrorCode.EFFECT_UNKNOWN.value))
            .otherwise("error_code"),
            error_message=pl.when(is_missing).then(pl.lit(message)).otherwise("error_message"),
        ).select(RESULT_SCHEMA.names())

    def awaiting(self, lake: Lake, awaited: AwaitedEvents) -> FindAwaited:
        """Return a search for awaited events that finds those that ended the recorded waits, and no later ones.

        A wait that is not on record is ended by what the event bus holds now.
        """

        def find(wait: Await, keys: Sequence[str], episode_ids: pl.Series) -> pl.DataFrame:
            positions = self._position(episode_ids)
            if wait.event == CHILD_CLOSED:
                return closed_children(lake, keys)
            if wait.event == EFFECT_RESOLVED:
                return self._resolved(keys, positions)
            kept = self._recall(positions).select(
                pl.Series("key", keys, dtype=pl.String), "status", "ended_at", "output"
            )
            woken = kept.filter(pl.col("status").is_in(_WOKEN))
            own = woken.select("key", at="ended_at", payload="output")
            bus = awaited.carrying(wait, keys).select(AWAITED.names())
            of_new = bus.join(kept.filter(pl.col("status").is_null()), on="key", how="semi")
            came = _that_ended(woken.select("key", "ended_at", "output").unique(), bus)
            purged = own.join(came, on="key", how="anti")
            return pl.concat([frame.select(AWAITED.names()) for frame in (of_new, came, purged)]).unique()

        return find

    def _park(self, positions: Rows, until: pl.Series) -> pl.Series:
        """Return which calls come back unknown first: their effect had to be resolved by a person."""
        visits = self._visits[self._last_step]
        parked = np.zeros(len(positions), dtype=np.bool_)
        for row in until.is_not_null().arg_true().to_list():
            call = (self._last_step, int(positions[row]), int(visits[positions[row]]))
            parked[row] = call not in self._released
            self._released.add(call)
        return pl.Series(parked)

    def _resolved(self, keys: Sequence[str], positions: Rows) -> pl.DataFrame:
        """Return when the effects that were unknown were resolved: when their steps went on."""
        until = self._recall(positions)["parked_until"]
        return pl.DataFrame({"key": keys, "at": until, "payload": ["{}"] * len(keys)}, schema=AWAITED)

    def _position(self, episode_ids: pl.Series) -> Rows:
        frame = pl.DataFrame({"episode_id": episode_ids}).join(self._positions, on="episode_id", maintain_order="left")
        return frame["position"].cast(pl.Int64).to_numpy()

    def _recall(self, positions: Rows) -> pl.DataFrame:
        """Return what the step that was called last gave in these episodes."""
        wanted = pl.DataFrame({"position": positions, "visit": self._visits[self._last_step][positions]}).select(
            pl.col("position").cast(pl.UInt32), "visit", attempt=pl.lit(self._last_attempt, dtype=pl.Int32)
        )
        calls = self._calls.get(self._last_step, self._nothing)
        return wanted.join(calls, on=["position", "visit", "attempt"], how="left", maintain_order="left")


class _Recall:
    """Stands in for a skill."""

    is_pure = True

    def __init__(self, recorded: Recorded, real: Skill | None) -> None:
        self._recorded = recorded
        self._real = real

    def run(self, call: Call) -> pl.DataFrame:
        then = self._recorded.answers(call)
        return self._real.run(call) if self._real is not None else then


def _that_ended(waits: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the event that ended each wait; a wait is on record with its end, in whole milliseconds, and its output.

    Of several that came by then it is the one whose members the output has: another one may have landed later, though
    it was produced before, or have been second when the wait began.
    """
    came = waits.join(events, on="key").filter(pl.col("at") < pl.col("ended_at") + pl.duration(milliseconds=1))
    is_one_of_many = (pl.len().over("key", "ended_at") > 1).alias("is_one_of_many")
    fits = [
        not many or decode(payload).items() <= decode(output).items()
        for many, payload, output in came.select(is_one_of_many, "payload", "output").iter_rows()
    ]
    ordered = came.with_columns(pl.Series("fits", fits, dtype=pl.Boolean)).sort("fits", "at")
    return ordered.unique(["key", "ended_at"], keep="last")


def calls_of(plan: Plan, runs: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """Return the step runs that a skill was called for, as the call gave them: without the time of pauses and waits.

    Most episodes went straight on, and their step runs are what their calls gave; only those of the others are looked
    at more closely.
    """
    went_on = _went_straight_on(plan, runs, episodes)
    straight = runs.filter(went_on).with_columns(
        visit=pl.lit(1, dtype=pl.Int64),
        parked_until=pl.lit(None, dtype=runs.schema["started_at"]),
        error_message=pl.lit(None, dtype=pl.String),
    )
    if straight.height == runs.height:
        return straight.select(_OF_CALLS)
    others = runs.filter(~went_on)
    concerned = episodes.join(others.select("episode_id"), on="episode_id", how="semi", maintain_order="left")
    return pl.concat([straight.select(_OF_CALLS), calls_of_any(plan, others, concerned).select(_OF_CALLS)])


def _went_straight_on(plan: Plan, runs: pl.DataFrame, episodes: pl.DataFrame) -> pl.Series:
    """Return which step runs are of episodes that took each step once, without fault or wait, one right after another.

    Then each is the first visit of its step, and began when the one before it ended, or the episode did.
    """
    begun = episodes.select("episode_id", begun="started_at").with_row_index("position")
    columns = runs.select("episode_id", "seq", "step_id", "started_at", "ended_at").join(
        begun, on="episode_id", how="left", maintain_order="left"
    )
    position, seq = (columns[name].cast(pl.Int64).to_numpy() for name in ("position", "seq"))
    starts, ends, begins = (columns[name].dt.epoch("us").to_numpy() for name in ("started_at", "ended_at", "begun"))
    order = np.lexsort((seq, position))
    is_first = np.diff(position[order], prepend=-1) != 0
    before = np.where(is_first, begins[order], np.roll(ends[order], 1))
    does_follow = np.empty(runs.height, dtype=np.bool_)
    does_follow[order] = before == starts[order]
    awaiting_steps = [step.step_id for step in plan.steps if step.logic.awaits]
    is_plain = (
        (runs["attempt"] == 1)
        & runs["error_code"].is_null()
        & runs["error"].is_null()
        & ~runs["step_id"].is_in(awaiting_steps)
        & columns.select("position", "step_id").is_unique()
    )
    is_odd = np.zeros(episodes.height, dtype=np.bool_)
    is_odd[position[~(is_plain.to_numpy() & does_follow)]] = True
    return pl.Series(~is_odd[position])


def calls_of_any(plan: Plan, runs: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """Return the step runs that a skill was called for, as the call gave them: without the time of pauses and waits.

    Each first attempt begins a visit, and so does a fault of the parameters; a fault of the conditions, which comes
    behind the success of its step, does not, nor does the end of an episode that ran too long. Where what an await
    correlates by has no value, that is on record and not what the skill had returned before. A step that began when
    neither its episode did nor any step before it ended was parked until then: until somebody knew of its effect.

    Such a fault of a key is on record as a first attempt. It is the one after a failure that another attempt may mend,
    while the step has one left.
    """
    begun = episodes.select("episode_id", moment="started_at", since=pl.lit(-1, dtype=runs.schema["seq"]))
    ends = runs.select("episode_id", moment="ended_at", since="seq")
    moments = pl.concat([begun, ends]).group_by("episode_id", "moment").agg(pl.col("since").min())
    is_explained = (pl.col("since") < pl.col("seq")).fill_null(value=False)
    went_well = runs.filter(pl.col("error_code").is_null()).select("episode_id", "step_id", started_at="ended_at")
    behind = went_well.unique().with_columns(is_behind=pl.lit(value=True))
    is_own = pl.col("error_code").is_in(_OWN_LOGIC).fill_null(value=False)
    is_of_conditions = is_own & (pl.col("is_behind").fill_null(value=False) | (pl.col("error_code") == _NO_BRANCH))
    awaiting_steps = [step.step_id for step in plan.steps if step.logic.awaits]
    retries = {step.step_id: step.retries for step in plan.steps}
    before = {name: pl.col(name).shift(1).over("episode_id", "step_id", order_by="seq") for name in _BEFORE}
    may_retry = before["attempt"] <= pl.col("step_id").replace_strict(retries, default=0, return_dtype=pl.Int32)
    is_retry = may_retry & before["error_code"].is_in([code.value for code in TRANSIENT])
    is_late_fault = (pl.col("error_code").eq_missing(_EXPRESSION) & is_retry).fill_null(value=False)
    runs = runs.with_columns(attempt=pl.when(is_late_fault).then(before["attempt"] + 1).otherwise("attempt"))
    is_out_of_bounds = pl.col("error_code").eq_missing(ErrorCode.LOOP_BOUND.value)
    starts = (pl.col("attempt") == 1) & ~is_of_conditions & ~is_out_of_bounds
    is_fault_of_await = (pl.col("error_code") == _EXPRESSION) & pl.col("step_id").is_in(awaiting_steps)
    may_have_waited = (pl.col("attempt") > 1) | pl.col("step_id").is_in(awaiting_steps)
    waits = runs.filter(may_have_waited).select(
        "episode_id", "seq", waited=pl.col("telemetry").str.json_path_match("$.waited_ms").cast(pl.Int64)
    )
    return (
        runs.join(moments, left_on=["episode_id", "started_at"], right_on=["episode_id", "moment"], how="left")
        .join(behind, on=["episode_id", "step_id", "started_at"], how="left")
        .with_columns(
            parked_until=pl.when(~is_explained).then("started_at"),
            visit=starts.cast(pl.Int64).cum_sum().over("episode_id", "step_id", order_by="seq"),
            is_of_conditions=is_of_conditions,
        )
        .filter(~is_own | (is_fault_of_await & ~pl.col("is_of_conditions")).fill_null(value=False))
        .join(waits, on=["episode_id", "seq"], how="left")
        .with_columns(
            latency_ms=pl.col("latency_ms") - pl.col("waited").fill_null(0),
            error_message=pl.col("error").str.json_path_match("$.message"),
            output=pl.when(pl.col("error_code") == _EXPRESSION).then(pl.lit("{}")).otherwise("output"),
            error_code=pl.when(pl.col("error_code") != _EXPRESSION).then("error_code"),
        )
        .drop("waited", "since", "telemetry", "error", "input")
    )
