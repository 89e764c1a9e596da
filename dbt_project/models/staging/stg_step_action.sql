select
    step_id,
    workflow_id,
    sequence,
    action_type,
    skill_id,
    timeout_ms,
    retries
from {{ lake_table('step_action') }}
