"""The warehouse: DuckDB files with one writer and many readers.

A DuckDB file admits one writing process and then nobody else. So dbt writes a private build file, and readers get a
copy that is renamed over the served one: they never meet a lock or half a build.
"""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

_EXTENSIONS = {"delta": "delta"}
"""Wheel suffix of each DuckDB extension in use, and the name of the file DuckDB looks for."""


class WarehouseMissing(FileNotFoundError):
    """Nothing has been published yet."""


def ensure_extensions(folder: Path) -> Path:
    """Link the extensions that came as wheels into a folder laid out as DuckDB expects; return the folder.

    `LOAD` then works with no network. Links, not copies: the files are large and the call runs at every start.
    """
    version, platform = duckdb.sql(
        "select (select library_version from pragma_version()), (select platform from pragma_platform())"
    ).fetchall()[0]
    target = folder / version / platform
    target.mkdir(parents=True, exist_ok=True)
    for package, stem in _EXTENSIONS.items():
        spec = importlib.util.find_spec(f"duckdb_extension_{package}")
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"duckdb_extension_{package} is not installed; run `make setup`")
        source = Path(spec.submodule_search_locations[0]) / "extensions" / version / f"{package}.duckdb_extension"
        link = target / f"{stem}.duckdb_extension"
        if link.resolve() != source.resolve():
            partial = link.with_suffix(f".{os.getpid()}.partial")
            partial.unlink(missing_ok=True)
            partial.symlink_to(source)
            partial.replace(link)
    return folder


def publish(build: Path, served: Path, *, schemas: Iterable[str]) -> dict[str, int]:
    """Copy the tables of `schemas` from the build file and rename the copy over the served file.

    Returns:
        Rows per `schema.table` in the served file.
    """
    partial = served.with_name(f".{served.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    counts: dict[str, int] = {}
    try:
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute(f"attach {_literal(build)} as build (read_only)")
            connection.execute(f"attach {_literal(partial)} as served")
            for schema in schemas:
                connection.execute(f"create schema served.{_name(schema)}")
                tables = connection.execute(
                    "select table_name, comment from duckdb_tables() where database_name = 'build' and schema_name = ? "
                    "order by table_name",
                    [schema],
                ).fetchall()
                for table, comment in tables:
                    relation = f"{_name(schema)}.{_name(table)}"
                    connection.execute(f"create table served.{relation} as from build.{relation}")
                    if comment:
                        connection.execute(f"comment on table served.{relation} is {_quoted(comment)}")
                    row = connection.execute(f"select count(*) from served.{relation}").fetchone()  # noqa: S608 - a quoted name
                    assert row is not None
                    counts[f"{schema}.{table}"] = row[0]
            connection.execute("detach served")
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(served)
    finally:
        partial.unlink(missing_ok=True)
        partial.with_name(f"{partial.name}.wal").unlink(missing_ok=True)
    return counts


def row_counts(build: Path) -> dict[str, int]:
    """Return the rows of every table of a build file, by table; views are not counted."""
    with duckdb.connect(str(build), read_only=True) as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
        counts = {}
        for schema, table in tables:
            row = connection.execute(f"select count(*) from {_name(schema)}.{_name(table)}").fetchone()  # noqa: S608
            counts[table] = row[0] if row else 0
    return counts


def mart_rows(served: Path, mart: str, *, rows_together: int = 10_000) -> Iterator[dict[str, Any]]:
    """Yield the rows of a served mart, none where it does not exist.

    Raises:
        WarehouseMissing: nothing has been published.
    """
    with read(served) as connection:
        is_there = "select count(*) from duckdb_tables() where schema_name = 'marts' and table_name = ?"
        if connection.execute(is_there, [mart]).fetchone() == (0,):
            return
        found = connection.execute(f"from marts.{_name(mart)}")
        names = [column[0] for column in found.description]
        while rows := found.fetchmany(rows_together):
            for row in rows:
                yield dict(zip(names, row, strict=True))


def read(served: Path) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection to the served warehouse; close it soon, a later publication needs a new one.

    Raises:
        WarehouseMissing: nothing has been published.
    """
    if not served.exists():
        raise WarehouseMissing(f"no warehouse at {served}; `make run` builds and publishes it")
    return duckdb.connect(
        str(served), read_only=True, config={"enable_external_access": "false", "autoinstall_known_extensions": "false"}
    )


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(path: Path) -> str:
    return _quoted(str(path))
