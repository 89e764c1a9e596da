"""Checks: what the platform promises of a table, judged on the months that changed since they were last judged.

Great Expectations takes seconds to import, so it is imported where it runs, never by the code location. What is
reported of a failing row is its key, never a value.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from dagster_project.platform import Platform, first_month
from governance.gates import judge, standings
from ingest.dead_letters import refusal_rate
from lake.months import Month
from lake.spec import MONTH
from lake.tables import EVENT_BUS, EVENT_DEAD_LETTER, PUBLICATION_QUEUE, RUN_EPISODE, SCHEMA_REGISTRY
from registry.cursors import changed_months, remember_months
from registry.gates import GATES, GateDecision
from registry.loader import event_schemas
from registry.schema_check import check_registry
from runtime.replay import replay, workflows_that_ran

STAGE, REPLAY_STAGE = "event_bus_quality", "replay"
ROWS_TOGETHER = 250_000
"""Rows that are judged at once: a validation costs as much as thousands of rows, and memory is bounded."""
_SHOWN_KEYS = 5


@dataclass(frozen=True)
class Promise:
    """One expectation on `event_bus`: Great Expectations' type and arguments, and what is told to people."""

    expectation: str
    arguments: dict[str, Any]
    description: str


def promises(topics: list[str]) -> dict[str, Promise]:
    """Return the suite on `event_bus` by the name of the check."""
    return {
        "event_id_is_given": Promise(
            "ExpectColumnValuesToNotBeNull", {"column": "event_id"}, "Every event has its id."
        ),
        "event_id_is_unique": Promise(
            "ExpectColumnValuesToBeUnique", {"column": "event_id"}, "No event is in a month twice."
        ),
        "topic_is_registered": Promise(
            "ExpectColumnValuesToBeInSet", {"column": "topic", "value_set": topics}, "Every topic has a schema."
        ),
        "payload_is_an_object": Promise(
            "ExpectColumnValuesToMatchRegex",
            {"column": "payload", "regex": r"(?s)^\s*\{.*\}\s*$"},
            "Every payload is a JSON object.",
        ),
        "month_is_of_its_time": Promise(
            "ExpectColumnPairValuesToBeEqual",
            {"column_A": MONTH, "column_B": "produced_month"},
            "The partition is the month of produced_at.",
        ),
        "content_hash_is_sha256": Promise(
            "ExpectColumnValuesToMatchRegex",
            {"column": "content_hash", "regex": "^[0-9a-f]{64}$"},
            "Every event carries the hash of its content.",
        ),
        "time_is_sane": Promise(
            "ExpectColumnValuesToBeBetween",
            {"column": "ahead_days", "max_value": 1.0},
            "No event was produced more than a day after it arrived.",
        ),
        "month_is_kept": Promise(
            "ExpectColumnValuesToBeBetween",
            {"column": "month_number", "min_value": int(f"{first_month():%Y%m}")},
            "No live event is older than the first month.",
        ),
    }


@dg.multi_asset_check(
    name="event_bus_suite",
    specs=[
        dg.AssetCheckSpec(name, asset=EVENT_BUS.name, blocking=True, description=promise.description)
        for name, promise in promises([]).items()
    ],
    can_subset=True,
    pool="great_expectations",
)
def event_bus_suite(
    context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.AssetCheckResult]:
    """The suite on `event_bus`, over the months that changed. A month that fails is judged again by the next run."""
    names = {key.name for key in context.selected_asset_check_keys}
    suite = {n: p for n, p in promises(sorted(event_schemas(platform.registry))).items() if n in names}
    marks = platform.lake.fingerprints(EVENT_BUS)
    months = sorted(changed_months(platform.registry, STAGE, marks) & marks.keys())
    failures: dict[str, list[str]] = {name: [] for name in suite}
    rows = 0
    for together in _bounded(months, {month: size.rows for month, size in platform.lake.stats(EVENT_BUS).items()}):
        frame = _frame(platform, together)
        rows += frame.height
        for name, keys in _judge(frame, suite).items():
            failures[name] += keys
    if not any(failures.values()) and len(suite) == len(promises([])):
        remember_months(platform.registry, STAGE, marks, months, now=datetime.now(UTC))
    for name, keys in failures.items():
        yield dg.AssetCheckResult(
            check_name=name,
            passed=not keys,
            metadata={
                "rows_judged": rows,
                "months_judged": dg.MetadataValue.json([f"{month:%Y-%m}" for month in months]),
                "rows_failing": len(keys),
                "keys_failing": dg.MetadataValue.json(keys[:_SHOWN_KEYS]),
            },
        )


