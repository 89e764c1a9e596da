"""Fixtures that several rooms' tests share: one small world, made once, and copies of it to write to."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from dagster_project.instance import run_job
from lake.home import Home

EVENTS, SEED = 3_000, 11

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def demonstrate(home: Home, *, events: int = EVENTS, seed: int = SEED) -> dict[str, dict[str, object]]:
    """Run the demonstration job on `home`; return the metadata of what was materialised, by asset."""
    config = {"ops": {"demonstration_stream": {"config": {"events": events, "seed": seed}}}}
    return {key: dict(found) for key, found in run_job(home.prepare(), "demonstration", config=config).items()}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after one run of the demonstration, to be read and not written; the workers of a run share it."""
    folder = tmp_path_factory.getbasetemp()
    root = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    home = Home(root / "world" / "home")
    with FileLock(root / "world.lock"):
        if not home.served_db.exists():
            demonstrate(home)
    return home


@pytest.fixture
def copied_world(world: Home, tmp_path: Path) -> Home:
    """The same home, to be written."""
    # What SQLite keeps beside a database while somebody looks at it comes and goes; the world is written by nobody.
    passing = shutil.ignore_patterns("*-shm", "*-wal", "*-journal")
    return Home(Path(shutil.copytree(world.root, tmp_path / "home", symlinks=True, ignore=passing)))
