select
    dead_letter_id,
    action,
    reason,
    created_at as resolved_at,
    created_by as resolved_by
from {{ lake_table('dead_letter_resolution') }}
