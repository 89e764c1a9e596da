{{ config(tags=['rollups']) }}

select
    consumer_id,
    subject,
    version,
    is_latest,
    is_declared,
    is_allowed,
    reads_as,
    is_compatible,
    (is_latest and not is_allowed) or (is_allowed and not is_compatible) as is_breaking,
    reason
from {{ ref('stg_schema_consumer') }}
