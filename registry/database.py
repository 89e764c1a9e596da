"""The registry database: what is governed or still open, relationally, derived from `lake.tables`.

SQLite in WAL mode by default. Every transaction starts with BEGIN IMMEDIATE: with SQLAlchemy's default a transaction
that reads before it writes works on a stale snapshot, and concurrent updates are lost.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.dialects import postgresql, sqlite

from lake.spec import TableSpec
from registry.tables import SPECS, TABLES, metadata

__all__ = ["SPECS", "TABLES", "Registry", "fetch", "insert", "insert_missing", "upsert"]

BUSY_TIMEOUT_S = 60
_INSERT: Mapping[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def fetch(connection: sa.Connection, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a query as plain tuples."""
    return [tuple(row) for row in connection.execute(query)]


def insert(connection: sa.Connection, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that must be new."""
    if rows:
        connection.execute(sa.insert(TABLES[spec.name]), list(rows))


def insert_missing(connection: sa.Connection, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose keys are not there yet and return how many that were."""
    if not rows:
        return 0
    statement = _INSERT[connection.dialect.name](TABLES[spec.name]).on_conflict_do_nothing(index_elements=spec.key)
    return connection.execute(statement, list(rows)).rowcount


def upsert(connection: sa.Connection, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or update the ones whose key is there; when and by whom a row was created stays."""
    if not rows:
        return
    statement = _INSERT[connection.dialect.name](TABLES[spec.name])
    kept = {*spec.key, "created_at", "created_by"}
    changed = {name: statement.excluded[name] for name in rows[0] if name not in kept}
    connection.execute(statement.on_conflict_do_update(index_elements=spec.key, set_=changed), list(rows))


class Registry:
    """The relational store of one installation.

    An instance may be shared between threads, and is usable in a forked child.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._shared_engine = engine
        self._pid = os.getpid()

    @classmethod
    def open(cls, location: Path | str) -> "Registry":
        """Return the registry at `location`, a SQLite file or a SQLAlchemy URL; missing tables are created."""
        is_url = isinstance(location, str) and "://" in location
        url = sa.make_url(str(location)) if is_url else sa.URL.create("sqlite", database=str(location))
        if url.get_backend_name() != "sqlite":
            registry = cls(sa.create_engine(url, hide_parameters=True))
            registry._create_missing()
            return registry
        path = Path(url.database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        registry = cls(_sqlite_engine(url))
        # Turning a new file into WAL mode needs it exclusively and does not wait for its turn.
        with FileLock(f"{path}.lock", timeout=BUSY_TIMEOUT_S):
            registry._create_missing()
        return registry

    @property
    def _engine(self) -> sa.Engine:
        if self._pid != os.getpid():
            self._shared_engine.dispose(close=False)  # the connections are the parent's
            self._pid = os.getpid()
        return self._shared_engine

    def _create_missing(self) -> None:
        with self.read() as connection:
            is_complete = set(TABLES) <= set(sa.inspect(connection).get_table_names())
        if not is_complete:
            with self.transaction() as connection:
                metadata("sqlite").create_all(connection)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Hold the write lock; commit at the end, roll back on any exception."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """See one consistent state, without waiting for writers."""
        with self._engine.connect() as connection:
            connection.execution_options(is_reading=True)
            with connection.begin():
                yield connection

    def frame(self, spec: TableSpec) -> pl.DataFrame:
        """Return all rows of a table, ordered by key, as `spec` states them."""
        table = TABLES[spec.name]
        with self.read() as connection:
            columns = [table.c[column.name] for column in spec.columns]  # computed ones belong to the database alone
            rows = fetch(connection, sa.select(*columns).order_by(*(table.c[name] for name in spec.key)))
        schema = {column.name: kind for column, kind in zip(spec.columns, spec.polars_schema().values(), strict=False)}
        return spec.conform(pl.DataFrame(rows, schema=schema, orient="row"))

    def close(self) -> None:
        """Give back all connections; a closed registry opens them again when used."""
        self._engine.dispose()


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_reading = connection.get_execution_options().get("is_reading", False)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    return engine
