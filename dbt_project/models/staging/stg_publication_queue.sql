select
    publication_id,
    proposal_type,
    proposal_body,
    confidence,
    risk_score,
    risk_band,
    decision,
    proposed_by,
    decided_by,
    decided_at,
    published_object_id,
    created_at,
    expires_at
from {{ lake_table('publication_queue') }}
