"""The warehouse is read while it is published anew: nobody meets a lock, half a build or a way out of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lake.warehouse import WarehouseMissing, ensure_extensions, publish, read, row_counts


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build file as dbt leaves one: public marts, a private schema and a view."""
    path = tmp_path / "build" / "build.duckdb"
    path.parent.mkdir()
    fill(path, rows=3)
    return path


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return tmp_path / "rwcm.duckdb"


def fill(path: Path, *, rows: int) -> None:
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts; create schema staging")
        connection.execute(f"create table marts.kpi as select range as n, 'é' || range as name from range({rows})")
        connection.execute("create table marts.\"odd 'name\" as select timestamptz '2025-03-31 23:30:00+00' as moment")
        connection.execute("comment on table marts.kpi is 'it''s the KPI'")
        connection.execute("create table staging.private as select 1 as secret")
        connection.execute("create view marts.through as select * from staging.private")


def test_a_publication_holds_the_public_tables_with_their_rows_and_comments(build: Path, served: Path) -> None:
    """A mart left out is a dashboard without its numbers; a private table left in is a leak."""
    assert publish(build, served, schemas=["marts"]) == {"marts.kpi": 3, "marts.odd 'name": 1}
    with read(served) as connection:
        tables = connection.execute(
            "select schema_name, table_name, comment from duckdb_tables() order by all"
        ).fetchall()
        assert tables == [("marts", "kpi", "it's the KPI"), ("marts", "odd 'name", None)]
        assert connection.execute("select n, name from marts.kpi order by n").fetchall() == [
            (0, "é0"),
            (1, "é1"),
            (2, "é2"),
        ]
        assert connection.execute('select epoch_ms(moment) from marts."odd \'name"').fetchone() == (1_743_463_800_000,)


READER = """
import sys
from pathlib import Path
from lake.warehouse import read

def rows(connection):
    return connection.execute("select count(*) from marts.kpi").fetchone()[0]

served = Path(sys.argv[1])
connection = read(served)
for line in sys.stdin:
    if line == "reconnect\\n":
        connection.close()
        connection = read(served)
    print(rows(connection), flush=True)
"""


@pytest.fixture
def reader(build: Path, served: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with an open connection, which answers a line with the rows that it sees."""
    publish(build, served, schemas=["marts"])
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(served)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def ask(process: subprocess.Popen[str], line: str) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_a_reader_keeps_its_state_during_a_publication_and_sees_the_new_one_after(
    reader: subprocess.Popen[str], build: Path, served: Path
) -> None:
    """BI tools hold their connections open for hours; a lock or a torn file would be an outage each night."""
    assert ask(reader, "count") == 3
    for before, rows in ((3, 5), (5, 7)):
        fill(build, rows=rows)
        assert publish(build, served, schemas=["marts"])["marts.kpi"] == rows
        assert ask(reader, "count") == before
        assert ask(reader, "reconnect") == rows
        assert ask(reader, "count") == rows


def test_a_publication_that_fails_leaves_what_was_served(build: Path, served: Path) -> None:
    """Yesterday's numbers are better than none, and a folder full of remains."""
    publish(build, served, schemas=["marts"])
    with pytest.raises(duckdb.Error):
        publish(build.with_name("missing.duckdb"), served, schemas=["marts"])
    with pytest.raises(duckdb.Error):
        publish(build, served, schemas=["marts", "marts"])
    with read(served) as connection:
        assert connection.execute("select count(*) from marts.kpi").fetchone() == (3,)
    assert sorted(path.name for path in served.parent.iterdir()) == ["build", "rwcm.duckdb"]


def test_remains_of_a_killed_publication_do_not_stand_in_the_way(build: Path, served: Path) -> None:
    """A process that was killed has no time to clean up, and its number comes again."""
    served.with_name(f".{served.name}.{os.getpid()}.partial").write_bytes(b"half a file")
    served.with_name(f".{served.name}.{os.getpid()}.partial.wal").write_bytes(b"half a log")
    publish(build, served, schemas=["marts"])
    with read(served) as connection:
        assert connection.execute("select count(*) from marts.kpi").fetchone() == (3,)
    assert sorted(path.name for path in served.parent.iterdir()) == ["build", "rwcm.duckdb"]


def test_a_missing_warehouse_says_how_to_get_one(served: Path) -> None:
    """DuckDB would say that a file cannot be opened."""
    with pytest.raises(WarehouseMissing, match="make run"):
        read(served)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('/etc/*')",
        "select * from glob('/etc/*')",
        "select * from read_parquet('https://example.com/a.parquet')",
        "copy marts.kpi to '/tmp/out.csv'",
        "copy (select 1) to '/tmp/out.parquet' (format parquet)",
        "attach '/tmp/other.duckdb' as other",
        "export database '/tmp/out'",
        "install httpfs",
        "load delta",
        "set enable_external_access = true",
        "create table marts.mine as select 1",
        "delete from marts.kpi",
        "drop table marts.kpi",
    ],
)
def test_a_query_reads_the_warehouse_and_nothing_else(build: Path, served: Path, statement: str) -> None:
    """`rwcm query` and the dashboard pass on what people type; it must not reach the machine."""
    publish(build, served, schemas=["marts"])
    content = served.read_bytes()
    with read(served) as connection:
        with pytest.raises(duckdb.Error):
            connection.execute(statement).fetchall()
        assert connection.execute("select count(*) from marts.kpi").fetchone() == (3,)
    assert served.read_bytes() == content


def test_a_query_does_not_see_the_variables_of_the_process(build: Path, served: Path) -> None:
    """DuckDB takes a table's name for a Python variable where it finds one."""
    publish(build, served, schemas=["marts"])
    private_rows = duckdb.sql("select 42 as secret").arrow()
    assert private_rows is not None
    with read(served) as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("select * from private_rows").fetchall()


def test_rows_are_counted_per_table_of_the_build(build: Path) -> None:
    """The summary of a build says what it made."""
    assert row_counts(build) == {"kpi": 3, "odd 'name": 1, "private": 1}


def test_extensions_load_without_a_network(tmp_path: Path) -> None:
    """They came as wheels; a download at the first query would fail behind a firewall."""
    folder = ensure_extensions(tmp_path / "extensions")
    assert ensure_extensions(folder) == folder
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    assert [link.name for link in links] == ["delta.duckdb_extension"]
    config = {"extension_directory": str(folder), "autoinstall_known_extensions": "false"}
    with duckdb.connect(config=config) as connection:
        connection.execute("load delta")
    links[0].unlink()
    links[0].symlink_to(tmp_path / "gone")
    ensure_extensions(folder)
    assert links[0].resolve().is_file()
