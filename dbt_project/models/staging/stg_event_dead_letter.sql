select
    dead_letter_id,
    rule,
    path,
    topic,
    event_id,
    producer_id,
    schema_version,
    file_name,
    received_at,
    batch_id,
    month
from {{ lake_table('event_dead_letter') }}
