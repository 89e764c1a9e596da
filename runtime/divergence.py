"""Divergence: where a replayed episode leaves the path that is on record, and what led it there."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from guard.canonical import JsonFault, canonical, parse
from runtime.engine import Executed

DIVERGENCES = pl.Schema(
    {
        "episode_id": pl.String(),
        "started_at": pl.Datetime("us", "UTC"),
        "recorded_version": pl.String(),
        "replayed_version": pl.String(),
        "seq": pl.Int32(),
        "step_id": pl.String(),
        "differs": pl.String(),
        "recorded": pl.String(),
        "replayed": pl.String(),
        "because": pl.String(),
    }
)
"""One row per episode that differs: its first divergent step run by its place, what differs there, how it was and is,
and what differed in the step run before, as far as that led there."""

_PATH = ("step_id", "attempt", "status", "error_code")
_ALL = (*_PATH, "input", "output", "ended_at")
_JSON = ("input", "output")
_KEY = ["episode_id", "seq"]
_NAMES = {"step_id": "step", "error_code": "error"}
_SHOWN = 300
"""Characters of a value that are shown."""


def first_divergences(
    version: str, episodes: pl.DataFrame, runs: pl.DataFrame, executed: Executed, *, path_only: bool
) -> pl.DataFrame:
    """Return the first divergent step run of each episode (`DIVERGENCES`).

    Args:
        version: what the episodes were replayed under.
        episodes: their rows of `run_episode`.
        runs: their recorded step runs.
        executed: what the replay gave.
        path_only: whether only steps, attempts, statuses and errors count, as under another version, whose parameters
            and outputs differ by intention.
    """
    compared = _PATH if path_only else _ALL
    both = runs.select(*_KEY, *_ALL).join(
        executed.step_runs.select(*_KEY, *_ALL), on=_KEY, how="full", coalesce=True, suffix="_now"
    )
    is_suspect = pl.any_horizontal(~pl.col(name).eq_missing(pl.col(f"{name}_now")) for name in compared)
    suspects = both.filter(is_suspect).sort(_KEY)
    before = _runs_before(both, suspects)
    waits = executed.waiting.select("episode_id", "step_id", "await_topic").unique("episode_id")
    waiting = {episode_id: f"waits at {step_id} for {topic}" for episode_id, step_id, topic in waits.iter_rows()}
    found: dict[str, tuple[Any, ...]] = {}
    for row in suspects.iter_rows(named=True):
        episode_id, seq = row["episode_id"], row["seq"]
        if episode_id not in found and (difference := _difference(row, compared, waiting.get(episode_id))):
            because = _difference_in_results(before.get((episode_id, seq - 1)))
            found[episode_id] = (episode_id, seq, row["step_id"] or row["step_id_now"], *difference, because)
    for episode_id, then, now in _outcomes(episodes, executed).iter_rows():
        if episode_id not in found:
            found[episode_id] = (episode_id, None, None, "outcome", then, now or waiting.get(episode_id), None)
    names = ("episode_id", "seq", "step_id", "differs", "recorded", "replayed", "because")
    rows = pl.DataFrame(list(found.values()), schema={name: DIVERGENCES[name] for name in names}, orient="row")
    return (
        rows.join(episodes.select("episode_id", "started_at", recorded_version="workflow_version"), on="episode_id")
        .with_columns(replayed_version=pl.lit(version))
        .select(DIVERGENCES.names())
    )


def _runs_before(both: pl.DataFrame, suspects: pl.DataFrame) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the step runs right before those that are suspect, by episode and place."""
    wanted = suspects.select("episode_id", pl.col("seq") - 1)
    rows = both.join(wanted, on=_KEY, how="semi").iter_rows(named=True)
    return {(row["episode_id"], row["seq"]): row for row in rows}


def _outcomes(episodes: pl.DataFrame, executed: Executed) -> pl.DataFrame:
    """Return the episodes that ended otherwise: id, outcome then and now."""
    now = executed.closed.select("episode_id", now="outcome")
    ends = episodes.select("episode_id", "outcome").join(now, on="episode_id", how="left")
    return ends.filter(~pl.col("outcome").eq_missing(pl.col("now")))


def _difference(row: Mapping[str, Any], compared: Sequence[str], waits: str | None) -> tuple[str, str, str] | None:
    """Return what differs in a step run, as it was and as it is; None if it is the same in other words."""
    if row["step_id"] is None:
        return "step", "the episode had ended", row["step_id_now"]
    if row["step_id_now"] is None:
        return "step", row["step_id"], waits or "the episode has ended"
    for name in compared:
        then, now = row[name], row[f"{name}_now"]
        if then != now and not (name in _JSON and _is_same_json(then, now)):
            return _NAMES.get(name, name), _shown(then), _shown(now)
    return None


def _difference_in_results(row: Mapping[str, Any] | None) -> str | None:
    """Return what differed in the parameters and output of a step run, in words."""
    if row is None or row["step_id"] != row["step_id_now"]:
        return None
    said = [
        f"{what} {_shown(row[name])} before, {_shown(row[f'{name}_now'])} now"
        for name, what in (("input", "took"), ("output", "gave"))
        if row[name] != row[f"{name}_now"] and not _is_same_json(row[name], row[f"{name}_now"])
    ]
    return f"{row['step_id']} {'; '.join(said)}" if said else None


def _is_same_json(then: object, now: object) -> bool:
    try:
        return canonical(parse(str(then))) == canonical(parse(str(now)))
    except JsonFault:
        return False


def _shown(value: object) -> str:
    text = "nothing" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
