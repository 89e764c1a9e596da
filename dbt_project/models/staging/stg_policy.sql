select
    policy_id,
    scope,
    precedence,
    {{ json_text('spec', 'retention_days') }} as retention_days,
    {{ json_text('spec', 'min_days') }} as min_days,
    effective_from,
    effective_to
from {{ lake_table('policy') }}
