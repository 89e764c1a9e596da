"""What the models make of a lake, against plain Python; and what the project promises of every model."""

import json
import random
import re
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lake.months import month_of
from lake.retention import Decision
from lake.tables import (
    BATCH,
    DEAD_LETTER_RESOLUTION,
    DERIVED,
    EMBEDDINGS,
    EVENT_BUS,
    EVENT_DEAD_LETTER,
    LOGS,
    MIRRORED,
    PUBLICATION_QUEUE,
    RUN_EPISODE,
    STEP_RUN,
    WORKFLOW,
)
from lake.transform import (
    MONTHLY,
    PROJECT,
    ROLLUP_SOURCES,
    ROLLUPS,
    SOURCES,
    STAGING,
    TransformFailed,
    ensure_manifest,
    run_dbt,
)
from lake.warehouse import publish, read

AWKWARD = ["a, b", "a", "b", 'say "a"', "a → b", "ä/Ö ✓", "back\\slash", "tab\there", "[]", ""]
"""Activities that a separator, a quote or an escape would confuse."""


def at(month: int, day: int = 1, *clock: int) -> datetime:
    return datetime(2025, month, day, *clock, tzinfo=UTC)


def quantile(values: list[int], fraction: float) -> float | None:
    """Return the exact quantile, linear between neighbours."""
    if not values:
        return None
    ordered = sorted(values)
    low, rest = divmod(fraction * (len(ordered) - 1), 1)
    high = min(int(low) + 1, len(ordered) - 1)
    return ordered[int(low)] * (1 - rest) + ordered[high] * rest


# The figures, against a second way of counting


@pytest.fixture(scope="module")
def history(shared_world: Any) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    """A year's third of random episodes of three workflows, built; with its rows."""
    world, chance = shared_world, random.Random(7)
    episodes, steps = [], []
    for number in range(400):
        started_at = at(1) + timedelta(minutes=chance.randrange(120 * 24 * 60))
        name, workflow = f"E-{number}", chance.choice(["WF-1", "WF-2", "WF-3"])
        latency_ms = chance.choice([None, chance.randrange(10_000), chance.randrange(500_000)])
        episodes.append(
            world.row(
                RUN_EPISODE,
                episode_id=name,
                workflow_id=workflow,
                outcome=chance.choice(["success", "success", "success", "partial", "failed", "running"]),
                started_at=started_at,
                latency_ms=latency_ms if workflow != "WF-3" else None,
                cost_micros=chance.choice([None, chance.randrange(1_000)]),
            )
        )
        seq = 0
        for activity in chance.choices(AWKWARD, k=chance.randrange(3)):
            at_time = started_at + timedelta(days=seq // 2)
            for attempt in range(1, chance.choice([1, 1, 2]) + 1):
                steps.append(
                    world.step(name, started_at, seq, activity, at_time, attempt=attempt, workflow_id=workflow)
                )
                seq += 1
    chance.shuffle(steps)
    world.append(STEP_RUN, *steps)
    world.append(RUN_EPISODE, *episodes)
    world.mirror(
        WORKFLOW,
        world.workflow("WF-1", '{"latency_ms": 5000, "max_error_rate": 0.2, "policy_tags": ["sox"]}'),
        world.workflow("WF-2", '{"max_error_rate": 0}'),
        world.workflow("WF-3", '{"latency_ms": 5000}'),
    )
    world.build()
    return world, episodes, steps


def test_monthly_figures_equal_a_second_count(history: Any) -> None:
    """Every service level on the dashboard rests on these columns."""
    world, episodes, _ = history
    objectives = {"WF-1": (5000, 0.2), "WF-2": (None, 0.0), "WF-3": (5000, None)}
    groups = defaultdict(list)
    for episode in episodes:
        if episode["outcome"] != "running":
            groups[episode["workflow_id"], month_of(episode["started_at"])].append(episode)
    expected = []
    for (workflow, month), group in sorted(groups.items()):
        outcomes = Counter(episode["outcome"] for episode in group)
        latencies = [episode["latency_ms"] for episode in group if episode["latency_ms"] is not None]
        costs = [episode["cost_micros"] for episode in group if episode["cost_micros"] is not None]
        slo, max_error_rate = objectives[workflow]
        within = sum(latency <= slo for latency in latencies) if slo else None
        error_rate = outcomes["failed"] / len(group)
        expected.append(
            (
                *(workflow, month, len(group), outcomes["success"], outcomes["partial"], outcomes["failed"]),
                *(outcomes["success"] / len(group), error_rate),
                *(quantile(latencies, fraction) for fraction in (0.5, 0.9, 0.95, 0.99)),
                *(slo, max_error_rate, within, within / len(latencies) if slo and latencies else None),
                None if max_error_rate is None else error_rate <= max_error_rate,
                sum(costs),
                min(episode["started_at"] for episode in group).timestamp(),
                max(episode["started_at"] for episode in group).timestamp(),
            )
        )

    found = world.query(
        "select * replace (epoch(first_started_at) as first_started_at, epoch(last_started_at) as last_started_at) "
        "from marts.workflow_kpi_monthly order by workflow_id, month"
    )

    assert len(found) == len(expected) == 12
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted), wanted[:2]


