"""The dashboard's page: tiles, charts and tables in one file that loads nothing from anywhere."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import vl_convert
from markupsafe import Markup

from dashboard import charts
from dashboard.charts import Spec
from dashboard.figures import Figures, look_up
from registry.proposals import in_words

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("dashboard", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms"))
_NONE = "–"
_EMBED = """
for (const element of document.querySelectorAll("script[data-chart]")) {
  vegaEmbed("#" + element.dataset.chart, JSON.parse(element.textContent), { actions: false, renderer: "svg" });
}
"""


@dataclass(frozen=True)
class Tile:
    """A number that stands for itself.

    Attributes:
        note: what it is to be read against.
        tone: `good`, `bad` or empty.
    """

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """Rows as people read them; numbers are set to the right.

    Attributes:
        empty: what is said where there are no rows.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Written:
    """What was written: the path, its bytes, and the tiles it shows."""

    path: Path
    bytes: int
    tiles: tuple[Tile, ...]


def write(served: Path, path: Path) -> Written:
    """Write the dashboard of a published warehouse; a reader of the old page never sees half of the new one.

    Raises:
        WarehouseMissing: nothing has been published.
    """
    figures = look_up(served)
    page = render(figures).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(page)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Written(path, len(page), tiles(figures))


def render(figures: Figures) -> str:
    """Return the page."""
    return _TEMPLATES.get_template("page.html").render(
        as_of=f"{figures.as_of:%Y-%m-%d %H:%M} UTC",
        period=_period(figures.totals),
        tiles=tiles(figures),
        charts={name: _embedded(spec) for name, spec in _charts(figures).items()},
        tables=_tables(figures),
        vega=Markup(vl_convert.javascript_bundle(_EMBED)),  # noqa: S704 - the library's own code
    )


def tiles(figures: Figures) -> tuple[Tile, ...]:
    """Return the numbers at the top: the newest month against the one before, and what waits for somebody."""
    counts = figures.counts.row(0, named=True)
    ingested = figures.intake.filter(pl.col("kind") == "ingest")
    read, rejected = (int(ingested[name].sum()) for name in ("read", "rejected"))
    open_batches = int(figures.intake["not_closed"].sum())
    missed = figures.health.filter(~pl.col("is_error_slo_met")).height
    waiting, expiry = counts["proposals_waiting"], counts["next_expiry"]
    return (
        *_monthly_tiles(figures.totals),
        Tile(
            "Workflows beyond their error objective",
            f"{missed}",
            f"of {figures.health.height} in their newest month",
            "bad" if missed else "good",
        ),
        Tile("Proposals waiting", f"{waiting:,}", f"the next expires on {expiry:%Y-%m-%d}" if expiry else ""),
        Tile("Records refused", _percent(rejected / read if read else None), f"{rejected:,} of {read:,} that came in"),
        Tile("Dead letters open", f"{counts['dead_letters_open']:,}", "rwcm dead-letters list"),
        Tile(
            "Accounting",
            "closed" if not open_batches else f"{open_batches} open",
            "read = accepted + rejected + duplicates",
            "bad" if open_batches else "good",
        ),
        Tile("Attempts denied", f"{counts['denials']:,}", f"of {counts['audit_events']:,} in the audit trail"),
    )


def _monthly_tiles(totals: pl.DataFrame) -> list[Tile]:
    if totals.is_empty():
        return [Tile("Episodes", "0", "no workflow has run yet")]
    newest = totals.row(-1, named=True)
    before = totals.row(-2, named=True) if totals.height > 1 else None
    month, other = f"{newest['month']:%b %Y}", f"{before['month']:%b %Y}" if before else ""

    def against(name: str, said: str) -> str:
        return f"{month}, {said} in {other}" if before and before[name] is not None else month

    def tone(name: str) -> str:
        if not before or newest[name] is None or before[name] is None or abs(newest[name] - before[name]) < 0.005:
            return ""
        return "good" if newest[name] > before[name] else "bad"

    old = before or newest
    return [
        Tile("Episodes", f"{newest['episodes']:,}", against("episodes", f"{old['episodes']:,}")),
        Tile(
            "Successful",
            _percent(newest["success_rate"]),
            against("success_rate", _percent(old["success_rate"])),
            tone("success_rate"),
        ),
        Tile(
            "Within latency objective",
            _percent(newest["slo_adherence"]),
            against("slo_adherence", _percent(old["slo_adherence"])),
            tone("slo_adherence"),
        ),
        Tile(
            "Cost of an episode",
            _money(newest["cost_per_episode"]),
            against("cost_per_episode", _money(old["cost_per_episode"])),
        ),
    ]


