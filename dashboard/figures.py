"""What the dashboard shows, asked of the marts: small frames, however much lies behind them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

from lake.warehouse import read

MOST_MONTHS = 36
MOST_WORKFLOWS = 8
MOST_STEPS = 20
MOST_VARIANTS = 10
MOST_ROWS = 30

_BOUNDS = {
    "months": MOST_MONTHS,
    "workflows": MOST_WORKFLOWS,
    "steps": MOST_STEPS,
    "variants": MOST_VARIANTS,
    "rows": MOST_ROWS,
}

_RECENT = """
create temp table recent as
select distinct month from marts.workflow_kpi_monthly
where month > (select max(month) from marts.workflow_kpi_monthly) - to_months($months)
"""

_LARGEST = """
create temp table largest as
select workflow_id from marts.workflow_kpi_monthly semi join recent using (month)
group by workflow_id order by sum(episodes) desc, workflow_id limit $workflows
"""

TOTALS = """
select
    month,
    sum(episodes)::bigint as episodes,
    sum(succeeded) / sum(episodes) as success_rate,
    sum(episodes_within_slo) / sum(episodes) filter (where slo_latency_ms is not null) as slo_adherence,
    sum(cost_micros) / 1e6 / sum(episodes) as cost_per_episode
from marts.workflow_kpi_monthly semi join recent using (month)
group by month
order by month
"""

MONTHLY = """
select
    workflow_id, month, episodes, success_rate, error_rate, slo_adherence,
    latency_ms_p50 / 1000 as p50_s, latency_ms_p95 / 1000 as p95_s
from marts.workflow_kpi_monthly semi join recent using (month) semi join largest using (workflow_id)
order by workflow_id, month
"""

HEALTH = """
select
    workflow_id, month, episodes, success_rate, error_rate, max_error_rate, is_error_slo_met, latency_ms_p50,
    latency_ms_p95, slo_latency_ms, slo_adherence
from marts.workflow_kpi_monthly
qualify row_number() over (partition by workflow_id order by month desc) = 1
order by coalesce(is_error_slo_met, true), month desc, episodes desc, workflow_id
limit $rows
"""

STEPS = """
select
    workflow_id || ' · ' || activity as step,
    count(*) as step_runs,
    count(*) filter (where status in ('failed', 'timeout')) / count(*) as failure_share,
    quantile_cont(latency_ms, 0.95) / 1000 as p95_s,
    sum(latency_ms) / 1000 as total_s
from marts.mv_step_telemetry semi join recent using (month)
where latency_ms is not null
group by workflow_id, activity
order by total_s desc, step
limit $steps
"""

VARIANTS = """
select
    workflow_id,
    rank,
    array_to_string(from_json(activities, '["varchar"]'), ' → ') as path,
    steps, episodes, share, latency_ms_p50 / 1000 as p50_s, success_rate
from marts.workflow_variant semi join largest using (workflow_id)
where rank <= $variants
order by workflow_id, rank
"""

PROPOSALS = """
select
    publication_id, proposal_type, proposal_body, confidence, risk_score, decision, proposed_by, created_at,
    expires_at
from marts.proposal
order by decision <> 'pending', created_at desc, publication_id
limit $rows
"""

INTAKE = """
select
    kind,
    sum(records_read)::bigint as read,
    sum(records_accepted)::bigint as accepted,
    sum(records_duplicate)::bigint as duplicate,
    sum(records_rejected)::bigint as rejected,
    count(*) as batches,
    count(*) filter (where not is_closed) as not_closed
from marts.ingest_accounting
group by kind
order by kind
"""

DEAD_LETTERS = """
select rule, coalesce(topic, 'no topic') as topic, sum(records)::bigint as records, sum(records_open)::bigint as open
from marts.dead_letter_reason
group by rule, topic
order by records desc, rule, topic
limit $rows
"""

BREAKING = """
select consumer_id, subject, version, reason
from marts.schema_consumer_matrix
where is_breaking
order by consumer_id, subject, version
limit $rows
"""

REFUSALS = """
select workflow_id, topic, schema_version, rule, sum(events)::bigint as events
from marts.trigger_refusal_reason
group by workflow_id, topic, schema_version, rule
order by events desc, workflow_id, topic
limit $rows
"""

COUNTS = """
select
    (select count(*) from marts.proposal where decision = 'pending') as proposals_waiting,
    (select min(expires_at) from marts.proposal where decision = 'pending') as next_expiry,
    (select coalesce(sum(records_open), 0) from marts.dead_letter_reason)::bigint as dead_letters_open,
    (select count(*) from marts.audit_trail where is_denied) as denials,
    (select count(*) from marts.audit_trail) as audit_events
"""


@dataclass(frozen=True)
class Figures:
    """The frames of the dashboard, each bounded by the `MOST_` of its kind.

    Attributes:
        as_of: when the warehouse was published, in UTC.
        totals: per month over all workflows: episodes, rates, cost in currency units.
        monthly: per month of the largest workflows: rates, latencies in seconds.
        health: the newest month of each workflow with its objectives, those that miss theirs first.
        steps: the steps that took most time in the months shown.
        variants: the most frequent paths of the largest workflows.
        proposals: what was proposed, what waits first.
        intake: accounting of records by kind of batch.
        dead_letters: refusals by rule and topic.
        breaking: consumers that a registered schema version breaks.
        refusals: events that triggers refused.
        counts: one row of single numbers.
    """

    as_of: datetime
    totals: pl.DataFrame
    monthly: pl.DataFrame
    health: pl.DataFrame
    steps: pl.DataFrame
    variants: pl.DataFrame
    proposals: pl.DataFrame
    intake: pl.DataFrame
    dead_letters: pl.DataFrame
    breaking: pl.DataFrame
    refusals: pl.DataFrame
    counts: pl.DataFrame


def look_up(served: Path) -> Figures:
    """Ask the published warehouse.

    Raises:
        WarehouseMissing: nothing has been published.
    """
    with read(served) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        for prepared in (_RECENT, _LARGEST):
            warehouse.execute(prepared, _named(prepared))
        return Figures(
            as_of=datetime.fromtimestamp(served.stat().st_mtime, tz=UTC),
            totals=_ask(warehouse, TOTALS),
            monthly=_ask(warehouse, MONTHLY),
            health=_ask(warehouse, HEALTH),
            steps=_ask(warehouse, STEPS),
            variants=_ask(warehouse, VARIANTS),
            proposals=_ask(warehouse, PROPOSALS),
            intake=_ask(warehouse, INTAKE),
            dead_letters=_ask(warehouse, DEAD_LETTERS),
            breaking=_ask(warehouse, BREAKING),
            refusals=_ask(warehouse, REFUSALS),
            counts=_ask(warehouse, COUNTS),
        )


def _ask(warehouse: duckdb.DuckDBPyConnection, statement: str) -> pl.DataFrame:
    return warehouse.execute(statement, _named(statement)).pl()


def _named(statement: str) -> dict[str, int]:
    """Return the bounds that a statement names."""
    return {name: bound for name, bound in _BOUNDS.items() if f"${name}" in statement}