def test_variants_equal_a_second_count(history: Any) -> None:
    """What synthesis learns from, and what the reader is shown as the usual way, would be another way."""
    world, episodes, steps = history
    first_attempts = defaultdict(list)
    for step in sorted(steps, key=lambda step: step["seq"]):
        if step["attempt"] == 1:
            first_attempts[step["episode_id"]].append(step["activity"])
    ways = defaultdict(list)
    for episode in episodes:
        if episode["outcome"] != "running":
            ways[episode["workflow_id"], tuple(first_attempts[episode["episode_id"]])].append(episode)
    totals = Counter(workflow for (workflow, _), group in ways.items() for _ in group)

    found = world.query(
        "select workflow_id, activities, steps, episodes, share, latency_ms_p50, success_rate, first_started_at, "
        "last_started_at, rank, variant_id from marts.workflow_variant order by workflow_id, rank"
    )

    assert len(found) == len(ways)
    for workflow, activities, length, count, share, latency_ms, success_rate, first, last, _, _ in found:
        way = tuple(json.loads(activities))
        group = ways[workflow, way]
        latencies = [episode["latency_ms"] for episode in group if episode["latency_ms"] is not None]
        assert (length, count, share) == (len(way), len(group), pytest.approx(len(group) / totals[workflow]))
        assert latency_ms == pytest.approx(quantile(latencies, 0.5))
        assert success_rate == pytest.approx(sum(e["outcome"] == "success" for e in group) / len(group))
        assert (first, last) == (min(e["started_at"] for e in group), max(e["started_at"] for e in group))
    for workflow in totals:
        ranked = [(-row[3], row[-1], row[-2]) for row in found if row[0] == workflow]
        assert ranked == sorted(ranked)
        assert [rank for _, _, rank in ranked] == list(range(1, len(ranked) + 1))
    identities = {row[1]: row[-1] for row in found}
    assert len(set(identities.values())) == len(identities) == len({tuple(json.loads(row[1])) for row in found})


def test_no_step_is_lost_or_counted_twice(history: Any) -> None:
    """Cost and tokens are summed over these rows."""
    world, _, steps = history
    found = world.query("select step_run_id, episode_id, activity, attempt, seq from marts.mv_step_telemetry")
    assert sorted(found) == sorted(
        (s["step_run_id"], s["episode_id"], s["activity"], s["attempt"], s["seq"]) for s in steps
    )


def test_the_published_marts_open_without_an_extension(history: Any, tmp_path: Path) -> None:
    """A BI tool would have to install DuckDB's delta extension, and the lake's files beside it."""
    world, *_ = history
    counts = publish(world.home.build_db, tmp_path / "served.duckdb", schemas=["marts"])
    with read(tmp_path / "served.duckdb") as connection:
        for table, rows in counts.items():
            assert len(connection.execute(f"select * from {table}").fetchall()) == rows
    assert len(counts) == 10


