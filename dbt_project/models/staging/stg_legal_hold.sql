select
    hold_id,
    table_name,
    first_month,
    last_month,
    reason,
    released_at,
    created_at,
    created_by
from {{ lake_table('legal_hold') }}
