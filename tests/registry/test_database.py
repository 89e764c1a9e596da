"""The registry database: nothing is lost, nothing of the wrong kind gets in."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from lake.tables import BATCH, PUBLICATION_QUEUE, ROLE
from registry.database import Registry, insert, insert_missing, upsert
from registry.tables import SPECS, TABLES, metadata
from registry.types import Ratio
from tests.databases import ON_SQLITE

NOW = datetime(2024, 3, 1, tzinfo=UTC)
AUDIT = {"created_at": NOW, "created_by": "test", "updated_at": NOW, "updated_by": "test"}


def role(role_id: str, **changes: object) -> dict[str, object]:
    row = {
        "role_id": role_id,
        "role_title": "Title",
        "department": "Finance",
        "hierarchy_level": "V",
        "supervises_role_id": None,
        **AUDIT,
    }
    return row | changes


def proposal(**changes: object) -> dict[str, object]:
    row = {
        "publication_id": "P-1",
        "proposal_type": "workflow",
        "proposal_body": "{}",
        "proposal_hash": "h",
        "provenance": "{}",
        "confidence": 0.9,
        "policy_checks": "[]",
        "proposed_by": "AG-1",
        "expires_at": NOW,
        **AUDIT,
    }
    return row | changes


def batch(batch_id: str) -> dict[str, object]:
    return {"batch_id": batch_id, "kind": "ingest", "state": "open", "source": "test", "opened_at": NOW}


def add_to_counter(path: Path | str, times: int) -> None:
    registry = Registry.open(path)
    for _ in range(times):
        with registry.transaction() as connection:
            read = connection.scalar(sa.select(TABLES["batch"].c.records_read))
            connection.execute(sa.update(TABLES["batch"]).values(records_read=read + 1))


def insert_roles(path: Path | str, first: int, count: int) -> None:
    registry = Registry.open(path)
    for number in range(first, first + count):
        with registry.transaction() as connection:
            insert(connection, ROLE, [role(f"R-{number}")])


def run_all(target: object, arguments: list[tuple[object, ...]]) -> list[int | None]:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def test_four_processes_that_read_and_add_lose_no_update(registry: Registry, location: Path | str) -> None:
    """Beginning late, or with PostgreSQL's default isolation, a count that is read and written back would not close."""
    with registry.transaction() as connection:
        insert(connection, BATCH, [batch("B")])
    assert run_all(add_to_counter, [(location, 50)] * 4) == [0, 0, 0, 0]
    assert registry.frame(BATCH)["records_read"].to_list() == [200]


def test_four_processes_create_and_fill_one_new_database(nowhere: Path | str) -> None:
    """Dagster starts several processes on an empty home at once; none may fail because another one is first."""
    assert run_all(insert_roles, [(nowhere, 25 * index, 25) for index in range(4)]) == [0, 0, 0, 0]
    registry = Registry.open(nowhere)
    assert registry.frame(ROLE)["role_id"].n_unique() == 100
    registry.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_use_its_parents_connections(registry: Registry) -> None:
    """Two processes on one SQLite connection corrupt the file."""
    with registry.transaction() as connection:
        insert(connection, ROLE, [role("R-PARENT")])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with registry.transaction() as connection:
                insert(connection, ROLE, [role("R-CHILD")])
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with registry.transaction() as connection:
        insert(connection, ROLE, [role("R-AFTER")])
    assert registry.frame(ROLE)["role_id"].to_list() == ["R-AFTER", "R-CHILD", "R-PARENT"]


def test_a_process_killed_within_a_transaction_leaves_nothing(registry: Registry, location: Path | str) -> None:
    """Half a transaction would be a workflow without its steps; and its lock would keep everybody out."""
    script = (
        "import os, sys, datetime\n"
        "from lake.tables import BATCH\n"
        "from registry.database import Registry, insert\n"
        "registry = Registry.open(sys.argv[1])\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "with registry.transaction() as connection:\n"
        "    insert(connection, BATCH, [dict(batch_id='B', kind='ingest', state='open', source='s', opened_at=now)])\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(location)], check=False, capture_output=True, cwd=Path.cwd()
    )
    assert killed.returncode == -9, killed.stderr
    assert registry.frame(BATCH).is_empty()
    with registry.transaction() as connection:
        insert(connection, BATCH, [batch("B")])


def test_an_exception_rolls_back(registry: Registry) -> None:
    """What was written before a failure must not stay."""
    with pytest.raises(RuntimeError), registry.transaction() as connection:
        insert(connection, ROLE, [role("R-1")])
        raise RuntimeError
    assert registry.frame(ROLE).is_empty()


def test_a_reader_sees_one_state_while_a_writer_commits(registry: Registry) -> None:
    """A mirror of a table that changes under the reader would hold rows of two states."""
    count = sa.select(sa.func.count()).select_from(TABLES["role"])
    with registry.read() as reader:
        assert reader.scalar(count) == 0
        with registry.transaction() as writer:
            insert(writer, ROLE, [role("R-1")])
        assert reader.scalar(count) == 0
    with registry.read() as reader:
        assert reader.scalar(count) == 1