def test_operations_are_told_as_they_are(world: Any) -> None:
    """Who asks why records are missing would be sent looking in the wrong place."""
    letters = [("not_json", None, at(1)), ("not_json", None, at(1, 31)), ("unknown_topic", "ap", at(2))]
    world.append(
        EVENT_DEAD_LETTER,
        *(
            world.row(EVENT_DEAD_LETTER, dead_letter_id=str(number), rule=rule, topic=topic, received_at=received_at)
            for number, (rule, topic, received_at) in enumerate(letters)
        ),
    )
    world.mirror(
        BATCH,
        world.row(BATCH, batch_id="B-1", state="done", records_read=3, records_accepted=1, records_duplicate=2),
        world.row(BATCH, batch_id="B-2", state="open", records_read=3),
    )
    world.mirror(DEAD_LETTER_RESOLUTION, world.row(DEAD_LETTER_RESOLUTION, dead_letter_id="0", action="repaired"))
    world.mirror(
        PUBLICATION_QUEUE,
        world.row(PUBLICATION_QUEUE, publication_id="P", proposal_body='{"tolerance": 0.04}', provenance='["E-1"]'),
    )

    world.build()

    assert world.query("select * from marts.dead_letter_reason order by month") == [
        (date(2025, 1, 1), None, None, "not_json", 2, 1, 1, 0, 0),
        (date(2025, 2, 1), "ap", None, "unknown_topic", 1, 1, 0, 0, 0),
    ]
    assert world.query("select batch_id, is_closed from marts.ingest_accounting order by 1") == [
        ("B-1", True),
        ("B-2", False),
    ]
    assert world.query("select publication_id, proposal_body, decision from marts.proposal") == [
        ("P", '{"tolerance": 0.04}', "pending")
    ]


def test_the_audit_trail_tells_every_audit_event_and_no_other(world: Any) -> None:
    """Who asks who changed what when would get half an answer, or business payloads that nobody staged."""
    told = {
        "registry.changed": {
            "actor": "u-1",
            "change": "initial",
            "object_type": "role",
            "object_id": "R",
            "version": "1",
        },
        "access.denied": {"subject_id": "u-2", "action": "publish", "object_type": "role", "object_id": "R"},
        "access.token": {"actor": "operator:root", "change": "revoked", "token_id": "TK-1", "subject_id": "Jos\u00e9"},
        "effect.resolved": {
            "actor": "u-3",
            "change": "done",
            "object_type": "effect",
            "object_id": "k/1",
            "key": "k/1",
        },
        "handoff.changed": {"actor": "u-4", "change": "reassigned", "object_type": "handoff", "object_id": "H"},
        "ap.invoice.received": {"actor": "nobody", "sender": "secret@example.com"},
    }
    world.append(
        EVENT_BUS,
        *(
            world.row(EVENT_BUS, event_id=topic, topic=topic, payload=json.dumps(payload), produced_at=at(number))
            for number, (topic, payload) in enumerate(told.items(), 1)
        ),
    )

    world.build()

    columns = "event_id, occurred_at, actor, action, is_denied, object_type, object_id, bearer"
    assert world.query(f"select {columns} from marts.audit_trail order by occurred_at") == [
        ("registry.changed", at(1), "u-1", "initial", False, "role", "R", None),
        ("access.denied", at(2), "u-2", "publish", True, "role", "R", None),
        ("access.token", at(3), "operator:root", "revoked", False, "access_token", "TK-1", "José"),
        ("effect.resolved", at(4), "u-3", "done", False, "effect", "k/1", None),
        ("handoff.changed", at(5), "u-4", "reassigned", False, "handoff", "H", None),
    ]


