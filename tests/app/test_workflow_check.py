"""`rwcm workflow check` as an author meets it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from lake.home import REGISTRY_URL
from registry.database import Registry
from registry.loader import PACK


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """WF-FIN-001, in a home that holds nothing yet."""
    monkeypatch.setenv("RWCM_HOME", str(tmp_path / "home"))
    return dict(json.loads((PACK / "workflows/WF-FIN-001.json").read_text()))


def check(folder: Path, document: Any, *options: str) -> Result:
    path = folder / "workflow.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return CliRunner().invoke(main, ["workflow", "check", str(path), *options])


def test_a_sound_workflow_is_told_to_be_so_and_against_what(document: dict[str, Any], tmp_path: Path) -> None:
    """`ok` alone does not say whether anything was looked at."""
    done = check(tmp_path, document)
    assert done.exit_code == 0, done.stderr
    assert "ok: WF-FIN-001 1.3.0: 5 steps, 1 trigger, 6 expressions" in done.stdout
    assert "15 skills" in done.stdout
    assert "the shipped pack" in done.stdout
    assert not (tmp_path / "home").exists(), "checking writes nothing"


def test_every_fault_is_printed_with_its_place_and_way_out(document: dict[str, Any], tmp_path: Path) -> None:
    """One attempt, all faults, and a code that a script can act on."""
    document["steps"][0]["parameters"]["file_uri"] = "${trigger.sender}"
    document["steps"][1]["next_step_logic"]["if"][0]["expr"] = "passed == true"
    document["genome"]["note"] = "postgresql://rwcm:" + "hunter2" + "@db/rwcm"
    done = check(tmp_path, document)
    assert done.exit_code == 2
    assert "/steps/0/parameters/file_uri: " in done.stderr and "has(trigger.sender)" in done.stderr
    assert "/steps/1/next_step_logic/if/0/expr: output.passed is in no such payload" in done.stderr
    assert "/genome/note: " in done.stderr and "hunter2" not in done.stderr
    assert "WF-FIN-001 1.3.0 has" in done.stderr


def test_a_program_reads_the_faults_as_json(document: dict[str, Any], tmp_path: Path) -> None:
    """An editor marks the places."""
    document["steps"][0]["skill_id"] = "SK-NONE"
    done = check(tmp_path, document, "--json")
    assert done.exit_code == 2
    (fault,) = [fault for fault in json.loads(done.stdout)["faults"] if fault["path"] == "/steps/0/skill_id"]
    assert (fault["document"], fault["problem"]) == ("workflow.json", "there is no skill SK-NONE")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"workflow_id": 1}'])
def test_what_is_no_workflow_is_refused(document: dict[str, Any], tmp_path: Path, text: str) -> None:
    """A file that cannot be read is a fault of the file, not of the platform."""
    assert check(tmp_path, text).exit_code == 2


def test_a_file_that_is_not_there_is_said_in_one_sentence(document: dict[str, Any], tmp_path: Path) -> None:
    """No trace of Python."""
    done = CliRunner().invoke(main, ["workflow", "check", str(tmp_path / "no.json")])
    assert done.exit_code == 2
    assert "no.json" in done.stderr


def test_a_pipe_does_not_hold_the_command(document: dict[str, Any], tmp_path: Path) -> None:
    """Nobody may ever write to it."""
    os.mkfifo(tmp_path / "pipe.json")
    done = CliRunner().invoke(main, ["workflow", "check", str(tmp_path / "pipe.json")])
    assert (done.exit_code, "is no file" in done.stderr) == (2, True)


def test_a_workflow_is_held_against_the_database_that_is_named(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the shipped pack has and the registry in use lacks would pass here and be refused there."""
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    Registry.open(url).close()
    monkeypatch.setenv(REGISTRY_URL, url)
    done = check(tmp_path, document)
    assert done.exit_code == 2
    assert "there is no skill SK-OCR-001" in done.stderr