def _charts(figures: Figures) -> dict[str, Spec]:
    """Return the charts that have something to show."""
    drawn = {
        "volumes": (charts.volumes, figures.totals),
        "service_levels": (charts.service_levels, figures.monthly),
        "latencies": (charts.latencies, figures.monthly),
        "bottlenecks": (charts.bottlenecks, figures.steps),
        "variants": (charts.variants, figures.variants),
        "dead_letters": (charts.dead_letters, figures.dead_letters),
    }
    return {name: draw(frame) for name, (draw, frame) in drawn.items() if frame.height}


def _tables(figures: Figures) -> dict[str, Table]:
    return {
        "health": Table(
            [
                "Workflow",
                "Month",
                "Episodes",
                "Successful",
                "Errors",
                "Errors allowed",
                "Half below",
                "95 % below",
                "In time",
            ],
            [
                [
                    row["workflow_id"],
                    f"{row['month']:%Y-%m}",
                    f"{row['episodes']:,}",
                    _percent(row["success_rate"]),
                    _percent(row["error_rate"], places=2),
                    _percent(row["max_error_rate"], places=2),
                    _duration(row["latency_ms_p50"]),
                    _duration(row["latency_ms_p95"]),
                    _percent(row["slo_adherence"]),
                ]
                for row in figures.health.iter_rows(named=True)
            ],
            "No workflow has run yet: make run.",
            frozenset(range(2, 9)),
        ),
        "proposals": Table(
            ["Proposal", "Type", "What is proposed", "Confidence", "Risk", "State", "By", "Made", "Expires"],
            [
                [
                    row["publication_id"][:8],
                    row["proposal_type"],
                    in_words(row["proposal_body"]),
                    f"{row['confidence']:.3f}",
                    _NONE if row["risk_score"] is None else f"{row['risk_score']:.3f}",
                    row["decision"],
                    row["proposed_by"],
                    _day(row["created_at"]),
                    _day(row["expires_at"]),
                ]
                for row in figures.proposals.iter_rows(named=True)
            ],
            "Nothing has been proposed yet.",
            frozenset({3, 4}),
        ),
        "intake": _plain(
            figures.intake,
            ["Kind", "Read", "Accepted", "Duplicates", "Rejected", "Batches", "Not closed"],
            "Nothing came in yet.",
        ),
        "breaking": _plain(figures.breaking, ["Consumer", "Topic", "Version", "Why"], "No consumer would break."),
        "refusals": _plain(
            figures.refusals, ["Workflow", "Topic", "Version", "Rule", "Events"], "No trigger refused an event."
        ),
    }


def _plain(frame: pl.DataFrame, heads: Sequence[str], empty: str) -> Table:
    rows = [
        [f"{v:,}" if isinstance(v, int) else _NONE if v is None else str(v) for v in row] for row in frame.iter_rows()
    ]
    numeric = frozenset(i for i, kind in enumerate(frame.dtypes) if kind.is_numeric())
    return Table(heads, rows, empty, numeric)


def _period(totals: pl.DataFrame) -> str:
    if totals.is_empty():
        return "no episodes yet"
    first, last = totals["month"][0], totals["month"][-1]
    return f"{first:%b %Y} to {last:%b %Y}" if first != last else f"{first:%b %Y}"


def _embedded(spec: Mapping[str, Any]) -> Markup:
    """Return a specification as JSON text in which no value can end the script element that it stands in."""
    return Markup(json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704 - nothing is left to escape


def _percent(share: float | None, *, places: int = 1) -> str:
    return _NONE if share is None else f"{share * 100:.{places}f} %"


def _money(amount: float | None) -> str:
    return _NONE if amount is None else f"$ {amount:,.4f}" if amount < 1 else f"$ {amount:,.2f}"


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return _NONE
    for size, unit in _UNITS:
        if milliseconds >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return "0 ms"


def _day(moment: datetime | None) -> str:
    return _NONE if moment is None else f"{moment:%Y-%m-%d}"
