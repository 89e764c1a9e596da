"""A home of its own for each test, with the shipped pack and empty tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.platform import Platform
from tests.senders import open_platform


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    for setting in ("RWCM_FIRST_MONTH", "RWCM_REGISTRY_URL"):
        monkeypatch.delenv(setting, raising=False)
    opened = open_platform(tmp_path / "home")
    yield opened
    opened.close()
