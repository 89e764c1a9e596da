select
    workflow_id,
    workflow_name,
    objective,
    constraints,
    responsible_role_id,
    status,
    version,
    updated_at
from {{ lake_table('workflow') }}
