"""A registry of its own for each test, empty or with the shipped pack, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.database import Registry
from registry.loader import PACK, load_pack
from tests.databases import PostgreSql, postgresql_server

NOW = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The database that a test runs on; each test that asks for a registry runs on both."""
    return str(request.param)


@pytest.fixture
def location(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Where a registry can be opened, which is not there yet on SQLite and current on PostgreSQL."""
    if database == "sqlite":
        yield tmp_path / "registry.db"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def nowhere(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Where no registry is yet."""
    if database == "sqlite":
        yield tmp_path / "new" / "registry.db"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create(is_empty=True)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def registry(location: Path | str) -> Iterator[Registry]:
    opened = Registry.open(location)
    yield opened
    opened.close()


@pytest.fixture
def loaded(registry: Registry) -> Registry:
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    return registry