@dg.asset_check(
    asset=dg.AssetKey(["registry", SCHEMA_REGISTRY.name]),
    name="schema_consumers",
    description="Every version may follow those before it, and every consumer reads what it takes: rwcm schemas check.",
)
def schema_consumers(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    """What `rwcm schemas check` says, as a warning: who breaks is not the fault of what is built."""
    findings = check_registry(platform.registry)
    return dg.AssetCheckResult(
        passed=not findings,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "findings": len(findings),
            "told": dg.MetadataValue.json([f"{found.subject}: {found.message}" for found in findings[:_SHOWN_KEYS]]),
        },
    )


def _bounded(months: Sequence[Month], rows: Mapping[Month | None, int]) -> Iterator[list[Month]]:
    """Yield the months in groups of at most `ROWS_TOGETHER` rows, or single ones beyond that."""
    group: list[Month] = []
    for month in months:
        if group and sum(rows.get(m, 0) for m in [*group, month]) > ROWS_TOGETHER:
            yield group
            group = []
        group.append(month)
    if group:
        yield group


def _frame(platform: Platform, months: Sequence[Month]) -> pl.DataFrame:
    ahead = (pl.col("produced_at") - pl.col("created_at")).dt.total_seconds() / 86_400
    return (
        platform.lake.scan(EVENT_BUS, months=months)
        .with_columns(
            produced_month=pl.col("produced_at").dt.truncate("1mo").dt.strftime("%Y-%m-%d"),
            ahead_days=ahead,
            month=pl.col(MONTH).dt.strftime("%Y-%m-%d"),
            month_number=pl.col(MONTH).dt.strftime("%Y%m").cast(pl.Int64),
        )
        .select("event_id", "topic", "payload", MONTH, "produced_month", "month_number", "content_hash", "ahead_days")
        .collect()
    )


