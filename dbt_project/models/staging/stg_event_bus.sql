select
    event_id,
    topic,
    schema_version,
    produced_at,
    producer_id,
    case
        when
            topic in (
                'registry.changed', 'access.denied', 'access.token', 'retention.hold', 'retention.purged',
                'effect.resolved', 'handoff.changed'
            )
            then payload
    end as audit,
    content_hash,
    batch_id,
    created_at,
    month
from {{ lake_table('event_bus') }}
