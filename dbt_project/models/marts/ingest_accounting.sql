{{ config(tags=['rollups']) }}

select
    batch_id,
    kind,
    source,
    state,
    records_read,
    records_accepted,
    records_rejected,
    records_duplicate,
    records_read = records_accepted + records_rejected + records_duplicate as is_closed,
    opened_at,
    closed_at
from {{ ref('stg_batch') }}
