"""A registry of its own for each test, on SQLite and on PostgreSQL."""

from tests.registry.conftest import (  # noqa: F401
    database,
    loaded,
    location,
    now,
    postgresql,
    registry,
    sqlite_with_pack,
)
