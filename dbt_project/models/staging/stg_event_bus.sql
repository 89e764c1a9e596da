select
    event_id,
    topic,
    schema_version,
    produced_at,
    producer_id,
    content_hash,
    batch_id,
    created_at,
    month
from {{ lake_table('event_bus') }}
