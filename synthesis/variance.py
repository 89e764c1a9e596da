"""Vendors who over-bill within the tolerance, month after month, and the tolerance that the data would bear.

Mined from the earlier part of the history and proved on the later part, which the mining has not seen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal
from statistics import NormalDist
from typing import Any

import polars as pl

from lake.store import Lake
from lake.tables import EVENT_BUS, RUN_EPISODE, STEP_RUN
from synthesis.reflection import Insight, number

MATERIAL = 0.01
"""Mean over-billing, as a share of the order, below which a vendor is not worth anybody's time."""

MINED_SHARE = 2 / 3
"""Share of the invoices, the earlier ones, that is mined; the rest proves."""

MIN_INVOICES = 20
MIN_MONTHS = 3
SUSTAINED = 0.9
"""Share of a vendor's months in which the median invoice must be above its order."""

FALSE_ALARMS = 0.01
"""Chance of flagging any honest vendor, over all vendors together."""

PASSES = 0.995
"""Share of the other vendors' accepted invoices that a new tolerance must still pass."""

_STEP = Decimal("0.001")


@dataclass(frozen=True)
class CheckedStep:
    """A step that compares an invoice with its order, and the tolerance it does so with."""

    workflow_id: str
    workflow_version: str
    step_id: str
    tolerance: Decimal


@dataclass(frozen=True)
class SustainedVariance:
    """What was found for one step.

    Attributes:
        vendors: those who over-bill, worst first, with their numbers in the mined part.
        tolerance: the smallest that passes `PASSES` of what the others had accepted; None if that is no tighter.
        evidence: what the vendors did, and what the tolerance would have stopped, in the part not mined.
        confidence: lower 95 % bound of the share of the vendors' later invoices that are above their order.
    """

    step: CheckedStep
    vendors: tuple[dict[str, Any], ...]
    tolerance: Decimal | None
    evidence: Mapping[str, Any]
    confidence: float

    def insight(self) -> Insight:
        actions: list[dict[str, Any]] = []
        if self.tolerance is not None:
            target = f"{self.step.step_id}.parameters.tolerance"
            actions.append({"type": "update_param", "target": target, "value": self.tolerance})
        actions.append({"type": "new_workflow", "template": "variance_mitigation"})
        return Insight(
            source_type="step",
            source_id=self.step.step_id,
            insight_type="variance",
            workflow_id=self.step.workflow_id,
            about_month=None,
            insight={
                "pattern": "sustained_over_billing",
                "vendors": list(self.vendors),
                "evidence": dict(self.evidence),
            },
            learning_signal={
                "reward": -self.evidence["later"]["over_billed_share"],
                "confidence": number(self.confidence, 4),
            },
            proposed_actions=actions,
            confidence=self.confidence,
        )


def compared_invoices(lake: Lake, step: CheckedStep) -> pl.DataFrame:
    """Return what the step compared: vendor_id, started_at, month, invoiced, ordered (currency units), variance."""
    checks = (
        lake.scan(STEP_RUN, columns=["episode_id", "step_id", "workflow_id", "status", "started_at", "output", "month"])
        .filter(
            pl.col("workflow_id") == step.workflow_id,
            pl.col("step_id") == step.step_id,
            pl.col("status") == "success",
        )
        .select(
            "episode_id",
            "started_at",
            "month",
            *(
                pl.col("output").str.json_path_match(f"$.{member}").cast(pl.Float64).alias(name)
                for name, member in {"invoiced": "lhs", "ordered": "rhs", "variance": "variance"}.items()
            ),
        )
    )
    events = lake.scan(EVENT_BUS, columns=["event_id", "payload"]).select(
        pl.col("event_id").alias("trigger_event_id"),
        pl.col("payload").str.json_path_match("$.vendor_id").alias("vendor_id"),
    )
    episodes = lake.scan(RUN_EPISODE, columns=["episode_id", "trigger_event_id"])
    return (
        checks.join(episodes, on="episode_id")
        .join(events, on="trigger_event_id")
        .drop_nulls("vendor_id")
        .sort("started_at", "episode_id")
        .collect()
    )


