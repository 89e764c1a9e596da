"""A registry of its own for each test, empty or with the shipped pack, on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from registry.database import Registry
from registry.loader import BOOTSTRAP, PACK, load_pack
from tests.databases import EMPTY, LOADED, NOW, PostgreSql, postgresql_server


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_with_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that registries with the pack are copied from: loading it takes longer than most tests."""
    path = tmp_path_factory.mktemp("pack") / "registry.db"
    registry = Registry.open(path)
    load_pack(registry, PACK, actor=BOOTSTRAP, now=NOW)
    registry.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The database that a test runs on; each test that asks for a registry runs on both."""
    return str(request.param)


@pytest.fixture
def location(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Where a registry of the test can be opened; with the pack, if the test asks for one that is loaded."""
    has_pack = "loaded" in request.fixturenames
    if database == "sqlite":
        if has_pack:
            shutil.copy(request.getfixturevalue("sqlite_with_pack"), tmp_path / "registry.db")
        yield tmp_path / "registry.db"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create(LOADED if has_pack else EMPTY)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def nowhere(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Where no registry is yet."""
    if database == "sqlite":
        yield tmp_path / "new" / "registry.db"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create(None)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def registry(location: Path | str) -> Iterator[Registry]:
    opened = Registry.open(location)
    yield opened
    opened.close()


@pytest.fixture
def loaded(registry: Registry) -> Registry:
    """The registry with the shipped pack, which `location` put there."""
    return registry
