{{
    config(
        materialized='incremental',
        incremental_strategy='microbatch',
        event_time='episode_month',
        batch_size='month',
        begin='2000-01-01',
        tags=['monthly']
    )
}}

with first_attempts as (
    select
        episode_id,
        count(*) as steps,
        {{ json_list('activity', order_by='seq, step_run_id') }} as activities
    from {{ ref('stg_step_run') }}
    where attempt = 1
    group by episode_id
),

closed_episodes as (
    select
        episode_id,
        workflow_id,
        month as episode_month,
        latency_ms,
        outcome,
        started_at
    from {{ ref('stg_run_episode') }}
    where outcome <> 'running'
),

sequenced as (
    select
        closed_episodes.episode_id,
        closed_episodes.workflow_id,
        closed_episodes.episode_month,
        coalesce(first_attempts.activities, '[]') as activities,
        coalesce(first_attempts.steps, 0) as steps,
        closed_episodes.latency_ms,
        closed_episodes.outcome,
        closed_episodes.started_at
    from closed_episodes
    left join first_attempts on closed_episodes.episode_id = first_attempts.episode_id
)

select
    episode_id,
    workflow_id,
    episode_month,
    {{ digest('activities') }} as variant_id,
    activities,
    steps,
    latency_ms,
    outcome,
    started_at
from sequenced
