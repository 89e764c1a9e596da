"""What a batch holds while it runs: columns of its episodes, and columns of their branches.

An episode begins as one branch; a fork makes more of it. A branch stands somewhere in time, has gone through so many
step runs and knows what was returned on its way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from registry.plans import Plan
from runtime.documents import Column, Documents
from runtime.engine.evaluation import Member
from runtime.engine.history import NOTHING, Rows, Texts

ROOT = "0"
"""The label of the branch that an episode begins as."""

_PLAIN = r'^[^"\\\x00-\x1f]*$'


@dataclass
class Branches:
    """One entry per branch, in columns that grow.

    Attributes:
        episode: row of its episode.
        clock: its time, in microseconds since 1970.
        depth: step runs on its way.
        output: the newest output that it knows.
        given: the parameters of its step at hand, else of the one before.
        is_undoing: whether it undoes what a failed episode did.
    """

    episode: Rows
    clock: Rows
    depth: Rows
    output: Rows
    given: Rows
    is_undoing: NDArray[np.bool_]

    @classmethod
    def begin(cls, clocks: Rows) -> "Branches":
        """Return one branch per episode."""
        count = len(clocks)
        nothing = np.full(count, NOTHING, dtype=np.int64)
        return cls(
            np.arange(count, dtype=np.int64),
            clocks.copy(),
            np.zeros(count, dtype=np.int64),
            nothing,
            nothing.copy(),
            np.zeros(count, dtype=bool),
        )

    def copy(self, branches: Rows) -> Rows:
        """Add a branch like each of `branches`; return the new ones."""
        count = len(self.episode)
        for name, column in vars(self).items():
            setattr(self, name, np.concatenate([column, column[branches]]))
        return np.arange(count, count + len(branches), dtype=np.int64)


class State:
    """A batch under way.

    Attributes:
        ids: the episodes' ids.
        nesting: how many parents each episode has.
        runs: step runs and other moves of each episode, so that none goes on for ever.
        visits: per step how many times each episode has come to it.
        labels: per branch where it comes from, as `runtime.engine.joining` reads it.
        outcome: how each episode ended, null while it goes on; `ended` when.
    """

    def __init__(self, plan: Plan, episodes: pl.DataFrame, now: datetime) -> None:
        count = episodes.height
        self.plan = plan
        self.steps = {step.step_id: step for step in plan.steps}
        self.order = {step.step_id: place for place, step in enumerate(plan.steps)}
        self.now_us = microseconds(now)
        self.episodes = episodes
        self.ids = episodes["episode_id"]
        self.trigger = Documents(episodes["payload"])
        self.started: Rows = episodes["started_at"].dt.epoch("us").to_numpy()
        self.seeds: NDArray[np.uint64] = episodes["seed"].to_numpy().astype(np.uint64)
        self.branches = Branches.begin(self.started)
        self.labels = [ROOT] * count
        self.outputs = Texts()
        self.inputs = Texts()
        has_nesting = "nesting" in episodes.columns
        self.nesting: Rows = episodes["nesting"].to_numpy() if has_nesting else np.zeros(count, dtype=np.int64)
        self.runs = np.zeros(count, dtype=np.int64)
        self.visits = {step.step_id: np.zeros(count, dtype=np.int32) for step in plan.steps}
        self.outcome = np.full(count, None, dtype=object)
        self.ended = self.started.copy()
        self._identity: Documents | None = None

    def member(self, branches: Rows, event: pl.Series | None = None) -> Member:
        """Return what finds members for `branches`; `event` holds the payload of the event that each was woken by."""
        found: dict[Sequence[str], pl.Series] = {}

        def look_up(path: Sequence[str]) -> pl.Series:
            if path not in found:
                found[path] = self._member(path, branches, event)
            return found[path]

        return look_up

    def _member(self, path: Sequence[str], branches: Rows, event: pl.Series | None) -> pl.Series:
        root, *rest = path
        match root:
            case "trigger":
                return self._of_episodes(self.trigger, rest, branches)
            case "output":
                return self.outputs.member(self.branches.output[branches], rest)
            case "input":
                return self.inputs.member(self.branches.given[branches], rest)
            case "episode":
                return self._of_episodes(self.identity, rest, branches)
            case "event" if event is not None:
                return Documents(event).member(rest)
        return pl.repeat(None, len(branches), eager=True, dtype=pl.String)

    def _of_episodes(self, documents: Documents, path: Sequence[str], branches: Rows) -> pl.Series:
        episode = self.branches.episode[branches]
        if documents.knows(path) or 2 * len(episode) > len(documents):
            return documents.member(path).gather(episode)
        return Documents(documents.texts.gather(episode)).member(path)

    @property
    def identity(self) -> Documents:
        """What an expression may read of the episode itself, as JSON texts."""
        if self._identity is None:
            names = [_quoted(self.ids), _quoted(self.episodes["trigger_event_id"]).fill_null("null")]
            made = pl.concat_str(pl.lit('{"id":'), names[0], pl.lit(',"trigger_event_id":'), names[1], pl.lit("}"))
            self._identity = Documents(pl.select(made.alias("")).to_series())
        return self._identity

    def known(self, branches: Rows, path: Sequence[str]) -> Column:
        """Return the member at `path` of the newest output that has it, else of the trigger's payload."""
        found = pl.repeat(None, len(branches), eager=True, dtype=pl.String)
        left = np.arange(len(branches))
        refs = self.branches.output[branches]
        while len(left) and (refs != NOTHING).any():
            texts = self.outputs.member(refs, path)
            is_found = texts.is_not_null()
            if is_found.all():
                return Column(texts if len(left) == len(found) else found.scatter(left, texts))
            found = found.scatter(left[is_found.to_numpy()], texts.filter(is_found))
            goes_on = ~is_found.to_numpy() & (refs != NOTHING)
            left, refs = left[goes_on], self.outputs.previous(refs[goes_on])
        missing = found.is_null().arg_true().to_numpy()
        if len(missing):
            found = found.scatter(missing, self._of_episodes(self.trigger, path, branches[missing]))
        return Column(found)


def _quoted(texts: pl.Series) -> pl.Series:
    """Return texts as JSON texts."""
    if texts.str.contains(_PLAIN).fill_null(value=True).all():
        return pl.select(pl.concat_str(pl.lit('"'), texts, pl.lit('"')).alias("")).to_series()
    return pl.Series(
        [None if text is None else json.dumps(text, ensure_ascii=False) for text in texts], dtype=pl.String
    )


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def moment_of(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, tz=UTC) + timedelta(microseconds=microseconds)
