select
    consumer_id,
    subject,
    version,
    is_latest,
    is_declared,
    is_allowed,
    reads_as,
    is_compatible,
    reason
from {{ lake_table('schema_consumer') }}