def test_tests_read_the_months_that_were_built(world: Any) -> None:
    """The tests of one month would cost more with every month of history; or would not see the month at hand."""
    world.run("E-1", at(1), "a")
    world.run("E-2", at(2), "a")
    world.build()
    world.alter("insert into intermediate.int_episode_variant from intermediate.int_episode_variant")
    assert world.transformation.build([date(2025, 2, 1)]).tests > 0

    window = {"--event-time-start": "2025-01-01", "--event-time-end": "2025-02-01"}
    test = ["--select", "int_episode_variant,test_type:data", *(part for pair in window.items() for part in pair)]
    with pytest.raises(TransformFailed, match="unique_int_episode_variant_episode_id: Got 1 result"):
        run_dbt(world.home, [test])


def test_the_formulas_hold_in_dbt_s_own_unit_tests(world: Any) -> None:
    """A formula would change with nobody saying so; the unit tests stand beside it, and builds leave them out."""
    world.lake.ensure(SOURCES)
    ensure_manifest()
    window = ["--event-time-start", "2025-03-01", "--event-time-end", "2025-04-01"]

    results = run_dbt(world.home, [["--select", STAGING, MONTHLY, ROLLUPS, *window]])

    told = {result.node.name for result in results if result.node.resource_type == "unit_test"}
    assert told == {
        "a_limit_ends_by_the_day_and_holds_and_minima_keep",
        "a_consumer_breaks_where_it_cannot_read_or_does_not_listen",
        "a_variant_keeps_the_order_of_the_log_and_its_ties",
        "accounting_closes_when_every_record_is_one_of_three",
        "adherence_is_a_share_of_the_episodes_that_have_a_latency",
        "each_kind_of_audit_event_says_who_did_what",
        "an_open_episode_has_no_variant_yet",
        "quantiles_are_exact_and_interpolate",
        "rates_are_shares_of_the_closed_episodes",
        "shares_sum_to_one_and_ties_rank_by_variant",
    }
    assert all(result.status == "pass" for result in results if result.node.name in told)


# What holds for every model


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(ensure_manifest().read_text())
    return manifest


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


def parents(models: dict[str, dict[str, Any]], name: str) -> set[str]:
    return {parent.rsplit(".", 1)[-1] for parent in models[name]["depends_on"]["nodes"]}


def test_only_staging_reads_the_lake_and_lineage_says_so(models: dict[str, dict[str, Any]]) -> None:
    """A path in a model is a table that the asset graph does not know."""
    reading = {
        name: [parent for parent in model["depends_on"]["nodes"] if parent.startswith("source.")]
        for name, model in models.items()
    }
    assert {name: sources for name, sources in reading.items() if sources} == {
        f"stg_{spec.name}": [f"source.rwcm.lake.{spec.name}"] for spec in SOURCES
    }
    assert {*SOURCES} <= {*LOGS, *MIRRORED, *DERIVED}
    assert {name: model["schema"] for name, model in models.items()} == {
        name: Path(model["original_file_path"]).parent.name for name, model in models.items()
    }


def test_what_makes_a_build_current_is_what_the_models_read(models: dict[str, dict[str, Any]]) -> None:
    """A table that `is_current` does not look at would change without anybody building."""
    rollups = {name for name, model in models.items() if model["tags"] == ["rollups"]}
    monthly = {name for name, model in models.items() if model["tags"] == ["monthly"]}
    staged = {f"stg_{spec.name}": spec for spec in SOURCES}
    assert rollups | monthly | staged.keys() == models.keys()

    read_by_rollups = set().union(*(parents(models, name) for name in rollups))
    read_by_months = set().union(*(parents(models, name) for name in monthly))

    assert read_by_rollups - monthly == {f"stg_{spec.name}" for spec in ROLLUP_SOURCES}
    assert read_by_months - monthly == {"stg_run_episode", "stg_step_run", "stg_workflow"}


