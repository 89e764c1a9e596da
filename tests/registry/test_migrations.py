"""Migrations: a registry of an earlier release keeps its rows, and what the revisions make is what the tables state."""

import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lake.tables import BATCH
from registry import schema
from registry.database import TABLES, Registry, insert
from registry.engines import engine_for
from registry.loader import PACK, load_pack
from registry.migrations import HEAD
from registry.tables import database_of, metadata
from tests.databases import NOW, ON_SQLITE
from tests.registry.drift import differences, schema_of

RELEASE = Path(__file__).parent / "data" / "release_0_1_0.sql"
"""A registry as release 0.1.0 left it: the pack, an imported log in two versions, a proposal, a batch, a cursor."""


def url_of(location: Path | str) -> sa.URL:
    return sa.make_url(location) if isinstance(location, str) else sa.URL.create("sqlite", database=str(location))


def rows_of(connection: sa.Connection, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    """Return some columns of a table as the database gives them, JSON as text, in an order that any of them has."""
    cast = "::text" if connection.dialect.name == "postgresql" else ""
    chosen = ", ".join(f'"{name}"{cast}' for name in columns)
    return sorted(map(tuple, connection.exec_driver_sql(f'SELECT {chosen} FROM "{table}"')), key=repr)


@pytest.fixture
def released(tmp_path: Path) -> sqlite3.Connection:
    """The registry of release 0.1.0 itself."""
    connection = sqlite3.connect(tmp_path / "released.db")
    connection.executescript(RELEASE.read_text())
    return connection


@pytest.fixture
def earlier(nowhere: Path | str, released: sqlite3.Connection) -> Iterator[Path | str]:
    """A registry of release 0.1.0: its file on SQLite, the same rows in its tables on PostgreSQL."""
    if isinstance(nowhere, Path):
        nowhere.parent.mkdir(parents=True, exist_ok=True)
        released.backup(sqlite3.connect(nowhere))
    else:
        engine = engine_for(url_of(nowhere))
        schema.migrate(engine, "0001")
        tables = sa.MetaData()
        with engine.begin() as connection:
            tables.reflect(connection)
            for (name,) in released.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                cursor = released.execute(f"SELECT * FROM {name}")
                names = [column[0] for column in cursor.description]
                marks = ", ".join(f"%({column})s::{tables.tables[name].c[column].type}" for column in names)
                for row in cursor.fetchall():
                    values = {
                        column: str(value) if value is not None else None
                        for column, value in zip(names, row, strict=True)
                    }
                    connection.exec_driver_sql(f"INSERT INTO {name} ({', '.join(names)}) VALUES ({marks})", values)
            connection.exec_driver_sql("DROP TABLE alembic_version")  # that release recorded no revision
        engine.dispose()
    yield nowhere


def everything(location: Path | str, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    engine = engine_for(url_of(location))
    with engine.connect() as connection:
        found = {table: rows_of(connection, table, names) for table, names in columns.items()}
    engine.dispose()
    return found


def columns_of(released: sqlite3.Connection) -> dict[str, list[str]]:
    names = [name for (name,) in released.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [row[1] for row in released.execute(f"PRAGMA table_info({name})")] for name in names}


def test_a_registry_of_the_release_before_is_opened_with_all_its_rows(
    earlier: Path | str, released: sqlite3.Connection
) -> None:
    """An update of the platform that loses a version or a batch loses what it was trusted with."""
    columns = columns_of(released)
    before = everything(earlier, columns)
    assert all(before[name] for name in ("role", "workflow", "object_version", "publication_queue", "batch", "cursor"))
    registry = Registry.open(earlier)
    assert everything(earlier, columns) == before
    load_pack(registry, PACK, actor="bootstrap", now=NOW)  # and it is written to as any other
    versions = TABLES["object_version"]
    chosen = sa.select(versions.c.version, versions.c.change, versions.c.lineage)
    with registry.read() as connection:
        history = connection.execute(chosen.filter_by(object_id="WF-LOG-receipt").order_by(versions.c.version)).all()
        slo = connection.scalar(sa.select(TABLES["workflow"].c.latency_slo_ms).filter_by(workflow_id="WF-FIN-001"))
    first, second = history
    assert (first.change, first.lineage) == ("initial", "{}")
    assert (second.change, second.lineage) == ("minor", f'{{"replaces":"{first.version}"}}')
    assert slo == 600_000
    registry.close()


def test_what_the_revisions_make_is_what_the_tables_state(nowhere: Path | str, earlier: Path | str) -> None:
    """A home that was upgraded would work otherwise than a new one."""
    Registry.open(earlier).close()
    engine = engine_for(url_of(earlier))
    with engine.connect() as connection:
        migrated = schema_of(connection)
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("CREATE SCHEMA stated")
            connection.exec_driver_sql("SET search_path TO stated, public")
        else:
            connection = sa.create_engine("sqlite://").connect()
        metadata(database_of(connection)).create_all(connection, checkfirst=False)
        stated = {name: told.replace("stated.", "public.") for name, told in schema_of(connection).items()}
    engine.dispose()
    drift = differences(stated, migrated, names=("lake/tables", "the revisions"))
    assert not drift, "\n".join(["write a revision in registry/migrations/versions:", *drift])


@ON_SQLITE
@pytest.mark.parametrize("revision", schema.known_revisions())
def test_a_registry_of_any_revision_becomes_what_the_tables_state(nowhere: Path, revision: str) -> None:
    """A table that a revision got after others had run it would be missing where they had."""
    nowhere.parent.mkdir(parents=True)
    engine = engine_for(url_of(nowhere))
    schema.migrate(engine, revision)
    engine.dispose()
    Registry.open(nowhere).close()
    with engine.connect() as migrated, sa.create_engine("sqlite://").connect() as new:
        metadata("sqlite").create_all(new)
        drift = differences(schema_of(new), schema_of(migrated), names=("lake/tables", "the revisions"))
    assert drift == []


@ON_SQLITE
def test_the_first_revision_makes_the_tables_of_the_release_before(
    nowhere: Path, released: sqlite3.Connection, tmp_path: Path
) -> None:
    """Later revisions start from it; where it differs they would fail on a user's registry only."""
    nowhere.parent.mkdir(parents=True)
    engine = engine_for(url_of(nowhere))
    schema.migrate(engine, "0001")
    with engine.connect() as first, engine_for(url_of(tmp_path / "released.db")).connect() as release:
        drift = differences(schema_of(release), schema_of(first), names=("release 0.1.0", "revision 0001"))
    assert drift == []


def test_a_registry_can_be_taken_back_and_forth_with_its_rows(
    earlier: Path | str, released: sqlite3.Connection
) -> None:
    """A release that disappoints must not be a trap."""
    columns = columns_of(released)
    before = everything(earlier, columns)
    registry = Registry.open(earlier)
    with registry.transaction() as connection:  # which that release has no word for
        insert(
            connection, BATCH, [{"batch_id": "B-2", "kind": "outbox", "state": "open", "source": "s", "opened_at": NOW}]
        )
        assert "1 rows of batch that the earlier release has no word for" in schema.losses(connection, "0001")
        assert "table outbox with 0 rows" in schema.losses(connection, "0002")
    registry.close()
    engine = engine_for(url_of(earlier))
    assert schema.migrate(engine, "0002") == (HEAD, "0002")
    assert schema.migrate(engine, "0001") == ("0002", "0001")
    assert everything(earlier, columns) == before
    with engine.connect() as connection:
        assert "outbox" not in sa.inspect(connection).get_table_names()
    Registry.open(earlier).close()
    assert everything(earlier, columns) == before
    assert schema.migrate(engine, "base") == (HEAD, "base")
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()
    Registry.open(earlier).close()


def test_references_hold_after_a_migration(earlier: Path | str) -> None:
    """SQLite builds tables again without looking at references; a workflow without its role would be nobody's."""
    registry = Registry.open(earlier)
    for statement in ("DELETE FROM role WHERE role_id = 'FA-D-001'", "DELETE FROM workflow"):
        with pytest.raises(sa.exc.IntegrityError), registry.transaction() as connection:
            connection.exec_driver_sql(statement)
    registry.close()


@ON_SQLITE
def test_a_migration_that_meets_broken_references_changes_nothing(earlier: Path, released: sqlite3.Connection) -> None:
    """Half a migration is a registry that no release can open."""
    with sqlite3.connect(earlier) as edited:  # as a tool might, that does not switch them on
        edited.execute("DELETE FROM role WHERE role_id = 'FA-D-001'")
    before = everything(earlier, columns_of(released))
    with pytest.raises(schema.BrokenReferences, match="role"):
        Registry.open(earlier)
    assert everything(earlier, columns_of(released)) == before
    engine = engine_for(url_of(earlier))
    with engine.connect() as connection:
        assert "outbox" not in sa.inspect(connection).get_table_names()
        assert schema.recorded_revision(connection) is None


def test_a_registry_of_a_later_release_is_refused(registry: Registry, location: Path | str) -> None:
    """An old process would write rows that the new one cannot read."""
    with registry.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(schema.RegistryTooNew, match=r"9999.*knows up to.*use the release"):
        Registry.open(location)
    with pytest.raises(schema.UnknownRevision, match="0001"):
        schema.migrate(engine_for(url_of(location)), "0042")


def test_opening_a_current_registry_imports_no_alembic_and_asks_once(registry: Registry, location: Path | str) -> None:
    """Every command opens it; Alembic and an inspection would cost more than most of them do."""
    script = (
        "import sys\n"
        "import sqlalchemy as sa\n"
        "asked = []\n"
        "@sa.event.listens_for(sa.Engine, 'before_cursor_execute')\n"
        "def hear(connection, cursor, statement, *rest):\n"
        "    asked.append(statement)\n"
        "from registry.database import Registry\n"
        "Registry.open(sys.argv[1])\n"
        "print([name for name in ('alembic', 'pgvector', 'mako') if name in sys.modules])\n"
        "print([one for one in asked if 'alembic_version' in one], len([one for one in asked if 'SELECT' in one]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(location)], check=True, capture_output=True, text=True)
    modules, queries = done.stdout.splitlines()
    assert modules == "[]"
    assert queries.startswith("['SELECT version_num FROM alembic_version']")


def open_and_write(location: Path | str, number: int) -> None:
    registry = Registry.open(location)
    with registry.transaction() as connection:
        batch = {"batch_id": f"N-{number}", "kind": "ingest", "state": "open", "source": "s", "opened_at": NOW}
        insert(connection, BATCH, [batch])
    registry.close()


def test_of_four_processes_that_open_an_old_registry_one_migrates_it(
    earlier: Path | str, released: sqlite3.Connection
) -> None:
    """Dagster starts several at once after an update."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=open_and_write, args=(earlier, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    (before,) = released.execute("SELECT count(*) FROM batch").fetchone()
    assert len(everything(earlier, {"batch": ["batch_id"]})["batch"]) == before + 4


def test_the_head_is_the_last_revision_and_each_follows_the_one_before() -> None:
    """Opening believes the constant; Alembic follows the files."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(schema._config())
    assert script.get_heads() == [HEAD]
    assert [revision.revision for revision in script.walk_revisions()][::-1] == schema.known_revisions()
