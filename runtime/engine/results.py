"""Results: what became of a batch, as frames."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from runtime.engine.batch import Batch
from runtime.engine.keeping import put_down


@dataclass(frozen=True)
class Executed:
    """What became of a micro-batch.

    Attributes:
        closed: one row per closed episode: episode_id, ended_at, outcome.
        step_runs: their step runs: episode_id, step_id, seq, attempt, times, status and what the skills returned.
        waiting: one row per wait of an episode that stays open: episode_id, branch, step_id, await_topic, await_key,
            waiting_since, due_at, and the state of the whole episode.
    """

    closed: pl.DataFrame
    step_runs: pl.DataFrame
    waiting: pl.DataFrame


def results(batch: Batch) -> Executed:
    """Return what became of a batch that has run."""
    state, records = batch.state, batch.record.frame()
    waiting = put_down(batch, records)
    is_closed = np.array([outcome is not None for outcome in state.outcome], dtype=bool)
    closed = pl.DataFrame(
        {
            "episode_id": state.ids.filter(pl.Series(is_closed)),
            "ended_at": pl.Series(state.ended[is_closed]).cast(pl.Datetime("us", "UTC")),
            "outcome": pl.Series(state.outcome[is_closed].tolist(), dtype=pl.String),
        }
    )
    if not is_closed.all():
        records = records.filter(pl.Series(is_closed[records["row"].to_numpy()]))
    if batch.branching:
        records = _in_order(records, state.order)
    step_runs = records.with_columns(
        state.ids.gather(records["row"]).alias("episode_id"),
        pl.col("start_us").cast(pl.Datetime("us", "UTC")).alias("started_at"),
        pl.col("end_us").cast(pl.Datetime("us", "UTC")).alias("ended_at"),
    ).drop("row", "start_us", "end_us")
    return Executed(closed, step_runs, waiting)


def _in_order(records: pl.DataFrame, order: dict[str, int]) -> pl.DataFrame:
    """Return step runs that stand in their branches' order in that of their episodes: by start, then along the way."""
    place = pl.col("step_id").replace_strict(order, return_dtype=pl.Int64)
    ordered = records.sort(
        "row", "start_us", "seq", place, "attempt", "end_us", "status", "error_code", "input", "output"
    )
    return ordered.with_columns(seq=pl.int_range(pl.len(), dtype=pl.Int32).over("row"))
