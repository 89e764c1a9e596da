"""Reflection: what a month adds up to, told again only when it says something else."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from guard.canonical import parse
from lake.months import Month, add_months
from lake.store import Lake
from lake.tables import REFLECTION_LOG, RUN_EPISODE, STEP_RUN
from registry.database import TABLES
from synthesis.learning import reflect
from synthesis.reflection import Insight, number, record, summarise
from tests.builders import LATER, Payables, busy

JANUARY, FEBRUARY, MARCH = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)


@pytest.fixture
def payables(tmp_path: Path) -> Iterator[Payables]:
    made = Payables(tmp_path / "home")
    busy(made)
    made.execute()
    yield made
    made.registry.close()


def percentile(values: Sequence[float], share: float) -> float:
    """Return a quantile with linear interpolation, by hand."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def expected(episodes: list[dict[str, Any]], steps: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return insight and signal of one workflow's month, by plain Python."""
    total = sum(step["latency_ms"] or 0 for step in steps) or 1
    by_step: dict[str, list[dict[str, Any]]] = {}
    for step in steps:
        by_step.setdefault(step["step_id"], []).append(step)
    latencies = [run["latency_ms"] for run in episodes]
    bottlenecks = [
        {
            "step_id": step_id,
            "activity": runs[0]["activity"],
            "share_of_time": round(sum(run["latency_ms"] for run in runs) / total, 4),
            "p95_ms": round(percentile([run["latency_ms"] for run in runs], 0.95)),
            "runs": len(runs),
            "failed": sum(run["status"] == "failed" for run in runs),
        }
        for step_id, runs in sorted(
            by_step.items(), key=lambda item: (-sum(run["latency_ms"] for run in item[1]), item[0])
        )
    ]
    insight = {
        "episodes": len(episodes),
        "outcomes": {
            outcome: sum(run["outcome"] == outcome for run in episodes) for outcome in ("success", "partial", "failed")
        },
        "step_runs": len(steps),
        "latency_ms": {"p50": round(percentile(latencies, 0.5)), "p95": round(percentile(latencies, 0.95))},
        "cost_micros": sum(run["cost_micros"] for run in episodes),
        "bottlenecks": bottlenecks[:5],
    }
    signal = {
        "reward": round(sum(step["reward"] for step in steps) / len(steps), 4),
        "success_rate": round(sum(run["outcome"] == "success" for run in episodes) / len(episodes), 6),
    }
    return insight, signal


def reflections(payables: Payables) -> pl.DataFrame:
    return payables.lake.scan(REFLECTION_LOG).sort("about_month", "revision").collect()


def test_a_summary_is_what_the_rows_add_up_to(payables: Payables) -> None:
    """A reviewer would decide on numbers that are not those of the runs."""
    found = {insight.about_month: insight for insight in summarise(payables.lake, [JANUARY, FEBRUARY, MARCH])}
    assert sorted(filter(None, found)) == [JANUARY, FEBRUARY, MARCH]
    for month in (JANUARY, FEBRUARY, MARCH):
        episodes = payables.lake.scan(RUN_EPISODE, months=[month]).collect()
        steps = payables.lake.scan(STEP_RUN).filter(pl.col("episode_month") == month).collect()
        insight, signal = expected(list(episodes.iter_rows(named=True)), list(steps.iter_rows(named=True)))
        told = found[month]
        assert (told.source_type, told.source_id, told.insight_type) == ("workflow", "WF-FIN-001", "summary")
        assert _floats(told.insight) == insight
        assert _floats(told.learning_signal) == signal


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def test_steps_count_for_the_month_their_episode_began_in(payables: Payables) -> None:
    """An episode over New Year would be summed up in two years."""
    payables.invoice("over", at=datetime(2025, 6, 30, 23, 59, 59, 900_000, tzinfo=UTC))
    payables.execute(now=datetime(2025, 8, 1, tzinfo=UTC))
    (june,) = summarise(payables.lake, [date(2025, 6, 1)])
    steps = payables.lake.scan(STEP_RUN).filter(pl.col("episode_month") == date(2025, 6, 1)).collect()
    assert june.insight["step_runs"] == steps.height >= 4
    assert set(steps["month"]) == {date(2025, 6, 1), date(2025, 7, 1)}
    assert summarise(payables.lake, [date(2025, 7, 1)]) == []


def test_only_the_months_asked_for_are_summed_up(payables: Payables) -> None:
    """A late invoice would cost the whole history."""
    (only,) = summarise(payables.lake, [FEBRUARY])
    assert only.about_month == FEBRUARY
    assert summarise(payables.lake, []) == []


def test_a_history_without_times_has_a_summary(payables: Payables) -> None:
    """A log that states no times would end the reflection on all others."""
    run = payables.lake.scan(RUN_EPISODE, months=[MARCH]).drop("month").collect().row(0, named=True)
    step = (
        payables.lake.scan(STEP_RUN).filter(pl.col("episode_month") == MARCH).drop("month").collect().row(0, named=True)
    )
    nothing = {"latency_ms": None, "cost_micros": None}
    run |= {"episode_id": "I-1", "workflow_id": "WF-LOG-X", "origin": "import", **nothing}
    step |= {"step_run_id": "S-1", "episode_id": "I-1", "workflow_id": "WF-LOG-X", "reward": None, **nothing}
    payables.lake.append(STEP_RUN, pl.DataFrame([step], schema_overrides=_schema(STEP_RUN)), batch_id="B-2")
    payables.lake.append(RUN_EPISODE, pl.DataFrame([run], schema_overrides=_schema(RUN_EPISODE)), batch_id="B-2")

    (told,) = [insight for insight in summarise(payables.lake, [MARCH]) if insight.workflow_id == "WF-LOG-X"]

    assert told.insight["latency_ms"] == {"p50": None, "p95": None}
    assert told.insight["bottlenecks"][0]["share_of_time"] == 0
    assert told.learning_signal["reward"] is None


