"""Engines: how the registry speaks to its database, and what keeps two writers apart.

A transaction that looks and then writes must not lose an update. On SQLite it begins with BEGIN IMMEDIATE: with
SQLAlchemy's default, one that reads first works on a stale snapshot. On PostgreSQL it first takes an advisory lock of
the registry, so that there too one writer follows the other and readers never wait: the same code is right on both.
SERIALIZABLE would let writers overlap, but every caller would have to be able to run its transaction again
(docs/adr: PostgreSQL).
"""

import re
import sqlite3
from typing import Any

import sqlalchemy as sa

BUSY_TIMEOUT_S = 60
"""How long a writer waits for its turn, and whoever opens a registry for another one's migration."""

IS_READING = "is_reading"
"""Execution option of a connection that only reads, and is to see one state."""

_QUOTED = re.compile(r':\s+".*"$', re.DOTALL)
"""The value that PostgreSQL ends a message with: `invalid input syntax for type integer: "12a"`."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('rwcm.registry.' || current_schema(), 0))"


def engine_for(url: sa.URL) -> sa.Engine:
    """Return the engine for a URL of SQLite or PostgreSQL; nothing is connected yet.

    Raises:
        ValueError: another database.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return sqlite_engine(url)
    if backend in ("postgresql", "postgres"):
        return _postgresql_engine(url.set(drivername="postgresql+psycopg"))
    raise ValueError(f"the registry is kept in SQLite or PostgreSQL, not in {backend}")


def sqlite_engine(url: sa.URL, *, has_foreign_keys: bool = True) -> sa.Engine:
    """Return an engine for a SQLite file; a migration that rebuilds tables works without foreign keys."""
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
        connection.execute(f"PRAGMA foreign_keys = {'ON' if has_foreign_keys else 'OFF'}")
        connection.execute("PRAGMA secure_delete = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_reading = connection.get_execution_options().get(IS_READING, False)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = '{BUSY_TIMEOUT_S}s'")
        connection.execute("SET timezone = 'UTC'")
        connection.autocommit = False

    @sa.event.listens_for(engine, "handle_error")
    def say_no_value(context: sa.engine.ExceptionContext) -> None:
        fault, shown = context.original_exception, context.sqlalchemy_exception
        diagnosis = getattr(fault, "diag", None)
        if shown is not None and diagnosis is not None and diagnosis.message_primary:
            # The details quote the row; what a value is must not travel with the fault.
            message = _QUOTED.sub("", diagnosis.message_primary)
            fault.args = (message,)
            shown.args = (f"({type(fault).__module__}.{type(fault).__qualname__}) {message}",)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get(IS_READING, False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            connection.exec_driver_sql(_LOCK)

    return engine
