{{ config(tags=['rollups']) }}

with told as (

    select
        event_id,
        topic,
        produced_at,
        {{ json_text('audit', 'actor') }} as actor,
        {{ json_text('audit', 'subject_id') }} as subject_id,
        {{ json_text('audit', 'role_id') }} as role_id,
        {{ json_text('audit', 'action') }} as attempted,
        {{ json_text('audit', 'change') }} as made,
        {{ json_text('audit', 'object_type') }} as object_type,
        {{ json_text('audit', 'object_id') }} as object_id,
        {{ json_text('audit', 'token_id') }} as token_id,
        {{ json_text('audit', 'version') }} as object_version,
        {{ json_text('audit', 'publication_id') }} as publication_id,
        {{ json_text('audit', 'reason') }} as reason
    from {{ ref('stg_event_bus') }}
    where audit is not null

)

select
    event_id,
    produced_at as occurred_at,
    topic,
    coalesce(actor, subject_id) as actor,
    coalesce(attempted, made) as action,
    topic = 'access.denied' as is_denied,
    case when topic = 'access.token' then 'access_token' else object_type end as object_type,
    coalesce(object_id, token_id) as object_id,
    object_version,
    case when topic = 'access.token' then subject_id end as bearer,
    role_id,
    publication_id,
    reason
from told