def _judge(frame: pl.DataFrame, suite: dict[str, Promise]) -> dict[str, list[str]]:
    """Return the event ids that break each promise."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    import great_expectations.expectations as expectations

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    batch = (
        context.data_sources.add_pandas("lake")
        .add_dataframe_asset(EVENT_BUS.name)
        .add_batch_definition_whole_dataframe("month")
        .get_batch({"dataframe": frame.to_pandas()})
    )
    stated = gx.ExpectationSuite(
        name=EVENT_BUS.name,
        expectations=[
            getattr(expectations, promise.expectation)(**promise.arguments, meta={"check": name})
            for name, promise in suite.items()
        ],
    )
    results = batch.validate(stated, result_format={"result_format": "COMPLETE", "include_unexpected_rows": False})
    broken: dict[str, list[str]] = {}
    for result in results.results:
        assert result.expectation_config is not None
        name = result.expectation_config.meta["check"]
        positions = (result.result or {}).get("unexpected_index_list") or []
        broken[name] = [] if result.success else [frame["event_id"][position] or "(none)" for position in positions]
        if not result.success and not broken[name]:
            # An expectation that could not be evaluated has not been met.
            broken[name] = ["(not evaluated)"]
    return broken


MAX_REFUSAL_RATE = 0.05
RATE_WINDOW = timedelta(days=7)


@dg.asset_check(
    asset=EVENT_DEAD_LETTER.name,
    description=f"At most {MAX_REFUSAL_RATE:.0%} of the records of the last {RATE_WINDOW.days} days were refused.",
)
def dead_letter_rate(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    """Warn when a producer or a schema has gone wrong: single bad records are normal, a wave of them is not."""
    found = refusal_rate(platform.registry, since=platform.now() - RATE_WINDOW)
    return dg.AssetCheckResult(
        passed=found.rate <= MAX_REFUSAL_RATE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rate": found.rate,
            "records_read": found.records_read,
            "records_rejected": found.records_rejected,
            "batches": found.batches,
            **({"worst_batch_id": found.worst_batch_id} if found.worst_batch_id else {}),
            "way_out": "rwcm dead-letters list; mart dead_letter_reason",
        },
    )


@dg.asset_check(
    asset=RUN_EPISODE.name,
    description="What ran takes the same path again under the version it ran in, from its records alone: rwcm replay.",
    pool="delta_run_episode",
)
def replay_is_exact(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    """Replay the months that changed. A month with a divergence is judged again by the next run."""
    marks = platform.lake.fingerprints(RUN_EPISODE)
    months = sorted(changed_months(platform.registry, REPLAY_STAGE, marks) & marks.keys())
    replays = [
        replay(platform.lake, platform.registry, workflow_id, skills=platform.skills, months=months)
        for workflow_id in workflows_that_ran(platform.lake, months)
    ]
    divergent = [key for found in replays for key in found.divergences["episode_id"]]
    if not divergent:
        remember_months(platform.registry, REPLAY_STAGE, marks, months, now=datetime.now(UTC))
    left_out: Counter[str] = Counter()
    for found in replays:
        left_out.update(found.not_replayable)
    return dg.AssetCheckResult(
        passed=not divergent,
        metadata={
            "episodes_replayed": sum(found.replayed for found in replays),
            "episodes_divergent": len(divergent),
            "not_replayable": dg.MetadataValue.json(dict(left_out)),
            "months_judged": dg.MetadataValue.json([f"{month:%Y-%m}" for month in months]),
            "keys_divergent": dg.MetadataValue.json(divergent[:_SHOWN_KEYS]),
            "way_out": "rwcm replay shows the first divergent step of each, and why",
        },
    )


GATE_CHECKS = {gate: f"gate_{gate}" for gate in GATES}
"""The check of each gate."""

_REASONS_IN_NUMBERS = ("effects", "confidence", "risk")

_WHAT_GATES_PROVE = {
    "contract": "Every proposal can stand beside the registry as it is.",
    "effects": "No proposal can bring about what a policy blocks; an undeclared action counts as all.",
    "confidence": "Every proposal's evidence makes it sure enough.",
    "tests": "Every path of a proposed workflow was run, in a sandbox, to its stated end.",
    "replay": "What happened lately comes out the same each time under a proposed workflow.",
    "risk": "No proposal is riskier than the policies allow.",
}


@dg.multi_asset_check(
    name="publication_gates",
    specs=[
        dg.AssetCheckSpec(
            name,
            asset=PUBLICATION_QUEUE.name,
            blocking=True,
            description=f"{_WHAT_GATES_PROVE[gate]} A refused proposal is a row and a warning; the check fails only "
            "if the gate has not judged one, or one that it refused stands among the approved.",
        )
        for gate, name in GATE_CHECKS.items()
    ],
    can_subset=False,
)
def publication_gates(platform: dg.ResourceParam[Platform]) -> Iterator[dg.AssetCheckResult]:
    """Every gate over what waits in the queue: one decision row per proposal, by which alone it can be published.

    A check gates within one run only, so the rows are what publication asks for.
    """
    done = judge(platform.registry, platform.lake, platform.skills, now=platform.now())
    with platform.registry.read() as connection:
        found = standings(connection, now=platform.now())
    for gate, name in GATE_CHECKS.items():
        said = {one.proposal.publication_id: {d.gate: d for d in one.decisions}.get(gate) for one in found}
        approved = {one.proposal.publication_id for one in found if one.proposal.decision == "approved"}
        unjudged = [proposal for proposal, decision in said.items() if decision is None]
        refused = {proposal: decision for proposal, decision in said.items() if decision and not decision.is_passed}
        is_broken = bool(unjudged or refused.keys() & approved)
        yield dg.AssetCheckResult(
            check_name=name,
            passed=not unjudged and not refused,
            severity=dg.AssetCheckSeverity.ERROR if is_broken else dg.AssetCheckSeverity.WARN,
            metadata={
                "proposals": len(said),
                "judged_now": done.proposals,
                "refused": len(refused),
                "unjudged": dg.MetadataValue.json(unjudged[:_SHOWN_KEYS]),
                "refused_proposals": dg.MetadataValue.json(_told(gate, refused)),
                "way_out": "rwcm registry gates",
            },
        )


def _told(gate: str, refused: Mapping[str, GateDecision]) -> dict[str, str]:
    """Return what was refused and why; a reason that may quote a document, and so a value, is left to the row."""
    shown = list(refused.items())[:_SHOWN_KEYS]
    return {proposal: one.reason if gate in _REASONS_IN_NUMBERS else "see its row" for proposal, one in shown}


CHECKS = (event_bus_suite, dead_letter_rate, schema_consumers, replay_is_exact, publication_gates)
