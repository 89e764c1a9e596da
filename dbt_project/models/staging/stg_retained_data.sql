select
    table_name,
    retention,
    month_on as month,
    recorded_on,
    oldest_on,
    rows,
    fingerprint
from {{ lake_table('retained_data') }}
