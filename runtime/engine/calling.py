"""Calling: a step's skill for all rows at once, tried again where another attempt may mend what went wrong.

Nothing that an adapter does ends the batch: what raises, hangs or returns something else is a failed attempt of the
rows concerned. What is pure is called again by halves to find these rows; what has effects is not.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from guard.canonical import MAX_BYTES
from registry.plans import PlannedStep
from runtime.chance import seeds_for, uniform
from runtime.documents import are_objects
from runtime.engine.binding import Bound
from runtime.engine.history import Rows
from runtime.engine.recording import FAILED, Record, failures
from runtime.engine.state import State
from runtime.protocol import RESULT_SCHEMA, TRANSIENT, Call, Effects, ErrorCode, Skill, SkillTable

BACKOFF_MS = 1_000
"""Pause before the second attempt; it doubles with each further one."""

MAX_BACKOFF_MS = 60_000

MIN_CALL_MS = 10_000
"""How long a call of a whole batch may take at least, however short the limit of one row is."""

MAX_HANGS = 8
"""Calls that hang before the rows that are left are given up: each takes its whole limit and a thread."""

COMPENSATE = "compensate"


def effect_keys(
    step: PlannedStep, episode_ids: Sequence[str], visits: Sequence[int], is_undoing: Sequence[bool]
) -> list[str]:
    """Return the effective idempotency key of each row's effect: the step's key, the episode and the visit.

    An attempt is no part of it: the system at the other end must see that a second one asks for the same effect.
    """
    base = step.idempotency_key or step.step_id
    return [
        f"{base}/{episode_id}/{visit}{f'/{COMPENSATE}' if undoes else ''}"
        for episode_id, visit, undoes in zip(episode_ids, visits, is_undoing, strict=True)
    ]


@dataclass
class _Hangs:
    left: int = MAX_HANGS


class Caller:
    """Calls skills for a batch."""

    def __init__(self, state: State, record: Record, skills: SkillTable, effects: Effects | None) -> None:
        self._state = state
        self._record = record
        self._skills = skills
        self._effects = effects

    def call(self, step: PlannedStep, branches: Rows, bound: Bound) -> pl.DataFrame:
        """Return the last result per row; attempts before it that failed are recorded.

        Time passes between attempts: it doubles, with chance from the episode's seed, and counts as waiting.
        """
        result = self._attempt(step, branches, bound, 1, _Hangs())
        for attempt in range(2, step.retries + 2):
            is_transient = result["error_code"].is_in([code.value for code in TRANSIENT]).fill_null(value=False)
            again = is_transient.arg_true().to_numpy()
            if not len(again):
                break
            failed = branches[again]
            self._record.add(step, failed, bound.texts.gather(again), result[again], FAILED)
            retried = self._attempt(step, failed, bound.take(again), attempt, _Hangs())
            retried = _after(retried, self._pauses(step, failed, attempt))
            kept = result.with_row_index("place").filter(~is_transient)
            places = pl.Series("place", again, dtype=pl.UInt32)
            result = pl.concat([kept, retried.insert_column(0, places)]).sort("place").drop("place")
        return result

    def _pauses(self, step: PlannedStep, branches: Rows, attempt: int) -> NDArray[np.int64]:
        """Return how long each row waits before an attempt: half of the pause at least, chance decides the rest."""
        seeds = seeds_for(self._state.seeds[self._state.branches.episode[branches]], step.step_id, str(attempt))
        longest = min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (attempt - 2))
        return np.rint(longest * (0.5 + 0.5 * uniform(pl.Series(seeds), "backoff"))).astype(np.int64)

    def _attempt(self, step: PlannedStep, branches: Rows, bound: Bound, attempt: int, hangs: _Hangs) -> pl.DataFrame:
        skill_id, binding = step.skill.skill_id, step.skill.runtime_binding
        skill = self._skills.find(skill_id, binding)
        if skill is None:
            message = f"no adapter {binding.adapter!r} for {skill_id}; bind one in its runtime_binding"
            return failures(len(branches), ErrorCode.NOT_BOUND, message, attempt)
        call = self._call(step, skill, branches, bound, attempt)
        returned, error = self._returned(step, skill, call)
        if _is_promised(returned, len(branches)):
            return _within_limits(returned, step, attempt, is_timed=skill.is_pure)
        code, message = ErrorCode.SCHEMA_MISMATCH, f"{skill_id} did not return what it promises"
        if isinstance(error, Hung):
            hangs.left -= 1
            code, message = ErrorCode.TIMEOUT, f"{skill_id} did not return in time"
        elif error is not None:
            code, message = ErrorCode.SKILL_FAULT, f"{skill_id} raised {type(error).__name__}"
        if skill.is_pure and len(branches) > 1 and hangs.left > 0:
            # One row may be to blame: who shares its batch must not feel it.
            middle = len(branches) // 2
            return pl.concat(
                self._attempt(step, branches[part], bound.take(part), attempt, hangs)
                for part in (np.arange(middle), np.arange(middle, len(branches)))
            )
        return failures(len(branches), code, message, attempt)

    def _call(self, step: PlannedStep, skill: Skill, branches: Rows, bound: Bound, attempt: int) -> Call:
        state = self._state
        episode = state.branches.episode[branches]
        return Call(
            arguments=bound.arguments,
            seeds=pl.Series(seeds_for(state.seeds[episode], step.step_id, str(attempt))),
            known=lambda *path: state.known(branches, path),
            binding=step.skill.runtime_binding,
            skill_id=step.skill.skill_id,
            step_id=step.step_id,
            episode_ids=state.ids.gather(episode),
            visits=pl.Series(state.visits[step.step_id][episode]),
            attempt=attempt,
            keys=() if skill.is_pure else self.keys(step, branches),
        )

    def keys(self, step: PlannedStep, branches: Rows, *, next_visit: bool = False) -> list[str]:
        """Return the effective idempotency keys of the branches' effects, at this visit or the next."""
        state = self._state
        episode = state.branches.episode[branches]
        visits = state.visits[step.step_id][episode] + int(next_visit)
        undoing = state.branches.is_undoing[branches].tolist()
        return effect_keys(step, state.ids.gather(episode).to_list(), visits.tolist(), undoing)

    def _returned(self, step: PlannedStep, skill: Skill, call: Call) -> tuple[Any, Exception | None]:
        """Return what the skill returned, or what it raised."""
        try:
            if not skill.is_pure and self._effects is not None:
                return self._effects.perform(skill, call, call.keys, timeout_ms=step.timeout_ms), None
            return within(max(step.timeout_ms, MIN_CALL_MS), lambda: skill.run(call)), None
        except Exception as error:  # noqa: BLE001 - an adapter's fault is a row, not the end of the batch
            return None, error


