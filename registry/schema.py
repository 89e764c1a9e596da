"""The registry's schema over time: made at once where there is none, migrated where an earlier release made it.

Opening a registry costs one query when its schema is the present one. Alembic is imported only to migrate.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry import migrations, postgresql
from registry.engines import sqlite_engine
from registry.migrations import HEAD
from registry.tables import database_of, metadata

if TYPE_CHECKING:
    from alembic.config import Config

FIRST = "0001"
"""The revision of release 0.1.0, which recorded none."""
EMPTY = "base"
"""What a downgrade to nothing is called."""

_MARKS = ("workflow", "object_version", "batch")
"""Tables that every release has had: where they stand without a revision, release 0.1.0 made them."""


class RegistryTooNew(RuntimeError):
    """A later release migrated the registry; this one would not know what it reads."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"the registry is at revision {revision}, which this release does not know (it knows up to {HEAD}); "
            "use the release that migrated it, or take it back with that release's `rwcm database downgrade`"
        )
        self.revision = revision


class UnknownRevision(ValueError):
    """There is no such revision to go to."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"there is no revision {revision}; there are {', '.join((EMPTY, *known_revisions()))}")


class BrokenReferences(RuntimeError):
    """After a migration rows refer to rows that are not there; the migration was rolled back."""

    def __init__(self, tables: list[str]) -> None:
        super().__init__(f"the migration was rolled back: rows of {', '.join(tables)} refer to rows that are not there")


def known_revisions() -> list[str]:
    """Return the revisions that this release knows, in order."""
    files = (Path(migrations.__file__).parent / "versions").glob("revision_*.py")
    return sorted(path.stem.removeprefix("revision_") for path in files)


def recorded_revision(connection: sa.Connection) -> str | None:
    """Return the revision of a registry, None where it records none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version"))


def is_current(engine: sa.Engine) -> bool:
    """Return whether the registry records the present revision, with one query."""
    try:
        with engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD
    except sa.exc.DBAPIError:
        return False


def ensure(engine: sa.Engine) -> None:
    """Make the schema the present one, keeping all rows; of several that come at once, one does it.

    Raises:
        RegistryTooNew: a later release migrated it.
        VectorMissing: the PostgreSQL server has no pgvector.
    """
    if is_current(engine):
        return
    with _migrating(engine) as connection:
        revision = recorded_revision(connection)
        if revision is None:
            present = set(sa.inspect(connection).get_table_names())
            if not present & set(_MARKS):
                _create(connection)
                return
            _stamp(connection, FIRST)
        elif revision not in known_revisions():
            raise RegistryTooNew(revision)
        _run(connection, "upgrade", HEAD)


def migrate(engine: sa.Engine, revision: str) -> tuple[str, str]:
    """Bring the schema to `revision`, up or down; return where it was and where it is.

    Raises:
        UnknownRevision: there is no such revision.
        RegistryTooNew: a later release migrated it.
    """
    known = known_revisions()
    if revision not in (EMPTY, *known):
        raise UnknownRevision(revision)
    with _migrating(engine) as connection:
        was = recorded_revision(connection)
        if was is None and set(_MARKS) <= set(sa.inspect(connection).get_table_names()):
            _stamp(connection, FIRST)
            was = FIRST
        if was is not None and was not in known:
            raise RegistryTooNew(was)
        was = was or EMPTY
        order = [EMPTY, *known]
        _run(connection, "upgrade" if order.index(revision) >= order.index(was) else "downgrade", revision)
    return was, revision


def losses(connection: sa.Connection, revision: str) -> list[str]:
    """Return what a downgrade to `revision` would take: tables with their rows, and columns."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config())
    found: list[str] = []
    was = recorded_revision(connection)
    for step in script.iterate_revisions(was or EMPTY, revision) if was else ():
        for table in getattr(step.module, "TABLES_LOST", ()):
            rows = connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table)))
            found.append(f"table {table} with {rows:,} rows")
        for table, condition in getattr(step.module, "ROWS_LOST", {}).items():
            chosen = sa.select(sa.func.count()).select_from(sa.table(table)).where(sa.text(condition))
            if rows := connection.scalar(chosen):
                found.append(f"{rows:,} rows of {table} that the earlier release has no word for")
        found += [f"column {column}" for column in getattr(step.module, "COLUMNS_LOST", ())]
    return found


@contextmanager
def _migrating(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold the write lock of a registry whose schema is to change; all of it or nothing is done.

    SQLite changes a table by building it again, which with foreign keys on would delete what refers to it. They are
    off meanwhile, and checked as a whole before the commit.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    unchecked = sqlite_engine(engine.url, has_foreign_keys=False)
    try:
        with unchecked.begin() as connection:
            yield connection
            broken = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
            if broken:
                raise BrokenReferences(sorted(broken))
    finally:
        unchecked.dispose()
        engine.dispose()  # its connections were made before the schema changed


def _create(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        postgresql.ensure_functions(connection)
    metadata(database_of(connection)).create_all(connection, checkfirst=False)
    _stamp(connection, HEAD)


def _stamp(connection: sa.Connection, revision: str) -> None:
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(sa.text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


def _run(connection: sa.Connection, direction: str, revision: str) -> None:
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    getattr(command, direction)(config, revision)
    if revision == HEAD and connection.dialect.name == "postgresql":
        _describe(connection)


def _describe(connection: sa.Connection) -> None:
    """Write the comments that `lake.tables` states; they are no part of the schema, so no revision holds them."""
    for table in metadata("postgresql").sorted_tables:
        connection.execute(sa.schema.SetTableComment(table))
        for column in table.columns:
            connection.execute(sa.schema.SetColumnComment(column))


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config
