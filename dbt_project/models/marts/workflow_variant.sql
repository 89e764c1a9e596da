{{ config(tags=['rollups']) }}

with counted as (
    select
        workflow_id,
        variant_id,
        activities,
        steps,
        count(*) as episodes,
        count(case when outcome = 'success' then 1 end) as succeeded,
        min(started_at) as first_started_at,
        max(started_at) as last_started_at,
        {{ quantile('latency_ms', 0.5) }} as latency_ms_p50
    from {{ ref('int_episode_variant') }}
    group by workflow_id, variant_id, activities, steps
)

select
    workflow_id,
    variant_id,
    activities,
    steps,
    episodes,
    cast(episodes as double) / sum(episodes) over (partition by workflow_id) as share,
    row_number() over (partition by workflow_id order by episodes desc, variant_id asc) as rank,
    first_started_at,
    last_started_at,
    latency_ms_p50,
    cast(succeeded as double) / episodes as success_rate
from counted