class Hung(Exception):
    """A call that did not return in its time."""


def within(limit_ms: int, action: Callable[[], Any]) -> Any:
    """Return what `action` returns, or raise what it raises.

    Raises:
        Hung: it did not return within the limit; its thread is left behind, and ends with the process.
    """
    done: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            done.append((action(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            done.append((None, error))

    thread = threading.Thread(target=run, name="skill", daemon=True)
    thread.start()
    thread.join(limit_ms / 1000)
    if not done:
        raise Hung
    returned, error = done[0]
    if error is not None:
        raise error
    return returned


def _is_promised(returned: Any, rows: int) -> bool:
    return isinstance(returned, pl.DataFrame) and returned.schema == RESULT_SCHEMA and returned.height == rows


def _after(result: pl.DataFrame, pauses_ms: NDArray[np.int64]) -> pl.DataFrame:
    """Return results of attempts that began after a pause each."""
    pause = pl.Series(pauses_ms)
    return result.with_columns(
        waited_ms=pl.col("waited_ms") + pause, latency_ms=pl.col("latency_ms").fill_null(0) + pause
    )


def _within_limits(result: pl.DataFrame, step: PlannedStep, attempt: int, *, is_timed: bool) -> pl.DataFrame:
    """Return the results with what is none, too large, runs back in time or took too long as failures.

    An effect that took long was done all the same: what its time is, `Effects` decides.
    """
    skill_id, output = step.skill.skill_id, result["output"]
    latency_ms = result["latency_ms"].fill_null(0)
    passed = result["error_code"].is_null()
    is_large = output.str.len_bytes().fill_null(0) > MAX_BYTES
    is_object = pl.Series([True]) if passed.sum() == 0 else are_objects(output.filter(passed & ~is_large))
    faults = [
        (
            (latency_ms > step.timeout_ms) & is_timed,
            ErrorCode.TIMEOUT,
            f"{skill_id} took longer than {step.timeout_ms:,} ms",
            step.timeout_ms,
        ),
        (
            _broken(passed & ~is_large, is_object) | (latency_ms < 0),
            ErrorCode.SCHEMA_MISMATCH,
            f"{skill_id} did not return what it promises",
            0,
        ),
        (
            is_large,
            ErrorCode.SCHEMA_MISMATCH,
            f"{skill_id} returned more than {MAX_BYTES:,} bytes; refer to large content by its address",
            0,
        ),
    ]
    for is_faulty, code, message, spent_ms in faults:
        if is_faulty.any():
            result = _failed(result, is_faulty, code, message, spent_ms)
    return result.with_columns(attempt=pl.lit(attempt, dtype=pl.Int32), waited_ms=pl.lit(0, dtype=pl.Int64))


def _broken(passed: pl.Series, is_object: pl.Series) -> pl.Series:
    """Return which of the rows that passed have no JSON object as their output."""
    if is_object.all():
        return pl.repeat(False, len(passed), eager=True)
    return pl.repeat(False, len(passed), eager=True).scatter(passed.arg_true(), ~is_object)


def _failed(result: pl.DataFrame, is_faulty: pl.Series, code: ErrorCode, message: str, spent_ms: int) -> pl.DataFrame:
    failed = {"output": None, "error_code": code.value, "error_message": message, "latency_ms": spent_ms}
    return result.with_columns(
        pl.when(is_faulty).then(pl.lit(value, dtype=RESULT_SCHEMA[name])).otherwise(name).alias(name)
        for name, value in failed.items()
    )
