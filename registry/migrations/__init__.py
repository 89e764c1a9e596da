"""Migrations of the registry database, one file per revision; `registry.schema` runs them.

A change of `lake/tables` that changes a registry table needs a revision: the next number in `versions/`, written with
Alembic's operations and `shapes`, up and down, for SQLite and PostgreSQL; and HEAD here. A test compares what the
revisions make with what `lake/tables` states, in both directions.
"""

HEAD = "0008"
"""The present revision. Stated here, so that opening a current registry reads it without importing Alembic."""
