"""Replay: what happened lately is run again under the proposed workflow, and must come out the same each time.

With the simulated adapters alone, so that nothing outside is reached; where a step is bound to another one, its tests
on every path have to stand for it. Nobody answers in a replay, so every wait times out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from governance.risk import WINDOW, events_taken, window_months
from lake.store import Lake
from registry.documents import RuntimeBinding
from registry.plans import Plan
from runtime.engine import AWAITED, Executed, execute
from runtime.identities import seeds_of, time_ordered_uuids
from runtime.protocol import Call, Skill, SkillTable

EVENTS = 200
"""Events that are run again, the newest ones."""

_LATER = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Replayed:
    """What a replay came to.

    Attributes:
        events: events that were run again.
        outcomes: how their episodes ended.
        differing: episodes that went otherwise the second time.
        why_not: why nothing was replayed; None where something was.
    """

    events: int = 0
    outcomes: Mapping[str, int] | None = None
    differing: int = 0
    why_not: str | None = None


def replay(plan: Plan, lake: Lake, skills: SkillTable, *, now: datetime) -> Replayed:
    """Run the newest events that a plan's triggers take twice, in other company and order, and compare."""
    unbound = sorted(
        step.skill.skill_id
        for step in plan.steps
        if step.skill.runtime_binding.adapter != "simulated"
        or skills.find(step.skill.skill_id, step.skill.runtime_binding) is None
    )
    if unbound:
        return Replayed(why_not=f"{', '.join(dict.fromkeys(unbound))} has no simulated adapter")
    events = events_taken(plan, lake, months=window_months(now), begin=now - WINDOW, end=now).head(EVENTS)
    if events.is_empty():
        return Replayed(why_not="none of the last 90 days' events would start it")
    episodes = _episodes(events)
    whole = _run(plan, episodes, skills)
    backwards = episodes.reverse()
    middle = backwards.height // 2
    parts = [_run(plan, part, skills) for part in (backwards[:middle], backwards[middle:]) if part.height]
    closed = pl.concat([part.closed for part in parts])
    step_runs = pl.concat([part.step_runs for part in parts])
    differing = {
        *_differing(whole.closed, closed),
        *_differing(whole.step_runs, step_runs),
    }
    return Replayed(events.height, dict(whole.closed["outcome"].value_counts(sort=True).iter_rows()), len(differing))


def _differing(one: pl.DataFrame, other: pl.DataFrame) -> set[str]:
    """Return the episodes whose rows are not the same in both."""
    return set(one.join(other, on=one.columns, how="anti", nulls_equal=True)["episode_id"]) | set(
        other.join(one, on=one.columns, how="anti", nulls_equal=True)["episode_id"]
    )


def _episodes(events: pl.DataFrame) -> pl.DataFrame:
    ids = time_ordered_uuids(events["produced_at"], events["trigger_id"], events["event_id"])
    return events.select(
        ids.alias("episode_id"),
        "trigger_id",
        trigger_event_id="event_id",
        payload="payload",
        started_at="produced_at",
        seed=seeds_of(ids),
        context_hash=pl.lit("0" * 64),
        state=pl.lit(None, dtype=pl.String),
    )


def _run(plan: Plan, episodes: pl.DataFrame, skills: SkillTable) -> Executed:
    def nobody(*_: Any) -> pl.DataFrame:
        return pl.DataFrame(schema=AWAITED)

    return execute(plan, episodes, skills=_Simulated(skills), find_awaited=nobody, now=_LATER)


class _Simulated:
    """The simulated adapters as adapters without effects: a replay journals nothing and announces nothing."""

    def __init__(self, skills: SkillTable) -> None:
        self._skills = skills

    def find(self, skill_id: str, binding: RuntimeBinding) -> Skill | None:
        skill = self._skills.find(skill_id, binding) if binding.adapter == "simulated" else None
        return None if skill is None else _Pure(skill)


class _Pure:
    is_pure = True

    def __init__(self, skill: Skill) -> None:
        self._skill = skill

    def run(self, call: Call) -> pl.DataFrame:
        return self._skill.run(call)
