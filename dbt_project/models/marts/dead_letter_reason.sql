{{ config(tags=['rollups']) }}

select
    month,
    topic,
    rule,
    count(*) as records
from {{ ref('stg_event_dead_letter') }}
group by month, topic, rule
