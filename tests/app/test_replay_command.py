"""`rwcm replay`, as a user calls it."""

import json
from pathlib import Path

import pytest
from deltalake import DeltaTable

from lake.home import Home
from lake.store import Lake
from lake.tables import RUN_EPISODE
from tests.app.test_cli import rwcm, said


def test_what_ran_is_replayed_without_a_difference(world: Home) -> None:
    """The first thing a user tries would fail."""
    done = rwcm(world.root, "replay")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = Lake(world.lake).scan(RUN_EPISODE).filter(workflow_id="WF-FIN-001").collect()
    assert "WF-FIN-001" in done.stdout and f"{rows.height:,}" in done.stdout


def test_a_difference_is_told_with_its_place_and_ends_in_exit_code_1(copied_world: Home) -> None:
    """A build that depends on it would pass over a changed record."""
    table = DeltaTable(str(Lake(copied_world.lake).path(RUN_EPISODE)))
    episode_id = Lake(copied_world.lake).scan(RUN_EPISODE).filter(outcome="success").collect()["episode_id"][0]
    table.update(predicate=f"episode_id = '{episode_id}'", updates={"outcome": "'failed'"})
    done = rwcm(copied_world.root, "replay", "--workflow", "WF-FIN-001")
    assert done.returncode == 1
    assert episode_id in done.stdout and "outcome" in done.stdout
    (found,) = json.loads(rwcm(copied_world.root, "replay", "--workflow", "WF-FIN-001", "--json").stdout)
    assert [row["episode_id"] for row in found["divergences"]] == [episode_id]


def test_another_version_is_a_question_and_no_fault(world: Home) -> None:
    """A comparison of versions would fail a script for finding what it looked for."""
    done = rwcm(world.root, "replay", "--workflow", "WF-FIN-001", "--version", "1.3.0", "--since", "2026-01-01")
    assert done.returncode == 0, done.stderr
    assert "divergent" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--workflow", "WF-XXX-001"], "WF-XXX-001"),
        (["--workflow", "WF-FIN-001", "--version", "9.9.9"], "9.9.9"),
        (["--version", "1.3.0"], "--workflow"),
        (["--since", "yesterday"], "2025-03-01"),
        (["--since", "2025-03-01T09:00"], "zone"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_words(world: Home, arguments: list[str], word: str) -> None:
    """A typing error would end in a traceback, or replay something else."""
    done = rwcm(world.root, "replay", *arguments)
    assert done.returncode == 2
    assert word in done.stderr and "Traceback" not in done.stderr


def test_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    """A command typed too early would make a registry as a side effect."""
    done = rwcm(tmp_path, "replay")
    assert done.returncode == 2
    assert "make run" in said(done)[0]
