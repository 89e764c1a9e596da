"""Plots: what is drawn adds up, and any text is only text."""

import re

from lxml import etree

from dagster_project.plots import MOST_ROWS, stacked_bars

SVG = "{http://www.w3.org/2000/svg}"


def bars(svg: str) -> list[tuple[float, str]]:
    """Return width and title of every bar."""
    root = etree.fromstring(svg.encode())
    return [(float(r.get("width")), r.findtext(f"{SVG}title")) for r in root.iter(f"{SVG}rect") if len(r)]


def test_the_parts_of_a_bar_have_the_widths_of_their_shares() -> None:
    """A plot that lies is worse than none."""
    found = bars(stacked_bars("t", ("good", "bad"), [("a", (3, 1)), ("b", (0, 5)), ("none", (0, 0))]))
    widths = [width for width, _ in found]
    assert [title for _, title in found] == ["a, good: 3", "a, bad: 1", "b, bad: 5"]
    assert widths[0] == 3 * widths[1]
    assert widths[0] + widths[1] == widths[2]


def test_any_name_is_text() -> None:
    """A topic could bring a script into the UI, or break the picture."""
    svg = stacked_bars("<b>", ("x",), [('"><script>alert(1)</script>&', (1,))])
    assert not re.search(r"<script|<b>", svg)
    assert bars(svg)[0][1] == '"><script>alert(1)</script>&, x: 1'


def test_a_picture_is_bounded() -> None:
    """Thousands of topics would fill the log of every run."""
    svg = stacked_bars("t", ("x",), [(f"topic-{n}", (1,)) for n in range(1_000)])
    assert len(bars(svg)) == MOST_ROWS
