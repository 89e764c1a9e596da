"""The registry database: what is governed or still open, relationally, derived from `lake.tables`.

SQLite in WAL mode by default, PostgreSQL by URL. What differs between them stands in `registry.engines`,
`registry.tables` and `registry.postgresql`; the statements that the platform writes with are the same.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.dialects import postgresql, sqlite

from guard.canonical import digest_text
from lake.spec import Kind, TableSpec
from registry import schema
from registry.engines import BUSY_TIMEOUT_S, IS_READING, engine_for
from registry.tables import SPECS, TABLES, Database, database_of, metadata

__all__ = ["SPECS", "TABLES", "Registry", "fetch", "insert", "insert_missing", "upsert"]

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
    key = _key(connection, spec)
    statement = _INSERT[connection.dialect.name](TABLES[spec.name]).on_conflict_do_nothing(index_elements=key)
    # Counted by what comes back: psycopg does not count what it executes many times.
    return len(connection.execute(statement.returning(TABLES[spec.name].c[spec.key[0]]), list(rows)).all())


def upsert(connection: sa.Connection, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or update the ones whose key is there; when and by whom a row was created stays."""
    if not rows:
        return
    statement = _INSERT[connection.dialect.name](TABLES[spec.name])
    kept = {*spec.key, "created_at", "created_by"}
    changed = {name: statement.excluded[name] for name in rows[0] if name not in kept}
    connection.execute(statement.on_conflict_do_update(index_elements=_key(connection, spec), set_=changed), list(rows))


def engine_of(location: Path | str) -> sa.Engine:
    """Return an engine for a SQLite file or a URL, without a look at what is there."""
    is_url = isinstance(location, str) and "://" in location
    return engine_for(sa.make_url(str(location)) if is_url else sa.URL.create("sqlite", database=str(location)))


def _key(connection: sa.Connection, spec: TableSpec) -> list[str]:
    return [column.name for column in metadata(database_of(connection)).tables[spec.name].primary_key]


class Registry:
    """The relational store of one installation.

    An instance may be shared between threads, and is usable in a forked child.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._shared_engine = engine
        self._pid = os.getpid()

    @classmethod
    def open(cls, location: Path | str) -> "Registry":
        """Return the registry at `location`, a SQLite file or a SQLAlchemy URL of SQLite or PostgreSQL.

        One that is not there is created; one that an earlier release made is migrated, with its rows.

        Raises:
            RegistryTooNew: a later release migrated it.
            VectorMissing: the PostgreSQL server has no pgvector.
        """
        registry = cls(engine_of(location))
        url = registry._engine.url
        if registry.database != "sqlite":
            schema.ensure(registry._engine)
            return registry
        path = Path(url.database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Turning a new file into WAL mode needs it exclusively and does not wait for its turn.
        with FileLock(f"{path}.lock", timeout=BUSY_TIMEOUT_S):
            schema.ensure(registry._engine)
        return registry

    @property
    def database(self) -> Database:
        """Which database it is kept in."""
        return database_of(self._shared_engine)

    @property
    def _engine(self) -> sa.Engine:
        if self._pid != os.getpid():
            self._shared_engine.dispose(close=False)  # the connections are the parent's
            self._pid = os.getpid()
        return self._shared_engine

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Hold the write lock; commit at the end, roll back on any exception."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """See one consistent state, without waiting for writers."""
        with self._engine.connect() as connection:
            connection.execution_options(**{IS_READING: True})
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

    def mark(self, specs: Iterable[TableSpec]) -> str:
        """Return a hash that changes when rows of the tables come, go or say that they changed."""
        seen = []
        with self.read() as connection:
            for spec in specs:
                table = TABLES[spec.name]
                moments = [sa.func.max(table.c[c.name]) for c in spec.columns if c.kind is Kind.TIMESTAMP]
                seen.append((spec.name, *connection.execute(sa.select(sa.func.count(), *moments)).one()))
        return digest_text("\n".join(map(repr, seen)))

    def truncate_log(self) -> None:
        """Empty SQLite's write-ahead log, which still holds pages as they were before rows were deleted.

        With PostgreSQL the server's own vacuum and log rotation do that.
        """
        if self.database == "sqlite":
            with self._engine.connect() as connection:
                # Not in a transaction: a checkpoint within one waits for itself.
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give back all connections; a closed registry opens them again when used."""
        self._engine.dispose()
