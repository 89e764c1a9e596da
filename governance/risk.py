"""Risk: how much could go wrong if a proposal is published, from four factors in 0..1.

* Blast radius: the share of the last 90 days' live episodes that would run otherwise; of a workflow those, too, that
  events started which its triggers would take.
* Sensitivity: the highest rank of its data's policy tags.
* Privilege: the highest rank of the effects that it can bring about.
* Historical error: the upper 95 % bound (Wilson) of the share of those episodes that failed.

`risk = 1 - prod(1 - weight * factor)`: each factor alone can raise it, none can hide another. Weights, ranks and bands
are the publishing policies'. What has no history counts as the worst: nothing is known in its favour.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from statistics import NormalDist

import polars as pl

from governance.case import Case
from governance.rules import FACTORS
from lake.months import Month, month_of, month_range
from lake.store import Lake
from lake.tables import EVENT_BUS, RUN_EPISODE
from registry.plans import Plan
from runtime.claims import listens_to, takes

WINDOW = timedelta(days=90)
_STEP = Decimal("0.0001")
_TAKEN = pl.Schema(
    {
        "event_id": pl.String(),
        "payload": pl.String(),
        "produced_at": pl.Datetime("us", "UTC"),
        "trigger_id": pl.String(),
    }
)


@dataclass(frozen=True)
class Touched:
    """What a proposal would have touched.

    Attributes:
        episodes: live episodes of the window, and events that would have started one.
        touched: those of them that would run otherwise.
        run: episodes among these that ended.
        failed: those of them that failed.
    """

    episodes: int
    touched: int
    run: int
    failed: int


@dataclass(frozen=True)
class Factor:
    """One factor of a risk; `share` is its part of the risk, on the scale on which the factors add up."""

    value: Decimal
    weight: Decimal
    share: float


@dataclass(frozen=True)
class Risk:
    """How risky a proposal is: the score unrounded, its band, and where it comes from."""

    score: Decimal
    band: str
    factors: Mapping[str, Factor]
    touched: Touched

    @property
    def stored(self) -> Decimal:
        """The score as it is stored: rounded up."""
        return self.score.quantize(_STEP, ROUND_CEILING)


def assess_risk(case: Case, lake: Lake, *, now: datetime) -> Risk:
    """Return the risk of publishing a case's proposal."""
    touched = look_back(case, lake, now=now)
    rules = case.rules
    values = {
        "blast_radius": _blast_radius(case, touched),
        "sensitivity": max(map(rules.sensitivity_of, case.tags), default=Decimal(0)),
        "privilege": max(map(rules.privilege_of, case.effects), default=Decimal(0)),
        "historical_error": wilson_upper(touched.failed, touched.run) if case.runs or touched.run else Decimal(0),
    }
    score, shares = combine(values, rules.weights)
    factors = {name: Factor(values[name], rules.weights[name], shares[name]) for name in FACTORS}
    return Risk(score, rules.band(score), factors, touched)


def combine(values: Mapping[str, Decimal], weights: Mapping[str, Decimal]) -> tuple[Decimal, dict[str, float]]:
    """Return `1 - prod(1 - weight * value)`, and each factor's share of it: its part of the sum of logarithms."""
    kept = {name: 1 - weights[name] * value for name, value in values.items()}
    score = 1 - math.prod(kept.values(), start=Decimal(1))
    certain = [name for name, left in kept.items() if left == 0]
    if certain:  # what is certain by itself is the whole reason
        return score, {name: 1 / len(certain) if name in certain else 0.0 for name in values}
    logarithms = {name: -math.log(left) for name, left in kept.items()}
    total = math.fsum(logarithms.values())
    return score, {name: logarithm / total if total else 0.0 for name, logarithm in logarithms.items()}


def wilson_upper(failed: int, run: int) -> Decimal:
    """Return the upper bound of Wilson's 95 % interval for the share of failures; 1 where nothing ran."""
    if not run:
        return Decimal(1)
    z = NormalDist().inv_cdf(0.975)
    share = failed / run
    centre = share + z * z / (2 * run)
    margin = z * math.sqrt(share * (1 - share) / run + z * z / (4 * run * run))
    return Decimal(repr(min(1.0, (centre + margin) / (1 + z * z / run))))


def _blast_radius(case: Case, touched: Touched) -> Decimal:
    if touched.episodes:
        return Decimal(touched.touched) / Decimal(touched.episodes)
    return Decimal(1 if case.runs else 0)


def look_back(case: Case, lake: Lake, *, now: datetime) -> Touched:
    """Return which of the last 90 days' episodes a proposal would have touched."""
    begin, months = now - WINDOW, window_months(now)
    episodes = (
        lake.scan(
            RUN_EPISODE,
            months=months,
            columns=["episode_id", "workflow_id", "trigger_event_id", "origin", "outcome", "started_at"],
        )
        .filter(pl.col("origin") == "live", pl.col("started_at").is_between(begin, now))
        .collect()
    )
    is_touched = pl.col("workflow_id").is_in(sorted(case.touches))
    unstarted = 0
    if case.plan is not None:
        events = events_taken(case.plan, lake, months=months, begin=begin, end=now)["event_id"]
        is_touched |= pl.col("trigger_event_id").is_in(events.to_list())
        unstarted = len(set(events) - set(episodes["trigger_event_id"]))
    touched = episodes.filter(is_touched)
    return Touched(
        episodes=episodes.height + unstarted,
        touched=touched.height + unstarted,
        run=touched.height,
        failed=touched.filter(pl.col("outcome") == "failed").height,
    )


def events_taken(plan: Plan, lake: Lake, *, months: list[Month], begin: datetime, end: datetime) -> pl.DataFrame:
    """Return the events (event_id, payload, produced_at, trigger_id) that a plan's triggers take, the newest first."""
    columns = ["event_id", "topic", "producer_id", "payload", "produced_at"]
    found = []
    for trigger in plan.triggers:
        events = (
            lake.scan(EVENT_BUS, months=months, columns=columns)
            .filter(listens_to(trigger), pl.col("produced_at").is_between(begin, end))
            .select("event_id", "payload", "produced_at", pl.lit(trigger.trigger_id).alias("trigger_id"))
            .collect()
        )
        if trigger.mart is None:
            events = events.filter(takes(trigger.condition, events["payload"]))
        found.append(events)
    if not found:
        return pl.DataFrame(schema=_TAKEN)
    return pl.concat(found).sort(["produced_at", "event_id"], descending=True)


def window_months(now: datetime) -> list[Month]:
    """Return the months that the window touches."""
    return list(month_range(month_of(now - WINDOW), month_of(now)))
