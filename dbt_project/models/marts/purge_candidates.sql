{{ config(tags=['rollups']) }}

with classes as (

    select 'events' as retention
    union all
    select 'telemetry' as retention
    union all
    select 'pii' as retention

),

stated as (

    select
        stg_policy.policy_id,
        classes.retention,
        case stg_policy.precedence
            when 'statutory' then 0
            when 'contractual' then 1
            when 'corporate' then 2
            when 'domain' then 3
            else 4
        end as precedence_rank,
        case classes.retention
            when 'events' then {{ json_number('stg_policy.retention_days', 'events') }}
            when 'telemetry' then {{ json_number('stg_policy.retention_days', 'telemetry') }}
            when 'pii' then {{ json_number('stg_policy.retention_days', 'pii') }}
        end as max_days,
        case classes.retention
            when 'events' then {{ json_number('stg_policy.min_days', 'events') }}
            when 'telemetry' then {{ json_number('stg_policy.min_days', 'telemetry') }}
            when 'pii' then {{ json_number('stg_policy.min_days', 'pii') }}
        end as min_days
    from {{ ref('stg_policy') }} as stg_policy
    cross join classes
    where
        stg_policy.scope in ('data', 'compliance')
        and (stg_policy.effective_from is null or stg_policy.effective_from <= {{ today() }})
        and (stg_policy.effective_to is null or stg_policy.effective_to > {{ today() }})

),

maxima as (

    select
        policy_id,
        retention,
        precedence_rank,
        cast(max_days as integer) as max_days
    from stated
    where max_days between 1 and 36500 and max_days = floor(max_days)

),

minima as (

    select
        policy_id,
        retention,
        precedence_rank,
        cast(min_days as integer) as min_days
    from stated
    where min_days between 1 and 36500 and min_days = floor(min_days)

),

-- What is to be kept longer by a policy of the same or a higher precedence beats a maximum.
beaten as (

    select
        maxima.retention,
        maxima.policy_id,
        maxima.max_days,
        minima.policy_id as kept_by,
        coalesce(minima.min_days, maxima.max_days) as limit_days,
        row_number() over (
            partition by maxima.retention, maxima.policy_id
            order by minima.min_days desc nulls last, minima.policy_id asc
        ) as rank_of_minimum
    from maxima
    left join minima
        on
            maxima.retention = minima.retention
            and maxima.precedence_rank >= minima.precedence_rank
            and maxima.max_days < minima.min_days

),

ranked as (

    select
        retention,
        policy_id,
        max_days,
        kept_by,
        limit_days,
        row_number() over (partition by retention order by limit_days, max_days, policy_id) as rank_of_limit
    from beaten
    where rank_of_minimum = 1

),

dated as (

    select
        retained.table_name,
        retained.retention,
        retained.month,
        retained.recorded_on,
        retained.oldest_on,
        retained.rows,
        retained.fingerprint,
        ranked.policy_id,
        ranked.max_days,
        ranked.kept_by,
        ranked.limit_days,
        {{ add_days('retained.recorded_on', 'ranked.limit_days') }} < {{ today() }} as is_due,
        {{ add_days('retained.recorded_on', 'ranked.max_days') }} < {{ today() }} as is_past
    from {{ ref('stg_retained_data') }} as retained
    inner join ranked on retained.retention = ranked.retention
    where ranked.rank_of_limit = 1 and retained.rows > 0

),

chosen as (

    select
        *,
        max(case when is_due then 1 else 0 end) over (partition by table_name, retention, month) = 1 as has_due
    from dated
    where is_past

),

grouped as (

    select
        table_name,
        month,
        retention,
        policy_id,
        limit_days,
        max_days,
        kept_by,
        has_due,
        min(fingerprint) as fingerprint,
        cast(sum(rows) as bigint) as rows,
        min(oldest_on) as oldest_on,
        max(recorded_on) as through_on
    from chosen
    where is_due or not has_due
    group by table_name, month, retention, policy_id, limit_days, max_days, kept_by, has_due

),

held as (

    select
        grouped.table_name,
        grouped.month,
        grouped.retention,
        {{ json_list('holds.hold_id', 'holds.hold_id') }} as held_by
    from grouped
    inner join {{ ref('stg_legal_hold') }} as holds
        on
            holds.table_name in ('*', grouped.table_name)
            and grouped.month >= holds.first_month
            and grouped.month <= holds.last_month
    where holds.released_at is null
    group by grouped.table_name, grouped.month, grouped.retention

)

select
    grouped.table_name,
    grouped.month,
    grouped.retention,
    grouped.policy_id,
    grouped.limit_days,
    grouped.max_days,
    grouped.kept_by,
    grouped.rows,
    grouped.oldest_on,
    grouped.through_on,
    {{ add_days('grouped.through_on', 'grouped.limit_days + 1') }} as due_on,
    held.held_by,
    case
        when held.held_by is not null then 'held'
        when grouped.has_due then 'purge'
        else 'kept_min_days'
    end as decision,
    grouped.fingerprint,
    {{ today() }} as as_of
from grouped
left join held
    on
        grouped.table_name = held.table_name
        and grouped.month = held.month
        and grouped.retention = held.retention
