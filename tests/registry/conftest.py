"""A registry of its own for each test, empty or with the shipped pack."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.database import Registry
from registry.loader import PACK, load_pack

NOW = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "registry.db")
    yield opened
    opened.close()


@pytest.fixture
def loaded(registry: Registry) -> Registry:
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    return registry