def _schema(spec: Any) -> dict[str, Any]:
    return {name: kind for name, kind in spec.polars_schema().items() if name != "month"}


# Revisions


def test_the_same_content_is_no_new_revision(payables: Payables) -> None:
    """Every run of the loop would add a row per month, and reviewers could not tell what is new."""
    first = reflect(payables.lake, payables.registry, now=LATER)
    assert (first.months, dict(first.rows)) == ([JANUARY, FEBRUARY, MARCH], {date(2025, 4, 1): 3})
    before, version = reflections(payables), payables.lake.version(REFLECTION_LOG)

    assert reflect(payables.lake, payables.registry, now=LATER + timedelta(days=1)).months == []
    asked = reflect(payables.lake, payables.registry, now=LATER + timedelta(days=1), months=[JANUARY, MARCH])

    assert (asked.months, asked.rows.total()) == ([JANUARY, MARCH], 0)
    assert reflections(payables).equals(before)
    assert payables.lake.version(REFLECTION_LOG) == version


def test_a_late_episode_gives_its_month_a_second_revision(payables: Payables) -> None:
    """What was learned of a month would stay wrong, or all months would be told again."""
    reflect(payables.lake, payables.registry, now=LATER)
    payables.invoice("late", at=datetime(2025, 2, 27, 9, tzinfo=UTC))
    payables.execute()

    done = reflect(payables.lake, payables.registry, now=LATER + timedelta(days=1))

    assert (done.months, done.rows.total()) == ([FEBRUARY], 1)
    told = reflections(payables).select("about_month", "revision").rows()
    assert told == [(JANUARY, 1), (FEBRUARY, 1), (FEBRUARY, 2), (MARCH, 1)]
    february = reflections(payables).filter(pl.col("about_month") == FEBRUARY)
    assert february["reflection_id"].n_unique() == 1
    episodes = [parse(text)["episodes"] for text in february["insight"]]
    assert episodes[1] == episodes[0] + 1


def test_a_reflection_that_returns_to_what_it_said_is_a_revision_too(payables: Payables) -> None:
    """The current one would be what is no longer true."""
    texts = ["a", "b", "a", "a"]
    added = [record(payables.lake, [_insight(text)], now=LATER, batch_id=f"B-{n}").rows for n, text in enumerate(texts)]
    assert added == [1, 1, 1, 0]
    log = payables.lake.scan(REFLECTION_LOG).sort("revision").collect()
    assert [parse(text)["said"] for text in log["insight"]] == ["a", "b", "a"]
    assert log["revision"].to_list() == [1, 2, 3]


def test_many_insights_of_different_kinds_are_recorded_together(payables: Payables) -> None:
    """Ten years of history and one finding about all of them: the log's first import would fail."""
    months: list[Month | None] = [add_months(date(2010, 1, 1), count) for count in range(150)]
    insights = [_insight("x", month) for month in months] + [_insight("y", None, 0.5)]
    assert record(payables.lake, insights, now=LATER, batch_id="B-1").rows == 151
    assert record(payables.lake, insights[::-1], now=LATER, batch_id="B-2").rows == 0


def _insight(said: str, month: Month | None = JANUARY, confidence: float | None = None) -> Insight:
    return Insight("workflow", "WF-1", "summary", "WF-1", month, {"said": said}, {}, confidence=confidence)


def test_reflections_survive_lost_cursors(payables: Payables) -> None:
    """A restored registry would tell every month a second time."""
    reflect(payables.lake, payables.registry, now=LATER)
    before = reflections(payables)
    with payables.registry.transaction() as connection:
        connection.execute(TABLES["cursor"].delete())
    assert reflect(payables.lake, payables.registry, now=LATER).rows.total() == 0
    assert reflections(payables).equals(before)


def test_an_empty_lake_has_nothing_to_reflect_on(tmp_path: Path) -> None:
    """The loop of a new installation would stop here."""
    empty = Payables(tmp_path / "empty")
    done = reflect(empty.lake, empty.registry, now=LATER, months=[JANUARY])
    assert (done.months, done.rows.total()) == ([], 0)
    assert record(Lake(tmp_path / "other"), [], now=LATER, batch_id="B-1").rows == 0


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [(0.1 + 0.2, 4, "0.3000"), (2.5, 0, "2"), (3.5, 0, "4"), (-0.00004, 4, "-0.0000"), (None, 2, None)],
)
def test_numbers_are_rounded_before_they_are_told(value: float | None, places: int, expected: str | None) -> None:
    """The last binary digit of a sum depends on its order: the same month would be a new revision."""
    assert (None if (told := number(value, places)) is None else str(told)) == expected
