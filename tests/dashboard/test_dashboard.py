"""The dashboard: its numbers against the lake, its page in a browser, and what hostile or missing data does to it."""

import re
import shutil
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dashboard.figures import MOST_MONTHS, MOST_STEPS, Figures, look_up
from dashboard.page import render, tiles, write
from lake.home import Home
from lake.spec import MONTH
from lake.store import Lake
from lake.tables import RUN_EPISODE, STEP_RUN
from lake.warehouse import WarehouseMissing
from tests.browser import CHROMIUM, opened

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def figures(world: Home) -> Figures:
    return look_up(world.served_db)


@pytest.fixture
def served(world: Home, tmp_path: Path) -> Path:
    """A copy of the served warehouse, to be written."""
    return Path(shutil.copy(world.served_db, tmp_path / "rwcm.duckdb"))


def emptied(served: Path) -> Path:
    with duckdb.connect(str(served)) as connection:
        for (table,) in connection.execute("select table_name from duckdb_tables()").fetchall():
            connection.execute(f'delete from marts."{table}"')
    return served


def test_the_numbers_of_each_month_are_those_of_the_lake(world: Home, figures: Figures) -> None:
    """People would decide on numbers that no table holds."""
    episodes = Lake(world.lake).scan(RUN_EPISODE).filter(pl.col("outcome") != "running").collect()
    expected = (
        episodes.group_by(MONTH)
        .agg(pl.len().alias("episodes"), (pl.col("outcome") == "success").mean().alias("success_rate"))
        .sort(MONTH)
        .tail(MOST_MONTHS)
    )
    assert figures.totals[MONTH].to_list() == expected[MONTH].to_list()
    assert figures.totals["episodes"].to_list() == expected["episodes"].to_list()
    assert figures.totals["success_rate"].to_list() == pytest.approx(expected["success_rate"].to_list())


def test_the_steps_that_took_most_time_are_those_of_the_lake(world: Home, figures: Figures) -> None:
    """A bottleneck would be looked for in the wrong step."""
    runs = Lake(world.lake).scan(STEP_RUN, columns=["step_id", "latency_ms", "status"]).collect()
    expected = (
        runs.group_by("step_id")
        .agg(
            pl.len(),
            pl.col("latency_ms").sum() / 1000,
            pl.col("status").is_in(["failed", "timeout"]).mean().alias("bad"),
        )
        .sort("latency_ms", descending=True)
        .head(MOST_STEPS)
    )
    assert [step.split(" · ")[1] for step in figures.steps["step"]] == expected["step_id"].to_list()
    assert figures.steps["step_runs"].to_list() == expected["len"].to_list()
    assert figures.steps["total_s"].to_list() == pytest.approx(expected["latency_ms"].to_list())
    assert figures.steps["failure_share"].to_list() == pytest.approx(expected["bad"].to_list())


def test_every_frame_is_bounded(served: Path) -> None:
    """A thousand workflows, rules or consumers would make a page that no browser opens."""
    with duckdb.connect(str(served)) as connection:
        connection.execute("""
            insert into marts.workflow_kpi_monthly by name
            select kpi.* replace ('WF-' || n as workflow_id)
            from marts.workflow_kpi_monthly as kpi, range(400) as numbers(n)
        """)
        connection.execute("""
            insert into marts.dead_letter_reason by name
            select letters.* replace ('rule ' || n as rule)
            from marts.dead_letter_reason as letters, range(100) as numbers(n)
        """)
        connection.execute("""
            insert into marts.workflow_kpi_monthly by name
            select kpi.* replace (month + to_months(n::integer) as month)
            from (from marts.workflow_kpi_monthly where workflow_id = 'WF-FIN-001' limit 1) as kpi,
                range(20, 200) as numbers(n)
        """)
    shown = look_up(served)
    assert {name: frame.height for name, frame in vars(shown).items() if name != "as_of" and frame.height > 360} == {}
    assert shown.totals.height == MOST_MONTHS
    assert shown.health.height == shown.dead_letters.height == 30
    assert len(render(shown)) < 2_000_000


def test_tiles_hold_the_newest_month_against_the_one_before(figures: Figures) -> None:
    """A bad month would look like a good one."""
    totals = pl.DataFrame(
        {
            "month": [date(2025, 2, 1), date(2025, 3, 1)],
            "episodes": [2000, 1234],
            "success_rate": [0.99, 0.9],
            "slo_adherence": [0.9, 0.95],
            "cost_per_episode": [0.002, 1234.5],
        }
    )
    shown = {tile.name: tile for tile in tiles(replace(figures, totals=totals))}
    assert (shown["Episodes"].value, shown["Episodes"].note) == ("1,234", "Mar 2025, 2,000 in Feb 2025")
    assert (shown["Successful"].value, shown["Successful"].tone) == ("90.0 %", "bad")
    assert (shown["Within latency objective"].value, shown["Within latency objective"].tone) == ("95.0 %", "good")
    assert (shown["Cost of an episode"].value, shown["Cost of an episode"].note) == (
        "$ 1,234.50",
        "Mar 2025, $ 0.0020 in Feb 2025",
    )