def find_sustained(invoices: pl.DataFrame, step: CheckedStep) -> SustainedVariance | None:
    """Return the vendors whose over-billing within the tolerance is sustained, or None if there is none.

    A vendor is flagged if, in the mined part, the lower bound of its mean variance is material (it allows for the
    number of vendors looked at) and its median is above zero in nearly all of its months. What fails the check already
    is left out: it is stopped today.
    """
    accepted = invoices.filter(pl.col("variance").abs() <= float(step.tolerance))
    if accepted.is_empty():
        return None
    split = accepted["started_at"][min(accepted.height - 1, int(accepted.height * MINED_SHARE))]
    mined, later = accepted.filter(pl.col("started_at") < split), accepted.filter(pl.col("started_at") >= split)
    vendors = _over_billers(mined)
    if not vendors:
        return None
    names = [vendor["vendor_id"] for vendor in vendors]
    tolerance = _bearable_tolerance(mined.filter(~pl.col("vendor_id").is_in(names)), step.tolerance)
    evidence, confidence = _prove(later, names, tolerance, split)
    return SustainedVariance(step, tuple(vendors), tolerance, evidence, confidence)


def _over_billers(mined: pl.DataFrame) -> list[dict[str, Any]]:
    monthly = mined.group_by("vendor_id", "month").agg(pl.col("variance").median().alias("median"))
    months = monthly.group_by("vendor_id").agg(
        pl.len().alias("months"), (pl.col("median") > 0).mean().alias("months_above")
    )
    by_vendor = mined.group_by("vendor_id").agg(
        pl.len().alias("invoices"), pl.col("variance").mean().alias("mean"), pl.col("variance").std().alias("spread")
    )
    quantile = NormalDist().inv_cdf(1 - FALSE_ALARMS / max(1, by_vendor.height))
    flagged = (
        by_vendor.join(months, on="vendor_id")
        .with_columns(bound=pl.col("mean") - quantile * pl.col("spread") / pl.col("invoices").sqrt())
        .filter(
            pl.col("invoices") >= MIN_INVOICES,
            pl.col("months") >= MIN_MONTHS,
            pl.col("months_above") >= SUSTAINED,
            pl.col("bound") > MATERIAL,
        )
        .sort(["mean", "vendor_id"], descending=[True, False])
    )
    return [
        {
            "vendor_id": row["vendor_id"],
            "invoices": row["invoices"],
            "months": row["months"],
            "mean_over_billing": number(row["mean"], 5),
            "lower_bound": number(row["bound"], 5),
        }
        for row in flagged.iter_rows(named=True)
    ]


def _bearable_tolerance(others: pl.DataFrame, current: Decimal) -> Decimal | None:
    """Return the tolerance that passes `PASSES` of the others' invoices, rounded up to a tenth of a per cent."""
    if others.height < MIN_INVOICES:
        return None
    quantile = others.select(pl.col("variance").abs().quantile(PASSES, "higher")).item()
    tolerance = Decimal(repr(quantile)).quantize(_STEP, ROUND_UP)
    return tolerance if tolerance < current else None


def _prove(
    later: pl.DataFrame, vendors: Sequence[str], tolerance: Decimal | None, split: datetime
) -> tuple[dict[str, Any], float]:
    is_flagged = pl.col("vendor_id").is_in(list(vendors))
    flagged = later.filter(is_flagged)
    above = flagged.filter(pl.col("variance") > 0)
    share = above.height / flagged.height if flagged.height else 0.0
    evidence: dict[str, Any] = {
        "mined_until": split.isoformat(),
        "later": {
            "invoices": flagged.height,
            "over_billed": above.height,
            "over_billed_share": number(share, 4),
            "over_billed_amount": _excess(above),
            "mean_over_billing": number(flagged["variance"].mean() if flagged.height else None, 5),  # type: ignore[arg-type]
        },
    }
    if tolerance is not None:
        stopped = later.filter(pl.col("variance").abs() > float(tolerance))
        of_flagged = stopped.filter(is_flagged)
        evidence["tolerance_would_have_stopped"] = {
            "invoices": stopped.height,
            "of_these_vendors": of_flagged.height,
            "of_others": stopped.height - of_flagged.height,
            "amount_above_order": _excess(of_flagged),
            "share_of_all_accepted": number(stopped.height / later.height if later.height else 0.0, 4),
        }
    return evidence, _wilson_lower(above.height, flagged.height)


def _excess(invoices: pl.DataFrame) -> Decimal | None:
    """Return what the invoices are above their orders, in currency units."""
    return number(float((invoices["invoiced"] - invoices["ordered"]).sum()), 2)


def _wilson_lower(successes: int, trials: int, confidence: float = 0.95) -> float:
    """Return the lower bound of Wilson's interval for a share; 0 where there are no trials."""
    if not trials:
        return 0.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    margin = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, (centre - margin) / (1 + z * z / trials))  # with no success, rounding goes below
