select
    trigger_id,
    event_id,
    workflow_id,
    topic,
    schema_version,
    event_month as month,
    rule
from {{ lake_table('trigger_refusal') }}