def test_tiles_say_what_is_wrong(served: Path) -> None:
    """Accounting that does not close, or a broken objective, would be green."""
    with duckdb.connect(str(served)) as connection:
        connection.execute("update marts.ingest_accounting set is_closed = false where kind = 'ingest'")
        connection.execute("update marts.workflow_kpi_monthly set is_error_slo_met = false")
    shown = {tile.name: tile for tile in tiles(look_up(served))}
    assert (shown["Accounting"].value, shown["Accounting"].tone) == ("1 open", "bad")
    beyond = shown["Workflows beyond their error objective"]
    assert (beyond.value, beyond.tone) == ("1", "bad")


def test_an_empty_warehouse_gives_a_page_that_says_so(served: Path) -> None:
    """A new installation would end its first run in red."""
    shown = look_up(emptied(served))
    page = render(shown)
    assert "no workflow has run yet" in page
    assert "data-chart=" not in page.replace("script[data-chart]", "")
    for said in ("Nothing has been proposed yet.", "Nothing came in yet.", "No consumer would break."):
        assert said in page


def test_without_a_warehouse_it_says_what_to_do(tmp_path: Path) -> None:
    """A traceback would be the first thing that a newcomer sees."""
    with pytest.raises(WarehouseMissing, match="make run"):
        write(tmp_path / "rwcm.duckdb", tmp_path / "index.html")


def test_a_page_that_cannot_be_made_leaves_the_old_one(served: Path, tmp_path: Path) -> None:
    """A fault in the night would leave half a page."""
    page = tmp_path / "out" / "index.html"
    written = write(served, page)
    assert written.bytes == page.stat().st_size
    before = page.read_bytes()
    with duckdb.connect(str(served)) as connection:
        connection.execute("drop table marts.workflow_variant")
    with pytest.raises(duckdb.Error):
        write(served, page)
    assert page.read_bytes() == before
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]


def test_the_page_names_no_address(figures: Figures) -> None:
    """It would load what is not there without a network, and tell others who reads it."""
    page = render(figures)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!x)""", page.split('<script type="module">')[0])
    assert "default-src 'none'" in page


def hostile(figures: Figures) -> Figures:
    """Return the figures with every text replaced by one that tries to break out."""
    frames = {
        field.name: frame.with_columns(
            pl.col(pl.String).exclude("proposal_body", "kind").map_elements(lambda _: HOSTILE, pl.String)
        )
        for field in fields(figures)
        if isinstance(frame := getattr(figures, field.name), pl.DataFrame)
    }
    return replace(figures, **frames, as_of=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_hostile_text_stays_a_text(figures: Figures) -> None:
    """Whoever names a workflow or sends a topic would run a script in the reader's browser."""
    page = render(hostile(figures))
    assert HOSTILE not in page
    assert page.count("</script>") == page.count("<script")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("texts", [lambda figures: figures, hostile], ids=["real", "hostile"])
def test_a_browser_draws_every_chart_and_runs_nothing_else(figures: Figures, tmp_path: Path, texts: object) -> None:
    """A chart with a fault is an empty card that nobody misses."""
    assert callable(texts)
    path = tmp_path / "index.html"
    path.write_text(render(texts(figures)))
    with opened(path.as_uri(), tmp_path / "profile") as page:
        drawn = (
            "[...document.querySelectorAll('.chart')].filter(e => e.querySelector('svg.marks path, svg.marks text'))"
        )
        page.wait_for(f"document.readyState === 'complete' && {drawn}.length === 6")
        assert page.value("document.title") == "Workflows: how they run and what was learned"
        assert page.value("performance.getEntriesByType('resource').length") == 0
        width = page.value("Math.min(...[...document.querySelectorAll('svg.marks')].map(e => e.clientWidth))")
        assert width > 300


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_months_are_those_of_utc_wherever_the_reader_is(figures: Figures, tmp_path: Path) -> None:
    """West of Greenwich the first of May would be drawn as April."""
    path = tmp_path / "index.html"
    path.write_text(render(figures))
    with opened("about:blank", tmp_path / "profile") as page:
        page.call("Emulation.setTimezoneOverride", timezoneId="America/Los_Angeles")
        page.call("Page.navigate", url=path.as_uri())
        first = f"{figures.totals['month'][0]:%b %y}"
        labels = "[...document.querySelectorAll('#volumes text')].map(e => e.textContent)"
        page.wait_for(f"{labels}.length > 3")
        assert first in page.value(labels)
