"""The registry database: what is governed or still open, relationally, derived from `lake.tables`.

SQLite in WAL mode by default. Every transaction starts with BEGIN IMMEDIATE: with SQLAlchemy's default a transaction
that reads before it writes works on a stale snapshot, and concurrent updates are lost.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.dialects import postgresql, sqlite

from lake.spec import Column, Kind, TableSpec
from lake.tables import GOVERNED, OPERATIONS

BUSY_TIMEOUT_S = 60
RATIO_STEP = Decimal("0.0001")


class NaiveTimestamp(ValueError):
    """A time without a zone: it names no moment, so it is refused rather than guessed."""

    def __init__(self, value: object) -> None:
        super().__init__(f"a timestamp must be an aware datetime, not {value!r}; give it a zone, such as datetime.UTC")


class RatioOutOfRange(ValueError):
    """A ratio that is not a number in 0..1."""

    def __init__(self, value: object) -> None:
        super().__init__(f"a ratio must be a number in 0..1, not {value!r}")


class Timestamp(sa.types.TypeDecorator[datetime]):
    """A moment in UTC with microseconds; SQLite keeps it as sortable text."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise NaiveTimestamp(value)
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Ratio(sa.types.TypeDecorator[float]):
    """A number in 0..1 with four decimals, rounded up: a risk of 0.40001 must not pass a threshold of 0.40."""

    impl = sa.Numeric(7, 4, asdecimal=False)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Decimal | None:
        if value is None:
            return None
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if not (number.is_finite() and 0 <= number <= 1):
            raise RatioOutOfRange(value)
        return number.quantize(RATIO_STEP, ROUND_CEILING)


_TYPES: Mapping[Kind, type[sa.types.TypeEngine[Any]]] = {
    Kind.TEXT: sa.Text,
    Kind.JSON: sa.Text,
    Kind.BOOL: sa.Boolean,
    Kind.INT: sa.Integer,
    Kind.BIGINT: sa.BigInteger,
    Kind.DOUBLE: sa.Double,
    Kind.RATIO: Ratio,
    Kind.TIMESTAMP: Timestamp,
    Kind.DATE: sa.Date,
}
_INSERT: Mapping[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _column(column: Column) -> sa.Column[Any]:
    # Deferred, because roles and terms name each other and arrive in any order.
    references = [sa.ForeignKey(column.references, deferrable=True, initially="DEFERRED")] if column.references else []
    default = column.default
    return sa.Column(
        column.name,
        sa.String(column.length) if column.length else _TYPES[column.kind](),
        *references,
        nullable=column.nullable,
        server_default=None if default is None else sa.literal(default, literal_execute=True),
        comment=column.description,
    )


def _checks(spec: TableSpec) -> Iterator[sa.CheckConstraint]:
    """SQLite takes any text for any VARCHAR, so length and enum are checks."""
    for column in spec.columns:
        value: sa.ColumnClause[Any] = sa.column(column.name)
        if column.enum:
            yield sa.CheckConstraint(value.in_(column.enum), name=f"ck_{spec.name}_{column.name}_enum")
        elif column.length:
            fits = sa.func.length(value) <= column.length
            yield sa.CheckConstraint(fits, name=f"ck_{spec.name}_{column.name}_length")


def _table(spec: TableSpec, metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        spec.name,
        metadata,
        *map(_column, spec.columns),
        sa.PrimaryKeyConstraint(*spec.key),
        *(sa.UniqueConstraint(*names, name=f"ux_{spec.name}_{'_'.join(names)}") for names in spec.unique),
        *(sa.Index(f"ix_{spec.name}_{'_'.join(names)}", *names) for names in spec.indexes),
        *_checks(spec),
        comment=spec.description,
    )


METADATA = sa.MetaData()
SPECS: tuple[TableSpec, ...] = (*GOVERNED, *OPERATIONS)
TABLES: Mapping[str, sa.Table] = MappingProxyType({spec.name: _table(spec, METADATA) for spec in SPECS})


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
                METADATA.create_all(connection)

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
            rows = fetch(connection, sa.select(table).order_by(*(table.c[name] for name in spec.key)))
        return spec.conform(pl.DataFrame(rows, schema=spec.polars_schema(), orient="row"))

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
