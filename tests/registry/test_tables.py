"""The relational tables: the blueprint's indexes, computed columns that refuse no row, vectors that keep every bit."""

import math
import random
from array import array
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from lake.tables import AGENT, RLM_EMBEDDING, ROLE, RUN_EPISODE, STEP_ACTION, STEP_RUN
from registry.database import Registry, insert, upsert
from registry.hot_window import ensure_months
from registry.tables import TABLES, metadata
from tests.databases import ON_POSTGRESQL

NOW = datetime(2024, 3, 1, tzinfo=UTC)
AUDIT = {"created_at": NOW, "created_by": "test", "updated_at": NOW, "updated_by": "test"}

BLUEPRINT_INDEXES = {
    "ix_role_dept": ("role", "department"),
    "ux_skill_name_version": ("skill_node", "skill_name version"),
    "ux_workflow_name_version": ("workflow", "workflow_name version"),
    "ix_step_wf_sequence": ("step_action", "workflow_id sequence"),
    "ix_episode_wf_time": ("run_episode", "workflow_id started_at DESC"),
    "ix_step_run_episode": ("step_run", "step_id status ended_at DESC"),
    "ix_reflection_status": ("reflection_log", "status created_at DESC"),
    "ix_event_topic_time": ("event_bus", "topic produced_at DESC"),
    "ix_rlm_stype": ("rlm_embedding", "source_type"),
}
"""Sections 2, 18.2 and 22.2."""


def spelled(index: sa.Index) -> tuple[str, str]:
    assert index.table is not None
    return index.table.name, " ".join(str(column).split(".")[-1] for column in index.expressions)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_blueprints_indexes_have_its_names_columns_and_order(engine: Any) -> None:
    """Plans and hints of those who know the blueprint name them."""
    indexes = {index.name: index for table in metadata(engine).tables.values() for index in table.indexes}
    assert {name: spelled(indexes[name]) for name in BLUEPRINT_INDEXES} == BLUEPRINT_INDEXES
    assert {name for name in BLUEPRINT_INDEXES if indexes[name].unique} == {
        "ux_skill_name_version",
        "ux_workflow_name_version",
    }


def test_only_sqlite_joins_logs_by_foreign_keys_and_only_postgresql_keeps_months_in_their_keys() -> None:
    """A partitioned table of PostgreSQL refuses a key without the partition's column."""
    expected: list[tuple[Any, set[str], bool]] = [
        ("sqlite", {"step_run_id"}, True),
        ("postgresql", {"step_run_id", "month"}, False),
    ]
    for database, key, joined in expected:
        table = metadata(database).tables[STEP_RUN.name]
        assert {column.name for column in table.primary_key} == key
        assert bool(table.c.episode_id.foreign_keys) == joined
        assert table.c.agent_id.foreign_keys


def step(parameters: str) -> dict[str, object]:
    return {
        "step_id": "S-1",
        "workflow_id": "WF-FIN-001",
        "sequence": 9,
        "action_type": "logic_check",
        "skill_id": "SK-LOGIC-003",
        "parameters": parameters,
        "next_step_logic": "{}",
        **AUDIT,
    }


@pytest.mark.parametrize(
    ("parameters", "tolerance"),
    [
        ('{"tolerance":0.05}', 0.05),
        ('{"tolerance":1}', 1.0),
        ('{"tolerance":9007199254740993}', 9007199254740992.0),  # the nearest double
        ('{"tolerance":"${trigger.tolerance}"}', None),
        ('{"tolerance":"0.05"}', None),
        ('{"tolerance":null}', None),
        ('{"tolerance":true}', None),
        ('{"tolerance":{"of":1}}', None),
        ('{"nested":{"tolerance":1}}', None),
        ("{}", None),
        ("[]", None),
    ],
)
def test_a_number_is_computed_from_its_path_and_anything_else_is_null(
    loaded: Registry, parameters: str, tolerance: float | None
) -> None:
    """An expression in the place of a number must not keep the step from being stored."""
    table = TABLES[STEP_ACTION.name]
    with loaded.transaction() as connection:
        insert(connection, STEP_ACTION, [step(parameters)])
        stored = connection.execute(sa.select(table.c.parameters, table.c.tolerance).filter_by(step_id="S-1")).one()
    assert tuple(stored) == (parameters, tolerance)


@pytest.mark.parametrize(
    ("metrics", "tokens"),
    [
        ('{"tokens":12}', 12),
        ('{"tokens":9223372036854775807}', 2**63 - 1),
        ('{"tokens":9223372036854775808}', None),
        ('{"tokens":1.5}', None),
        ('{"tokens":"12"}', None),
    ],
)
def test_an_integer_is_computed_exactly_or_not_at_all(loaded: Registry, metrics: str, tokens: int | None) -> None:
    """A rounded count would be a wrong one."""
    table = TABLES[RUN_EPISODE.name]
    with loaded.transaction() as connection:
        ensure_months(connection, RUN_EPISODE, [NOW.date()])
        insert(connection, RUN_EPISODE, [episode(metrics=metrics)])
        assert connection.scalar(sa.select(table.c.tokens)) == tokens


def episode(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "episode_id": "E-1",
        "workflow_id": "WF-FIN-001",
        "workflow_version": "1.0.0",
        "origin": "live",
        "started_at": NOW,
        "month": NOW.date(),
        "outcome": "success",
        "metrics": "{}",
        "context_hash": "0" * 64,
        "steps": 0,
        "time_source": "event",
        "batch_id": "B-1",
        "created_at": NOW,
        "created_by": "test",
    }
    return row | changes


