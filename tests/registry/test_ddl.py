"""`rwcm ddl`: what it prints is taken by the database it is printed for, and makes the tables that the specs state."""

import sqlite3
from collections.abc import Callable, Iterator

import duckdb
import psycopg
import pytest
from click.testing import CliRunner

from app.cli import main
from lake.spec import MONTH, TableSpec
from lake.tables import HOT_WINDOW
from registry.tables import SPECS
from tests.databases import PostgreSql

Run = Callable[[str], list[tuple[str, str]]]


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["ddl", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(params=["sqlite", "postgresql", "duckdb"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(dialect: str, request: pytest.FixtureRequest) -> Iterator[Run]:
    """Execute statements in a new database of the dialect and return its (table, column)s."""
    if dialect == "sqlite":
        connection = sqlite3.connect(":memory:")

        def in_sqlite(script: str) -> list[tuple[str, str]]:
            connection.executescript(script)
            return connection.execute(
                "SELECT t.name, c.name FROM sqlite_master t, pragma_table_xinfo(t.name) c WHERE t.type = 'table'"
            ).fetchall()

        yield in_sqlite
    elif dialect == "duckdb":
        engine = duckdb.connect()

        def in_duckdb(script: str) -> list[tuple[str, str]]:
            engine.execute(script)
            return engine.execute("SELECT table_name, column_name FROM information_schema.columns").fetchall()

        yield in_duckdb
    else:
        server: PostgreSql = request.getfixturevalue("postgresql")
        name = server.create(None)
        with psycopg.connect(server.url(name).replace("+psycopg", ""), autocommit=True) as session:

            def in_postgresql(script: str) -> list[tuple[str, str]]:
                session.execute(script.encode())
                found = session.execute(
                    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
                )
                return [(str(table), str(column)) for table, column in found]

            yield in_postgresql
        server.drop(name)


def columns_of(spec: TableSpec) -> set[tuple[str, str]]:
    names = [column.name for column in (*spec.columns, *spec.generated)] + ([MONTH] if spec in HOT_WINDOW else [])
    return {(spec.name, name) for name in names}


def test_the_whole_schema_is_taken_and_has_the_columns_of_the_specs(dialect: str, run: Run) -> None:
    """Statements that nobody executed are a picture of a schema."""
    assert set(run(printed("--dialect", dialect))) == set().union(*map(columns_of, SPECS))


@pytest.mark.parametrize("name", ["role", "rlm_embedding"])
def test_a_single_table_is_taken_by_itself(dialect: str, run: Run, name: str) -> None:
    """One table is what somebody wants to try something with."""
    (spec,) = (spec for spec in SPECS if spec.name == name)
    assert set(run(printed("--dialect", dialect, "--table", name))) == columns_of(spec)


def test_an_enum_a_length_and_a_computed_column_hold_in_duckdb() -> None:
    """A copy of the registry for analysis must refuse what the registry refuses, and find what it finds."""
    engine = duckdb.connect()
    engine.execute(printed("--dialect", "duckdb"))
    values = "'S', 'W', 1, '{kind}', 'K', '{json}', '{{}}', now(), 'x', now(), 'x'"
    insert = (
        "INSERT INTO step_action (step_id, workflow_id, sequence, action_type, skill_id, parameters, next_step_logic, "
        f"created_at, created_by, updated_at, updated_by) VALUES ({values})"
    )
    for wrong in (
        insert.format(kind="dance", json="{}"),
        insert.format(kind="notify", json="{}").replace("'K'", f"'{'K' * 65}'"),
    ):
        with pytest.raises(duckdb.ConstraintException):
            engine.execute(wrong)
    found = []
    for json in ('{"tolerance":0.04}', '{"tolerance":2}', '{"tolerance":"${x}"}', "{}"):
        engine.execute(insert.format(kind="logic_check", json=json))
        found += engine.execute("SELECT tolerance, timeout_ms FROM step_action").fetchall()
        engine.execute("DELETE FROM step_action")
    assert found == [(0.04, 300000), (2.0, 300000), (None, 300000), (None, 300000)]
    comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'role' AND column_name = 'role_title'"
    assert engine.execute(comment).fetchall() == [("Title.",)]


def test_an_unknown_table_is_refused_with_those_there_are() -> None:
    """A typing mistake would print nothing and look like an empty schema."""
    done = CliRunner().invoke(main, ["ddl", "--table", "rolle"])
    assert done.exit_code == 2
    with pytest.raises(ValueError, match=r"no table rolle; it has role, skill_node"):
        from registry.ddl import statements

        list(statements("sqlite", table="rolle"))
