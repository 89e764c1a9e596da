{{
    config(
        materialized='incremental',
        incremental_strategy='microbatch',
        event_time='month',
        batch_size='month',
        begin='2000-01-01',
        tags=['monthly']
    )
}}

with objectives as (
    select
        workflow_id,
        {{ json_number('constraints', 'latency_ms') }} as slo_latency_ms,
        {{ json_number('constraints', 'max_error_rate') }} as max_error_rate
    from {{ ref('stg_workflow') }}
),

closed_episodes as (
    select
        episodes.workflow_id,
        episodes.month,
        episodes.outcome,
        episodes.latency_ms,
        episodes.cost_micros,
        episodes.started_at,
        objectives.slo_latency_ms,
        objectives.max_error_rate
    from {{ ref('stg_run_episode') }} as episodes
    left join objectives on episodes.workflow_id = objectives.workflow_id
    where episodes.outcome <> 'running'
),

measured as (
    select
        workflow_id,
        month,
        count(*) as episodes,
        count(case when outcome = 'success' then 1 end) as succeeded,
        count(case when outcome = 'partial' then 1 end) as partial,
        count(case when outcome = 'failed' then 1 end) as failed,
        count(latency_ms) as timed,
        count(case when latency_ms <= slo_latency_ms then 1 end) as within_slo,
        {{ quantile('latency_ms', 0.5) }} as latency_ms_p50,
        {{ quantile('latency_ms', 0.9) }} as latency_ms_p90,
        {{ quantile('latency_ms', 0.95) }} as latency_ms_p95,
        {{ quantile('latency_ms', 0.99) }} as latency_ms_p99,
        max(slo_latency_ms) as slo_latency_ms,
        max(max_error_rate) as max_error_rate,
        sum(cost_micros) as cost_micros,
        min(started_at) as first_started_at,
        max(started_at) as last_started_at
    from closed_episodes
    group by workflow_id, month
)

select
    workflow_id,
    month,
    episodes,
    succeeded,
    partial,
    failed,
    cast(succeeded as double) / episodes as success_rate,
    cast(failed as double) / episodes as error_rate,
    latency_ms_p50,
    latency_ms_p90,
    latency_ms_p95,
    latency_ms_p99,
    slo_latency_ms,
    max_error_rate,
    case when slo_latency_ms is not null then within_slo end as episodes_within_slo,
    case
        when slo_latency_ms is not null and timed > 0 then cast(within_slo as double) / timed
    end as slo_adherence,
    cast(failed as double) / episodes <= max_error_rate as is_error_slo_met,
    cast(cost_micros as bigint) as cost_micros,
    first_started_at,
    last_started_at
from measured
