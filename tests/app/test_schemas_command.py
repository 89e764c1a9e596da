"""`rwcm schemas`: what it prints, what it refuses, and the exit codes that CI relies on."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.schemas import MODES
from lake.home import Home
from registry.compatibility import Mode
from registry.consumers import allowlists
from registry.database import Registry
from registry.loader import PACK, load_pack
from registry.tokens import issue_token

TOPIC = "ap.invoice.received"
NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with the shipped registry."""
    made = Home(tmp_path / "home").prepare()
    registry = Registry.open(made.registry_db)
    load_pack(registry, PACK, actor="bootstrap", now=NOW)
    registry.close()
    monkeypatch.setenv("RWCM_HOME", str(made.root))
    return made


def test_the_modes_that_are_offered_are_those_there_are() -> None:
    """They are written out so that --help needs no heavy import; they must not drift."""
    assert tuple(Mode) == MODES


def schemas(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["schemas", *arguments])


def written(folder: Path, edit: Callable[[Any], None]) -> str:
    """Write the shipped schema as `edit` changes it, and return the file."""
    schema = json.loads((PACK / "event_schemas" / f"{TOPIC}.json").read_text())["schema"]
    edit(schema)
    path = folder / "new.json"
    path.write_text(json.dumps(schema))
    return str(path)


def with_note(schema: Any) -> None:
    schema["properties"]["note"] = {"type": "string"}


def without_sender(schema: Any) -> None:
    del schema["properties"]["sender"]


def token(home: Home, role_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Act from now on as a person in a role."""
    registry = Registry.open(home.registry_db)
    issued = issue_token(
        registry, subject_id="ada", subject_type="person", role_id=role_id, days=1, actor="operator:test", now=NOW
    )
    registry.close()
    monkeypatch.setenv("RWCM_TOKEN", issued.token)


def test_the_topics_are_listed_and_shown(home: Home) -> None:
    """Whoever writes a producer looks here first."""
    listed = json.loads(schemas("list", "--json").stdout)
    assert {each["subject"]: each["version"] for each in listed}[TOPIC] == 1
    assert TOPIC in schemas("list").stdout
    shown = json.loads(schemas("show", TOPIC).stdout)
    assert shown["schema"]["required"] == ["invoice_uri", "vendor_id", "po_id", "received_at"]


def test_a_check_of_what_is_registered_passes(home: Home) -> None:
    """CI of a fresh installation is green."""
    assert schemas("check").exit_code == 0


def test_a_compatible_schema_passes_the_check(home: Home, tmp_path: Path) -> None:
    """Exit code 0 is what lets a deployment go on."""
    file = written(tmp_path, with_note)
    done = schemas("check", "--subject", TOPIC, "--file", file)
    assert (done.exit_code, done.stderr) == (0, "")
    assert schemas("diff", TOPIC, "--file", file).stdout.strip().endswith(": minor")


def test_an_incompatible_schema_fails_the_check_with_names_and_reasons(home: Home, tmp_path: Path) -> None:
    """CI blocks on the code; the people need to know who breaks and why."""
    file = written(tmp_path, without_sender)
    done = schemas("check", "--subject", TOPIC, "--file", file)
    assert done.exit_code == 1
    assert "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL at /properties/sender" in done.stdout
    assert "WF-FIN-001" in done.stdout
    told = json.loads(schemas("check", "--subject", TOPIC, "--file", file, "--json").stdout)
    assert not told["ok"]
    assert [(each["rule"], each["consumer"]) for each in told["findings"]] == [
        ("version", None),
        ("consumer", "WF-FIN-001"),
    ]
    assert told["findings"][0]["reasons"][0]["path"] == "/properties/sender"


def test_a_consumer_that_would_be_left_behind_fails_the_check(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compatible schema still breaks whoever does not take its version."""
    token(home, "DA-M-001", monkeypatch)
    assert schemas("subscribe", "warehouse", TOPIC, "--versions", "1").exit_code == 0
    file = written(tmp_path, with_note)
    done = schemas("check", "--subject", TOPIC, "--file", file)
    assert done.exit_code == 1
    assert "warehouse gets no event" in done.stdout
    assert schemas("subscribe", "warehouse", TOPIC, "--versions", "1, 2").exit_code == 0
    assert schemas("check", "--subject", TOPIC, "--file", file).exit_code == 0
    registry = Registry.open(home.registry_db)
    with registry.read() as connection:
        assert allowlists(connection) == {("warehouse", TOPIC): {1, 2}}
    registry.close()


def test_a_schema_is_proposed_once_and_a_break_is_refused(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 says that the schema is at fault, 2 that the call is."""
    token(home, "FA-IC-001", monkeypatch)
    done = schemas("register", TOPIC, written(tmp_path, with_note))
    assert (done.exit_code, "proposed as version 2" in done.stdout) == (0, True)
    assert "nothing to do" in schemas("register", TOPIC, written(tmp_path, lambda schema: None)).stdout
    broken = schemas("register", TOPIC, written(tmp_path, without_sender))
    assert (broken.exit_code, "PROPERTY_REMOVED" in broken.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nowhere"), "no topic nowhere"),
        (("show", TOPIC, "--version", "7"), "in version 7"),
        (("check", "--file", "{file}"), "--file needs --subject"),
        (("check", "--subject", TOPIC, "--file", "{file}"), "write it as JSON"),
        (("check", "--subject", "nowhere"), "no topic nowhere"),
        (("register", TOPIC, "{file}"), "RWCM_TOKEN"),
    ],
)
def test_a_call_that_cannot_be_answered_is_refused_in_one_sentence(
    home: Home, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """A traceback tells a user nothing that they can act on."""
    os.environ.pop("RWCM_TOKEN", None)
    (tmp_path / "x.json").write_text("{")
    done = schemas(*(part.format(file=tmp_path / "x.json") for part in arguments))
    assert done.exit_code == 2
    assert said in done.stderr


def test_client_types_are_generated_into_a_folder(home: Home, tmp_path: Path) -> None:
    """The command says where the wheel is, and which topics Avro cannot hold."""
    done = json.loads(schemas("generate", "--to", str(tmp_path / "made"), "--json").stdout)
    assert Path(done["wheel"]).is_file()
    assert "policy.updated version 1" in done["untranslated"]
