"""`rwcm database`: says where the schema is, brings it up, takes it back after a question."""

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from lake.home import REGISTRY_URL, Home
from registry.database import Registry
from registry.migrations import HEAD

RELEASE = Path(__file__).parents[1] / "registry" / "data" / "release_0_1_0.sql"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose registry release 0.1.0 made."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path))
    monkeypatch.delenv(REGISTRY_URL, raising=False)
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        connection.executescript(RELEASE.read_text())
    return Home(tmp_path)


def rwcm(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["database", *arguments], input=typed)


def revision() -> str | None:
    found: str | None = json.loads(rwcm("status", "--json").output)["revision"]
    return found


def test_a_registry_is_brought_up_and_taken_back_once_that_is_confirmed(home: Home) -> None:
    """An operator updates before the platform does, and goes back when the update disappoints."""
    assert revision() is None
    assert "it was at 0001" in rwcm("upgrade").output
    assert revision() == HEAD
    refused = rwcm("downgrade", "0001", typed="n\n")
    assert refused.exit_code == 2
    assert "table outbox with 0 rows" in refused.output
    assert "column object_version.lineage" in refused.output
    assert revision() == HEAD
    assert rwcm("downgrade", "0001", "--yes").exit_code == 0
    assert revision() == "0001"
    assert rwcm("downgrade", "0001", "--yes").exit_code == 2
    assert rwcm("downgrade", "0042", "--yes").exit_code == 2
    Registry.open(home.registry).close()
    assert revision() == HEAD


def test_a_home_without_a_registry_is_not_given_one_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped RWCM_HOME would leave an empty registry behind."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path))
    monkeypatch.delenv(REGISTRY_URL, raising=False)
    assert rwcm("status").exit_code == 2
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(REGISTRY_URL, "postgresql://rwcm@db.internal/rwcm")
    assert Home(tmp_path).registry == "postgresql://rwcm@db.internal/rwcm"
    assert Home(tmp_path).has_registry