@ON_SQLITE
def test_sqlite_runs_with_the_promised_safety(registry: Registry, tmp_path: Path) -> None:
    """Without these a power cut loses commits, references dangle, and purged rows stay readable in the file."""
    promised = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 60_000}
    with registry.read() as connection:
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in promised} == promised
    assert (tmp_path / "registry.db").is_file()


@ON_SQLITE
def test_a_sqlite_url_opens_the_same_database_with_the_same_safety(registry: Registry, tmp_path: Path) -> None:
    """A URL must not be a way around the write lock and the foreign keys."""
    by_url = Registry.open(f"sqlite:///{tmp_path / 'registry.db'}")
    with by_url.transaction() as connection:
        insert(connection, ROLE, [role("R-1")])
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert registry.frame(ROLE).height == 1


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"hierarchy_level": "VI"}, "ck_role_hierarchy_level_enum"),
        ({"role_title": "x" * 129}, r"ck_role_role_title_length|too long for type character varying\(128\)"),
        ({"supervises_role_id": "R-NOBODY"}, "(?i)foreign key"),
        ({"department": None}, "(?i)not[- ]null"),
    ],
)
def test_a_row_that_breaks_its_spec_is_refused(registry: Registry, changes: dict[str, object], broken: str) -> None:
    """SQLite by itself takes any text of any length for anything."""
    with pytest.raises((sa.exc.IntegrityError, sa.exc.DataError), match=broken), registry.transaction() as connection:
        insert(connection, ROLE, [role("R-1", **changes)])
    assert registry.frame(ROLE).is_empty()


@pytest.mark.parametrize(
    "changes",
    [
        {"role_title": "jane.doe@example.com" * 10},
        {"role_title": "jane.doe@example.com", "department": None},
        {"role_title": "jane.doe@example.com", "role_type": "robot"},
        {"supervises_role_id": "jane.doe@example.com"},
        {"created_by": "jane.doe@example.com"},
    ],
)
def test_an_error_message_holds_no_values(registry: Registry, changes: dict[str, object]) -> None:
    """Messages go to logs, and rows hold personal data. PostgreSQL quotes the whole row by itself."""
    rows = [role("jane.doe@example.com", **changes)] * 2
    with (
        pytest.raises((sa.exc.IntegrityError, sa.exc.DataError)) as caught,
        registry.transaction() as connection,
    ):
        insert(connection, ROLE, rows)
    assert "jane.doe" not in "".join(traceback.format_exception(caught.value))


def test_the_same_proposal_hash_is_taken_once(registry: Registry) -> None:
    """The unique key, not the code in front of it, is what keeps two processes from queueing a proposal twice."""
    with pytest.raises(sa.exc.IntegrityError), registry.transaction() as connection:
        insert(connection, PUBLICATION_QUEUE, [proposal(), proposal(publication_id="P-2")])


def test_roles_that_name_each_other_are_accepted_in_any_order(registry: Registry) -> None:
    """References are checked when the transaction ends, so a pack needs no sorting."""
    with registry.transaction() as connection:
        insert(connection, ROLE, [role("R-1", supervises_role_id="R-2"), role("R-2")])
    assert registry.frame(ROLE).height == 2


def test_defaults_of_the_spec_are_defaults_of_the_table(registry: Registry) -> None:
    """A proposal that nobody assessed must count as the highest risk, whoever writes the row."""
    with registry.transaction() as connection:
        insert(connection, PUBLICATION_QUEUE, [proposal()])
    row = registry.frame(PUBLICATION_QUEUE).row(0, named=True)
    assert (row["risk_score"], row["decision"]) == (1.0, "pending")


def test_a_time_without_a_zone_is_refused(registry: Registry) -> None:
    """A naive time would be read as UTC and be wrong by hours."""
    with pytest.raises(sa.exc.StatementError, match="aware datetime"), registry.transaction() as connection:
        insert(connection, ROLE, [role("R-1", created_at=datetime(2024, 3, 1))])


