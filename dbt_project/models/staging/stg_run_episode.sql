select
    episode_id,
    workflow_id,
    workflow_version,
    trigger_id,
    origin,
    case_id,
    started_at,
    ended_at,
    outcome,
    steps,
    latency_ms,
    cost_micros,
    time_source,
    batch_id,
    month
from {{ lake_table('run_episode') }}
