select
    reflection_id,
    revision,
    source_type,
    source_id,
    workflow_id,
    about_month,
    insight_type,
    status,
    confidence,
    created_at,
    month
from {{ lake_table('reflection_log') }}