def test_times_are_kept_as_utc_to_the_microsecond(registry: Registry) -> None:
    """An audit trail that loses digits or zones does not order what happened."""
    moment = datetime(2024, 3, 1, 1, 30, 0, 7, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with registry.transaction() as connection:
        insert(connection, ROLE, [role("R-1", created_at=moment)])
    assert registry.frame(ROLE)["created_at"].to_list() == [datetime(2024, 2, 29, 20, 0, 0, 7, tzinfo=UTC)]


@ON_SQLITE
def test_a_time_in_the_file_sorts_as_text(registry: Registry, tmp_path: Path) -> None:
    """SQLite knows no times: a query for a month compares texts."""
    with registry.transaction() as connection:
        insert(connection, ROLE, [role("R-1", created_at=datetime(2024, 2, 29, 20, 0, 0, 7, tzinfo=UTC))])
    raw = sqlite3.connect(tmp_path / "registry.db").execute("SELECT created_at FROM role").fetchone()
    assert raw == ("2024-02-29 20:00:00.000007",)


@pytest.mark.parametrize(
    ("given_value", "stored"),
    [(0.4, 0.4), (0.40001, 0.4001), (Decimal("0.39999999"), 0.4), (0, 0.0), (1, 1.0), (1e-9, 0.0001)],
)
def test_a_ratio_is_rounded_up(registry: Registry, given_value: object, stored: float) -> None:
    """Rounded to nearest, a risk of 0.40001 would pass a threshold of 0.40."""
    with registry.transaction() as connection:
        insert(connection, PUBLICATION_QUEUE, [proposal(risk_score=given_value)])
    assert registry.frame(PUBLICATION_QUEUE)["risk_score"].to_list() == [stored]


@given(st.floats(0, 1))
def test_a_stored_ratio_is_never_below_the_given_one(value: float) -> None:
    """The property behind the rounding, for every double."""
    stored = Ratio().process_bind_param(value, postgresql.dialect())
    assert stored is not None
    exact = Fraction(Decimal(repr(value)))
    assert exact <= Fraction(stored) < exact + Fraction(1, 10_000)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_ratio_beyond_its_range_is_refused(registry: Registry, value: float) -> None:
    """NaN compares with nothing, so every gate would let it pass."""
    with pytest.raises(sa.exc.StatementError, match=r"0\.\.1"), registry.transaction() as connection:
        insert(connection, PUBLICATION_QUEUE, [proposal(risk_score=value)])


def test_an_update_keeps_who_created_the_row(registry: Registry) -> None:
    """An upsert that renames the creator rewrites history."""
    later = NOW + timedelta(days=1)
    with registry.transaction() as connection:
        upsert(connection, ROLE, [role("R-1")])
        upsert(connection, ROLE, [role("R-1", role_title="New", created_at=later, created_by="y", updated_at=later)])
        assert insert_missing(connection, ROLE, [role("R-1", role_title="Newer"), role("R-2")]) == 1
    row = registry.frame(ROLE).row(0, named=True)
    assert (row["role_title"], row["created_at"], row["created_by"], row["updated_at"]) == ("New", NOW, "test", later)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_table_gives_a_frame_that_its_spec_accepts(loaded: Registry, spec: object) -> None:
    """The lake mirrors these frames; a column of another type stops the mirror."""
    frame = loaded.frame(spec)
    assert frame.schema == spec.polars_schema()
    assert frame.height == len(frame.unique(spec.key))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_table_has_a_definition_for_postgresql(spec: object) -> None:
    """A constraint that only SQLite understands would close the way to PostgreSQL."""
    table = metadata("postgresql").tables[spec.name]
    ddl = str(CreateTable(table).compile(dialect=postgresql.dialect()))
    assert "TIMESTAMP WITH TIME ZONE" in ddl
    for index in table.indexes:
        assert str(CreateIndex(index).compile(dialect=postgresql.dialect()))


def test_the_blueprints_columns_are_in_the_tables() -> None:
    """The blueprint's relational schema (section 2) is what people load their data into."""
    blueprint = {
        "role": "role_id role_title department hierarchy_level supervises_role_id role_type",
        "skill_node": "skill_id skill_name category signature description runtime_binding version stability_tier "
        "owner_role_id is_generator created_at updated_at created_by updated_by",
        "role_skill_map": "role_id skill_id permission",
        "workflow": "workflow_id workflow_name objective constraints responsible_role_id genome status version lineage",
        "trigger_def": "trigger_id workflow_id trigger_type selector",
        "step_action": "step_id workflow_id sequence action_type skill_id parameters next_step_logic timeout_ms "
        "retries idempotency_key",
        "agent": "agent_id agent_name agent_type role_id policy_profile",
        "publication_queue": "publication_id proposal_type proposal_body provenance risk_score policy_checks decision "
        "decided_by decided_at published_object_id",
        "policy": "policy_id policy_name scope spec owner_role_id",
        "ontology_node": "node_id node_type label attributes parent_id",
        "schema_registry": "subject version format schema compatibility",
    }
    missing = {name: set(columns.split()) - set(TABLES[name].c.keys()) for name, columns in blueprint.items()}
    assert {name: columns for name, columns in missing.items() if columns} == {}


def test_no_engine_exists_after_an_import() -> None:
    """A code location is imported before a fork; a connection that exists then breaks the child."""
    script = (
        "import sqlalchemy as sa\n"
        "made = []\n"
        "real = sa.create_engine\n"
        "sa.create_engine = lambda *a, **k: made.append(a) or real(*a, **k)\n"
        "import registry.database, registry.loader, registry.plans, registry.proposals, registry.templates\n"
        "assert not made\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_frames_of_an_empty_registry_have_their_types(registry: Registry) -> None:
    """The first mirror of an empty table creates the lake's table."""
    assert registry.frame(PUBLICATION_QUEUE).schema["confidence"] == pl.Float64
