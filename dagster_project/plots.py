"""Plots for the metadata of assets, as SVG that Dagster's UI shows without a script."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import dagster as dg

_INK, _SOFT, _PAPER = "#22303c", "#5b6b7a", "#ffffff"
_SHADES = ("#1b7f5c", "#4c9f70", "#8fbf7f", "#e6c35c", "#e08a3c", "#c4452f")
_ROW, _BAR, _LEFT, _WIDTH, _RIGHT = 26, 16, 190, 420, 90
MOST_ROWS = 30


def stacked_bars(title: str, labels: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return a picture of one bar per row, each cut into its shares, with its total.

    Args:
        labels: what the parts mean, at most six, from good to bad.
        rows: name and number per part; the first `MOST_ROWS` are drawn.
    """
    shown = [row for row in rows if sum(row[1])][:MOST_ROWS]
    height, width = 64 + _ROW * len(shown), _LEFT + _WIDTH + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica,Arial,sans-serif" font-size="12" fill="{_INK}" role="img">',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="{_PAPER}"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    step = (width - 16) // len(labels)
    for index, label in enumerate(labels):
        x = 8 + index * step
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{_SHADES[index]}"/>')
        parts.append(f'<text x="{x + 14}" y="39" font-size="11" fill="{_SOFT}">{escape(label)}</text>')
    for position, (name, counts) in enumerate(shown):
        y, total, left = 54 + _ROW * position, sum(counts), float(_LEFT)
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(_cut(name))}</text>')
        for index, count in enumerate(counts):
            if share := _WIDTH * count / total:
                said = f"{name}, {labels[index]}: {count:,}"
                bar = f'<rect x="{left:.2f}" y="{y}" width="{share:.2f}" height="{_BAR}" fill="{_SHADES[index]}">'
                parts.append(f"{bar}<title>{escape(said)}</title></rect>")
                left += share
        parts.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 12}" fill="{_SOFT}">{total:,}</text>')
    return "".join([*parts, "</svg>"])


def image(svg: str, described: str) -> dg.MetadataValue:
    """Return a picture as metadata: the UI lets an image through that lies in its own address."""
    return dg.MetadataValue.md(f"![{described}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})")


def _cut(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
