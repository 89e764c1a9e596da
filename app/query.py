"""Asking the published warehouse."""

import math
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, count
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.console import console, errors
from app.faults import Refused
from lake.home import Home
from lake.warehouse import WarehouseMissing, read
from runtime.documents import encode

_UNBOUNDED = 100_000
"""Columns of a page that is no terminal: nothing is cut or folded."""


def print_query(home: Home, sql: str, *, as_json: bool, limit: int) -> None:
    """Print the rows of a statement over the published warehouse.

    Raises:
        Refused: there is no warehouse, or the statement is wrong.
    """
    try:
        with read(home.served_db) as warehouse:
            warehouse.execute("set timezone = 'UTC'")
            result = warehouse.execute(sql)
            if result is None:
                raise Refused("the query was refused: it holds no statement")
            names = _apart(column[0] for column in result.description or [])
            rows = result.fetchmany(limit + 1)
    except WarehouseMissing as fault:
        raise Refused(str(fault)) from None
    except duckdb.Error as fault:
        raise Refused(f"the query was refused: {_in_one_line(fault)}") from None
    if as_json:
        click.echo(encode([dict(zip(names, map(_plain, row), strict=True)) for row in rows[:limit]]))
    else:
        shown = Table(box=None, header_style="bold")
        for name in names:
            shown.add_column(escape(name), overflow="fold")
        for row in rows[:limit]:
            shown.add_row(*map(_shown, row))
        (console if console.is_terminal else Console(width=_UNBOUNDED)).print(shown)
    if len(rows) > limit:
        errors.print(f"rwcm: only the first {limit:,} rows are shown; --limit shows more")


def _in_one_line(fault: duckdb.Error) -> str:
    """Return what is wrong and what would be right, without the drawing of where it stands."""
    return " ".join(str(fault).split("\n\nLINE ")[0].split())


def _apart(names: Iterable[str]) -> list[str]:
    """Return the names of columns with a number behind those that came before."""
    told: list[str] = []
    for name in names:
        told.append(next(n for n in chain([name], (f"{name}_{i}" for i in count(1))) if n not in told))
    return told


def _shown(value: Any) -> str:
    """Return a value as people read it: numbers to six decimals, nothing for null."""
    plain = _plain(value)
    if isinstance(plain, float | Decimal):
        return f"{plain:.6f}".rstrip("0").rstrip(".")
    return "" if plain is None else escape(str(plain))


def _plain(value: Any) -> Any:
    """Return a value as JSON can say it: times in ISO 8601, null for what is no number."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | Decimal | bool | None) else str(value)
