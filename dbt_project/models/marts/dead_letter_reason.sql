{{ config(tags=['rollups']) }}

with letters as (

    select * from {{ ref('stg_event_dead_letter') }}

),

resolutions as (

    select * from {{ ref('stg_dead_letter_resolution') }}

)

select
    letters.month,
    letters.topic,
    letters.producer_id,
    letters.rule,
    count(*) as records,
    count(case when resolutions.action is null then 1 end) as records_open,
    count(case when resolutions.action = 'repaired' then 1 end) as records_repaired,
    count(case when resolutions.action = 'replayed' then 1 end) as records_replayed,
    count(case when resolutions.action = 'dismissed' then 1 end) as records_dismissed
from letters
left join resolutions on letters.dead_letter_id = resolutions.dead_letter_id
group by letters.month, letters.topic, letters.producer_id, letters.rule
