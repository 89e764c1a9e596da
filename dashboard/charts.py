"""The dashboard's charts: frames in, Vega-Lite specifications out.

Times are drawn in UTC, since a month is one of UTC and not of the reader's zone.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

Spec = Mapping[str, Any]

GOOD, FAIR, BAD, INK, SOFT = "#1b7f5c", "#e6a23c", "#c4452f", "#22303c", "#5b6b7a"
_SERIES = ["#1b6f9c", "#c4452f", "#1b7f5c", "#8a5fb0", "#e08a3c", "#4a5a68", "#b8487f", "#7a8f2a"]
_CONTAINER: Any = "container"
_HEIGHT, _BAR = 240, 24
_DURATION = (
    "datum.value >= 86400 ? format(datum.value / 86400, '~g') + ' d'"
    " : datum.value >= 3600 ? format(datum.value / 3600, '~g') + ' h'"
    " : datum.value >= 60 ? format(datum.value / 60, '~g') + ' min'"
    " : datum.value >= 1 ? format(datum.value, '~g') + ' s' : format(datum.value * 1000, '~g') + ' ms'"
)
_DURATION_TICKS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3_600, 36_000, 86_400, 864_000, 8_640_000]


def service_levels(monthly: pl.DataFrame) -> Spec:
    """Draw the share of successful episodes per month, one line per workflow; the legend picks some out."""
    picked = alt.selection_point(fields=["workflow_id"], bind="legend")
    chart = _lines(monthly, picked).encode(
        y=alt.Y("success_rate:Q", title="successful episodes", axis=alt.Axis(format="~%")).scale(zero=False),
        tooltip=[
            "workflow_id:N",
            _month(alt.Tooltip, title="month"),
            alt.Tooltip("episodes:Q", format=","),
            alt.Tooltip("success_rate:Q", format=".2%"),
            alt.Tooltip("error_rate:Q", format=".2%"),
            alt.Tooltip("slo_adherence:Q", title="within latency objective", format=".2%"),
        ],
    )
    return _spec(chart.add_params(picked).properties(height=_HEIGHT))


def latencies(monthly: pl.DataFrame) -> Spec:
    """Draw the latency that half and 95 % of the episodes stay below, per month and workflow."""
    picked = alt.selection_point(fields=["workflow_id"], bind="legend")
    both = monthly.unpivot(
        ["p50_s", "p95_s"], index=["workflow_id", "month", "episodes"], variable_name="quantile", value_name="seconds"
    ).with_columns(pl.col("quantile").replace_strict({"p50_s": "half below", "p95_s": "95 % below"}))
    chart = _lines(both.filter(pl.col("seconds") > 0), picked).encode(
        y=alt.Y("seconds:Q", title="latency", axis=_duration_axis()).scale(type="log"),
        strokeDash=alt.StrokeDash("quantile:N", title=None, sort=["95 % below", "half below"]),
        tooltip=[
            "workflow_id:N",
            _month(alt.Tooltip, title="month"),
            "quantile:N",
            alt.Tooltip("seconds:Q", format=",.4~g"),
            alt.Tooltip("episodes:Q", format=","),
        ],
    )
    return _spec(chart.add_params(picked).properties(height=_HEIGHT))


def _lines(frame: pl.DataFrame, picked: alt.Parameter) -> alt.Chart:
    return (
        alt.Chart(frame)
        .mark_line(point=alt.OverlayMarkDef(size=28), strokeWidth=2)
        .encode(
            x=_month(alt.X, title=None, axis=alt.Axis(format="%b %y", labelAngle=0, labelOverlap=True, grid=False)),
            color=alt.Color("workflow_id:N", title=None, scale=alt.Scale(range=_SERIES)),
            opacity=alt.when(picked).then(alt.value(1)).otherwise(alt.value(0.12)),
        )
    )


def volumes(totals: pl.DataFrame) -> Spec:
    """Draw the episodes of each month."""
    chart = (
        alt.Chart(totals)
        .mark_bar(color=_SERIES[0], cornerRadiusEnd=2)
        .encode(
            x=alt.X("yearmonth(month):O", timeUnit="utcyearmonth", title=None)
            .axis(format="%b %y", labelAngle=0, labelOverlap=True)
            .scale(paddingInner=0.25),
            y=alt.Y("episodes:Q", title="episodes"),
            tooltip=[
                _month(alt.Tooltip, title="month"),
                alt.Tooltip("episodes:Q", format=","),
                alt.Tooltip("success_rate:Q", format=".2%"),
                alt.Tooltip("cost_per_episode:Q", format=",.4~f"),
            ],
        )
    )
    return _spec(chart.properties(height=_HEIGHT))


def bottlenecks(steps: pl.DataFrame) -> Spec:
    """Draw which steps take the time: how long 95 % of their runs stay below, coloured by how many of them fail."""
    chart = (
        alt.Chart(steps.filter(pl.col("p95_s") > 0))
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            y=alt.Y("step:N", title=None, sort=steps["step"].to_list(), axis=alt.Axis(labelLimit=260)),
            x=alt.X("p95_s:Q", title="95 % of its runs take less than", axis=_duration_axis()).scale(
                type="log", domainMin=_floor(steps["p95_s"])
            ),
            x2=alt.datum(_floor(steps["p95_s"])),
            color=alt.Color(
                "failure_share:Q",
                title="fail or time out",
                scale=alt.Scale(range=[GOOD, FAIR, BAD], domain=[0, 0.05, 0.1], clamp=True),
                legend=alt.Legend(format=".0%", direction="horizontal", orient="bottom"),
            ),
            tooltip=[
                "step:N",
                alt.Tooltip("step_runs:Q", format=","),
                alt.Tooltip("p95_s:Q", title="95 % below (s)", format=",.4~g"),
                alt.Tooltip("total_s:Q", title="in all (s)", format=",.0f"),
                alt.Tooltip("failure_share:Q", title="fail or time out", format=".2%"),
            ],
        )
    )
    return _spec(chart.properties(height=alt.Step(_BAR)))


def variants(frame: pl.DataFrame) -> Spec:
    """Draw the most frequent paths of a workflow, chosen from a list, coloured by how many end well."""
    workflows = frame["workflow_id"].unique(maintain_order=True).to_list()
    chosen = alt.param(
        name="workflow",
        value=workflows[0],
        bind=alt.binding_select(options=workflows, name="workflow "),
    )
    chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            y=alt.Y("path:N", title=None, sort=alt.EncodingSortField("rank"), axis=alt.Axis(labelLimit=420)),
            x=alt.X("share:Q", title="share of episodes", axis=alt.Axis(format="~%")).scale(type="sqrt"),
            color=alt.Color(
                "success_rate:Q",
                title="successful",
                scale=alt.Scale(range=[BAD, FAIR, GOOD], domain=[0, 0.9, 1], clamp=True),
                legend=alt.Legend(format=".0%", direction="horizontal", orient="bottom", values=[0, 0.5, 1]),
            ),
            tooltip=[
                "path:N",
                "rank:O",
                alt.Tooltip("episodes:Q", format=","),
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("p50_s:Q", title="half below (s)", format=",.4~g"),
                alt.Tooltip("success_rate:Q", format=".1%"),
            ],
        )
        .transform_filter(alt.datum.workflow_id == chosen)
    )
    return _spec(chart.add_params(chosen).properties(height=alt.Step(_BAR)))


def dead_letters(frame: pl.DataFrame) -> Spec:
    """Draw how many records each rule refused, by topic."""
    chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            y=alt.Y("rule:N", title=None, sort="-x"),
            x=alt.X("sum(records):Q", title="records refused"),
            color=alt.Color("topic:N", title=None, scale=alt.Scale(range=_SERIES), legend=alt.Legend(orient="bottom")),
            tooltip=["rule:N", "topic:N", alt.Tooltip("records:Q", format=","), alt.Tooltip("open:Q", format=",")],
        )
    )
    return _spec(chart.properties(height=alt.Step(_BAR)))


def _floor(values: pl.Series) -> float:
    """Return the power of ten below the smallest value, where a logarithmic bar begins."""
    least = values.filter(values > 0).min()
    return 10.0 ** (pl.Series([float(least or 1)]).log(10).floor()[0])  # type: ignore[arg-type]


def _month(channel: type, **options: Any) -> Any:
    """Return a channel that holds a month of UTC."""
    if channel is alt.Tooltip:
        return alt.Tooltip("month:T", timeUnit="utcyearmonth", format="%b %Y", **options)
    return channel("month:T", timeUnit="utcyearmonth", scale=alt.Scale(type="utc"), **options)


def _duration_axis() -> alt.Axis:
    return alt.Axis(labelExpr=_DURATION, values=_DURATION_TICKS, gridColor="#e8edf1")


def _spec(chart: alt.Chart) -> Spec:
    drawn = chart.properties(width=_CONTAINER, background="transparent").configure(
        font="system-ui, sans-serif",
        axis=alt.AxisConfig(
            labelColor=SOFT, titleColor=SOFT, titleFontWeight="normal", domainColor="#c8d2da", tickColor="#c8d2da"
        ),
        legend=alt.LegendConfig(labelColor=INK, titleColor=SOFT, titleFontWeight="normal", orient="top"),
        view=alt.ViewConfig(stroke=None),
    )
    return drawn.to_dict()