def test_a_monthly_filter_is_no_dead_code(models: dict[str, dict[str, Any]]) -> None:
    """A filter that never holds rebuilds all history every time, or appends a month to itself."""
    for name, model in models.items():
        config = model["config"]
        is_monthly = "monthly" in model["tags"]
        assert is_monthly == (config["materialized"] == "incremental"), name
        assert "is_incremental" not in model["raw_code"], name
        if is_monthly:
            expected = {"incremental_strategy": "microbatch", "batch_size": "month", "begin": "2000-01-01T00:00:00"}
            assert {key: config[key] for key in expected} == expected, name
            assert config["event_time"] in model["columns"], name
            filtered = {parent for parent in parents(models, name) if models[parent]["config"]["event_time"]}
            assert filtered, f"{name} has no parent that dbt could filter by month"


def test_marts_are_tables_under_contract(models: dict[str, dict[str, Any]]) -> None:
    """BI would need extensions, and would learn of a changed column from its users."""
    marts = {name: model for name, model in models.items() if model["schema"] == "marts"}
    assert len(marts) == 10
    for name, model in marts.items():
        assert model["config"]["materialized"] in {"table", "incremental"}, name
        assert model["contract"]["enforced"], name
        assert all(column["description"] and column["data_type"] for column in model["columns"].values()), name


def test_every_model_states_its_grain(manifest: dict[str, Any], models: dict[str, dict[str, Any]]) -> None:
    """A sum over a table whose grain is guessed is a guess."""
    assert [name for name, model in models.items() if "Grain: one row per" not in model["description"]] == []
    assert [m["name"] for m in manifest["macros"].values() if m["package_name"] == "rwcm" and is_undocumented(m)] == []


def is_undocumented(macro: dict[str, Any]) -> bool:
    """Return whether nothing is said of a macro that is called; an engine's form of it, and a test, need no words."""
    return not macro["description"] and not re.match(r"(default|duckdb|test)_", macro["name"])


def test_accepted_values_are_those_that_the_tables_state(manifest: dict[str, Any]) -> None:
    """A new outcome would be refused by a test that nobody thought of."""
    tables = {"mv_step_telemetry": STEP_RUN, "ingest_accounting": BATCH, "proposal": PUBLICATION_QUEUE}
    planned = {"decision": tuple(Decision), "retention": ("events", "telemetry", "pii")}
    nodes = manifest["nodes"].values()
    tests = [node for node in nodes if (node.get("test_metadata") or {}).get("name") == "accepted_values"]
    assert len(tests) == len(tables) + len(planned)
    for test in tests:
        model, column = test["attached_node"].rsplit(".", 1)[-1], test["column_name"]
        stated = planned[column] if model == "purge_candidates" else tables[model].column(column).enum
        assert tuple(test["test_metadata"]["kwargs"]["values"]) == stated


def test_shared_models_speak_no_dialect(models: dict[str, dict[str, Any]]) -> None:
    """The same models are to run on Spark or Trino; what only DuckDB knows stands in macros/engine."""
    dialect = re.compile(
        r"::|\bgroup by all\b|\bqualify\b|\bfrom \S+ select\b|\bcolumns\(|\bexclude\b|\b(quantile_cont|list|to_json|"
        r"json_extract\w*|try_cast|delta_scan|sha256|filter)\s*\(",
        re.IGNORECASE,
    )
    assert {name: found.group() for name, model in models.items() if (found := dialect.search(model["raw_code"]))} == {}


def test_sql_and_yaml_stand_in_pairs() -> None:
    """A model without its YAML has no grain, no contract and no test."""
    files = {path.relative_to(PROJECT) for path in (PROJECT / "models").rglob("*") if not path.name.startswith("_")}
    sql = {path.with_suffix("") for path in files if path.suffix == ".sql"}
    assert sql == {path.with_suffix("") for path in files if path.suffix == ".yml"}


def test_the_manifest_names_no_home(manifest: dict[str, Any]) -> None:
    """A path that is baked in is read by every other home."""
    assert "delta_scan(" not in json.dumps([node["raw_code"] for node in manifest["nodes"].values()])
    assert not any(node.get("compiled") for node in manifest["nodes"].values())
    assert {source["relation_name"] for source in manifest["sources"].values()} == {
        f'"build"."lake"."{spec.name}"' for spec in (*LOGS, *EMBEDDINGS, *MIRRORED, *DERIVED)
    }
