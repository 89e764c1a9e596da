"""What was recorded of episodes, in the place of what did it: skills answer as they did, events come as they came.

The n-th call of a step in an episode gets what the n-th call gave. So attempts, visits and effects are those of the
record, and nothing outside is asked.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
from runtime.protocol import RESULT_SCHEMA, Call, ErrorCode, Skill, SkillTable

_EXPRESSION = ErrorCode.EXPRESSION.value
_OWN_LOGIC = [
    _EXPRESSION,
    *(code.value for code in (ErrorCode.NO_BRANCH, ErrorCode.PERMISSION_DENIED, ErrorCode.LOOP_BOUND)),
]
"""What a step fails with that no skill returned."""

_WOKEN = ["success", "compensated"]


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
        self._served: dict[str, Rows] = {}
        self._released: set[tuple[str, int, int]] = set()
        self._last_step = ""
        calls = _calls(runs, episodes, [step.step_id for step in plan.steps if step.logic.awaits])
        calls = calls.join(self._positions, on="episode_id", maintain_order="left").with_columns(
            nth=(pl.col("seq").rank("ordinal").over("position", "step_id") - 1).cast(pl.UInt32)
        )
        self._calls = {str(step_id): frame for (step_id,), frame in calls.partition_by("step_id", as_dict=True).items()}
        self._nothing = calls.clear()

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        """Return what answers for a skill; None for one that is to be computed and has no adapter."""
        real = self._skills.find(skill_id, binding) if self._recompute else None
        return _Recall(self, real if real is not None and real.is_pure else None)

    def next(self, call: Call) -> pl.DataFrame:
        """Return what the next call of each row's episode gave; a row that was never called is NOT_RECORDED."""
        positions = self._position(pl.Series(call.episode_ids, dtype=pl.String))
        served = self._served.setdefault(call.step_id, np.zeros(self._positions.height, dtype=np.int64))
        nth = served[positions]
        self._last_step = call.step_id
        found = self._recall(call.step_id, positions, nth)
        parked = self._parked(call.step_id, positions, nth, found["parked_until"])
        served[positions[~parked]] += 1
        if parked.any():
            found = found.with_columns(
                error_code=pl.when(pl.Series(parked))
                .then(pl.lit(ErrorCode.EFFECT_UNKNOWN.value))
                .otherwise("error_code")
            )
        missing = found["status"].is_null()
        if missing.any():
            message = f"{call.step_id} was not called so often when the episode was recorded"
            found = found.with_columns(
                error_code=pl.when(missing).then(pl.lit(ErrorCode.NOT_RECORDED.value)).otherwise("error_code"),
                error_message=pl.when(missing).then(pl.lit(message)).otherwise("error_message"),
            )
        return found.select(RESULT_SCHEMA.names())

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
            nth = self._served[self._last_step][positions] - 1
            kept = self._recall(self._last_step, positions, nth).select(
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

    def _parked(self, step_id: str, positions: Rows, nth: Rows, until: pl.Series) -> NDArray[np.bool_]:
        """Return which calls come back unknown first: their effect had to be resolved by a person."""
        parked = np.zeros(len(positions), dtype=np.bool_)
        for row in until.is_not_null().arg_true().to_list():
            call = (step_id, int(positions[row]), int(nth[row]))
            parked[row] = call not in self._released
            self._released.add(call)
        return parked

    def _resolved(self, keys: Sequence[str], positions: Rows) -> pl.DataFrame:
        """Return when the effects that were unknown were resolved: when their steps went on."""
        nth = self._served[self._last_step][positions]
        until = self._recall(self._last_step, positions, nth)["parked_until"]
        return pl.DataFrame({"key": keys, "at": until, "payload": ["{}"] * len(keys)}, schema=AWAITED)

    def _position(self, episode_ids: pl.Series) -> Rows:
        frame = pl.DataFrame({"episode_id": episode_ids}).join(self._positions, on="episode_id", maintain_order="left")
        return frame["position"].cast(pl.Int64).to_numpy()

    def _recall(self, step_id: str, positions: Rows, nth: Rows) -> pl.DataFrame:
        wanted = pl.DataFrame({"position": positions, "nth": nth}).cast({"position": pl.UInt32, "nth": pl.UInt32})
        calls = self._calls.get(step_id, self._nothing)
        return wanted.join(calls, on=["position", "nth"], how="left", maintain_order="left")


class _Recall:
    """Stands in for a skill."""

    is_pure = True

    def __init__(self, recorded: Recorded, real: Skill | None) -> None:
        self._recorded = recorded
        self._real = real

    def run(self, call: Call) -> pl.DataFrame:
        then = self._recorded.next(call)
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


def _calls(runs: pl.DataFrame, episodes: pl.DataFrame, awaiting_steps: Sequence[str]) -> pl.DataFrame:
    """Return the step runs that a skill was called for, as the call gave them: without the time of pauses and waits.

    Where what an await correlates by has no value, that is on record and not what the skill had returned before. A step
    that began when neither its episode did nor any step before it ended was parked until then: until somebody knew of
    its effect.
    """
    begun = episodes.select("episode_id", moment="started_at", since=pl.lit(-1, dtype=runs.schema["seq"]))
    ends = runs.select("episode_id", moment="ended_at", since="seq")
    moments = pl.concat([begun, ends]).group_by("episode_id", "moment").agg(pl.col("since").min())
    is_explained = (pl.col("since") < pl.col("seq")).fill_null(value=False)
    runs = runs.join(
        moments, left_on=["episode_id", "started_at"], right_on=["episode_id", "moment"], how="left"
    ).with_columns(parked_until=pl.when(~is_explained).then("started_at"))
    is_own = pl.col("error_code").is_in(_OWN_LOGIC).fill_null(value=False)
    is_fault_of_await = (pl.col("error_code") == _EXPRESSION) & pl.col("step_id").is_in(awaiting_steps)
    may_have_waited = (pl.col("attempt") > 1) | pl.col("step_id").is_in(awaiting_steps)
    waits = runs.filter(may_have_waited).select(
        "episode_id", "seq", waited=pl.col("telemetry").str.json_path_match("$.waited_ms").cast(pl.Int64)
    )
    return (
        runs.filter(~is_own | is_fault_of_await.fill_null(value=False))
        .join(waits, on=["episode_id", "seq"], how="left")
        .with_columns(
            latency_ms=pl.col("latency_ms") - pl.col("waited").fill_null(0),
            error_message=pl.col("error").str.json_path_match("$.message"),
            output=pl.when(pl.col("error_code") == _EXPRESSION).then(pl.lit("{}")).otherwise("output"),
            error_code=pl.when(pl.col("error_code") != _EXPRESSION).then("error_code"),
        )
        .drop("waited", "since", "telemetry", "error", "input")
    )
