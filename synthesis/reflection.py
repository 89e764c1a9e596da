"""Reflection: what a month of a workflow's runs adds up to, kept as an insight with its learning signal.

A reflection is named by what it is about. When its content changes, because a late episode came in, it is recorded
again under the next revision; the highest revision is the current one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import polars as pl

from guard.canonical import canonical, digest
from guard.identity import name_uuid
from lake.months import Month
from lake.spec import MONTH
from lake.store import Appended, Lake
from lake.tables import REFLECTION_LOG, RUN_EPISODE, STEP_RUN

REFLECTOR = "AG-REFLECT-001"
_BOTTLENECKS = 5


@dataclass(frozen=True)
class Insight:
    """An insight before it is recorded: what it is about, what was found, and what follows."""

    source_type: str
    source_id: str
    insight_type: str
    workflow_id: str
    about_month: Month | None
    insight: dict[str, Any]
    learning_signal: dict[str, Any]
    proposed_actions: list[dict[str, Any]] = field(default_factory=list)
    confidence: float | None = None

    @property
    def reflection_id(self) -> str:
        month = self.about_month.isoformat() if self.about_month else ""
        return name_uuid("reflection", self.source_type, self.source_id, self.insight_type, month)


def number(value: float | None, places: int = 6) -> Decimal | None:
    """Return `value` rounded to `places`, so that an insight's text and hash do not hang on a last binary digit."""
    if value is None:
        return None
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)


def summarise(lake: Lake, months: Sequence[Month]) -> list[Insight]:
    """Return one summary per workflow and month of `months`: outcomes, latencies and where the time goes."""
    episodes = lake.scan(RUN_EPISODE, months=months)
    by_workflow = (
        episodes.group_by("workflow_id", MONTH)
        .agg(
            pl.len().alias("episodes"),
            *((pl.col("outcome") == outcome).sum().alias(outcome) for outcome in ("success", "partial", "failed")),
            *(pl.col("latency_ms").quantile(q, "linear").alias(f"latency_ms_p{q * 100:.0f}") for q in (0.5, 0.95)),
            pl.col("cost_micros").sum(),
        )
        .sort("workflow_id", MONTH)
        .collect()
    )
    steps = _step_facts(lake, months)
    return [_summary(row, steps.get((row["workflow_id"], row[MONTH]), [])) for row in by_workflow.iter_rows(named=True)]


def _step_facts(lake: Lake, months: Sequence[Month]) -> dict[tuple[str, Month], list[dict[str, Any]]]:
    """Return per workflow and month of the episode its steps by the time they take, the longest first."""
    frame = (
        lake.scan(STEP_RUN)
        .filter(pl.col("episode_month").is_in(list(months)))
        .group_by("workflow_id", "episode_month", "step_id", "activity")
        .agg(
            pl.len().alias("runs"),
            (pl.col("status") == "failed").sum().alias("failed"),
            pl.col("latency_ms").sum().alias("total_ms"),
            pl.col("latency_ms").quantile(0.95, "linear").alias("p95_ms"),
            pl.col("reward").mean(),
        )
        .sort(["total_ms", "step_id"], descending=[True, False])
        .collect()
    )
    facts: dict[tuple[str, Month], list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        facts.setdefault((row["workflow_id"], row["episode_month"]), []).append(row)
    return facts


def _summary(row: dict[str, Any], steps: list[dict[str, Any]]) -> Insight:
    total_ms = sum(step["total_ms"] for step in steps) or 1
    runs = sum(step["runs"] for step in steps)
    rewards = [(step["reward"], step["runs"]) for step in steps if step["reward"] is not None]
    reward = (
        sum(value * weight for value, weight in rewards) / sum(weight for _, weight in rewards) if rewards else None
    )
    return Insight(
        source_type="workflow",
        source_id=row["workflow_id"],
        insight_type="summary",
        workflow_id=row["workflow_id"],
        about_month=row[MONTH],
        insight={
            "episodes": row["episodes"],
            "outcomes": {outcome: row[outcome] for outcome in ("success", "partial", "failed")},
            "step_runs": runs,
            "latency_ms": {"p50": number(row["latency_ms_p50"], 0), "p95": number(row["latency_ms_p95"], 0)},
            "cost_micros": row["cost_micros"],
            "bottlenecks": [
                {
                    "step_id": step["step_id"],
                    "activity": step["activity"],
                    "share_of_time": number(step["total_ms"] / total_ms, 4),
                    "p95_ms": number(step["p95_ms"], 0),
                    "runs": step["runs"],
                    "failed": step["failed"],
                }
                for step in steps[:_BOTTLENECKS]
            ],
        },
        learning_signal={"reward": number(reward, 4), "success_rate": number(row["success"] / row["episodes"], 6)},
    )


def record(lake: Lake, insights: Iterable[Insight], *, now: datetime, batch_id: str) -> Appended:
    """Record the insights that are new or say something new; an insight that says the same is left alone."""
    with lake.lock(REFLECTION_LOG):
        current = (
            lake.scan(REFLECTION_LOG, columns=["reflection_id", "revision", "content_hash"])
            .sort("revision")
            .group_by("reflection_id")
            .last()
            .collect()
        )
        held = {reflection: (revision, content) for reflection, revision, content in current.iter_rows()}
        rows = []
        for item in insights:
            content = {"insight": item.insight, "signal": item.learning_signal, "actions": item.proposed_actions}
            content_hash = digest(content)
            revision, known = held.get(item.reflection_id, (0, None))
            if known != content_hash:
                rows.append(_row(item, revision + 1, content_hash, now, batch_id))
        schema = REFLECTION_LOG.polars_schema()
        frame = pl.DataFrame(rows, schema={name: kind for name, kind in schema.items() if name != MONTH})
        return lake.append(REFLECTION_LOG, frame, batch_id=batch_id)


def _row(item: Insight, revision: int, content_hash: str, now: datetime, batch_id: str) -> dict[str, Any]:
    return {
        "reflection_id": item.reflection_id,
        "revision": revision,
        "source_type": item.source_type,
        "source_id": item.source_id,
        "workflow_id": item.workflow_id,
        "about_month": item.about_month,
        "insight_type": item.insight_type,
        "insight": canonical(item.insight),
        "learning_signal": canonical(item.learning_signal),
        "proposed_actions": canonical(item.proposed_actions),
        "reviewer_role_id": None,
        "approved_at": None,
        "status": "recorded",
        "confidence": item.confidence,
        "content_hash": content_hash,
        "batch_id": batch_id,
        "created_at": now,
        "created_by": REFLECTOR,
    }