def test_the_shipped_workflow_can_be_found_by_its_objectives(loaded: Registry) -> None:
    """What the computed columns are for, on the real pack."""
    workflow, trigger = TABLES["workflow"], TABLES["trigger_def"]
    with loaded.read() as connection:
        slo = sa.select(workflow.c.latency_slo_ms, workflow.c.max_error_rate).filter_by(workflow_id="WF-FIN-001")
        assert tuple(connection.execute(slo).one()) == (600_000, 0.005)
        listening = sa.select(trigger.c.workflow_id).where(trigger.c.topic == "ap.invoice.received")
        assert connection.scalars(listening).all() == ["WF-FIN-001"]


def test_a_vector_keeps_every_bit_of_its_float32_numbers(registry: Registry) -> None:
    """A distance near a threshold would fall on the other side of it."""
    chance = random.Random(5)
    exact = array("f", [chance.gauss(0, 1) * 10 ** chance.randint(-30, 30) for _ in range(1024)]).tolist()
    row = {"emb_id": "V-1", "source_type": "step", "source_id": "S", "vector": exact, "metadata": "{}"}
    with registry.transaction() as connection:
        insert(connection, RLM_EMBEDDING, [row | {"created_at": NOW, "created_by": "test"}])
    frame = registry.frame(RLM_EMBEDDING)
    assert frame["vector"].to_list() == [exact]
    with pytest.raises(sa.exc.StatementError, match="1023 numbers"), registry.transaction() as connection:
        insert(connection, RLM_EMBEDDING, [row | {"emb_id": "V-2", "vector": exact[1:]}])


def test_an_embedding_is_at_most_4096_bytes_and_stays_when_its_role_is_loaded_again(loaded: Registry) -> None:
    """It is computed, not part of a document: a document that comes again must not wipe it."""
    capability = bytes(range(256)) * 16
    table = TABLES[ROLE.name]
    with loaded.transaction() as connection:
        connection.execute(sa.update(table).filter_by(role_id="FA-D-001").values(capability_vector=capability))
        row = dict(connection.execute(sa.select(table).filter_by(role_id="FA-D-001")).one()._mapping)
        del row["capability_vector"]
        upsert(connection, ROLE, [row | {"role_title": "New"}])
        stored = connection.execute(
            sa.select(table.c.role_title, table.c.capability_vector).filter_by(role_id="FA-D-001")
        ).one()
    assert tuple(stored) == ("New", capability)
    too_long = sa.update(TABLES[AGENT.name]).values(embedding=b"\0" * 4097)
    with pytest.raises(sa.exc.IntegrityError, match="ck_agent_embedding_length"), loaded.transaction() as connection:
        connection.execute(too_long)


@pytest.mark.parametrize(
    "text",
    [
        '{"b":1,  "a":9007199254740993}',
        '{"n":123456789012345678901234567890,"d":0.123456789012345678901234567890,"z":-0,"e":1E+2}',
        '{"bb":1,"a":2,"é":"\\u00e9 €","nul":"\\u0000","nested":{"b":[1.50,1.5],"a":null}}',
        "[]",
        "9007199254740993",
    ],
)
def test_a_json_text_comes_back_byte_for_byte(loaded: Registry, text: str) -> None:
    """A hash is over these bytes; a database that tidies up breaks every signature and replay."""
    table = TABLES[STEP_ACTION.name]
    with loaded.transaction() as connection:
        insert(connection, STEP_ACTION, [step(text)])
        upsert(connection, STEP_ACTION, [step(text)])
    with loaded.read() as connection:
        assert connection.scalar(sa.select(table.c.parameters).filter_by(step_id="S-1")) == text
    frame = loaded.frame(STEP_ACTION)
    assert frame.filter(frame["step_id"] == "S-1")["parameters"].to_list() == [text]


@ON_POSTGRESQL
def test_pgvector_finds_the_nearest_as_a_comparison_of_all_does(registry: Registry) -> None:
    """A vector that was stored otherwise than given is near to something else."""
    chance = random.Random(11)
    vectors = {f"V-{n}": [chance.gauss(0, 1) for _ in range(1024)] for n in range(40)}
    sought = [a + 0.3 * b for a, b in zip(vectors["V-7"], vectors["V-31"], strict=True)]
    shared = {"source_type": "episode", "source_id": "E", "metadata": "{}", "created_at": NOW, "created_by": "test"}
    with registry.transaction() as connection:
        insert(connection, RLM_EMBEDDING, [{"emb_id": name, "vector": v} | shared for name, v in vectors.items()])
    table = TABLES[RLM_EMBEDDING.name]
    nearest = sa.select(table.c.emb_id).order_by(table.c.vector.op("<=>")(sought)).limit(5)
    with registry.read() as connection:
        found = list(connection.scalars(nearest))

    def distance(name: str) -> float:
        given = vectors[name]
        dot = math.fsum(a * b for a, b in zip(given, sought, strict=True))
        return 1 - dot / math.dist(given, [0] * 1024) / math.dist(sought, [0] * 1024)

    assert found == sorted(vectors, key=distance)[:5]
    assert found[0] == "V-7"


def test_texts_are_ordered_by_their_bytes(registry: Registry) -> None:
    """The collation of another server would order ids and topics otherwise, and what follows from the order."""
    names = ["a", "B", "Z", "_", "é", "10", "9", "A b"]
    rows = [{"role_id": n, "role_title": n, "department": "D", "hierarchy_level": "I"} | AUDIT for n in names]
    with registry.transaction() as connection:
        insert(connection, ROLE, rows)
    assert registry.frame(ROLE)["role_id"].to_list() == sorted(names, key=str.encode)
