{{ config(tags=['rollups']) }}

select
    publication_id,
    proposal_type,
    proposal_body,
    confidence,
    risk_score,
    decision,
    proposed_by,
    created_at,
    expires_at
from {{ ref('stg_publication_queue') }}
