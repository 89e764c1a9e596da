"""What the registry needs of PostgreSQL beyond its tables: functions, the vector type, partitions, one writer."""

import re
from collections.abc import Iterable

import sqlalchemy as sa

from lake.months import Month, next_month

_LOOK = """
CREATE OR REPLACE FUNCTION {name}(document json, VARIADIC path text[]) RETURNS {returns}
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $body$
DECLARE
  found json := NULL;
BEGIN
  found := json_extract_path(document, VARIADIC path);
  RETURN CASE WHEN json_typeof(found) = '{json_type}' THEN (found #>> '{{}}')::{returns} END;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;  -- out of range, or a character that text cannot hold: the row is worth more than the column
END
$body$
"""
_FUNCTIONS = {
    "rwcm_json_text": ("text", "string"),
    "rwcm_json_integer": ("bigint", "number"),
    "rwcm_json_number": ("double precision", "number"),
}
FUNCTIONS = tuple(
    _LOOK.format(name=name, returns=returns, json_type=json_type) for name, (returns, json_type) in _FUNCTIONS.items()
)
"""What computed columns call: the value at a path if it has the type, else null. A plain cast would refuse the row.

Their results are stored, so one that computes something else needs a revision that writes the columns again.
"""


class VectorMissing(RuntimeError):
    """The server has no pgvector, or this user may not switch it on."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the registry's embeddings need pgvector ({reason}); "
            "install it on the server and run CREATE EXTENSION vector in the database, as an administrator"
        )


def ensure_functions(connection: sa.Connection) -> None:
    """Define the functions and the vector type that the tables need.

    Raises:
        VectorMissing: pgvector is not there.
    """
    for function in FUNCTIONS:
        connection.exec_driver_sql(function)
    if connection.scalar(sa.text("SELECT count(*) FROM pg_extension WHERE extname = 'vector'")):
        return
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION vector")
    except sa.exc.DBAPIError as error:
        raise VectorMissing(str(error.orig).splitlines()[0]) from None


def drop_functions(connection: sa.Connection) -> None:
    """Take the functions back. The extension stays: others may use it."""
    for name in _FUNCTIONS:
        connection.exec_driver_sql(f"DROP FUNCTION {name}(json, text[])")


def partition(table: str, month: Month) -> str:
    """Return the name of a table's partition of a month."""
    return f"{table}_{month.year:04}_{month.month:02}"


def partitions(connection: sa.Connection, table: str) -> dict[Month, str]:
    """Return the partitions that a table has, by month."""
    names = connection.scalars(
        sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table)"),
        {"table": table},
    )
    found = ((re.search(r"_(\d{4})_(\d{2})$", name), name) for name in names)
    return {Month(int(match[1]), int(match[2]), 1): name for match, name in sorted(found, key=str) if match}


def ensure_partitions(connection: sa.Connection, table: str, months: Iterable[Month]) -> None:
    """Create the partitions of `months` that are not there.

    There is no default partition: it would take rows of a month that has none, and that month could then never get
    one without moving them; and a drop of the month would miss them.
    """
    present = partitions(connection, table)
    for month in sorted(set(months) - present.keys()):
        connection.exec_driver_sql(
            f"CREATE TABLE {partition(table, month)} PARTITION OF {table} "
            f"FOR VALUES FROM ('{month.isoformat()}') TO ('{next_month(month).isoformat()}')"
        )


def drop_partition(connection: sa.Connection, table: str, month: Month) -> None:
    """Drop a month of a table at once, whatever its size."""
    if month in partitions(connection, table):
        connection.exec_driver_sql(f"DROP TABLE {partition(table, month)}")
