{{ config(tags=['rollups']) }}

select
    month,
    topic,
    workflow_id,
    schema_version,
    rule,
    count(*) as events
from {{ ref('stg_trigger_refusal') }}
group by month, topic, workflow_id, schema_version, rule
