select
    batch_id,
    kind,
    state,
    source,
    records_read,
    records_accepted,
    records_rejected,
    records_duplicate,
    opened_at,
    closed_at
from {{ lake_table('batch') }}
