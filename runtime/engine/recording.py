"""Recording: a step run per attempt, kept as columns until its episode closes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from registry.plans import PlannedStep
from runtime.engine.history import Rows
from runtime.engine.state import State
from runtime.protocol import RESULT_SCHEMA, ErrorCode

SUCCESS, FAILED, TIMEOUT, SKIPPED, COMPENSATED = "success", "failed", "timeout", "skipped", "compensated"

RESULT = pl.Schema({**RESULT_SCHEMA, "attempt": pl.Int32(), "waited_ms": pl.Int64()})
"""What an attempt gave, and how much of its time was waiting."""

STEP_RUNS = pl.Schema(
    {
        "row": pl.Int64(),
        "step_id": pl.String(),
        "seq": pl.Int32(),
        "start_us": pl.Int64(),
        "end_us": pl.Int64(),
        "status": pl.String(),
        "input": pl.String(),
        **RESULT,
    }
)


class Record:
    """The step runs of a batch so far; `row` is that of the episode, `seq` the depth on the branch."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._frames: list[pl.DataFrame] = []

    def frame(self) -> pl.DataFrame:
        return pl.concat(self._frames) if self._frames else pl.DataFrame(schema=STEP_RUNS)

    def restore(self, runs: pl.DataFrame) -> None:
        """Take in what an episode had recorded before it was put down."""
        self._frames.append(runs)

    def add(self, step: PlannedStep, branches: Rows, given: pl.Series | str, result: pl.DataFrame, status: str) -> None:
        """Record a step run per branch and move the branches' time on by what it took."""
        if not len(branches):
            return
        columns = self._state.branches
        start = columns.clock[branches]
        end = start + result["latency_ms"].fill_null(0).to_numpy() * 1000
        episode = columns.episode[branches]
        self._frames.append(
            result.select(
                pl.Series("row", episode),
                pl.lit(step.step_id).alias("step_id"),
                pl.Series("seq", columns.depth[branches]).cast(pl.Int32),
                pl.Series("start_us", start),
                pl.Series("end_us", end),
                pl.lit(status).alias("status"),
                pl.lit(given, dtype=pl.String).alias("input") if isinstance(given, str) else given.alias("input"),
                *RESULT.names(),
            )
        )
        columns.clock[branches] = end
        columns.depth[branches] += 1
        np.add.at(self._state.runs, episode, 1)

    def add_failures(self, step: PlannedStep, branches: Rows, code: ErrorCode, messages: Sequence[str]) -> None:
        """Record that the step's own logic failed for these branches; one message for all, or one each."""
        result = failures(len(branches), code, messages[0]) if len(branches) else None
        if result is None:
            return
        if len(messages) > 1:
            result = result.with_columns(pl.Series("error_message", messages))
        self.add(step, branches, "{}", result, FAILED)


def failures(count: int, code: ErrorCode, message: str, attempt: int = 1) -> pl.DataFrame:
    """Return results that are all the same failure."""
    values: dict[str, Any] = {
        "error_code": code.value,
        "error_message": message,
        "latency_ms": 0,
        "attempt": attempt,
        "waited_ms": 0,
    }
    return pl.DataFrame(
        [pl.repeat(values.get(name), count, eager=True, dtype=dtype).alias(name) for name, dtype in RESULT.items()]
    )


def until(result: pl.DataFrame, ended_us: Rows, started_us: Rows) -> pl.DataFrame:
    """Return the results with the wait in their latency, and how much of it was waiting."""
    latency_ms = pl.Series((ended_us - started_us) // 1000, dtype=pl.Int64)
    own = pl.col("latency_ms").fill_null(0) - pl.col("waited_ms")
    return result.with_columns(waited_ms=latency_ms - own, latency_ms=latency_ms)
